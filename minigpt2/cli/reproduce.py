"""The command that gives a result again, made from the flags of the command's own parser."""

import argparse
import shlex


def command_line(options, values):
    """The command that sets options to the given values.

    options: as parsed, of the same command
    values: dict from an option's name to its value, in the order of the command; other names are ignored. None, an
        empty list, a truth value that needs no flag and the device numpy, the default everywhere, are omitted.
    returns str, quoted for a shell.
    """
    actions = {action.dest: action for action in options.parser._actions}  # argparse has no public list of them
    words = options.parser.prog.split()
    for name, value in values.items():
        if name in actions and value is not None and (name, value) != ("device", "numpy"):
            words += flag_and_value(actions[name], value)
    return shlex.join(words)


def flag_and_value(action, value):
    """The words on the command line that give an option its value.

    action: argparse.Action
    returns list of str; empty for a value that no flag stands for.
    """
    flags = action.option_strings[-1:]  # the long one; none for a positional argument
    if isinstance(action, argparse.BooleanOptionalAction):
        return [action.option_strings[0 if value else 1]]  # --x or --no-x
    if action.nargs == 0:
        return flags if value == action.const else []
    if action.nargs == "+":
        return [*flags, *map(str, value)] if value else []
    if isinstance(value, list):  # the flag is given once for each
        return [word for each in value for word in flag_and_value(action, each)]
    # After "=" a value may begin with "-", which otherwise begins a flag.
    return [f"{flags[0]}={value}"] if str(value).startswith("-") else [*flags, str(value)]

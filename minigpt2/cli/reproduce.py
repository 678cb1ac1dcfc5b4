"""The command that gives a result again, made from the flags of the command's own parser."""

import argparse

from minigpt2.shell import option, shell_line


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
    return shell_line(*words)


def flag_and_value(action, value):
    """The words on the command line that give an option its value.

    action: argparse.Action
    returns list of str; empty for a value that no flag stands for.
    """
    if not action.option_strings:  # a positional argument
        return [str(each) for each in (value if isinstance(value, list) else [value])]
    flag = action.option_strings[-1]  # the long one
    if isinstance(action, argparse.BooleanOptionalAction):
        return [action.option_strings[0 if value else 1]]  # --x or --no-x
    if action.nargs == 0:
        return [flag] if value == action.const else []
    if action.nargs == "+" and not any(str(each).startswith("-") for each in value):
        return [flag, *map(str, value)] if value else []
    if isinstance(value, list | tuple):  # the flag is given once for each
        return [word for each in value for word in option(flag, each)]
    return option(flag, value)

"""Search answers for calls of the library and for looks behind the checks: for a teacher to read, not to punish.

An answer that does so can be honest, and one that hides it well is not found.
"""

import io
import re
import tokenize

PACKAGE = "minigpt2"
MOST = 50_000  # characters of a cell

# Names that no answer of these exercises needs. Some only as an attribute or in an import, since they are fine words.
WORDS = re.compile(
    "importlib|__import__|exec|eval|compile|open|globals|(__)?builtins(__)?|inspect|gc|sys|os|io|subprocess|ctypes|socket|"
    "urllib|requests|httpx|pathlib|glob|shutil|runpy|linecache|traceback|threading|multiprocessing|signal|atexit|"
    "pickle|setattr|torch|tensorflow|jax|_?TASKS|EXERCISES|TOLERANCE|_getframe|f_(back|locals|globals)"
)
ATTRIBUTES = re.compile("components|exercises|reference|score|passed|checking|guard|report|__(globals|code|dict)__")
JUDGES = {"check", "round", "print"}  # of the check cells: an answer has no reason to define them anew


def places(submission):
    """Lines of a submission's own cells that a teacher should look at, in words.

    What the exercise's own given cells and solutions do is fine.
    """
    fine = {"whole"}  # minigpt2.exercises.whole, to which exercise 10 leads
    for cell in submission.assignment.cells:
        if cell.kind != "check":
            fine |= {token.string for token in _tokens(cell.source)}
    return [
        f"{name}, line {number}: {line}"
        for kind, name, source in submission.steps
        if kind in ("answer", "added")
        for number, line in _odd_lines(source, fine)
    ]


def _odd_lines(source, fine):
    """(number, text) of lines with something odd."""
    if len(source) > MOST:
        return [(1, f"{len(source):,} characters, too many to be searched")]
    found, tokens = {}, _tokens(source)
    lines = source.splitlines()
    imports_of = [line.lstrip().startswith(("import ", "from ")) and PACKAGE in line for line in lines]
    for i, token in enumerate(tokens):
        before = tokens[i - 1].string if i else ""
        after = tokens[i + 1].string if i + 1 < len(tokens) else ""
        number = token.start[0]
        imports = imports_of[number - 1] if number <= len(lines) else False
        odd = imports or WORDS.fullmatch(token.string)
        odd = odd or ((before == "." or imports) and ATTRIBUTES.fullmatch(token.string))
        redefined = token.string in JUDGES and before != "." and (after == "=" or before == "def")
        if redefined or (odd and token.string not in fine):
            text = lines[number - 1].strip() if number <= len(lines) else ""
            found.setdefault(number, text if len(text) <= 100 else f"{text[:100]} ...")
    return sorted(found.items())


def _tokens(source):
    """The names and operators of a cell, without comments and texts; those before the place where it is no Python.

    Not parsed into a tree: that can be made to end the whole process.
    """
    found = []
    try:
        for token in tokenize.generate_tokens(io.StringIO(source).readline):
            if token.type in (tokenize.NAME, tokenize.OP):
                found.append(token)
    except (tokenize.TokenError, SyntaxError, RecursionError):
        pass
    return found

"""A Sphinx extension that reads the house form of docstrings: what the project's own pages call a docstring.

An indented paragraph is a formula; ``name: (B, T, C) meaning`` is an argument; ``returns``, ``raises:``, ``Source:``
and ``Shapes:`` begin what they say; names in double backticks become links where there is something to lead to. Below
each entry stands the file and the line where it is defined.
"""

import builtins
import dataclasses
import functools
import importlib
import inspect
import pkgutil
import re
from pathlib import Path

import formulas

import minigpt2

ROOT = Path(minigpt2.__file__).resolve().parents[1]
FIELDS = {
    "returns": "Returns", "yields": "Yields", "raises": "Raises", "Source": "Source", "Sources": "Sources",
    "Shapes": "Shapes",
}  # fmt: skip
TEXT = {"text": "", "bullet": "- ", "number": "#. ", "later": ""}  # what stands before such a paragraph
FIELD = re.compile(rf"({'|'.join(FIELDS)})\b:?\s+(.*)")
ARGUMENT = re.compile(r"(\*{0,2}\w+(?:, \*{0,2}\w+)*):\s+(.*)")
SHAPE = re.compile(r"\((?:\.\.\.|[\w +*-]+)(?:, ?[\w +*-]+)*,?\)")
LETTERS = re.compile(r"\d*[A-Za-z]?|\w+_\w+|start|context|layers")  # what a shape is made of
CLASS = re.compile(r"(?<![\w.`])(?:GPT2|[A-Z]\w*[a-z]\w*[A-Z]\w*|GPT2Config|KeyboardInterrupt)\b")


def setup(app):
    """Called by Sphinx."""
    app.connect("autodoc-process-docstring", _process)
    app.connect("autodoc-skip-member", _skip)
    return {"parallel_read_safe": True}


def _skip(app, what, name, member, skip, options):
    """Fields are explained where their class is."""
    return True if skip or not (inspect.isroutine(member) or inspect.isclass(member) or _is_method(member)) else None


def _process(app, what, name, member, options, lines):
    names = arguments(member)
    text = "\n".join(lines)
    if what == "class" and "__init__" in vars(member) and vars(member)["__init__"].__doc__:
        text += "\n\n" + inspect.getdoc(vars(member)["__init__"])
    heading = "Fields" if dataclasses.is_dataclass(member) else "Arguments"
    lines[:] = restructured(text, names, name, heading) + _defined_in(what, member)


def restructured(text, names=(), scope="minigpt2", heading="Arguments"):
    """The lines of a docstring as reStructuredText.

    names: of the arguments, or of the fields of a dataclass; heading: what these are called
    scope: the full name of what it is about, where links look first
    """
    lines, fields, names = [], [], set(names)
    own = {name for name in names if f"{scope}.{name}" not in index()}  # these lead nowhere
    for paragraph in re.split(r"\n(?:[ \t]*\n)+", text.strip("\n")):
        rows = paragraph.split("\n")
        if rows[0].startswith(">>>"):
            blocks = [rows]
        elif all(row.startswith("    ") for row in rows):
            blocks = [formula(rows, scope)]
        else:
            blocks = _items(rows, names)
        for block in blocks:
            if isinstance(block, list):
                lines += [*_field_list(fields, heading), *block, ""]
                fields = []
                continue
            kind, content = block
            if kind in TEXT:
                lines += _field_list(fields, heading)
                lines += [".. rst-class:: later", ""] if kind == "later" else []
                lines += [TEXT[kind] + inline(content, scope, own), ""]
                fields = []
            else:
                fields.append((kind, inline(content, scope, own)))
    return lines + _field_list(fields, heading)


def formula(rows, scope="minigpt2"):
    """An indented paragraph: a line block of formulas, or a literal block where it is none."""
    try:
        parts = [formulas.pieces(row) for row in rows]
    except ValueError:
        parts = []
    if not any(is_formula for row in parts for is_formula, _ in row):
        return ["::", "", *rows]
    lines = [".. rst-class:: formula", ""]
    for row in parts:
        line = "|"
        for is_formula, text in row:
            near = line == "|" or (line.endswith((",`", ",")) and not is_formula)
            line += " " if near else " " + "\N{EM SPACE}" * 2
            line += rf":math:`\displaystyle {text}`" if is_formula else inline(text, scope)
        lines.append(line)
    return lines


def inline(text, scope="minigpt2", names=()):
    """A run of text: code and shapes as code, names as links but for ``names``, everything else as it is."""
    result = []
    for part in re.split(r"(``[^`\s].*?``|(?<!`)`[^`\s][^`]*`)", text):
        if part.startswith("`") and len(part) > 2:
            code = part.strip("`")
            target = None if code in names else resolve(code, scope)
            result.append(f":py:obj:`{code} <{target}>`" if target else f"``{code}``")
            continue
        position = 0
        for match in re.finditer(f"{SHAPE.pattern}|{CLASS.pattern}", part):
            result.append(_escaped(part[position : match.start()]))
            position = match.end()
            result.append(_code(match[0], scope))
        result.append(_escaped(part[position:]))
    return "".join(result).replace("``\\ ``", "")


def resolve(text, scope="minigpt2"):
    """The full name of what a name means in the docstring of ``scope``, or None: looked for from there outwards."""
    names = index()
    while scope:
        if f"{scope}.{text}" in names:
            return names[f"{scope}.{text}"]
        scope = scope.rpartition(".")[0]
    return names.get(text) or names.get("." + text.rpartition("minigpt2.")[2])


@functools.cache
def index():
    """{name: full name} of all that has an entry; ".name" stands for a name that only one of them has."""
    names, short = {}, {}
    for module in modules():
        names[module.__name__] = module.__name__
        for name, member in vars(module).items():
            home = getattr(member, "__module__", None) or ""
            if name.startswith("_") or not (inspect.isclass(member) or inspect.isfunction(member)):
                continue
            full = f"{home}.{member.__qualname__}"
            if not full.startswith("minigpt2.") or "<" in full or member.__name__.startswith("_"):
                continue
            names.setdefault(f"{module.__name__}.{name}", full)
            members = [key for key, value in vars(member).items() if inspect.isroutine(value) or _is_method(value)]
            for part in ["", *("." + key for key in members if inspect.isclass(member) and not key.startswith("_"))]:
                names[full + part] = full + part
                if home.partition(".")[2].split(".")[0] not in ("plain", "exercises"):
                    short.setdefault(f".{name}{part}", set()).add(full + part)
    return names | {name: full.pop() for name, full in short.items() if len(full) == 1}


def _is_method(member):
    return isinstance(member, property | functools.cached_property | classmethod | staticmethod)


def modules():
    """All modules of the package."""
    names = [found.name for found in pkgutil.walk_packages(minigpt2.__path__, "minigpt2.")]
    return [minigpt2, *(importlib.import_module(name) for name in names if not name.endswith("__main__"))]


def arguments(member):
    """The names that a docstring may explain: arguments, and fields of a class."""
    names = set(vars(member)) | set(getattr(member, "__annotations__", ())) if inspect.isclass(member) else set()
    try:
        return names | set(inspect.signature(member).parameters)
    except (TypeError, ValueError):
        return names


def public_members(module):
    """The functions and classes that a module defines for others."""
    return [
        member for name, member in vars(module).items()
        if not name.startswith("_") and (inspect.isfunction(member) or inspect.isclass(member))
        and member.__module__ == module.__name__
    ]  # fmt: skip


def _items(rows, names):
    """(kind, text) of what a paragraph consists of; the kind is one of TEXT, a field, or (field, argument)."""
    items = []
    for row in rows:
        field, argument = FIELD.fullmatch(row), ARGUMENT.fullmatch(row)
        if field:
            items.append([FIELDS[field[1]], field[2]])
        elif argument and _known(argument[1], names):
            for part in re.split(r"; (?=\*{0,2}\w+(?:, \w+)*: )", row):
                one = ARGUMENT.fullmatch(part)
                if one and _known(one[1], names):
                    items.append([("Arguments", one[1]), one[2]])
                else:
                    items[-1][1] += "; " + part
        elif entry := re.match(r"(- |\d+\. )", row):
            items.append(["bullet" if entry[0] == "- " else "number", row[entry.end() :]])
        elif not items or (items[-1][0] in ("bullet", "number") and not row.startswith(" ")):
            items.append(["later" if row.startswith("Not for a first reading:") else "text", row])
        else:
            items[-1][1] += " " + row.strip()
    return [tuple(item) for item in items]


def _known(text, names):
    return all(name.strip("*") in names for name in text.split(", "))


def _field_list(fields, heading):
    """Arguments as a list of their own within the field of that name."""
    lines, open_list = [], False
    for kind, text in fields:
        if isinstance(kind, tuple):
            lines += [] if open_list else [f":{heading}:", ""]
            lines.append(f"    :{_escaped(kind[1])}: {text}")
        else:
            lines += [""] * open_list + [f":{kind}: {text}"]
        open_list = isinstance(kind, tuple)
    return [*lines, ""] if lines else []


def _defined_in(what, member):
    """The file and the line of a definition, a link to the page with its source."""
    whole_page = what in ("module", "property")  # the page of the source has no places for properties
    if isinstance(member, property | functools.cached_property):
        member = member.fget if isinstance(member, property) else member.func
    member = inspect.unwrap(member) if callable(member) else member
    try:
        path = Path(inspect.getsourcefile(member)).relative_to(ROOT).as_posix()
        line = 0 if what == "module" else inspect.getsourcelines(member)[1]
    except (TypeError, OSError, ValueError):
        return []
    module = member if what == "module" else importlib.import_module(member.__module__)
    place = f"{path}, line {line}" if line else path
    if public_members(module):
        anchor = "" if whole_page else f"#{member.__qualname__}"
        place = f"`{place} <../_modules/{module.__name__.replace('.', '/')}.html{anchor}>`__"
    return [".. rst-class:: defined", "", f"Defined in {place}", ""]


def _is_shape(text):
    return ("," in text or "..." in text) and all(map(LETTERS.fullmatch, re.findall(r"\w+", text)))


def _code(text, scope):
    """A shape, an error or a class as code; what only looks like one as it is."""
    target = None if text.startswith("(") else resolve(text, scope)
    if target:
        return f"\\ :py:obj:`{text} <{target}>`\\ "
    is_code = _is_shape(text) if text.startswith("(") else isinstance(getattr(builtins, text, None), type)
    return f"\\ ``{text}``\\ " if is_code else _escaped(text)


def _escaped(text):
    """Text without markup but for *emphasis*."""
    markup = re.compile(r"\*[A-Za-z][^*\n]*[A-Za-z]\*|[*`|\\]|_(?=\W|$)")
    return markup.sub(lambda match: match[0] if len(match[0]) > 1 else "\\" + match[0], text)

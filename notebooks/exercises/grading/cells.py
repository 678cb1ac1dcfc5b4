"""Run the code of a notebook's cell, as a kernel does, without a kernel."""

import ast
import linecache
import re

COMMAND = re.compile(r"^(\s*)(?:[%!].*|.*\?{1,2}\s*)$")  # %time, !pip, help?


def run(source, namespace, name):
    """Execute a cell in a namespace and return the value of its last line, if that is an expression; else None.

    name: of the cell: errors speak of <name>
    raises: whatever the cell raises.
    """
    filename = f"<{name}>"
    tree, source = _parsed(source, filename)
    linecache.cache[filename] = len(source), None, source.splitlines(keepends=True), filename
    last = tree.body.pop() if tree.body and isinstance(tree.body[-1], ast.Expr) else None
    exec(compile(tree, filename, "exec"), namespace)
    return eval(compile(ast.Expression(last.value), filename, "eval"), namespace) if last else None


def _parsed(source, filename):
    """(the syntax tree of a cell, its text); lines for the notebook's kernel, not for Python, are left out."""
    try:
        return ast.parse(source, filename), source
    except SyntaxError:
        lines = [COMMAND.sub(r"\1pass", line) for line in source.splitlines()]
        without = "\n".join("pass" if line.startswith("%%") else line for line in lines)
        if without == source:
            raise
    return ast.parse(without, filename), without

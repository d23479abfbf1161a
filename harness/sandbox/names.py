"""Which names in the tests are the program's: decided here, from trusted text, never by the program.

A program that defines `abs`, `len` or a `math` of its own must not get to answer in their place: a test
such as `assert abs(f(2) - 1.4) < 1e-6` would be its own judge. So in the tests

- a builtin's name means the builtin, and a standard module's name before a dot means that module, unless
  the caller lists the name among the program's;
- what the tests define themselves is theirs, whatever the program calls by that name;
- every other name is the program's.
"""

from __future__ import annotations

import ast
import builtins
import sys
import warnings
from collections.abc import Collection


def defined_names(code: str) -> set[str]:
    """Functions, classes and variables that `code` defines at its top level (a reference solution, say)."""
    names = set()
    for node in _parse(code).body:
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef):
            names.add(node.name)
        else:
            names |= {
                n.id for n in ast.walk(node) if isinstance(n, ast.Name) and isinstance(n.ctx, ast.Store)
            }
    return names


def split_names(tests: str, theirs: Collection[str] | None) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """Names that the tests take from the program, and standard modules that they use without importing.

    `theirs` lists the program's names; None leaves it to the rule above. Tests that do not parse have none:
    the judge then says what is wrong with them.
    """
    try:
        tree = _parse(tests)
    except (SyntaxError, ValueError, RecursionError, MemoryError):
        return (), ()
    nodes = list(ast.walk(tree))
    used = {n.id for n in nodes if isinstance(n, ast.Name) and isinstance(n.ctx, ast.Load)}
    free = used - _bound(nodes)
    dotted = {n.value.id for n in nodes if isinstance(n, ast.Attribute) and isinstance(n.value, ast.Name)}
    modules = (free & dotted & sys.stdlib_module_names) - set(theirs or ())
    known = set(theirs) if theirs is not None else used - vars(builtins).keys() - modules
    return tuple(sorted(free & known)), tuple(sorted(modules))


def _parse(code: str) -> ast.Module:
    with warnings.catch_warnings():  # the parser warns about odd escapes, which are not ours to mend
        warnings.simplefilter("ignore")
        return ast.parse(code)


def _bound(nodes: list[ast.AST]) -> set[str]:
    """Names defined by the tests at their top level or deeper: by assignment, definition or import."""
    names = set()
    for node in nodes:
        match node:
            case ast.Name(id=name, ctx=ast.Store()):
                names.add(name)
            case ast.FunctionDef(name=name) | ast.AsyncFunctionDef(name=name) | ast.ClassDef(name=name):
                names.add(name)
            case ast.arg(arg=name):
                names.add(name)
            case ast.alias(name=name, asname=other):
                names.add(other or name.partition(".")[0])
    return names

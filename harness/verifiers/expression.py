"""Answers that are one arithmetic Python expression in `x`, run on hidden inputs.

Covered: an expression is parsed, every node of its syntax tree must be in a short list (integer
constants, the name `x`, + - * // %, unary minus, parentheses), and the tree is evaluated here,
node by node. Nothing is compiled or executed, so there are no names, calls, attributes, files,
loops or powers to reach; length, depth and the size of numbers are bounded.

Not covered: programs, which `harness.sandbox` runs. Anything with a statement or a call is malformed.
"""

from __future__ import annotations

import ast
import operator
import warnings
from collections.abc import Sequence

MAX_CHARACTERS = 200
MAX_MAGNITUDE = 10**12

_BINARY = {
    ast.Add: operator.add,
    ast.Sub: operator.sub,
    ast.Mult: operator.mul,
    ast.FloorDiv: operator.floordiv,
    ast.Mod: operator.mod,
}


class Malformed(ValueError):
    """The text is not an expression of the language above: a wrong answer, not a verifier error."""


def share_passed(expression: str, cases: Sequence[tuple[int, int]]) -> float:
    """Share of the hidden `(x, y)` cases on which `expression` gives `y`; malformed text passes none."""
    return sum(_passes(expression, x, y) for x, y in cases) / len(cases)


def _passes(expression: str, x: int, y: int) -> bool:
    try:
        return evaluate(expression, x) == y
    except Malformed:
        return False


def evaluate(expression: str, x: int) -> int:
    """The value of `expression` at `x`.

    Raises `Malformed` for text outside the language, a division by zero, or a number beyond
    `MAX_MAGNITUDE`.
    """
    if len(expression) > MAX_CHARACTERS:
        raise Malformed(f"longer than {MAX_CHARACTERS} characters")
    try:
        with warnings.catch_warnings():  # the parser warns about odd literals such as `2x`
            warnings.simplefilter("ignore")
            tree = ast.parse(expression, mode="eval")
    except (SyntaxError, ValueError, MemoryError, RecursionError) as error:
        raise Malformed(f"not an expression: {type(error).__name__}") from error
    return _value(tree.body, x)


def _value(node: ast.expr, x: int) -> int:
    match node:
        case ast.Constant(value=bool()):
            raise Malformed("only integers")
        case ast.Constant(value=int() as value):
            pass
        case ast.Name(id="x"):
            value = x
        case ast.UnaryOp(op=ast.USub(), operand=operand):
            value = -_value(operand, x)
        case ast.BinOp(left=left, op=op, right=right) if type(op) in _BINARY:
            a, b = _value(left, x), _value(right, x)
            if b == 0 and isinstance(op, ast.FloorDiv | ast.Mod):
                raise Malformed("division by zero")
            value = _BINARY[type(op)](a, b)
        case _:
            raise Malformed(f"{type(node).__name__} is not allowed")
    if abs(value) > MAX_MAGNITUDE:
        raise Malformed(f"a number beyond {MAX_MAGNITUDE:.0e}")
    return value

"""Arithmetic with one worked step: `3+4*2` is answered `3+8=11`."""

from __future__ import annotations

from random import Random

from harness.suites.micro.items import Item, Kind, grade_worked


def _digits(rng: Random, level: int, count: int) -> list[int]:
    """Operands: one digit at level 1, up to 19 above."""
    return [rng.randint(2, 9 if level == 1 else 19) for _ in range(count)]


def precedence(rng: Random, level: int) -> Item:
    """`a+b*c`: multiplication binds tighter. Misconception: left to right."""
    a, b, c = _digits(rng, level, 3)
    return Item("precedence", f"{a}+{b}*{c}", f"{a}+{b * c}={a + b * c}", f"{a + b}*{c}={(a + b) * c}")


def addition_last(rng: Random, level: int) -> Item:
    """`a*b+c`: the product comes first here too. Misconception: the sum first."""
    a, b, c = _digits(rng, level, 3)
    return Item("addition_last", f"{a}*{b}+{c}", f"{a * b}+{c}={a * b + c}", f"{a}*{b + c}={a * (b + c)}")


def chain(rng: Random, level: int) -> Item:
    """`a-b-c`: subtraction groups to the left. Misconception: to the right."""
    b, c, rest = _digits(rng, level, 3)
    b, c = max(b, c) + 1, min(b, c)
    a = b + c + rest
    return Item("chain", f"{a}-{b}-{c}", f"{a - b}-{c}={a - b - c}", f"{a}-{b - c}={a - (b - c)}")


def bracket(rng: Random, level: int) -> Item:
    """`a-(b+c)`: the sign goes over the bracket. Misconception: the bracket is dropped."""
    b, c, rest = _digits(rng, level, 3)
    a = b + c + rest
    return Item("bracket", f"{a}-({b}+{c})", f"{a}-{b + c}={a - b - c}", f"{a - b}+{c}={a - b + c}")


KINDS = {
    "precedence": Kind(precedence, misconception=0.65),
    "addition_last": Kind(addition_last, misconception=0.4),
    "chain": Kind(chain, misconception=0.65),
    "bracket": Kind(bracket, misconception=0.4),
}

grade = grade_worked

"""Programming by example: `1>5,2>7` asks for an expression in x, here `2*(x-1)+5`.

An answer is run on hidden inputs, so any equivalent expression is right. The demonstrations compute
no more than one difference of two shown values and leave the rest to the program.
"""

from __future__ import annotations

from random import Random

from harness.suites.micro.items import Grade, Item, Kind
from harness.verifiers.expression import share_passed

HIDDEN_INPUTS = (0, 3, 4, 7, 11)


def _item(kind: str, shown: tuple[int, ...], slope: int, intercept: int, right: str, wrong: str) -> Item:
    def value(x: int) -> int:
        return slope * x + intercept

    question = ",".join(f"{x}>{value(x)}" for x in shown)
    return Item(kind, question, right, wrong, tuple((x, value(x)) for x in HIDDEN_INPUTS))


def _sizes(rng: Random, level: int) -> tuple[int, int]:
    """Slope and intercept: one digit at level 1, intercepts up to 29 above."""
    return rng.randint(2, 9), rng.randint(1, 9 if level == 1 else 29)


def intercept(rng: Random, level: int) -> Item:
    """The examples start at x=1 or 2. Misconception: the first value is taken as the intercept."""
    a, b = _sizes(rng, level)
    x = rng.randint(1, 2)
    return _item("intercept", (x, x + 1), a, b, f"{a}*(x-{x})+{a * x + b}", f"{a}*x+{a * x + b}")


def stride(rng: Random, level: int) -> Item:
    """The examples are two or three apart. Misconception: the difference is taken as the slope."""
    a, b = _sizes(rng, level)
    step = rng.randint(2, 3)
    return _item("stride", (0, step), a, b, f"{a * step}//{step}*x+{b}", f"{a * step}*x+{b}")


def falling(rng: Random, level: int) -> Item:
    """The values fall. Misconception: the sign of the slope is lost."""
    a, _ = _sizes(rng, level)
    start = a + rng.randint(0, 19 if level == 1 else 49)
    return _item("falling", (0, 1), -a, start, f"{start}-{a}*x", f"{start}+{a}*x")


def ratio(rng: Random, level: int) -> Item:
    """The values are proportional. Misconception: only the first example is fitted, by a sum."""
    a = rng.randint(2, 12 if level == 1 else 39)
    x = rng.randint(2, 5)
    return _item("ratio", (x, x + 1), a, 0, f"{a}*x", f"x+{a * x - x}")


KINDS = {
    "intercept": Kind(intercept, misconception=0.65),
    "stride": Kind(stride, misconception=0.4),
    "falling": Kind(falling, misconception=0.65),
    "ratio": Kind(ratio, misconception=0.4),
}


def grade(item: Item, line: str) -> Grade:
    """Right if every hidden case passes; graded by the share that does."""
    share = share_passed(line, item.cases)
    return Grade(share == 1.0, share, line or None)

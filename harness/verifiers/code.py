"""Code answers: run on hidden inputs."""

from __future__ import annotations

from collections.abc import Sequence

from harness.verifiers.sandbox import Malformed, evaluate


def share_passed(expression: str, cases: Sequence[tuple[int, int]]) -> float:
    """Share of the hidden `(x, y)` cases on which `expression` gives `y`; malformed text passes none."""
    return sum(_passes(expression, x, y) for x, y in cases) / len(cases)


def _passes(expression: str, x: int, y: int) -> bool:
    try:
        return evaluate(expression, x) == y
    except Malformed:
        return False

r"""Numeric answers with a unit, right within a relative tolerance: SciBench (arXiv 2307.10635).

`problem.data` is `{"number": "50.7", "unit": "$\\mathrm{atm}$ "}` as the data set has them.

An answer is one number, with or without a unit (`5 \mathrm{~m/s^2}`), after a name or not (`P = 50.7`); it
must be worked out (`\sqrt{2}` and `2\pi` are not read). It is right where
`|answer − number| ≤ tolerance · max(|answer|, |number|)`, as in `math.isclose`; where the number is 0
the answer must be 0, since 5e-19 is an energy like any other.

A unit in the answer is neither compared nor converted: 50.7 kPa passes for 50.7 atm, 0.0507 MPa fails
for 50.7 kPa. Many of the expected units hold a power of ten (`$10^{-19} \mathrm{~J}$` with the number
3.52): both 3.52 and 3.52e-19 are right, as a solver may or may not take the power for a part of the unit.
"""

from __future__ import annotations

import math
import re
from collections.abc import Sequence
from fractions import Fraction
from typing import Any

from harness.suites.problem import Problem, Verdict
from harness.verifiers.answers import final_answer, value_of_named
from harness.verifiers.numerals import cleaned, is_unit, plain_number, read_number

FIGURES = 6  # significant figures that are kept of an answer, in `Verdict.answer` and for the verdict

_APPROXIMATELY = re.compile(r"\\approx(?![A-Za-z])|\\simeq(?![A-Za-z])|\\sim(?![A-Za-z])|≈|≃")
_SCIENCE = re.compile(
    r"\\(?:mathrm|text|textrm|mbox|rm|hat|mathbf|vec)(?![A-Za-z])|\\(?:cdot|circ|mu|Omega|alpha|AA|degree|times)(?![A-Za-z])"
)
_POWERS = re.compile(r"\^ ?(?:\{ ?[-+]?\d(?:/\d)? ?\}|[-+]?\d)|\\?%|[⁰¹²³⁴-⁹⁻]+")
_UNIT_POWER = re.compile(r"10 ?\^ ?(?:\{ ?([-+]?\d{1,3}) ?\}|([-+]?\d))")
# Words that stand in no unit: the answer then says more than one number.
_NOT_UNIT = re.compile(
    r"(?<![A-Za-z])(?:or|and|to|plus|minus|times|pi|sqrt|frac|not|but|from|versus)(?![A-Za-z])"
)


def number_of(text: str) -> float | None:
    """The number that an answer states, to `FIGURES` significant figures; None where it is not one number."""
    text = _APPROXIMATELY.sub("=", cleaned(text.replace("$", "")).lstrip("≈~= "))
    found = read_number(_unwrapped(value_of_named(text).strip()))
    if found is None:
        return None
    value, rest = found
    power = _UNIT_POWER.match(rest.strip())  # 3.52 10^{-19} J: the unit's power, without a sign between
    if power:
        value *= Fraction(10) ** _exponent(power)
        rest = rest.strip()[power.end() :]
    if not _is_science_unit(rest):
        return None
    return as_float(value)


def as_float(value: Fraction) -> float | None:
    """A fraction as a float of `FIGURES` significant figures, None beyond the range of a double."""
    try:
        return float(f"{float(value):.{FIGURES}g}")
    except OverflowError:
        return None


def _unwrapped(text: str) -> str:
    """`(0.829)`, `\\text{50.7 atm}` and `\\mathbf{5}` without what goes round them."""
    inside = re.fullmatch(r"\(([^(),]*)\)|\\(?:text|mathrm|mathbf|textbf|mbox) ?\{([^{}]*)\}", text)
    return next(group for group in inside.groups() if group is not None) if inside else text


def _is_science_unit(rest: str) -> bool:
    """Whether what follows a number can be a unit: letters, their powers and products, no further number."""
    if is_unit(rest):
        return True
    if _NOT_UNIT.search(rest) or rest[:1] in tuple("+-*^!=<>()[]_|,;:"):
        return False
    left = _SCIENCE.sub("", _POWERS.sub("", rest))
    return not re.search(r"[\d,;=<>+*!^_|:\\]", left)


def power_of(unit: str) -> int:
    """The exponent of ten that a unit holds: -19 for `$10^{-19} \\mathrm{~J}$`, else 0."""
    found = _UNIT_POWER.match(cleaned(unit).lstrip("$ \r\n"))
    return _exponent(found) if found else 0


def _exponent(power: re.Match[str]) -> int:
    return int(power[1] or power[2])


class NumericVerifier:
    """Judges by the number and the unit in `problem.data`.

    tolerance: relative, 0.05 as in SciBench's own evaluation.
    """

    def __init__(self, tolerance: float = 0.05) -> None:
        self.tolerance = tolerance

    def judge(self, problems: Sequence[Problem], completions: Sequence[str]) -> list[Verdict]:
        """One verdict each."""
        return [self._one(p.data, c) for p, c in zip(problems, completions, strict=True)]

    def facts(self) -> dict[str, Any]:
        """The tolerance."""
        return {"tolerance": self.tolerance}

    def _one(self, data: Any, completion: str) -> Verdict:
        try:
            number, unit = str(data["number"]), str(data.get("unit") or "")
        except (TypeError, KeyError, AttributeError):
            return Verdict.failure(f"the reference must have a number and a unit, not {data!r}")
        expected = plain_number(number)
        powers = (0, power_of(unit))
        targets = {
            None if expected is None else as_float(expected * Fraction(10) ** power) for power in powers
        }
        if None in targets:
            return Verdict.failure(f"the reference {number!r} {unit!r} is not a number that a double holds")
        stated = final_answer(completion, "number")
        given = number_of(stated) if stated is not None else None
        if given is None:
            return Verdict(reward=0.0, correct=False, answer=None)
        correct = any(self._close(given, target) for target in targets)
        return Verdict(reward=float(correct), correct=correct, answer=repr(given))

    def _close(self, given: float, target: float) -> bool:
        return math.isclose(given, target, rel_tol=self.tolerance, abs_tol=0.0)

r"""Mathematical answers: equal to the reference as numbers, texts or expressions, by math-verify.

`problem.data` is the reference answer as text: `18`, `\frac{14}{3}`, `\text{Evelyn}`, `(C)`.

The answer is taken by `answers.final_answer` (last one wins) and brought to one spelling, which is
what `Verdict.answer` holds and all that the verdict depends on. Then, in this order:

1. the same spelling as the reference's: right;
2. both plain numbers: exact comparison. Only two numbers within 1e-5 of each other, one of them a
   decimal, go on (0.333333 for 1/3 is right: six places, math-verify's own rounding);
3. the reference is a text or a letter: compared without case and wrapping, wrong otherwise;
4. the answer names several values where the reference is one number: wrong;
5. math-verify in a process of its own.

Conventions, math-verify's own where not said otherwise: 5% equals 5 and not 0.05; units and
degrees are dropped and not compared; a missing base is accepted, another base is not (ours);
`x=5` answers 5, and 5 answers `x=5`, but `3x=5` does not answer 5 (ours); the order counts in
tuples, not in lists without brackets; (1,2) and 1,2 are the same; an expression counts by its value,
evaluated or not; inequalities and intervals that say the same are equal.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from fractions import Fraction
from typing import Any

from harness.suites.problem import Problem, Verdict
from harness.verifiers.answers import EQUALS, final_answer, value_of_named
from harness.verifiers.choice import lettered
from harness.verifiers.numerals import WRAPPED, cleaned, is_unit, plain_number, spelled
from harness.verifiers.workers import Failed, shared_pool

DEEPEST = 16  # nested braces and brackets: what is deeper is no answer, and would exhaust the parser
LONGEST = 600  # characters of an expression that is worth parsing
ROUNDING = Fraction(1, 10**5)  # ten times the sixth place, to which math-verify rounds decimals

_LETTER = re.compile(r"\(?([A-Za-z])\)?\.?$|\(([A-Z])\)[ .:,].*$|([A-Z])\)[ .:,].*$", re.DOTALL)
_UNIT = re.compile(r"(?: |(?<=[\d}]))((?:\\(?:text|mathrm|mbox|textrm) ?\{[^{}]*\})(?: ?\^ ?\{?\d\}?)?)$")
_TWO_NUMBERS = re.compile(r"(?<![\w^{}])\d+(?:\.\d+)? \d+(?:\.\d+)?(?![\w/])")


def canonical(text: str, named: bool = True) -> str:
    r"""One spelling of an answer: numbers as `spelled`, texts bare and in lower case, LaTeX without decoration.

    named: keep the name in `x = 5`, as the reference has one.
    """
    text = re.sub(r"^(?:\\approx|≈|=) ?", "", cleaned(text))
    if not named:
        text = value_of_named(text)
    number = plain_number(text)
    if number is not None:
        return spelled(number)
    text = _UNIT.sub(lambda m: "" if is_unit(m[1], bare=False) else m[0], text).strip()
    number = plain_number(text)
    if number is not None:
        return spelled(number)
    text = re.sub(r"(?:\^ ?\{? ?\\circ ?\}?|°|\\?%)$", "", text).strip()
    bare = cleaned(WRAPPED.sub(r"\1", text))
    inside = re.fullmatch(r"\(([^(),]*)\)", bare)
    number = plain_number(inside[1] if inside else bare)
    if number is not None:
        return spelled(number)
    if _is_words(bare) and (bare != text or len(bare) > 3):
        return " ".join(bare.casefold().split())
    text = re.sub(r"_ ?(\d)(?![\d{])", r"_{\1}", text.replace(r"\$", "").replace("$", ""))
    text = re.sub(r"\\frac ?(\d) ?(\d)", r"\\frac{\1}{\2}", text)
    # Spaces say nothing in LaTeX but between a command or a number and what follows.
    return re.sub(r"(?<![\w\\]) +| +(?![\w\\])", "", text)


def _is_words(text: str) -> bool:
    return bool(text) and all(letter.isalpha() or letter in " -'’." for letter in text) and text[0].isalpha()


def letter(text: str) -> str | None:
    """The capital of an answer that is one letter: `C`, `(C)`, `C.`, `(C) 12`."""
    found = _LETTER.match(cleaned(WRAPPED.sub(r"\1", text)))
    return next(filter(None, found.groups())).upper() if found else None


class _Reference:
    """What a reference answer is: a number, a letter, a text, or an expression."""

    def __init__(self, text: str) -> None:
        self.named = bool(EQUALS.search(text)) or r"\in" in text
        self.text = canonical(text)
        self.number = plain_number(self.text)
        wrapped = WRAPPED.sub("", cleaned(text)).strip() == ""
        marked = wrapped or cleaned(text).startswith("(")
        self.letter = letter(text) if marked or re.fullmatch(r"[A-J]", cleaned(text)) else None
        self.words = _is_words(self.text) and (wrapped or len(self.text) > 3)
        self.mode = "number" if self.number is not None else "expression"


class MathVerifier:
    """Judges by the reference answer in `problem.data`, with math-verify where spelling does not decide.

    seconds: of the processor, for one comparison; a longer one is a failure, not a wrong answer.
    workers: processes that compare at once; None for one per usable core, eight at most. All
    verifiers with the same limits share them; they start with the first comparison that needs them.
    memory_mb: address space of each. marked: only a box or a `####` line states an answer; otherwise, for lack of both,
    the last formula or number does, which a completion that was cut off has too.
    """

    def __init__(
        self, seconds: float = 5.0, workers: int | None = None, memory_mb: int = 2048, marked: bool = False
    ) -> None:
        if not 0 < seconds <= 300:
            raise ValueError(f"seconds for an answer must lie in (0, 300], not {seconds}")
        self.seconds = seconds
        self.marked = marked
        self.workers = workers
        self.memory_mb = memory_mb

    def judge(self, problems: Sequence[Problem], completions: Sequence[str]) -> list[Verdict]:
        """One verdict each. Equal questions of one batch are asked once."""
        verdicts: list[Verdict | tuple[str, str]] = [
            self._at_sight(problem.data, completion, self.marked)
            for problem, completion in zip(problems, completions, strict=True)
        ]
        questions = list(dict.fromkeys(v for v in verdicts if isinstance(v, tuple)))
        replies: dict[tuple[str, str], Any] = {}
        if questions:
            pool = shared_pool(self.workers, self.memory_mb, self.seconds)
            replies = dict(zip(questions, pool.ask(questions), strict=True))
        return [self._verdict(v, replies[v]) if isinstance(v, tuple) else v for v in verdicts]

    def facts(self) -> dict[str, Any]:
        """The checker's version and its limits."""
        from importlib.metadata import version

        return {"math_verify": version("math-verify"), "seconds": self.seconds, "memory_mb": self.memory_mb}

    @staticmethod
    def _verdict(question: tuple[str, str], reply: str | Failed) -> Verdict:
        if isinstance(reply, Failed):
            return Verdict.failure(f"math-verify: {reply}")
        if reply == "reference":
            return Verdict.failure(f"the reference {question[0]!r} cannot be read")
        if reply == "answer":
            return _wrong(None)
        if reply not in ("right", "wrong"):
            return Verdict.failure(f"math-verify: {reply}")
        return _right(question[1]) if reply == "right" else _wrong(question[1])

    @staticmethod
    def _at_sight(data: Any, completion: str, marked: bool = False) -> Verdict | tuple[str, str]:
        """The verdict where spelling decides, else the question (reference, answer) for math-verify."""
        if not isinstance(data, str) or not data.strip():
            return Verdict.failure(f"the reference must be a text with an answer, not {data!r}")
        reference = _Reference(data)
        given = final_answer(completion, "marked" if marked else reference.mode)
        if given is None or not given.strip():
            return _wrong(None)
        if reference.letter:
            choice = lettered(given) or canonical(given)
            return _right(choice) if choice == reference.letter else _wrong(choice)
        answer = canonical(given, reference.named)
        if answer == reference.text:
            return _right(answer)
        if not answer or len(answer) > LONGEST or _depth(answer) > DEEPEST:
            return _wrong(None)
        number = plain_number(answer)
        if reference.number is not None and number is not None:
            integers = reference.number.denominator == number.denominator == 1
            if reference.number == number:
                return _right(answer)
            if integers or abs(reference.number - number) > ROUNDING:
                return _wrong(answer)
        if reference.words or _two_numbers(answer):
            return _wrong(answer)
        if reference.number is not None and (
            _is_words(answer) and len(answer) > 3 or _unread_equation(answer)
        ):
            return _wrong(answer)
        return reference.text, answer


def _two_numbers(text: str) -> bool:
    """Whether two numbers stand side by side, which the parser would add up or multiply."""
    return bool(_TWO_NUMBERS.search(text)) and "matrix" not in text


def _unread_equation(text: str) -> bool:
    """Whether an equation is left that `value_of_named` did not take for a value."""
    return bool(EQUALS.search(text))


def _depth(text: str) -> int:
    """The deepest nesting of braces, brackets and parentheses."""
    deepest = depth = 0
    for sign in text:
        depth += (sign in "{([") - (sign in "})]")
        deepest = max(deepest, depth)
    return deepest


def _right(answer: str) -> Verdict:
    return Verdict(reward=1.0, correct=True, answer=answer)


def _wrong(answer: str | None) -> Verdict:
    return Verdict(reward=0.0, correct=False, answer=answer)

r"""Multiple choice by letter.

`problem.data` is `{"letter": "C", "options": [...]}`, with `"order"` where `shuffled` has drawn one.

What states a choice (after `</think>`, as in `answers`): the last box, or where there is none the last of the others.

- a box: `\boxed{C}`, `\boxed{\text{(c)}}`, `\boxed{C. twelve}`, or the text of exactly one option;
- "the answer is (C)", "Answer: **C**", "the correct option is C.", in any of which a bare letter that
  goes on as a sentence ("the answer is A good one") is a word;
- a last line that is a letter and nothing else: `C`, `(C)`, `**C**`, `C.`

A letter beyond the options, two letters in one box, or an empty box is no choice: wrong, and no
earlier one counts either, as the completion has taken it back.
"""

from __future__ import annotations

import random
import re
import string
from collections.abc import Sequence
from typing import Any

from harness.suites.problem import Problem, Verdict
from harness.verifiers.answers import TAIL, after_thinking, last_box
from harness.verifiers.numerals import WRAPPED, cleaned

_STATED = re.compile(
    r"(?<!wrong )(?<!incorrect )(?<!not the )\b(?i:answer|choice|option)(?:\*\*|__)?"
    r"(?:\s*:\s*|\s+(?i:is|would be|must be|should be)(?:\s*:)?\s+)"
    r"(?i:(?:option|choice)\s+)?(?:the\s+)?(?:\*\*|__|\$|\\text(?:bf)?\{|\\mathrm\{|\\mathbf\{|\s)*"
    r"(?:\((?P<round>[A-Za-z])\)|\[(?P<square>[A-Z])\]|(?P<bare>[A-Z])(?![A-Za-z0-9'’-]))(?=(?P<rest>[^\n]*))"
)
# What may follow a bare letter on its line: the end, punctuation, or the words that give a reason.
_AFTER = re.compile(r"(?:\*\*|__|\$|\})*\s*(?:$|[.,;:)!—–]|-\s|(?:because|since|as|which|for)\b)")
_LINE = re.compile(r"^[ \t>]*(?:\*\*|__|\$)*\(?([A-Z])\)?(?:\*\*|__|\$)*[.)]?(?:\*\*|__)*[ \t]*$")
_IN_BOX = re.compile(
    r"(?i:option |choice |answer:? ?)?(?:\(([A-Za-z])\)|([A-Za-z])(?=[.):]|$))[.):]?(?: .*)?$", re.DOTALL
)
_OTHER_LETTER = re.compile(r"[.):]* ?(?:,|/|&|or\b|and\b) ?\(?[A-Za-z]\b")  # (B) or (C)
# Options that speak of other options by their place lose their sense in another order.
_PLACED_LETTERS = re.compile(r"\b[A-J]\)? ?(?:,|and|or|&) ?(?:and |or )?\(?[A-J]\b")
_PLACED_WORDS = re.compile(r"\b(?:above|below|previous|preceding)\b", re.IGNORECASE)


def shuffled(
    question: str, options: Sequence[str], right_index: int, key: str, ordered: bool = True
) -> tuple[str, str, list[int]]:
    """The question with its options in an order drawn from `key`, the right letter, and that order.

    key: the problem's stable id, so that the order is the same in every run. `order[i]` is the index in
    `options` of what stands at letter i. Where an option speaks of others by their place or letter
    ("all of the above", "both A and B") the order is left as it is, if it is one: `ordered` is false where the
    right option always comes first.
    """
    order = list(range(len(options)))
    if not ordered or not any(
        _PLACED_WORDS.search(option) or _PLACED_LETTERS.search(option) for option in options
    ):
        random.Random(key).shuffle(order)
    letters = string.ascii_uppercase[: len(options)]
    lines = [f"({letter}) {options[index]}" for letter, index in zip(letters, order, strict=True)]
    return "\n".join([question, "", *lines]), letters[order.index(right_index)], order


def chosen(completion: str, options: Sequence[str]) -> str | None:
    """The capital letter that the completion ends up with, None where it is none of the options'."""
    text = after_thinking(completion)
    if text is None:
        return None
    valid = string.ascii_uppercase[: len(options)]
    boxed, content = last_box(text)
    if boxed:
        letter = _boxed(content, options, valid) if content else None
        return letter if letter and letter in valid else None
    text = text[-TAIL:]
    marks: list[tuple[int, str]] = []
    for match in _STATED.finditer(text):
        letter = match["round"] or match["square"]
        if letter is None and _AFTER.match(match["rest"]):
            letter = match["bare"]
        if letter is not None:
            marks.append((match.start(), letter.upper()))
    last = text.rstrip().rpartition("\n")[2]
    line = _LINE.match(last)
    if line:
        marks.append((len(text), line[1]))
    letter = max(marks, key=lambda mark: mark[0])[1] if marks else None
    return letter if letter and letter in valid else None


def _boxed(content: str, options: Sequence[str], valid: str) -> str | None:
    """The letter in a box, or that of the one option whose text the box holds."""
    inside = _plain(content)
    same = [letter for letter, option in zip(valid, options, strict=True) if _plain(option) == inside]
    # Options can be letters themselves: a capital of the choice is the choice, all else is the text.
    if len(same) == 1 and inside not in tuple(valid):
        return same[0]
    return lettered(content)


def lettered(content: str) -> str | None:
    """The letter that a box names, with or without the option's text; None where it names none, or two."""
    inside = _plain(content)
    found = _IN_BOX.match(inside)
    if not found or _OTHER_LETTER.match(inside, found.end(1 if found[1] else 2)):
        return None
    return (found[1] or found[2]).upper()


def _plain(text: str) -> str:
    return " ".join(cleaned(WRAPPED.sub(r"\1", text)).replace("$", "").split())


class ChoiceVerifier:
    """Judges by the letter in `problem.data`."""

    def judge(self, problems: Sequence[Problem], completions: Sequence[str]) -> list[Verdict]:
        """One verdict each; `Verdict.answer` is the capital letter."""
        return [self._one(p.data, c) for p, c in zip(problems, completions, strict=True)]

    def facts(self) -> dict[str, Any]:
        """Nothing varies."""
        return {}

    @staticmethod
    def _one(data: Any, completion: str) -> Verdict:
        try:
            letter, options = data["letter"], list(map(str, data["options"]))
        except (TypeError, KeyError):
            return Verdict.failure(f"the reference must have a letter and options, not {data!r}")
        if letter not in tuple(string.ascii_uppercase[: len(options)]) or len(options) > 26:
            return Verdict.failure(f"the right letter {letter!r} is none of {len(options)} options")
        given = chosen(completion, options)
        correct = given == letter
        return Verdict(reward=float(correct), correct=correct, answer=given)

r"""Where a completion states its answer: the text of the last one, or None.

What counts, in this order; of several marks of one kind the last wins:

1. a box: `\boxed{…}`, `\fbox{…}`, `\framebox{…}` with balanced braces, or `\boxed 5` up to the next
   space. A last box that is empty or never closed states no answer, also where an earlier one did;
2. a line `#### …` that holds a number (how GSM8K ends a solution; `#### Step 3` is a heading);
3. in the modes `expression` and `number`: the text after the last "answer is" or "answer:";
4. there too: the last LaTeX formula; in mode `number` the last number where one comes after it.

Mode `marked` takes the first two only.

An answer inside the reasoning is not an answer: only the text after the last `</think>` counts, and
a completion that is cut off inside `<think>` has none. Where the prompt itself opened the block a
completion cut off inside it holds no tag at all and cannot be told from one that does not use them.
"""

from __future__ import annotations

import re
from bisect import bisect_right
from collections import deque
from typing import Literal

from harness.verifiers.numerals import WRAPPED, plain_number

Mode = Literal["marked", "expression", "number"]

LONGEST = 2_000  # characters: what is longer is a text, not an answer
TAIL = 20_000  # characters at the end of a completion in which an answer without a mark is looked for

_BOX = re.compile(r"\\(?:boxed|fbox|framebox)(?![A-Za-z])\s*")
_HASHES = re.compile(r"^[ \t]*####[ \t]*(\S.*)$", re.MULTILINE)
_NUMBERED = re.compile(r"\d+[.)]\s+[A-Za-z]")  # "3. Add them up": a heading's number
_ANSWER_LINE = re.compile(r"[-+−$€£(\[\\.]*\s*\$?\d|\\")
_STATED = re.compile(
    r"\banswer(?:\*\*|__)?(?:\s*:|\s+(?:is|are|=|equals)\b(?:\s*:)?)(?:\*\*|__)?[ \t]*\n?", re.IGNORECASE
)
_SENTENCE_END = re.compile(r"\n|[.!?](?:\s|$)|,?\s+(?:because|since|which|so|as)\b|,\s+(?:and|but)\b")
_FORMULA = re.compile(
    r"\$\$(.+?)\$\$|\\\[(.+?)\\\]|\\\((.+?)\\\)|(?<![\\$\w])\$([^$\n]+?)(?<!\\)\$(?![\d$])", re.DOTALL
)
# A number is not one inside a word, an exponent or an index: the 2 of m^2, x_{2}, CO2.
_NUMBER = re.compile(
    r"(?:(?<![\w^_)}\]])[-+−] ?)?(?:\\?[$€£] ?)?"
    r"(?<![\w^_.])(?<![\^_][{+\-−])(?<![\^_]\{[+\-−])"
    r"(?:\d{1,3}(?:,\d{3})+(?!\d)|\d+)?(?:(?<=\d)\.\d+|(?<!\d)\.\d+)?(?<=\d)"
    r"(?: ?(?:\\times|\\cdot|×|\*|x| ) ?10 ?(?:\^ ?\{?[-+−]?\d+\}?|[⁻⁺]?[⁰¹²³⁴-⁹]+)|[eE][-+−]?\d+| ?/ ?\d+(?![\w/]))?"
)
_PROSE = re.compile(r"(?<![\\{A-Za-z])[A-Za-z]{2,} [A-Za-z]{2,}(?![^{}]*\})")  # "$5 for one and $6": money
_HEDGE = re.compile(
    r"(?:approximately|about|roughly|around|simply|just|thus|equal to|exactly|option)\s+", re.IGNORECASE
)
EQUALS = re.compile(r"(?<![\\<>!:])=(?!=)")
_LISTED = re.compile(
    r"[,;<>]|\\(?:le|leq|ge|geq|ne|neq|in|pm)(?![A-Za-z])|(?<![A-Za-z])(?:or|and)(?![A-Za-z])"
)
_SUBSCRIPT = re.compile(r"_ ?(?:\{[^{}]*\}|\w)")
_NAME = re.compile(r"[^\d]*$|\\?[A-Za-z]+ ?\([^()]*\)$")
_REACHED = re.compile(r"[\d.,+\-*/^(){}% ]|\\(?:cdot|times|div|frac|sqrt)(?![A-Za-z])")  # 2+3 of 2+3 = 5


def after_thinking(completion: str) -> str | None:
    """The text after the last `</think>`, all of it without tags, None where a block is left open."""
    end = completion.rfind("</think>")
    start = completion.rfind("<think>")
    if start > end:
        return None
    return completion[end + len("</think>") :] if end >= 0 else completion


def last_box(text: str) -> tuple[bool, str | None]:
    """Whether there is a box, and what the last one holds; None where it is empty or not closed."""
    last = deque(_BOX.finditer(text), maxlen=1)  # a loop of ten thousand open ones costs nothing
    return bool(last), _content(text, last[0].end()) if last else None


def _content(text: str, start: int) -> str | None:
    """What a box holds that opens at `start`: a balanced group, or all up to a space outside braces."""
    braced = text.startswith("{", start)
    depth = 0
    position = start
    while position < len(text):
        letter = text[position]
        if letter == "\\":
            if not braced and text[position : position + 2] in ("\\)", "\\]"):
                break
            position += 2  # an escaped brace opens and closes nothing
            continue
        if letter == "{":
            depth += 1
        elif letter == "}":
            depth -= 1
            if braced and depth == 0:
                return text[start + 1 : position].strip() or None
        if not braced and depth <= 0 and (letter.isspace() or letter == "$"):
            break
        position += 1
    return None if braced else text[start:position].strip().rstrip(".,;") or None


def hashed(text: str) -> str | None:
    """The last `#### …` line that can be an answer."""
    lines = [line.strip() for line in _HASHES.findall(text)]
    lines = [line for line in lines if _ANSWER_LINE.match(line) and not _NUMBERED.match(line)]
    return lines[-1] if lines else None


def stated(text: str) -> str | None:
    """What follows the last "answer is" or "answer:": a formula where one comes first, else the sentence."""
    marks = list(_STATED.finditer(text))
    if not marks:
        return None
    rest = text[marks[-1].end() :].lstrip(" \t*_")
    hedge = _HEDGE.match(rest)
    rest = rest[hedge.end() :] if hedge else rest
    formula = _FORMULA.match(rest)
    if formula and not _PROSE.search(formula.group()):
        return _inside(formula)
    end = _SENTENCE_END.search(rest)
    sentence = rest[: end.start()] if end else rest
    return sentence.strip().strip("*_").strip() or None


def _inside(formula: re.Match[str]) -> str | None:
    return next(group for group in formula.groups() if group is not None).strip() or None


def last_formula_or_number(text: str, numbers: bool) -> str | None:
    """The last LaTeX formula; with `numbers` the last number where that comes later."""
    spans = [match.span() for match in _NUMBER.finditer(text)] if numbers else []
    ends = [end for _, end in spans]
    end, found, start = -1, None, 0
    while formula := _FORMULA.search(text, start):
        if _PROSE.search(formula.group()):  # two prices with words between them
            start = formula.start() + 1
            continue
        start = formula.end()
        inside = _inside(formula)
        nearest = bisect_right(ends, formula.start()) - 1
        if nearest >= 0 and not text[ends[nearest] : formula.start()].strip():  # 50.7 $\mathrm{atm}$
            inside = f"{text[slice(*spans[nearest])]} {inside}"
        if inside and (not numbers or any(letter.isdigit() for letter in inside)):
            end, found = formula.end(), inside
    later = [text[a:b].strip() for a, b in spans if a >= end]
    return later[-1] if later else found


def value_of_named(text: str) -> str:
    r"""What stands right of the last equals sign, where the left names it (`x`, `m+n`, `f(3)`) or counts it up.

    Left whole, as they are other statements than a value: `3x = 5`, several values (`x = 4 or x = 5`,
    `x = 4, y = 5`), and numbers that are not equal (`4 = 5`).
    """
    parts = [part.strip() for part in EQUALS.split(text)]
    if len(parts) == 1 or _LISTED.search(WRAPPED.sub(r" \1 ", text)):
        return text
    first, *middle, last = parts
    names = [_SUBSCRIPT.sub("", WRAPPED.sub("", part)).strip() for part in (first, *middle)]
    if not all(_NAME.match(name) or not _REACHED.sub("", name) for name in names):
        return text
    numbers = {value for part in parts if (value := plain_number(part)) is not None}
    return last if len(numbers) <= 1 else text


def final_answer(completion: str, mode: Mode = "marked") -> str | None:
    """The text of the completion's answer as it stands there, stripped; None where it states none."""
    text = after_thinking(completion)
    if text is None:
        return None
    boxed, answer = last_box(text)
    if not boxed:
        answer = hashed(text)
        if answer is None and mode != "marked":
            tail = text[-TAIL:]
            answer = stated(tail) or last_formula_or_number(tail, numbers=mode == "number")
    return answer if answer is not None and len(answer) <= LONGEST else None

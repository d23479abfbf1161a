"""Whether a task's scorer can be trusted: what it says to texts whose worth is known."""

from __future__ import annotations

import builtins
import hashlib
import re
from collections.abc import Callable, Iterator
from contextlib import redirect_stdout
from io import StringIO
from time import perf_counter
from typing import Any

Entry = dict[str, Any]
SLOW = 1.0  # seconds for one answer that count as a defect

# An evaluator of Python or of sympy's names leaves a mark here.
MARK = "answer_was_run"
_SET = f"(__import__('builtins'), '{MARK}', 1)"
_BUILTINS = "solve.__globals__['__builtins__']"
CODE = (
    f"setattr{_SET}",
    f"{_BUILTINS}['setattr']({_BUILTINS}['__import__']('builtins'), '{MARK}', 1)",
)
ENDLESS = ("1e999999999", "-1e999999999", "9**9**9**9", "2**10**10", "1/1e999999999")
FIXED = (
    *(
        "",
        " ",
        "None",
        "nan",
        "NaN",
        "inf",
        "-inf",
        "[]",
        "{}",
        "[[]]",
        "null",
        "0",
        "1",
        "-1",
        "True",
        "False",
    ),
    *(
        "no",
        "yes",
        "A",
        "a",
        "½",
        "٣",
        "∞",
        "🙂" * 9,
        "\x00",
        "\ud800",
        "\\frac{1}{2}",
        "\\boxed{",
        "$$",
        "((A",
        "¬",
    ),
    *(
        "(" * 300,
        ")" * 300,
        "[" * 1500,
        '{"a":' * 300,
        "9" * 5000,
        "1 " * 900,
        "word " * 350,
        "1/0",
        "1e-99999",
    ),
    *(
        '{"0": 1}',
        '{"a": [1]}',
        "[1, 2]",
        '"text"',
        "5",
        '[[1,"a"],[null]]',
        "×",
        "1×",
        "1:",
        ",",
        "=",
        "A=1",
        "->",
    ),
    *("a,b\n", "\n\n", '["pour A->Z"]', "()", "1_0", "0x", "--1", "1e308+1e308i"),
)

# Tasks whose right answers are many, so that an altered right answer, or another problem's, may be right too.
SEVERAL = {
    "advanced_geometry": "a bracket or degree sign more or less; coordinates are rounded",
    "complex_arithmetic": "a number may be written in many ways",
    "countdown": "any expression of the given numbers with the right value",
    "cryptarithm": "any mapping that satisfies the sum",
    "fraction_simplification": "a dollar sign more or less",
    "jugs": "any moves that reach the target",
    "kakurasu": "any grid with the right sums; blanks between digits or none",
    "knights_knaves": "a full stop more or less; names in any order",
    "n_queens": "any board that completes the given one",
    "palindrome_generation": "any palindrome of the letters",
    "polynomial_equations": "a number may be written in many ways",
    "power_function": "three significant figures are asked for",
    "prime_factorization": "factors in any order",
    "quantum_lock": "any shortest sequence that reaches the target",
    "shortest_path": "any shortest path",
    "sokoban": "any moves that solve it, such as one more against a wall",
}


def same(one: str, other: str) -> bool:
    """Equal up to white space, case and the writing of a number."""
    try:
        return float(one.replace(",", "")) == float(other.replace(",", ""))
    except ValueError:
        return " ".join(one.casefold().split()) == " ".join(other.casefold().split())


def altered(answer: str) -> Iterator[str]:
    """`answer` with one thing wrong with it."""
    digits = [i for i, c in enumerate(answer) if c in "0123456789"]
    for i in sorted({*digits[:3], *digits[-3:]}):
        yield answer[:i] + str((int(answer[i]) + 1) % 10) + answer[i + 1 :]
    yield from (answer[:-1], answer[1:], answer + answer[-1], answer + "x", "-" + answer, answer[::-1])
    yield from (
        f"{answer} 7",
        f"{answer}\n7",
        f"7 {answer}",
        f"{answer}, 7",
        f"{answer},7",
        f"{answer} banana",
    )
    words = answer.split()
    yield from (" ".join(words[::-1]), " ".join(words[:-1]), answer * 2, f"{answer}\n{answer}")
    for one, other in (("0", "1"), ("1", "0"), ("True", "False"), ("False", "True"), ("A", "B"), ("B", "A")):
        if one in answer:
            yield answer.replace(one, other, 1)
    if numbers := re.findall(r"-?\d+(?:\.\d+)?", answer):
        yield f"[{', '.join(['NaN'] * len(numbers))}]"
        if "." in numbers[-1]:
            yield answer[::-1].replace(numbers[-1][::-1], str(float(numbers[-1]) * 1.004)[::-1], 1)[::-1]


def hedged(answer: str, other: str) -> Iterator[str]:
    """Both answers at once, so that one of them is right."""
    for first, second in ((answer, other), (other, answer)):
        yield from (f"{first}\n{second}", f"{first} {second}", f"{first}, {second}", f"{first} or {second}")


def defects(
    task: str, score: Callable[[str, Entry], float], entries: list[Entry], ends: bool
) -> dict[str, str]:
    """Defect → the first text that shows it. `ends`: whether texts that may not end can be tried.

    `score(answer, entry)` is what judges; entries without an answer show that alone.
    """
    found: dict[str, str] = {}

    def ask(answer: str, entry: Entry) -> float | None:
        start = perf_counter()
        try:
            with redirect_stdout(StringIO()):  # some scorers print what they cannot read
                value = score(answer, entry)
        except Exception as error:
            found.setdefault("raises", f"{answer[:30]!r}: {type(error).__name__}")
            return None
        if perf_counter() - start > SLOW:
            found.setdefault("slow", repr(answer[:30]))
        if hasattr(builtins, MARK):
            delattr(builtins, MARK)
            found.setdefault("runs the answer", repr(answer[:30]))
        if not 0 <= value <= 1:
            found.setdefault("no share", f"{answer[:30]!r}: {value}")
        return value

    def refute(kind: str, answer: str, entry: Entry) -> None:
        if not same(answer, entry["answer"]) and ask(answer, entry) == 1:
            found.setdefault(kind, f"{answer[:60]!r} for {entry['answer'][:60]!r}")

    if any(entry["answer"] is None for entry in entries):
        return {"no answer": ""}
    for place, entry in enumerate(entries):
        if ask(entry["answer"], entry) != 1:
            found.setdefault("own answer wrong", repr(entry["answer"][:60]))
        for text in (*FIXED, *CODE, *(ENDLESS if ends else ())) if place < 4 else ("", "None", "nan", "0"):
            refute("any text right", text, entry)
        if task in SEVERAL:
            continue
        for text in altered(entry["answer"]):
            refute("altered answer right", text, entry)
        for other in entries[place + 1 : place + 6]:
            refute("another's answer right", other["answer"], entry)
            for text in hedged(entry["answer"], other["answer"]):
                refute("two answers right", text, entry)
        if ask(entry["answer"], entry) != 1:
            found.setdefault("own answer wrong afterwards", repr(entry["answer"][:60]))
    return found


def digest(entries: list[Entry]) -> str:
    """Of questions and answers: equal where the problems are."""
    return hashlib.sha256(repr([(e["question"], e["answer"]) for e in entries]).encode()).hexdigest()[:12]

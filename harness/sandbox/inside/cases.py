"""In the judge's process: cases of an input and an expected output, and LiveCodeBench's rules for "equal".

As in LiveCodeBench's own checker (`lcb_runner/evaluation/testing_util.py`, commit 8610ffb): written output is
compared line by line, blank space at the ends of lines and of the whole left out; lines that differ as
text are equal if both are the same decimal numbers, exactly. Values are compared by `==`, a tuple counting
as a list (there at the outermost level, here at every one).
"""

from __future__ import annotations

from decimal import Decimal, InvalidOperation

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterable
    from typing import Any


def check_outputs(run: Callable[[str], str], cases: Iterable[tuple[str, str]]) -> None:
    """AssertionError unless `run` gives the right text for every (input, output)."""
    for number, (given, expected) in enumerate(cases):
        written = run(given)
        assert type(written) is str and same_output(written, expected), f"case {number}"


def check_values(call: Callable, cases: Iterable[tuple[list, Any]]) -> None:
    """AssertionError unless `call` gives the right value for every (arguments, value)."""
    for number, (arguments, expected) in enumerate(cases):
        assert as_lists(call(*arguments)) == as_lists(expected), f"case {number}"


def same_output(written: str, expected: str) -> bool:
    mine, theirs = ([line.strip() for line in text.strip().split("\n")] for text in (written, expected))
    return len(mine) == len(theirs) and all(map(same_line, mine, theirs))


def same_line(written: str, expected: str) -> bool:
    if written == expected:
        return True
    try:
        return [*map(Decimal, written.split())] == [*map(Decimal, expected.split())]
    except InvalidOperation:  # not a line of numbers
        return False


def as_lists(value: Any) -> Any:
    """`value` with lists in place of tuples, all the way down through lists and dictionaries."""
    if isinstance(value, list | tuple):
        return [as_lists(item) for item in value]
    if isinstance(value, dict):
        return {key: as_lists(item) for key, item in value.items()}
    return value

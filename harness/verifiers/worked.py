"""Worked answers: one line `left=result`, optionally followed by the letter of a choice."""

from __future__ import annotations

import re

from harness.verifiers.expression import Malformed, evaluate

_LINE = re.compile(r"(?P<work>[^=]*)=(?P<result>-?\d+)(?P<letter>[a-z]?)")


def final_answer(line: str) -> str | None:
    """What the line answers: the letter if it names one, else the number after `=`; None if it has neither."""
    match = _LINE.fullmatch(line)
    return (match["letter"] or str(int(match["result"]))) if match else None


def work_holds(line: str) -> bool:
    """Whether the line's own arithmetic is true: its left side evaluates to its result."""
    match = _LINE.fullmatch(line)
    if not match:
        return False
    try:
        return evaluate(match["work"], x=0) == int(match["result"])
    except Malformed:
        return False

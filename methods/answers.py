"""Where a text holds its answers: between a separator and the end of its stretch."""

from collections.abc import Sequence
from itertools import accumulate


def answer_spans(text: str, separator: str, until: str = "") -> list[tuple[int, int]]:
    """(start, end) of every answer: what follows the last ``separator`` of each stretch that ``until`` ends.

    Without ``until`` the text is one stretch. A stretch without the separator has no answer.
    """
    spans, start = [], 0
    for stretch in text.split(until) if until else [text]:
        before, found, _ = stretch.rpartition(separator)
        if found:
            spans.append((start + len(before) + len(separator), start + len(stretch)))
        start += len(stretch) + len(until)
    return spans


def worked_answers(text: str, separator: str, until: str = "") -> list[tuple[str, str]]:
    """(working, answer) of every answer: all that stands between the ``until`` of the one before and it."""
    spans = answer_spans(text, separator, until)
    begins = [0, *(end + len(until) for _, end in spans)]
    return [(text[begin:start], text[start:end]) for begin, (start, end) in zip(begins, spans, strict=False)]


def in_answers(pieces: Sequence[str], separator: str, until: str = "") -> list[bool]:
    """Whether each of the pieces of a text has a character of an answer."""
    spans = answer_spans("".join(pieces), separator, until)
    ends = accumulate(map(len, pieces))
    return [
        any(end - len(piece) < stop and end > start for start, stop in spans)
        for piece, end in zip(pieces, ends, strict=True)
    ]


def last_answer(text: str, separator: str) -> str | None:
    """What follows the last ``separator``, None without it; for an empty separator the whole text."""
    if not separator:
        return text
    _, found, answer = text.rpartition(separator)
    return answer if found else None

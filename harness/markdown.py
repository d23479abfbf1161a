"""Markdown as GitHub reads it: tables, code and text in which no character means more than it says."""

import re
from collections.abc import Iterable, Sequence


def table(header: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    """Cells of Markdown -> a table; a `|` inside a cell, also inside its code, is escaped."""
    lines = [[cell.replace("|", r"\|") for cell in row] for row in (header, ["---"] * len(header), *rows)]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


def code(text: str) -> str:
    return f"`` {text} ``" if "`" in text else f"`{text}`"


def text(plain: str) -> str:
    """Plain text, its `code` left as it is, with arXiv:<id> as a link."""
    pieces = re.split(r"(`[^`]+`)", plain)
    for i in range(0, len(pieces), 2):
        escaped = re.sub(r"([\\*<~$\[\]])", r"\\\1", pieces[i])
        escaped = re.sub(r"(?<!\w)_|_(?!\w)", r"\\_", escaped)
        pieces[i] = re.sub(r"arXiv:(\d{4}\.\d{4,5})", lambda found: paper(found[1]), escaped)
    return "".join(pieces)


def sentence(plain: str) -> str:
    """Plain text that ends in one full stop."""
    return text(plain).rstrip(".") + "."


def paper(number: str) -> str:
    return f"[{number}](https://arxiv.org/abs/{number})"

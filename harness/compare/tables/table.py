"""One table in its three forms, and how numbers are written in it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import pandas as pd

NONE = "–"


@dataclass(frozen=True)
class Table:
    """A table of display text, and the numbers behind it.

    stem: name of its files. header, rows: text. numbers: the same in full precision and tidy, for the CSV. note: what
    has to be said beside it.
    """

    stem: str
    title: str
    header: Sequence[str]
    rows: Sequence[Sequence[str]]
    numbers: pd.DataFrame = field(compare=False)
    note: str = ""

    def markdown(self) -> str:
        return markdown(self.header, self.rows)

    def latex(self) -> str:
        """A booktabs tabular; text to the left, numbers to the right."""
        frame = pd.DataFrame(self.rows, columns=list(self.header))
        right = _right([list(self.header), *map(list, self.rows)])
        escaped = frame.style.hide(axis="index").format(escape="latex").format_index(escape="latex", axis=1)
        text = escaped.to_latex(hrules=True, column_format="".join("r" if r else "l" for r in right))
        for raw, safe in {NONE: "--", "<": "\\textless{}", ">": "\\textgreater{}", "|": "\\textbar{}"}.items():
            text = text.replace(raw, safe)  # in LaTeX's default encoding these print as other signs
        return "% needs \\usepackage{booktabs}\n" + text

    def write(self, out: Path) -> list[Path]:
        """stem.md, stem.csv and stem.tex."""
        paths = [out / f"{self.stem}.{ending}" for ending in ("md", "csv", "tex")]
        heading = f"# {self.title}\n\n" + (f"{self.note}\n\n" if self.note else "")
        paths[0].write_text(f"{heading}{self.markdown()}\n", encoding="utf-8")
        self.numbers.to_csv(paths[1], index=False, float_format="%.6g", lineterminator="\n")
        paths[2].write_text(self.latex(), encoding="utf-8")
        return paths


def markdown(header: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """A markdown table with padded columns, so that it reads well in a terminal too; numbers to the right."""
    table = [[str(cell).replace("|", "\\|") for cell in row] for row in (header, *rows)]
    widths = [max(map(len, column)) for column in zip(*table, strict=True)]
    right = _right(table)

    def line(cells: Sequence[str]) -> str:
        padded = (c.rjust(w) if r else c.ljust(w) for c, w, r in zip(cells, widths, right, strict=True))
        return f"| {' | '.join(padded)} |"

    rule = (
        "|" + "|".join("-" * (w + 1) + (":" if r else "-") for w, r in zip(widths, right, strict=True)) + "|"
    )
    return "\n".join([line(table[0]), rule, *map(line, table[1:])])


def _right(table: Sequence[Sequence[str]]) -> list[bool]:
    """Which columns hold numbers: the first names the row."""
    return [
        i > 0 and len(table) > 1 and all(row[i][:1] in "+-–0123456789" for row in table[1:])
        for i in range(len(table[0]))
    ]


def percent(value: float) -> str:
    return f"{100 * value:.1f}" if np.isfinite(value) else NONE


def interval(cell: pd.Series, signed: bool = False) -> str:
    """The method's own mean, '71.3 [69.0, 73.6]', from a row of the tidy table; no brackets where no interval."""
    return bracketed(*cell[["mean", "low", "high"]], signed=signed)


def difference(cell: pd.Series) -> str:
    """The paired difference in points, with sign."""
    return bracketed(*cell[["diff", "diff_low", "diff_high"]], signed=True)


def bracketed(mean: float, low: float, high: float, signed: bool = False) -> str:
    """A fraction in percent with its interval: '71.3 [69.0, 73.6]'."""
    if not np.isfinite(mean):
        return NONE
    form = "{:+.1f}" if signed else "{:.1f}"
    text = form.format(100 * mean)
    return f"{text} [{form.format(100 * low)}, {form.format(100 * high)}]" if np.isfinite(low) else text


def tokens(count: float) -> str:
    if not np.isfinite(count):
        return NONE
    whole = round(count)
    return f"{whole / 1e6:.2f} M" if whole >= 1e6 else f"{whole / 1e3:.1f} k" if whole >= 1e3 else str(whole)


def plain(value: float) -> str:
    return f"{value:.3g}" if np.isfinite(value) else NONE


def short(value: str, width: int = 60) -> str:
    return value if len(value) <= width else f"{value[: width - 1]}…"

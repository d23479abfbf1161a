"""Credit of one completion as coloured cells: a row a method, a column a token."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from functools import cache

import matplotlib
import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.font_manager import FontProperties, findfont, get_font

from harness.compare.plots import style

LETTERS = 8  # drawn of a token
CELL = 0.073  # inches a letter
ROW, CROWDED_ROW = 0.19, 0.15  # inches
VISIBLE = {"\n": "⏎", "\t": "⇥", " ": "␣", "": "∎"}


def cells(
    rows: Mapping[str, np.ndarray], texts: Sequence[str], title: str, marked: Collection[int] = ()
) -> Figure:
    """A line of cells for each method, broken where the page ends; the first len(texts) tokens.

    Each row (T,) is scaled by its own largest absolute value, which stands at its end. marked: places underlined.
    """
    names = list(rows)
    room = style.WIDTH - 0.75 - 0.062 * max(map(len, names))  # beside the names and the scales
    width = max(12, min(len(texts), int(room / (0.05 + CELL * max(map(len, texts))))))
    width = -(-len(texts) // -(-len(texts) // width))  # lines of equal length
    starts = range(0, len(texts), width)
    crowd = len(names) > style.CROWD  # then the text stands above the columns instead of in each cell
    scales = [max(np.abs(row).max(), 1e-300) for row in rows.values()]
    credit = np.stack([row / scale for row, scale in zip(rows.values(), scales, strict=True)])
    with matplotlib.rc_context(style.STYLE):
        height = 0.55 + len(starts) * (0.12 + (CROWDED_ROW if crowd else ROW) * len(names) + 0.12 * crowd)
        figure = Figure(figsize=(style.WIDTH, height))
        axes = figure.subplots(len(starts), 1, squeeze=False)[:, 0]
        for ax, start in zip(axes, starts, strict=True):
            own = texts[start : start + width]
            values = credit[:, start : start + len(own)]
            ax.pcolormesh(values, cmap=style.DIVERGING, vmin=-1, vmax=1, edgecolors="white", linewidth=0.4)
            under = [column for column in range(len(own)) if start + column in marked]
            if crowd:
                ax.set_xticks(np.arange(len(own)) + 0.5)
                ax.set_xticklabels(own, parse_math=False, fontsize=6)
                ax.xaxis.tick_top()
                for column in under:
                    ax.get_xticklabels()[column].set_fontweight("bold")
                    ax.plot([column + 0.15, column + 0.85], [-0.08, -0.08], color="black", linewidth=1, clip_on=False)
            else:
                ax.set_xticks([])
                _words(ax, own, values, under)
            for place, (row, scale) in enumerate(zip(rows.values(), scales, strict=True)):
                given = f"{np.abs(row).max():.2g}" if scale > 1e-300 else "0"
                ax.text(width + 0.3, place + 0.5, given, va="center", fontsize=6, color=style.GREY)
            ax.set_yticks(np.arange(len(names)) + 0.5, names)
            ax.set_xlim(0, width)
            ax.set_ylim(len(names), 0)
            ax.tick_params(length=0)
            ax.grid(visible=False)
            ax.spines[:].set_visible(False)
        axes[0].text(width + 0.3, 0, "largest", va="bottom", fontsize=6, color=style.GREY)
        figure.suptitle(title, fontsize=8, parse_math=False)
    return figure


def _words(ax: Axes, texts: Sequence[str], values: np.ndarray, under: Collection[int]) -> None:
    for (place, column), value in np.ndenumerate(values):
        colour = "white" if abs(value) > 0.65 else "black"
        text = {"ha": "center", "va": "center", "fontsize": 6.5, "parse_math": False}
        ax.text(column + 0.5, place + 0.5, texts[column], color=colour, **text)
        if column in under:
            ax.plot([column + 0.15, column + 0.85], [place + 0.92] * 2, color=colour, linewidth=1)


def shown(token: str) -> str:
    """A token as it can be read in a cell: white space visible, at most LETTERS characters, glyphs the font has."""
    text = "".join(VISIBLE.get(letter, letter) for letter in token) or VISIBLE[""]
    text = "".join(letter if ord(letter) in _glyphs() else "□" for letter in text)
    return text if len(text) <= LETTERS else text[: LETTERS - 1] + "…"


@cache
def _glyphs() -> frozenset[int]:
    return frozenset(get_font(findfont(FontProperties(family=style.STYLE["font.family"]))).get_charmap())

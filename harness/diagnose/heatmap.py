"""Heat maps: one completion, its true credit on the first line, each method's below."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import matplotlib
import numpy as np
import pandas as pd
from matplotlib.figure import Figure

from harness.compare.plots import style
from harness.compare.plots.heatmap import shown

TRUE = "true credit"
MAPS = 3
TOKENS = 48  # drawn of a completion
ROW = 0.19  # inches


def choose(
    truth: Sequence[Sequence[dict[str, Any]]], credit: Mapping[str, list[list[np.ndarray]]]
) -> list[tuple[int, int]]:
    """(problem, completion) of up to MAPS heat maps: of different problems, with credit by some method, those whose
    largest |Δ̂| is largest; wrong and right ones in turn, as far as there are both.
    """
    found: dict[bool, list[tuple[float, int, int]]] = {False: [], True: []}
    for number, completions in enumerate(truth):
        for sample, line in enumerate(completions):
            if line["reward"] is None or not any(own[number][sample].any() for own in credit.values()):
                continue
            largest = np.abs(np.diff(np.array(line["values"]).mean(axis=0))).max()
            found[bool(line["correct"])].append((-largest, number, sample))
    ranked = {kind: sorted(own) for kind, own in found.items()}
    picked: list[tuple[int, int]] = []
    while len(picked) < MAPS and any(ranked.values()):
        for kind in (False, True):
            taken = {number for number, _ in picked}
            own = next((one for one in ranked[kind] if one[1] not in taken), None)
            ranked[kind] = [one for one in ranked[kind] if own is not None and one > own]
            if own is not None and len(picked) < MAPS:
                picked.append(own[1:])
    return picked


def heatmap(title: str, line: dict[str, Any], credit: Mapping[str, np.ndarray], out: Path, stem: str) -> list[Path]:
    """stem.png, .svg and .csv of one completion (a line of truth.jsonl); credit: method -> (T,)."""
    rows = {TRUE: np.diff(np.array(line["values"]).mean(axis=0)), **credit}
    numbers = pd.DataFrame([
        (name, place, token, value)
        for name, row in rows.items()
        for place, (token, value) in enumerate(zip(line["tokens"], row, strict=True))
    ], columns=["method", "place", "token", "credit"])  # fmt: skip
    return style.save(_figure(title, line, rows), numbers, out, stem)


def _figure(title: str, line: dict[str, Any], rows: Mapping[str, np.ndarray]) -> Figure:
    texts = [shown(token) or "∎" for token in line["tokens"][:TOKENS]]
    longest = max(map(len, rows))
    room = style.WIDTH - 0.8 - 0.062 * longest
    width = max(8, min(len(texts), int(room / (0.06 + 0.073 * max(map(len, texts))))))
    width = -(-len(texts) // -(-len(texts) // width))  # lines of equal length
    starts = range(0, len(texts), width)
    scales = [max(np.abs(row).max(), 1e-300) for row in rows.values()]
    values = np.stack([row / scale for row, scale in zip(rows.values(), scales, strict=True)])
    with matplotlib.rc_context(style.STYLE):
        figure = Figure(figsize=(style.WIDTH, 0.6 + len(starts) * (0.15 + ROW * len(rows))))
        axes = figure.subplots(len(starts), 1, squeeze=False)[:, 0]
        for ax, start in zip(axes, starts, strict=True):
            own = values[:, start : min(start + width, len(texts))]
            ax.pcolormesh(own, cmap=style.DIVERGING, vmin=-1, vmax=1, edgecolors="white", linewidth=0.4)
            for (place, column), value in np.ndenumerate(own):
                colour = "white" if abs(value) > 0.65 else "black"
                where = {"ha": "center", "va": "center", "fontsize": 6.5, "color": colour}
                ax.text(column + 0.5, place + 0.5, texts[start + column], **where)
                if line["marks"][start + column]:
                    ax.plot([column + 0.15, column + 0.85], [place + 0.92] * 2, color=colour, linewidth=1)
            for place, (row, scale) in enumerate(zip(rows.values(), scales, strict=True)):
                given = f"{np.abs(row).max():.2g}" if scale > 1e-300 else "0"
                ax.text(width + 0.3, place + 0.5, given, va="center", fontsize=6, color=style.GREY)
            ax.set_xticks([])
            ax.set_yticks(np.arange(len(rows)) + 0.5, list(rows))
            ax.set_xlim(0, width)
            ax.set_ylim(len(rows), 0)
            ax.tick_params(length=0)
            ax.grid(visible=False)
            ax.spines[:].set_visible(False)
        axes[0].text(width + 0.3, 0, "largest", va="bottom", fontsize=6, color=style.GREY)
        judged = {True: "right", False: "wrong", None: "not judged"}[line["correct"]]
        cut = f", the first {TOKENS} of {len(line['tokens'])} tokens" if len(line["tokens"]) > TOKENS else ""
        figure.suptitle(f"{title}: a {judged} completion{cut}", fontsize=8)
    return figure

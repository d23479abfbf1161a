"""Probability of improvement: how often a run of one method ends above a run of another."""

from __future__ import annotations

import itertools
from pathlib import Path

import matplotlib
import numpy as np
import pandas as pd
from matplotlib.figure import Figure

from harness.compare.aggregates import probability_of_improvement_interval
from harness.compare.fairness import refusal
from harness.compare.plots import style
from harness.compare.plots.endpoint import method_rows, panel_height
from harness.compare.scores import Findings

CAPTIONS = {
    "improvement": (
        "Probability that a run of the row's method ends above a run of the column's method in the same domain, "
        "mean over domains, ties counted as one half (Agarwal et al. 2021, arXiv 2108.13264); 0.5 is no "
        "difference. Below each number its bootstrap interval over seeds. Not compared: no end point, or a "
        "configuration that differs outside the declared factors. With more than 12 methods: each method against "
        "the baseline."
    )
}


def improvement(found: Findings, out: Path) -> list[Path]:
    """improvement: the matrix P(row > column) over seeds and domains; beyond CROWD methods against the baseline.

    A method that may not be compared with the baseline (`fairness.refusal`) has no numbers.
    """
    crowd = len(found.labels) > style.CROWD
    numbers = improvement_numbers(found, found.labels[:1] if crowd else found.labels)
    figure = _intervals(found, numbers) if crowd else _matrix(found, numbers)
    return style.save(figure, numbers, out, "improvement")


def improvement_numbers(found: Findings, columns: list[str]) -> pd.DataFrame:
    """Columns row, column, seeds_row, seeds_column, p, low, high: P(row > column), for every label as a row.

    columns: labels. The interval has level 1 - alpha; NaN where either side has no end point or is refused.
    """
    ends = {
        label: values
        for label, values in style.end_points(found).items()
        if not refusal(found.differences.get(label, {}))
    }
    pairs: dict[tuple[str, str], tuple[float, float, float]] = {}
    for i, j in itertools.combinations([label for label in found.labels if label in ends], 2):
        if i in columns or j in columns:
            got = probability_of_improvement_interval(ends[i], ends[j], alpha=found.alpha)
            pairs[i, j] = (got.value, got.low, got.high)
            pairs[j, i] = (1 - got.value, 1 - got.high, 1 - got.low)  # ties are one half on both sides
    sizes = {label: len(ends[label]) if label in ends else 0 for label in found.labels}
    rows = [
        (i, j, sizes[i], sizes[j], *pairs.get((i, j), (np.nan, np.nan, np.nan)))
        for i, j in itertools.product(found.labels, columns)
        if i != j
    ]
    return pd.DataFrame(rows, columns=["row", "column", "seeds_row", "seeds_column", "p", "low", "high"])


def _matrix(found: Findings, numbers: pd.DataFrame) -> Figure:
    labels, names = found.labels, [found.name(label) for label in found.labels]
    place = {label: i for i, label in enumerate(labels)}
    cells = np.full((len(labels), len(labels)), np.nan)
    cells[numbers["row"].map(place), numbers["column"].map(place)] = numbers["p"]
    size = max(4.8, 7.5 - 0.22 * len(labels))  # points, of the text in a cell
    with matplotlib.rc_context(style.STYLE):
        figure = Figure(figsize=(style.WIDTH, 1.1 + max(1.2, 0.42 * len(labels))))
        ax = figure.subplots()
        ax.set_facecolor("#eeeeee")
        shown = ax.imshow(cells, cmap=style.DIVERGING, vmin=0, vmax=1, aspect="auto")
        for row in numbers.itertuples():
            value = "not\ncompared" if np.isnan(row.p) else f"{row.p:.2f}"
            interval = "" if np.isnan(row.low) else f"\n{row.low:.2f}–{row.high:.2f}"
            colour = "white" if abs(row.p - 0.5) > 0.33 else "black"
            where = (place[row.column], place[row.row])
            ax.text(*where, value + interval, ha="center", va="center", fontsize=size, color=colour)
        ax.set_xticks(range(len(labels)), names, rotation=40, ha="right", rotation_mode="anchor")
        ax.set_yticks(range(len(labels)), names)
        ax.set_xticks(np.arange(1, len(labels)) - 0.5, minor=True)
        ax.set_yticks(np.arange(1, len(labels)) - 0.5, minor=True)
        ax.tick_params(which="both", length=0)
        ax.grid(visible=False)
        ax.grid(which="minor", color="white", linewidth=1.2)
        ax.spines[:].set_visible(False)
        ax.set_ylabel("this method …")
        ax.set_xlabel("… ends above this one")
        bar = figure.colorbar(shown, ax=ax, fraction=0.03, pad=0.02, ticks=[0, 0.25, 0.5, 0.75, 1])
        bar.set_label("P(row > column)")
        bar.outline.set_visible(False)
    return figure


def _intervals(found: Findings, numbers: pd.DataFrame) -> Figure:
    by_label = style.styles_of(found)
    by_row = numbers.set_index("row")
    with matplotlib.rc_context(style.STYLE):
        figure = Figure(figsize=(style.WIDTH, panel_height(1, len(found.labels))))
        ax = figure.subplots()
        for place, label in enumerate(found.labels):
            if label != found.baseline:
                line, cell = by_label[label], by_row.loc[label]
                ax.plot([cell["low"], cell["high"]], [place, place], color=line["color"], linewidth=1.3)
                ax.plot(cell["p"], place, line["marker"], color=line["color"], markersize=4.5)
                if np.isnan(cell["p"]):
                    ax.text(0.01, place, "not compared", color=style.GREY, va="center", fontsize=6)
        ax.axvline(0.5, color=style.GREY, linestyle=style.BASE_DASHES["sampled"], linewidth=0.9)
        ax.set_xlim(-0.02, 1.02)
        ax.set_xlabel(f"probability of ending above {found.name(found.baseline)}")
        method_rows(ax, found)
    return figure

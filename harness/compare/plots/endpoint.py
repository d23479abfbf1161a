"""End points: accuracy on the test problems after the last step, one dot a seed."""

from __future__ import annotations

from pathlib import Path

import matplotlib
import numpy as np
import pandas as pd
from matplotlib.axes import Axes

from harness.compare.plots import style
from harness.compare.scores import END, Findings

BASE_NAMES = {
    "sampled": "base, sampled",
    "greedy": "base, greedy",
    "best": "base, best validation temperature",
}
CAPTIONS = {
    "endpoint": (
        "Accuracy on the test problems after the last step. Large marker: mean over seeds with its t interval; "
        "small dots below it: single seeds. Grey lines: the base policy before training."
    )
}


def endpoint(found: Findings, out: Path) -> list[Path]:
    """endpoint: per domain, mean and t interval of each method on the test problems, one dot a seed."""
    ends = found.rows[found.rows["metric"] == END]
    runs = found.scores[found.scores["metric"] == END].sort_values(["label", "domain", "seed"])
    by_label, by_cell = style.styles_of(found), dict(list(runs.groupby(["label", "domain"])["value"]))
    domains = style.domain_panels(found, {*runs["domain"]})
    with matplotlib.rc_context(style.STYLE):
        height = panel_height(len(domains), len(found.labels))
        figure, axes = style.panels(len(domains), columns=2, height=height, sharey=True, sharex=True)
        for ax, domain in zip(axes, domains, strict=True):
            for place, label in enumerate(found.labels):
                if (seeds := by_cell.get((label, domain))) is not None:  # an incomplete run has no end point
                    cell = found.cell(label, domain, END)
                    _interval(ax, place, cell, seeds.to_numpy(), by_label[label])
            style.base_lines(ax.axvline, found.base, domain, list(BASE_NAMES))
            ax.set_title(style.domain_title(found, domain))
            method_rows(ax, found)
        axes[0].set_xlim(style.within(axes[0].get_xlim()))  # shared, so once all panels are drawn
        for ax in axes[-2:]:
            ax.set_xlabel("accuracy on test problems (%)")
        style.legend(figure, [], BASE_NAMES)
    single = runs.rename(columns={"value": "mean"}).assign(seed=runs["seed"].astype(str))
    numbers = pd.concat([ends.assign(seed="mean"), single], ignore_index=True)
    numbers = numbers[["label", "domain", "seed", "n", "mean", "low", "high"]].rename(
        columns={"mean": "accuracy"}
    )
    return style.save(figure, numbers, out, "endpoint")


def panel_height(domains: int, methods: int) -> float:
    """Inches of a figure with a row a method in each of `domains` panels, two beside each other."""
    pitch = 0.24 if methods <= style.CROWD else 0.17
    return 0.45 + -(-domains // 2) * (0.5 + pitch * methods)


def method_rows(ax: Axes, found: Findings) -> None:
    """The y axis: one row a method, the baseline at the top."""
    ax.set_yticks(range(len(found.labels)), [found.name(label) for label in found.labels])
    ax.set_ylim(len(found.labels) - 0.3, -0.5)
    ax.grid(visible=False, axis="y")


def _interval(ax: Axes, place: int, cell: pd.Series, seeds: np.ndarray, line: dict) -> None:
    colour = line["color"]
    below = (
        place + 0.25 + 0.13 * (np.arange(len(seeds)) % 3) / 2
    )  # staggered, so that equal seeds stay visible
    ax.plot(100 * seeds, below, ".", color=colour, markersize=4.5, markeredgewidth=0, alpha=0.75)
    ax.plot([100 * cell["low"], 100 * cell["high"]], [place, place], color=colour, linewidth=1.3)
    ax.plot(100 * cell["mean"], place, line["marker"], color=colour, markersize=4.5)

"""Generated tokens until the learning curve first reaches the threshold."""

from __future__ import annotations

from pathlib import Path

import matplotlib
import numpy as np
import pandas as pd
from matplotlib.axes import Axes

from harness.compare import scores
from harness.compare.plots import style
from harness.compare.plots.endpoint import method_rows, panel_height
from harness.compare.scores import Findings

CAPTIONS = {
    "tokens_to_threshold": (
        "Generated training tokens at which the learning curve first reaches the threshold named above each panel. "
        "Large marker: median over seeds, a seed that never gets there counting as infinite; small dots: single "
        "seeds. Open triangles at the right edge are seeds that never got there, counted beside them."
    )
}


def tokens_to_threshold(found: Findings, out: Path) -> list[Path]:
    """tokens_to_threshold: per domain with a threshold, a dot a seed and the median; nothing without threshold.

    The CSV has columns label, domain, seed (a number, or "median"), tokens (inf: not reached), reached (of
    the seeds).
    """
    runs = scores.tokens_to_threshold(found.records, found.levels)
    domains = style.domain_panels(found, {*runs["domain"]})
    if not domains:
        return []
    runs = runs[runs["domain"].isin(domains)].sort_values(["label", "domain", "seed"])
    finite = runs["value"][np.isfinite(runs["value"])]
    longest = finite.max() if len(finite) else found.records.evals["train_tokens"].max()
    scale, unit = style.unit("tokens", longest)
    edge = 1.12 * longest / scale
    by_label, by_cell = style.styles_of(found), dict(list(runs.groupby(["label", "domain"])["value"]))
    with matplotlib.rc_context(style.STYLE):
        height = panel_height(len(domains), len(found.labels)) - 0.15  # no legend
        figure, axes = style.panels(len(domains), columns=2, height=height, sharey=True, sharex=True)
        for ax, domain in zip(axes, domains, strict=True):
            for place, label in enumerate(found.labels):
                if (label, domain) in by_cell:
                    _seeds(ax, place, by_cell[label, domain].to_numpy() / scale, edge, by_label[label])
            level = 100 * found.levels[domain]
            ax.set_title(f"{style.domain_title(found, domain)}, accuracy {level:.1f} %")
            ax.set_xlim(-0.02 * edge, edge)
            method_rows(ax, found)
        for ax in axes[-2:]:
            ax.set_xlabel(f"generated tokens{unit}")
    cells = [(label, domain) for label in found.labels for domain in domains if (label, domain) in by_cell]
    medians = pd.DataFrame(
        [
            {
                "label": label,
                "domain": domain,
                "seed": "median",
                "value": np.median(by_cell[label, domain]),
                "reached": int(np.isfinite(by_cell[label, domain]).sum()),
            }
            for label, domain in cells
        ]
    )
    single = runs.assign(seed=runs["seed"].astype(str), reached=np.isfinite(runs["value"]).astype(int))
    numbers = pd.concat([medians, single], ignore_index=True)[["label", "domain", "seed", "value", "reached"]]
    return style.save(figure, numbers.rename(columns={"value": "tokens"}), out, "tokens_to_threshold")


def _seeds(ax: Axes, place: int, tokens: np.ndarray, edge: float, line: dict) -> None:
    colour, reached = line["color"], tokens[np.isfinite(tokens)]
    # staggered, so that equal seeds stay visible
    below = place + 0.25 + 0.13 * (np.arange(len(reached)) % 3) / 2
    ax.plot(reached, below, ".", color=colour, markersize=4.5, markeredgewidth=0, alpha=0.75)
    if np.isfinite(median := np.median(tokens)):
        ax.plot(median, place, line["marker"], color=colour, markersize=4.5)
    if missed := len(tokens) - len(reached):
        triangle = {"color": colour, "markerfacecolor": "white", "markersize": 5, "clip_on": False}
        ax.plot(edge, place, ">", zorder=3, **triangle)
        beside = {"xytext": (6, 0), "textcoords": "offset points", "va": "center", "fontsize": 6}
        ax.annotate(f"{missed} not reached", (edge, place), color=style.GREY, annotation_clip=False, **beside)

"""Performance profiles: the share of runs that end above an accuracy."""

from __future__ import annotations

from pathlib import Path

import matplotlib
import numpy as np
import pandas as pd

from harness.compare.aggregates import profile_band
from harness.compare.plots import style
from harness.compare.scores import Findings

TAUS = np.linspace(0, 1, 201)
CAPTIONS = {
    "performance_profile": (
        "Share of runs (seeds x domains) whose end point lies above the accuracy τ (Agarwal et al. 2021, arXiv "
        "2108.13264), with a bootstrap band over seeds (left out with more than 12 methods). A curve that is "
        "higher everywhere belongs to a method that is better at every level; curves that cross do not order "
        "the methods."
    )
}


def performance_profile(found: Findings, out: Path) -> list[Path]:
    """performance_profile: per method, share of its seeds x domains with accuracy > τ; nothing without end
    points.
    """
    ends, by_label = style.end_points(found), style.styles_of(found)
    if not ends:
        return []
    bands = {label: profile_band(values, TAUS, alpha=found.alpha) for label, values in ends.items()}
    with matplotlib.rc_context(style.STYLE):
        figure = matplotlib.figure.Figure(figsize=(style.WIDTH, 3.2))
        ax = figure.subplots()
        for label in reversed(bands):  # the baseline last, on top
            share, low, high = 100 * bands[label].T
            line = {"color": by_label[label]["color"], "linestyle": by_label[label]["linestyle"]}
            if len(bands) <= style.CROWD:
                ax.fill_between(
                    100 * TAUS, low, high, color=line["color"], alpha=0.09, linewidth=0, step="post"
                )
            ax.plot(100 * TAUS, share, linewidth=1.4, drawstyle="steps-post", **line)
        lowest, highest = (
            100 * end(np.concatenate([e.ravel() for e in ends.values()])) for end in (np.min, np.max)
        )
        ax.set_xlim(max(0, lowest - 4), min(100, highest + 4))
        ax.set_ylim(-2, 102)
        ax.set_xlabel("accuracy τ on test problems (%)")
        ax.set_ylabel("runs with accuracy > τ (%)")
        style.legend(figure, style.method_samples(found, bands), {})
    parts = [
        pd.DataFrame({"label": label, "tau": TAUS, "share": own[:, 0], "low": own[:, 1], "high": own[:, 2]})
        for label, own in bands.items()
    ]
    return style.save(figure, pd.concat(parts, ignore_index=True), out, "performance_profile")

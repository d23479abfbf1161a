"""Training signals over the steps: entropy, KL, gradient norm, clipping, length, groups without variance, RMS."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import matplotlib
import numpy as np
import pandas as pd

from harness.compare.plots import style
from harness.compare.scores import Findings

METRICS = {  # column of metrics.jsonl -> title
    "entropy": "entropy (nats a token)",
    "kl": "KL to the reference policy",
    "grad_norm": "gradient norm",
    "clip_share": "share of tokens clipped",
    "length_mean": "completion length (tokens)",
    "zero_variance_share": "share of groups without variance",
    "advantage_rms": "advantage RMS",
}
CAPTIONS = {
    "stability": (
        "Training signals against steps, nothing smoothed: mean over seeds, band from the lowest to the highest "
        "seed (left out with more than 12 methods). A signal that no run recorded has no panel; a step on which "
        "no seed recorded one has no point."
    )
}


def stability(found: Findings, out: Path) -> list[Path]:
    """stability: a panel per metric that any run recorded, mean and range over seeds against steps.

    Nothing if no run recorded any. Lines of more than `style.POINTS` steps are drawn with every k-th step.
    """
    numbers = pd.DataFrame(
        stability_rows(found), columns=["metric", "label", "step", "n", "mean", "low", "high"]
    )
    recorded = [metric for metric in METRICS if metric in set(numbers["metric"])]
    if not recorded:
        return []
    by_label, crowd = style.styles_of(found), len(found.labels) > style.CROWD
    cells = dict(list(numbers.groupby(["metric", "label"])))
    with matplotlib.rc_context(style.STYLE):
        height = 0.6 + 1.75 * -(-len(recorded) // 3)
        figure, axes = style.panels(len(recorded), columns=3, height=height, sharex=True)
        for ax, metric in zip(axes, recorded, strict=True):
            for label in reversed(found.labels):  # the baseline last, on top
                if (metric, label) not in cells:
                    continue
                points = cells[metric, label][["step", "mean", "low", "high"]].to_numpy(dtype=float)
                step, mean, low, high = style.thin(points).T
                line = {"color": by_label[label]["color"], "linestyle": by_label[label]["linestyle"]}
                if not crowd:
                    ax.fill_between(step, low, high, color=line["color"], alpha=0.11, linewidth=0)
                ax.plot(step, mean, linewidth=0.9, marker="." if len(step) == 1 else "", **line)
            ax.set_title(METRICS[metric])
        for ax in axes[-3:]:
            ax.set_xlabel("training steps")
        style.legend(figure, style.method_samples(found, found.labels), {})
    return style.save(figure, numbers, out, "stability")


def stability_rows(found: Findings) -> Iterator[tuple]:
    """(metric, label, step, n, mean, low, high) per step; n: the seeds that recorded it; low, high: their range."""
    by_label = dict(list(found.records.metrics.groupby("label")))
    for metric in METRICS:
        for label in found.labels:
            if (own := by_label.get(label)) is None or metric not in own:
                continue
            values = own[metric].astype(float).where(lambda column: np.isfinite(column))
            table = values.groupby(own["step"]).agg(["count", "mean", "min", "max"])
            for row in table[table["count"] > 0].itertuples():
                yield (metric, label, *row)

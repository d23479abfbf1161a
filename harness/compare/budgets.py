"""Accuracy at equal cost: what each method had reached when it had spent the same steps, tokens or seconds."""

from __future__ import annotations

import numpy as np
import pandas as pd

from harness.compare import fairness
from harness.compare.read import ALL
from harness.compare.scores import Findings, whole_curves
from harness.compare.statistics import paired, t_interval

AXES = {"steps": "step", "tokens": "train_tokens", "seconds": "train_seconds"}


def at_budgets(found: Findings) -> pd.DataFrame:
    """Columns label, axis, budget, n, mean, low, high, pairs, diff, diff_low, diff_high; accuracies are fractions.

    The budget of an axis is the smallest that any compared run ended with, so that no curve is extrapolated; between
    two points of a curve the accuracy is interpolated linearly. Methods that may not be compared have no difference,
    nor has anybody in seconds where the runs' clocks are not comparable (`fairness.clock_ratio`).
    """
    curves = whole_curves(found.records)
    curves = curves[curves["domain"] == ALL]
    compared = [label for label in found.labels if not found.differences[label]]
    timed = not fairness.clock_ratio(found.records) > fairness.UNLIKE_CLOCKS
    rows = []
    for axis, column in AXES.items():
        runs = [(key, lines[column].to_numpy(float), lines["avg"].to_numpy()) for key, lines in
                curves.groupby(["label", "seed"])]  # fmt: skip
        budget = min(x[-1] for (label, _), x, _ in runs if label in compared)
        reached: dict[str, dict[int, float]] = {}
        for (label, seed), x, accuracy in runs:
            reached.setdefault(label, {})[seed] = float(np.interp(budget, x, accuracy))
        theirs = reached[found.baseline]
        for label in found.labels:
            if label not in reached:
                continue
            ours = reached[label]
            own = t_interval(list(ours.values()), found.alpha)
            row = {"label": label, "axis": axis, "budget": budget, "n": own.n, "mean": own.mean}
            row |= {"low": own.low, "high": own.high, "pairs": 0}
            row |= dict.fromkeys(("diff", "diff_low", "diff_high"), np.nan)
            seeds = sorted(ours.keys() & theirs.keys())
            if label != found.baseline and label in compared and seeds and (timed or axis != "seconds"):
                gap = paired([ours[s] for s in seeds], [theirs[s] for s in seeds], found.alpha)
                row |= {"pairs": gap.n, "diff": gap.mean, "diff_low": gap.low, "diff_high": gap.high}
            rows.append(row)
    frame = pd.DataFrame(rows)
    order = {label: place for place, label in enumerate(found.labels)}
    return frame.sort_values("label", key=lambda own: own.map(order), kind="stable", ignore_index=True)

"""Differences base policy by base policy: whether a gain is about these policies only."""

from __future__ import annotations

import numpy as np
import pandas as pd

from harness.compare.read import ALL
from harness.compare.scores import Findings
from harness.compare.statistics import t_interval
from harness.compare.tables.evidence import MEASURES
from harness.compare.tables.table import Table, bracketed


def policies_table(found: Findings) -> Table:
    """Each method's difference from the baseline with the base policy, not the seed, as the unit of replication.

    No rows where the compared runs start from one policy.
    """
    rows, numbers = [], []
    for label in found.labels[1:]:
        if found.differences[label]:
            continue
        for metric, name in MEASURES.items():
            means = policy_means(found, label, metric)
            if len(means) < 2:
                continue
            own = t_interval(means.to_numpy(), found.alpha)
            each = ", ".join(f"{100 * mean:+.1f}" for mean in means)
            rows.append((found.name(label), name, str(len(means)), each, bracketed(own.mean, own.low, own.high, True)))
            numbers += [(label, metric, policy, mean, own.mean, own.low, own.high) for policy, mean in means.items()]
    columns = ["label", "metric", "policy", "diff", "mean", "low", "high"]
    head = ("method", "measure", "policies", "difference by policy", f"over policies [{100 * (1 - found.alpha):g} %]")
    note = (
        "The seeds of a base policy make one number, the mean of their differences from the baseline; the interval is "
        "Student's t over policies. It speaks of base policies made in the same way, where the verdicts' intervals "
        "over seeds speak of these. A few policies make it wide; it is not corrected for the number of rows and "
        "decides no verdict. Policies stand in the order of their hash."
    )
    return Table("policies", "By base policy", head, rows, pd.DataFrame(numbers, columns=columns), note if rows else "")


def policy_means(found: Findings, label: str, metric: str) -> pd.Series:
    """Hash of a base policy -> mean difference from the baseline over its seeds, of those that both have."""
    scores = found.scores[(found.scores["metric"] == metric) & (found.scores["domain"] == ALL)]
    ours, theirs = (
        scores[scores["label"] == name].set_index("seed")["value"] for name in (label, found.baseline)
    )
    gaps = (ours - theirs).dropna()
    policies = np.array([found.records.runs[label, seed].env["policy_hash"] for seed in gaps.index], dtype=object)
    return gaps.groupby(policies).mean()

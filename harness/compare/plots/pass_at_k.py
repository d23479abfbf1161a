"""pass@k on the test problems after the last step."""

from __future__ import annotations

from pathlib import Path

import matplotlib
import numpy as np
import pandas as pd

from harness.compare.plots import style
from harness.compare.read import ALL
from harness.compare.scores import BASE, Findings
from harness.compare.statistics import t_interval

CAPTIONS = {
    "pass_at_k": (
        "Share of test problems that at least one of k sampled completions solves (the unbiased estimate from one "
        "pool of completions), after the last step: mean over seeds and its t interval, the methods side by "
        "side at each k (beyond 12 methods: means alone). Dashed grey: the base policy; a method that gains at "
        "k = 1 and loses at large k has narrowed the policy rather than taught it."
    )
}
SPREAD = 0.5  # of the distance between two powers of two, over which the methods of one k are spread


def pass_at_k(found: Findings, out: Path) -> list[Path]:
    """pass_at_k: pass@k against k (log2), a panel for the mean and for each domain; nothing if not recorded."""
    numbers = pass_numbers(found)
    if numbers.empty:
        return []
    by_label, domains = style.styles_of(found), style.domain_panels(found, {*numbers["domain"]})
    crowd, ks = len(found.labels) > style.CROWD, sorted(set(numbers["k"]))
    cells = dict(list(numbers.groupby(["label", "domain"])))
    shifts = SPREAD * (np.arange(len(found.labels)) - (len(found.labels) - 1) / 2) / len(found.labels)
    with matplotlib.rc_context(style.STYLE):
        columns = style.columns(len(domains))
        height = 0.6 + 2.2 * -(-len(domains) // columns)
        figure, axes = style.panels(len(domains), columns=columns, height=height, sharey=True)
        for ax, domain in zip(axes, domains, strict=True):
            for label, shift in reversed(list(zip(found.labels, shifts, strict=True))):
                if (cell := cells.get((label, domain))) is None:
                    continue
                x = cell["k"].to_numpy() * 2.0 ** (0 if crowd else shift)
                mean, low, high = 100 * cell[["mean", "low", "high"]].to_numpy(dtype=float).T
                line = by_label[label]
                ax.plot(x, mean, **line, markersize=3, linewidth=1.0)
                if not crowd:
                    ax.vlines(x, low, high, color=line["color"], linewidth=0.9)
            if (cell := cells.get((BASE, domain))) is not None:
                dashes = style.BASE_DASHES["sampled"]
                ax.plot(
                    cell["k"], 100 * cell["mean"], color=style.GREY, linestyle=dashes, linewidth=1.1, zorder=3
                )
            ax.set_xscale("log", base=2)
            ax.set_xticks(ks, [str(k) for k in ks])
            ax.set_xticks([], minor=True)
            ax.set_xlim(ks[0] / 1.35, ks[-1] * 1.35)
            ax.set_title(style.domain_title(found, domain))
            ax.set_xlabel("k (completions per problem)")
        axes[0].set_ylim(style.within(axes[0].get_ylim()))  # shared, so once all panels are drawn
        for ax in axes[::columns]:
            ax.set_ylabel("pass@k (%)")
        lines = style.method_samples(found, found.labels, marker=True)
        style.legend(figure, lines, {"sampled": "base, sampled"})
    return style.save(figure, numbers, out, "pass_at_k")


def pass_numbers(found: Findings) -> pd.DataFrame:
    """Columns label, domain, k, n, mean, low, high (fractions; t interval over n seeds of level 1 - alpha).

    The rows of label `scores.BASE` are the base policy before training on the baseline's test problems, mean
    over n distinct base policies, without interval. Incomplete runs have no end point.
    """
    evals, runs = found.records.evals, found.records.runs
    columns = ["label", "domain", "k", "n", "mean", "low", "high"]
    if "pass" not in evals:
        return pd.DataFrame(columns=columns)
    lines = evals[(evals["split"] == "test") & (evals["mode"] == "sampled")]
    cells = list(zip(lines["label"], lines["seed"], strict=True))
    last = [-1 if runs[cell].why else runs[cell].config["trainer.steps"] for cell in cells]
    end = _by_k(lines[lines["step"] == last])
    rows = []
    for (label, domain, k), values in end.groupby(["label", "domain", "k"])["value"]:
        own = t_interval(values.to_numpy(), found.alpha)
        rows.append((label, domain, k, own.n, own.mean, own.low, own.high))
    lines = lines.assign(policy=[str(runs[cell].env["policy_hash"]) for cell in cells])
    before = lines[lines["step"] == 0]
    before = before[before["problems_hash"].isin(before[before["label"] == found.baseline]["problems_hash"])]
    # all runs of one policy measure the same numbers: each policy counts once
    once = before.groupby(["policy", "eval_seed", "problems_hash", "domain"], as_index=False).first()
    for (domain, k), group in _by_k(once).groupby(["domain", "k"]):
        rows.append((BASE, domain, k, group["policy"].nunique(), group["value"].mean(), np.nan, np.nan))
    order = {label: place for place, label in enumerate([*found.labels, BASE])}
    rows = sorted(rows, key=lambda row: (order[row[0]], row[1] != ALL, row[1], row[2]))
    return pd.DataFrame(rows, columns=columns)


def _by_k(lines: pd.DataFrame) -> pd.DataFrame:
    """One row a line and k, from the mapping in column `pass`; columns k and value are added."""
    recorded = lines[[isinstance(own, dict) for own in lines["pass"]]]
    wide = pd.DataFrame(list(recorded["pass"]), index=recorded.index)
    wide.columns = wide.columns.astype(int)
    tall = wide.stack().rename_axis(["line", "k"]).rename("value").reset_index()
    return tall.dropna().join(recorded, on="line")

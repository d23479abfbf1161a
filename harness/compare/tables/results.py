"""How good: the end point, learning speed, the base policy, equal budgets, and aggregates over seeds and domains."""

from __future__ import annotations

import numpy as np
import pandas as pd

from harness.compare.aggregates import iqm_interval, optimality_gap_interval
from harness.compare.budgets import AXES, at_budgets
from harness.compare.read import ALL
from harness.compare.scores import AULC, END, GAIN, GREEDY, TOKENS, Findings
from harness.compare.tables.table import NONE, Table, bracketed, difference, interval, percent, tokens

HEAD = ("method", "domain", "n")


def level(found: Findings) -> str:
    return f"[{100 * (1 - found.alpha):g} %]"


def base_table(found: Findings) -> Table:
    rows = []
    for domain in found.domains:
        own = found.base[found.base["domain"] == domain].set_index("mode")
        if own.empty:  # of training only
            continue
        best = f"{percent(own.loc['best', 'accuracy'])} (T={own.loc['best', 'temperature']})"
        plain = [percent(own.loc[mode, "accuracy"]) for mode in ("sampled", "greedy")]
        rows.append((domain, *plain, best, str(own.loc["best", "policies"])))
    header = ("domain", "sampled %", "greedy %", "best validation temperature %", "base policies")
    return Table("base", "Base policy, before training, on the test problems", header, rows, found.base)


def end_table(found: Findings, *domains: str) -> Table:
    """The end point of every method on `domains`, with what it gained and how it differs from the baseline."""
    rows = []
    for domain in domains:
        for label in found.labels:
            end, greedy, gain = (found.cell(label, domain, metric) for metric in (END, GREEDY, GAIN))
            if end is not None:
                numbers = (interval(end), percent(greedy["mean"]), interval(gain, signed=True))
                rows.append(
                    (found.name(label), domain, str(end["n"]), *numbers, difference(end), end["verdict"])
                )
    head = (
        f"end point % {level(found)}",
        "greedy %",
        "gain over best base",
        f"difference {level(found)}",
        "verdict",
    )
    return Table("main", "End point", (*HEAD, *head), rows, _tidy(found, (END, GREEDY, GAIN), domains))


def speed_table(found: Findings, *domains: str) -> Table:
    """The area under the learning curve, and tokens to the threshold, of every method on `domains`."""
    rows = []
    for domain in domains:
        goal = percent(found.levels.get(domain, np.nan))
        for label in found.labels:
            area, crossing = found.cell(label, domain, AULC), found.cell(label, domain, TOKENS)
            if area is not None:
                numbers = (interval(area), difference(area), area["verdict"], goal, _reached(crossing))
                rows.append((found.name(label), domain, str(area["n"]), *numbers))
    head = (f"AULC % {level(found)}", f"difference {level(found)}", "verdict", "threshold %", "tokens to it")
    return Table("speed", "Learning speed", (*HEAD, *head), rows, _tidy(found, (AULC, TOKENS), domains))


def _tidy(found: Findings, metrics: tuple[str, ...], domains: tuple[str, ...]) -> pd.DataFrame:
    rows = found.rows
    return rows[rows["metric"].isin(metrics) & rows["domain"].isin(domains)].reset_index(drop=True)


def _reached(cell: pd.Series | None) -> str:
    if cell is None:
        return f"{NONE} (no threshold: the baseline did not rise)"
    return f"{tokens(cell['mean']) if np.isfinite(cell['mean']) else 'not reached'} ({cell['verdict']})"


def budget_table(found: Findings) -> Table:
    """Accuracy on the curve problems after equal steps, equal generated tokens and equal training time."""
    frame = at_budgets(found)
    rows = []
    for label, own in frame.groupby("label", sort=False):
        cells = own.set_index("axis")
        texts = []
        for axis in AXES:
            cell = cells.loc[axis]
            texts += [bracketed(cell["mean"], cell["low"], cell["high"]), difference(cell)]
        rows.append((found.name(label), str(cells["n"].max()), *texts))
    spent = frame.drop_duplicates("axis").set_index("axis")["budget"]
    shown = {
        "steps": f"{spent['steps']:g} steps",
        "tokens": f"{tokens(spent['tokens'])} tokens",
        "seconds": f"{spent['seconds']:.0f} s",
    }
    head = [text for axis in AXES for text in (f"% after {shown[axis]}", "difference")]
    note = (
        "Accuracy on the curve problems, mean over domains, where each run had spent the same: the smallest budget "
        "that any run ended with, read off its curve by linear interpolation. Intervals of the paired difference "
        f"cover {100 * (1 - found.alpha):g} % each and are not corrected for their number. Seconds are the training's "
        "own, on the machine that it ran on, with whatever ran beside it."
    )
    return Table("budgets", "At equal cost", ("method", "n", *head), rows, frame, note)


def aggregate_table(found: Findings) -> Table:
    """Interquartile mean and optimality gap of the end points over seeds and domains."""
    rows, numbers = [], []
    for label in found.labels:
        values = end_matrix(found, label)
        if not len(values):
            continue
        iqm, gap = iqm_interval(values, found.alpha), optimality_gap_interval(values, alpha=found.alpha)
        texts = (bracketed(e.value, e.low, e.high) for e in (iqm, gap))
        rows.append((found.name(label), str(len(values)), str(values.shape[1]), *texts))
        numbers.append((label, *values.shape, iqm.value, iqm.low, iqm.high, gap.value, gap.low, gap.high))
    columns = ["label", "seeds", "domains", "iqm", "iqm_low", "iqm_high", "gap", "gap_low", "gap_high"]
    head = (f"interquartile mean % {level(found)}", f"optimality gap % {level(found)}")
    note = (
        "Over seeds and domains (arXiv 2108.13264), with bootstrap intervals that resample seeds. The interquartile "
        "mean leaves out the lowest and the highest quarter of all seeds × domains, which with domains of unlike "
        "difficulty are an easy and a hard domain rather than outliers. With few seeds the bootstrap is too "
        "narrow: verdicts do not use it."
    )
    frame = pd.DataFrame(numbers, columns=columns)
    return Table("aggregates", "Aggregates", ("method", "seeds", "domains", *head), rows, frame, note)


def end_matrix(found: Findings, label: str) -> np.ndarray:
    """End points (seeds, domains) of the method's runs that have all of them."""
    scores = found.scores
    own = scores[(scores["label"] == label) & (scores["metric"] == END) & (scores["domain"] != ALL)]
    return own.pivot(index="seed", columns="domain", values="value").dropna().to_numpy()

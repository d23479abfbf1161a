"""Frames -> numbers: per-run scores, the comparison in tidy form, cost and stability.

The tidy comparison (comparison.csv) is the single source of every table and sentence of the page.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property

import numpy as np
import pandas as pd

from harness.compare.load import Records
from harness.compare.read import ALL, curve_steps
from harness.compare.statistics import (
    MIN_SEEDS,
    area_under_curve,
    first_crossing,
    holm,
    paired,
    t_interval,
    verdict,
)

END, GREEDY, GAIN, AULC, TOKENS = (
    "end_point",
    "greedy",
    "gain_over_base",
    "aulc",
    "tokens_to_threshold_median",
)
JUDGED = (END, AULC)  # the measures that get a verdict
COLUMNS = [
    "label", "domain", "metric", "n", "mean", "low", "high",
    "pairs", "diff", "diff_low", "diff_high", "p", "p_holm", "verdict",
]  # fmt: skip
BASE = "base policy"
LATE = ("entropy", "kl", "zero_variance_share", "truncated_share", "advantage_rms")
WORK = {"extra_tokens": "of these extra", "pass_tokens": "tokens in extra passes"}  # by column of the metrics
LAST_SHARE = 0.1  # stability is read off the last tenth of the steps: one batch alone is noise


@dataclass(frozen=True)
class Findings:
    """All numbers of one comparison: what tables and sentences are made of.

    scores: one row a run, domain and metric; rows: `comparison`; base: `fairness.base_policy`; levels:
    `thresholds`; differences: per label what else differs from the baseline (`fairness.differing`); alpha:
    level of verdicts, intervals cover 1 - alpha.
    """

    records: Records
    baseline: str
    scores: pd.DataFrame
    rows: pd.DataFrame
    base: pd.DataFrame
    levels: Mapping[str, float]
    differences: Mapping[str, Mapping[str, tuple[str, str]]]
    alpha: float

    @cached_property
    def labels(self) -> list[str]:
        """Labels with a finished run, the baseline first."""
        return [label for label in ordered_labels(self.records, self.baseline) if self.records.seeds(label)]

    @cached_property
    def domains(self) -> list[str]:
        return ordered_domains(self.records.evals)

    def name(self, label: str) -> str:
        return self.records.names[label]

    @cached_property
    def _cells(self) -> dict[tuple[str, str, str], int]:
        keys = zip(self.rows["label"], self.rows["domain"], self.rows["metric"], strict=True)
        return {key: place for place, key in enumerate(keys)}

    def cell(self, label: str, domain: str, metric: str) -> pd.Series | None:
        place = self._cells.get((label, domain, metric))
        return None if place is None else self.rows.iloc[place]


def ordered_domains(evals: pd.DataFrame) -> list[str]:
    return [ALL, *sorted(set(evals["domain"]) - {ALL})]


def ordered_labels(records: Records, baseline: str) -> list[str]:
    """The baseline first, the others sorted: the order of rows and of colours."""
    return [baseline, *(label for label in records.labels if label != baseline)]


def sampled_curve(evals: pd.DataFrame) -> pd.DataFrame:
    curve = evals[(evals["split"] == "curve") & (evals["mode"] == "sampled")]
    return curve.sort_values(["label", "domain", "seed", "step"])


def whole_curves(records: Records) -> pd.DataFrame:
    """`sampled_curve` without those of a run and domain that stop before the last step (incomplete runs)."""
    curve = sampled_curve(records.evals)
    if not (partly := {cell: curve_steps(run.config) for cell, run in records.runs.items() if run.why}):
        return curve
    cells = curve.groupby(["label", "seed", "domain"])["step"]
    whole = cells.transform(lambda own: (cell := own.name[:2]) not in partly or list(own) == partly[cell])
    return curve[whole.astype(bool)]


def scores(records: Records) -> pd.DataFrame:
    """One row per run, domain and metric: columns label, seed, domain, metric, value (fractions).

    A run that is let in incomplete has no end point, and an area only where its curve is whole.
    """
    run = ["label", "seed", "domain"]
    evals = records.evals
    # no step of an incomplete run is its last
    steps = {cell: -1 if run.why else run.config["trainer.steps"] for cell, run in records.runs.items()}
    last = [steps[cell] for cell in zip(evals["label"], evals["seed"], strict=True)]
    test, is_last = evals["split"] == "test", evals["step"] == last
    end = evals[test & is_last & (evals["mode"] == "sampled")].set_index(run)["avg"]
    greedy = evals[test & is_last & (evals["mode"] == "greedy")].set_index(run)["avg"]
    # the modes of step 0: sampled, greedy, and at the best validation temperature
    best_base = evals[test & (evals["step"] == 0)].groupby(run)["avg"].max()
    areas = {
        key: area_under_curve(lines["step"].to_numpy(), lines["avg"].to_numpy())
        for key, lines in whole_curves(records).groupby(run)
    }
    area = pd.Series(areas, index=pd.MultiIndex.from_tuples(list(areas), names=run), dtype=float)
    columns = {END: end, GREEDY: greedy, GAIN: end - best_base.reindex(end.index), AULC: area}
    return pd.concat(
        [column.rename("value").reset_index().assign(metric=name) for name, column in columns.items()]
    )


def thresholds(records: Records, baseline: str, fixed: float | None) -> dict[str, float]:
    """Per domain, the accuracy to reach on the curve split: `fixed`, or halfway from base policy to
    baseline's end.

    NaN where the baseline did not rise above the base policy: there is no way to be halfway along.
    """
    curve = whole_curves(records)
    curve = curve[curve["label"] == baseline]
    found = {}
    for domain, lines in curve.groupby("domain"):
        start = lines[lines["step"] == 0]["avg"].mean()
        end = lines.groupby("seed")["avg"].last().mean()
        found[domain] = fixed if fixed is not None else (start + end) / 2 if end > start else np.nan
    return found


def tokens_to_threshold(records: Records, levels: Mapping[str, float]) -> pd.DataFrame:
    """Per run and domain, generated training tokens at the first crossing (inf: not reached); no rows without
    level.
    """
    rows = []
    for (label, seed, domain), lines in whole_curves(records).groupby(["label", "seed", "domain"]):
        if np.isfinite(level := levels.get(domain, np.nan)):
            rows.append((label, seed, domain, first_crossing(lines["train_tokens"], lines["avg"], level)))
    return pd.DataFrame(rows, columns=["label", "seed", "domain", "value"])


def comparison(
    records: Records,
    runs: pd.DataFrame,
    baseline: str,
    refusals: Mapping[str, str],
    levels: Mapping[str, float],
    alpha: float,
) -> pd.DataFrame:
    """The tidy table (columns COLUMNS): labels x domains x metrics, with the paired difference to the
    baseline.

    runs: `scores`. refusals: label -> why it may not be compared (empty: it may). levels: `thresholds`. The
    tokens' `mean` is a median over seeds, unreached counted as infinite; their `verdict` says how many seeds
    got there.
    """
    grouped = runs.groupby(["label", "domain", "metric"])
    values = {key: group.set_index("seed")["value"] for key, group in grouped}
    tokens = tokens_to_threshold(records, levels).groupby(["label", "domain"])["value"]
    reached = {key: _tokens_row(*key, group) for key, group in tokens}
    labels = ordered_labels(records, baseline)
    measured = {*zip(records.evals["label"], records.evals["domain"], strict=True)}
    none = pd.Series(dtype=float)  # of a method of which every run is incomplete
    rows: list[dict] = []
    families: dict[tuple[str, bool], list[dict]] = {}  # of a measure: the rows over all domains, the others
    for domain in ordered_domains(records.evals):
        for metric in (END, GREEDY, GAIN, AULC):
            theirs = values.get((baseline, domain, metric), none)
            found = [
                (label, values.get((label, domain, metric), none))
                for label in labels
                if (label, domain) in measured
            ]
            if domain != ALL and not any(len(ours) for _, ours in found):
                continue  # trained on it and not tested, or the other way round
            family = [
                {"label": label, "domain": domain, "metric": metric, **_own(ours, alpha)}
                | ({} if label == baseline or refusals[label] else _gap(ours, theirs, alpha))
                for label, ours in found
            ]
            rows += family
            if metric in JUDGED:
                families.setdefault((metric, domain == ALL), []).extend(family)
        rows += [reached[label, domain] for label in labels if (label, domain) in reached]
    for family in families.values():
        _judge(family, baseline, refusals, alpha)
    return pd.DataFrame(rows, columns=COLUMNS)


def _own(ours: pd.Series, alpha: float) -> dict[str, float]:
    own = t_interval(ours, alpha)
    return {"n": own.n, "mean": own.mean, "low": own.low, "high": own.high}


def _gap(ours: pd.Series, theirs: pd.Series, alpha: float) -> dict[str, float]:
    seeds = sorted(set(ours.index) & set(theirs.index))
    gap = paired(ours[seeds], theirs[seeds], alpha)
    return {"pairs": gap.n, "diff": gap.mean, "diff_low": gap.low, "diff_high": gap.high, "p": gap.p}


def _judge(family: list[dict], baseline: str, refusals: Mapping[str, str], alpha: float) -> None:
    """Adds p_holm and verdict. The Holm family: rows that have a test, so enough pairs and no refusal."""
    adjusted = holm([row["p"] if row.get("pairs", 0) >= MIN_SEEDS else np.nan for row in family])
    for row, p_holm in zip(family, adjusted, strict=True):
        row["p_holm"] = p_holm
        if row["label"] == baseline:
            row["verdict"] = "baseline"
        else:
            row["verdict"] = refusals[row["label"]] or verdict(row["pairs"], row["diff"], p_holm, alpha)


def _tokens_row(label: str, domain: str, values: pd.Series) -> dict[str, object]:
    median, reached = float(np.median(values)), int(np.isfinite(values).sum())
    row = {"label": label, "domain": domain, "metric": TOKENS, "n": len(values)}
    return row | {
        "mean": median if np.isfinite(median) else np.nan,
        "verdict": f"{reached} of {len(values)} reached",
    }


def base_rows(base: pd.DataFrame) -> pd.DataFrame:
    """The base policy in the columns of the tidy table (metric sampled, greedy or best; n = distinct base
    policies).
    """
    rows = base.rename(columns={"mode": "metric", "accuracy": "mean", "policies": "n"}).assign(label=BASE)
    rows["verdict"] = "T=" + rows["temperature"]
    return rows.reindex(columns=COLUMNS)


def cost_and_stability(records: Records, runs: pd.DataFrame, baseline: str) -> pd.DataFrame:
    """Per label, means over seeds: tokens, seconds, phase shares, and how training looked over its last
    tenth.

    Columns: label, n, tokens, extra_tokens (of tokens, those generated beside the batches that were learnt
    from), pass_tokens (through passes beside sampling and loss), seconds, `share <phase>` of the sum of all
    phases, entropy, zero_variance_share, truncated_share, advantage_rms (last tenth of the steps), grad_norm
    (maximum over steps and seeds), memory_mb (peak of a run), worst_seed (end point over all domains), collapsed (runs
    that ended below the base policy sampled). NaN: not recorded.
    """
    metrics = records.metrics
    phases = [name for name in metrics.columns if name.startswith("seconds_")]
    is_late = metrics["step"] > (1 - LAST_SHARE) * metrics.groupby(["label", "seed"])["step"].transform("max")
    final_points = runs[(runs["domain"] == ALL) & (runs["metric"] == END)]
    ends = final_points.groupby("label")["value"]
    evals = records.evals
    base = evals[(evals["step"] == 0) & (evals["split"] == "test") & (evals["mode"] == "sampled")]
    start = base[base["domain"] == ALL].set_index(["label", "seed"])["avg"]
    reached = final_points.set_index(["label", "seed"])["value"]
    fallen = (reached < start.reindex(reached.index)).groupby("label").sum()
    rows = []
    for label in (name for name in ordered_labels(records, baseline) if records.seeds(name)):
        own = metrics[metrics["label"] == label]
        late = own[is_late[own.index]]
        final = own.groupby("seed")[["tokens", "seconds"]].max().mean()
        for name in WORK:
            final[name] = own.groupby("seed")[name].sum(min_count=1).mean() if name in own else np.nan
        spent = own[phases].astype(float).sum()
        row = {
            "label": label,
            "n": len(records.seeds(label)),
            "worst_seed": ends.min().get(label, np.nan),
            **final,
        }
        row |= {f"share {phase.removeprefix('seconds_')}": spent[phase] / spent.sum() for phase in phases}
        for field in LATE:
            row[field] = late[field].astype(float).mean() if field in own else np.nan
        row["collapsed"] = int(fallen.get(label, 0))
        row["memory_mb"] = own.groupby("seed")["memory_mb"].max().mean() if "memory_mb" in own else np.nan
        row["grad_norm"] = own["grad_norm"].astype(float).max() if "grad_norm" in own else np.nan
        rows.append(row)
    return pd.DataFrame(rows)

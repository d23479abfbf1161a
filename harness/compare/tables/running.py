"""What it took and how it went: cost, stability, hyper-parameters, what was tuned, what is missing."""

from __future__ import annotations

from collections.abc import Sequence

import pandas as pd

from harness.compare.fairness import BOOKKEEPING
from harness.compare.load import Hole
from harness.compare.scores import WORK, Findings, cost_and_stability
from harness.compare.tables.table import NONE, Table, percent, plain, short, tokens

COST_NOTE = (
    "Means over seeds. Generated tokens include the extra ones, beside the batches that were learnt from (dynamic "
    "sampling, continuations), and are what learning curves count. Extra passes run through the policy or a second "
    "model beside sampling and loss; a backward pass counts as two, reading a continuation's prefix is not counted. "
    "In the update, live weightings and GRPO-λ put every completion through the policy, the others only those with "
    "credit. Peak memory is the GPU's allocated, or else the process's resident memory, counted from the run's start. "
    "A phase is a share of the time of all phases."
)
STABILITY_NOTE = (
    "Means over the last tenth of the steps; gradient norm: maximum of the whole run. A run has collapsed if its end "
    "point is below the base policy sampled at the same temperature."
)


def cost_tables(found: Findings) -> tuple[Table, Table]:
    """(cost, stability) of every method with a finished run."""
    frame = cost_and_stability(found.records, found.scores, found.baseline)
    shares = [name for name in frame.columns if name.startswith("share ")]
    cost, stability = [], []
    for row in frame.to_dict("records"):
        head = (found.name(row["label"]), str(row["n"]))
        spent = [tokens(row[name]) for name in ("tokens", *WORK)]
        memory = f"{row['memory_mb']:.0f}" if row["memory_mb"] == row["memory_mb"] else NONE
        cost.append(
            (*head, *spent, f"{row['seconds']:.1f}", memory, *(percent(row[name]) for name in shares))
        )
        numbers = [plain(row[key]) for key in ("entropy", "kl", "grad_norm", "advantage_rms")]
        percents = [percent(row[key]) for key in ("zero_variance_share", "truncated_share", "worst_seed")]
        stability.append((*head, *numbers, *percents, f"{row['collapsed']} of {row['n']}"))
    phases = [f"{name.removeprefix('share ')} %" for name in shares]
    signs = (
        "entropy",
        "KL",
        "max gradient norm",
        "advantage RMS",
        "groups without variance %",
        "truncated %",
    )
    spent = ("generated tokens", *WORK.values(), "training seconds", "peak memory MB")
    kept = [c for c in frame.columns if c in ("label", "n", "tokens", *WORK, "seconds", "memory_mb", *shares)]
    rest = ["label", "n", *(c for c in frame.columns if c not in kept)]
    return (
        Table("cost", "Cost", ("method", "n", *spent, *phases), cost, frame[kept], COST_NOTE),
        Table(
            "stability",
            "Stability",
            ("method", "n", *signs, "worst seed's end point %", "collapsed"),
            stability,
            frame[rest],
            STABILITY_NOTE,
        ),
    )


def holes_table(holes: Sequence[Hole]) -> Table:
    rows = [(hole.label, str(hole.seed), hole.why, hole.todo) for hole in holes]
    columns = ["label", "seed", "why", "todo"]
    header = ("label", "seed", "what is wrong", "what to do")
    return Table(
        "holes", "Runs that are not in these tables", header, rows, pd.DataFrame(rows, columns=columns)
    )


def hyperparameters_table(found: Findings) -> Table:
    """Every configuration key that is not the same for all methods, a row a key and a column a method."""
    records = found.records
    configs = {label: records.runs[label, records.seeds(label)[0]].config for label in found.labels}
    keys = sorted({key for config in configs.values() for key in config} - set(BOOKKEEPING))
    rows, numbers = [], []
    for key in keys:
        values = [str(config.get(key, NONE)) for config in configs.values()]
        if len(set(values)) > 1:
            rows.append((key, *map(short, values)))
            numbers.append((key, *values))
    header = ("key", *(found.name(label) for label in found.labels))
    note = "Configuration keys in which the methods' lowest seeds differ; – is a key that a method does not have."
    frame = pd.DataFrame(numbers, columns=["key", *found.labels])
    return Table("hyperparameters", "Hyper-parameters that differ", header, rows, frame, note)


def differences_table(found: Findings) -> Table:
    """What refuses a verdict: differences outside the declared factors."""
    rows = [
        (found.name(label), key, short(ours), short(theirs))
        for label, differing in found.differences.items()
        for key, (ours, theirs) in differing.items()
    ]
    header = ("method", "differs in", "its value", "baseline's value")
    title = "What else differs"
    note = "" if rows else "Nothing but the declared factors differs between any method and the baseline."
    return Table("differences", title, header, rows, pd.DataFrame(rows, columns=list(header)), note)

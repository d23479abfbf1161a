"""What may be compared with what: the guards of a fair head-to-head, and what the reader has to be told."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import pandas as pd

from harness.compare.load import Records, UsageError, nearest
from harness.compare.read import ALL, Run
from harness.compare.statistics import EQUAL

# What makes a method. Not the surrogate: a head-to-head fixes ratio, clip and aggregation.
FACTORS = ("method.name", "method.shaping", "method.advantage", "method.weighting", "method.control")
# Names of a run and where it is kept; these never change a number that is compared.
BOOKKEEPING = (
    "seed", "label", "method.name", "results_dir", "experiment_name", "n_jobs",
    "trainer.report_to", "trainer.checkpoint_every", "trainer.checkpoints_kept", "trainer.deltas_every", "tuned",
    "evaluation.shown_problems",
)  # fmt: skip
ABSENT = "(not set)"
UNLIKE_STEPS = 1.5  # ratio of mean advantage RMS from which a note says so
UNLIKE_CLOCKS = 1.2  # ratio of seconds per sampled token from which clocks are not compared
PACKAGES = ("torch", "transformers", "trl")  # what a step computes with


def check_factors(records: Records, factors: Sequence[str]) -> None:
    """UsageError for a declared factor that is no key, nor group of keys, of any configuration."""
    keys = {key for run in records.runs.values() for key in run.config}
    groups = {".".join(key.split(".")[:depth]) for key in keys for depth in range(1, key.count(".") + 2)}
    for factor in factors:
        if factor not in groups and factor not in FACTORS:  # a sweep without shaping may declare it
            raise UsageError(f"factors: no configuration has {factor!r}: {nearest(factor, groups)}")


def differing(
    records: Records, label: str, baseline: str, factors: Iterable[str]
) -> dict[str, tuple[str, str]]:
    """What else differs: {key: (value of label, value of baseline)} over the seeds both have, outside the
    factors.

    Besides configuration keys: the base policy, the evaluation seed and the problems a split holds. Only runs
    of one seed are held against each other, so what varies with the seed alone (one base policy a seed) is no
    difference.
    """
    allowed = (*factors, *BOOKKEEPING, *records.tuned)
    found: dict[str, tuple[str, str]] = {}
    if not set(records.seeds(label)) & set(records.seeds(baseline)):  # nothing could be checked
        seeds = (records.seeds(label), records.seeds(baseline))
        return {"every seed": tuple(" ".join(map(str, own)) or ABSENT for own in seeds)}
    for seed in sorted(set(records.seeds(label)) & set(records.seeds(baseline))):
        ours, theirs = (_fingerprint(records.runs[name, seed]) for name in (label, baseline))
        # items that are equal as they are, first: nearly all, in any large sweep
        for key in sorted({key for key, _ in ours.items() ^ theirs.items()}):
            if not any(key == name or key.startswith(f"{name}.") for name in allowed):
                found.setdefault(key, (ours.get(key, ABSENT), theirs.get(key, ABSENT)))
    return found


def _fingerprint(run: Run) -> dict[str, str]:
    marks = {key: str(value) for key, value in run.config.items()}
    for key in ("policy_hash", "autocast", "rows"):
        marks[key] = str(run.env.get(key))
    for split in ("curve", "test", "validation"):
        own = run.splits.get(split, ())
        marks[f"problems_hash of split {split}"] = str(
            sorted({(domain, problems) for domain, problems, _ in own})
        )
        marks[f"eval_seed of split {split}"] = str(sorted({(domain, seed) for domain, _, seed in own}))
    return marks


def refusal(differences: dict[str, object], names: int = 3) -> str:
    """The verdict of a comparison that is refused; empty if nothing differs."""
    if not differences:
        return ""
    keys = list(differences)
    more = f" and {len(keys) - names} more" if len(keys) > names else ""
    return f"not compared: differs in {', '.join(keys[:names])}{more}"


def base_policy(records: Records, baseline: str) -> pd.DataFrame:
    """The base policy on the baseline's test problems: columns domain, mode, temperature, accuracy, policies.

    Mean over distinct base policies (not over runs: all runs of one policy measure the same numbers).
    temperature is text, a range where the best one differs between policies.
    """
    lines = _base_lines(records)
    lines = lines[lines["problems_hash"].isin(set(lines[lines["label"] == baseline]["problems_hash"]))]
    once = lines.groupby(
        ["policy_hash", "eval_seed", "problems_hash", "domain", "mode"], as_index=False
    ).first()
    rows = []
    for (domain, mode), group in once.groupby(["domain", "mode"]):
        low, high = group["temperature"].min(), group["temperature"].max()
        temperature = f"{low:g}" if low == high else f"{low:g}–{high:g}"
        policies = group["policy_hash"].nunique()
        rows.append((domain, mode, temperature, group["avg"].mean(), policies))
    return pd.DataFrame(rows, columns=["domain", "mode", "temperature", "accuracy", "policies"])


def base_disagreements(records: Records) -> list[str]:
    """One sentence per base number on which runs with equal policy, problems and evaluation noise disagree."""
    found = []
    keys = ["policy_hash", "eval_seed", "problems_hash", "samples", "domain", "mode"]
    lines = _base_lines(records)
    seeded = [
        bool(records.runs[cell].env["common_random_numbers"])  # vLLM takes no seed of ours
        for cell in zip(lines["label"], lines["seed"], strict=True)
    ]
    for group_key, group in lines[seeded].groupby(keys):
        if group["avg"].max() - group["avg"].min() <= EQUAL and group["temperature"].nunique() == 1:
            continue
        low, high = group.loc[group["avg"].idxmin()], group.loc[group["avg"].idxmax()]
        sides = [
            f"{row['avg']:.4f} at T={row['temperature']:g} ({row['label']} seed {row['seed']})"
            for row in (low, high)
        ]
        found.append(f"base policy {group_key[0]}, {group_key[4]}, {group_key[5]}: {sides[0]} and {sides[1]}")
    return found


def _base_lines(records: Records) -> pd.DataFrame:
    lines = records.evals[(records.evals["step"] == 0) & (records.evals["split"] == "test")]
    cells = zip(lines["label"], lines["seed"], strict=True)
    return lines.assign(policy_hash=[str(records.runs[cell].env["policy_hash"]) for cell in cells])


def notes(records: Records) -> list[str]:
    """What the reader has to know about how the runs were made, one sentence each; loud ones in capitals."""
    runs = records.runs.values()
    found = [
        f"BASE NUMBERS DISAGREE: {text}. The same policy was measured twice with different results; "
        "find out why before trusting any number here."
        for text in base_disagreements(records)
    ]
    policies = {run.env["policy_hash"] for run in runs}
    if len(policies) == 1:
        found.append(
            "All seeds start from one base policy, so the intervals do not cover the choice of base policy; "
            "a general claim needs at least three."
        )
    else:
        found.append(
            f"The runs start from {len(policies)} base policies; intervals count seeds as independent, so where "
            "several seeds share a policy they are about these policies; the table By base policy has the interval "
            "over policies."
        )
    shared = {bool(run.env["common_random_numbers"]) for run in runs}
    if shared == {True}:
        found.append(
            "Runs of one seed saw the same problems and the same sampling noise (common random numbers)."
        )
    else:
        found.append(
            "Not every run had common random numbers: runs of one seed share their problems, not their noise."
        )
    if partly := [f"{records.names[run.label]} seed {run.seed} ({run.why})" for run in runs if run.why]:
        found.append(f"INCOMPLETE RUNS by allow=[incomplete], without an end point: {listed(partly)}.")
    return found + _steps(records) + _clock(records) + _packages(records) + list(records.remarks) + _counts(records)


def _steps(records: Records) -> list[str]:
    """Step size is not credit: methods whose advantages differ in scale, at one learning rate that nobody tuned."""
    if "advantage_rms" not in records.metrics or records.tuned:
        return []
    scale = records.metrics.groupby("label")["advantage_rms"].mean()
    low, high = scale.idxmin(), scale.idxmax()
    if not scale[high] > UNLIKE_STEPS * scale[low]:
        return []
    return [
        f"STEP SIZES DIFFER: mean advantage RMS is {scale[low]:.2g} for {records.names[low]} and {scale[high]:.2g} for "
        f"{records.names[high]}, at a learning rate that was not tuned: a difference may be one of step size. Compare "
        "with method.scale=matched, or sweep trainer.learning_rate equally."
    ]


def clock_ratio(records: Records) -> float:
    """Largest over smallest among methods of rollout seconds per generated token; NaN where not recorded."""
    metrics = records.metrics
    if "seconds_rollout" not in metrics:
        return float("nan")
    spent = metrics.groupby("label")["seconds_rollout"].sum()
    made = metrics.groupby(["label", "seed"])["tokens"].max().groupby("label").sum()
    pace = spent / made
    return float(pace.max() / pace.min())


def _clock(records: Records) -> list[str]:
    if not (ratio := clock_ratio(records)) > UNLIKE_CLOCKS:
        return []
    return [
        f"SECONDS ARE NOT COMPARABLE: a generated token took up to {ratio:.1f} times as long in one method's runs as "
        "in another's, which sampling alike cannot explain: other work shared the machine, or the machines differ. No "
        "difference at equal seconds is given."
    ]


def _packages(records: Records) -> list[str]:
    """Other releases of the libraries that compute: no reason to exclude a run, but one to tell."""
    found = []
    for name in PACKAGES:
        users: dict[str, list[str]] = {}
        for run in records.runs.values():
            for env in (run.env, *run.env.get("resumed", ())):
                release = str(env.get("versions", {}).get(name))
                users.setdefault(release, []).append(f"{records.names[run.label]} seed {run.seed}")
        if len(users) > 1:
            common = max(sorted(users), key=lambda release: len(users[release]))
            others = [
                f"{release} in {listed(own)}" for release, own in sorted(users.items()) if release != common
            ]
            found.append(f"MIXED PACKAGES: most runs had {name} {common}, but {'; '.join(others)}.")
    return found


def listed(names: Sequence[str], shown: int = 5) -> str:
    """`a, b and 3 more`: each once, in the order given."""
    names = list(dict.fromkeys(names))
    more = f" and {len(names) - shown} more" if len(names) > shown else ""
    return ", ".join(names[:shown]) + more


def _counts(records: Records) -> list[str]:
    found = []
    errors = records.evals[records.evals["domain"] != ALL].groupby("label")["errors"].sum()
    for label, count in errors[errors > 0].items():
        found.append(
            f"VERIFIER ERRORS: {records.names[label]}: {count:g} evaluated completions could not be judged."
        )
    if "unscorable" in records.metrics:
        unscorable = records.metrics.groupby("label")["unscorable"].sum()
        for label, count in unscorable[unscorable > 0].items():
            text = f"{count:g} training completions had no reward and got no credit (summed over steps)."
            found.append(f"UNSCORABLE: {records.names[label]}: {text}")
    return found

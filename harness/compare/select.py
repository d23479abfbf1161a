"""Which runs stand in the tables: other problems and other code are excluded by name, and one value of each
tuned key is chosen per method.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Iterable, Mapping, Sequence
from typing import Any

import pandas as pd

from harness.compare.fairness import BOOKKEEPING, listed
from harness.compare.load import Hole, Records, UsageError, nearest, untuned
from harness.compare.read import ALL, Run

ALLOWABLE = ("problems", "incomplete", "code")
REMAKE = (
    "delete {folder} and make this run again as the baseline's were made, or let it in with allow=[{allow}]"
)
COMMIT = "commit"  # stands for all modules where a run does not list them
SAME_SEEDS = (
    "{keys} chosen for every method on validation problems, from the same training seeds as the verdict: the "
    "problems are others than the test's, but the chosen value's luck with its seeds is part of the difference."
)


def exclude(records: Records, baseline: str, allow: Collection[str] = ()) -> Records:
    """The runs that may stand beside the baseline's; the others become holes that say why.

    Excluded, unless `allow` names it:
    - problems: the test or curve problems are not those of most of the baseline's runs;
    - code: another version of a module than the reference has. The reference is the version that most of the
      baseline's runs have (of several, that of the lowest seed), and for a module that the baseline does not
      load the version that most runs have which load it. `env.json` lists the modules under `code`; where one
      of two runs does not, their commits are compared instead. A run that was resumed counts with every
      version that made a part of it;
    - incomplete: is decided when the records are read (`load.load`).
    Raises UsageError for any other word in `allow`.
    """
    for word in allow:
        if word not in ALLOWABLE:
            raise UsageError(f"allow: no kind {word!r}: {nearest(word, ALLOWABLE)}")
    reasons: dict[tuple[str, int], list[tuple[str, str]]] = {}
    for kind, found in (
        ("problems", _other_problems(records, baseline)),
        ("code", _other_code(records, baseline)),
    ):
        for cell, why in found.items():
            reasons.setdefault(cell, []).append((kind, why))
    holes, remarks = list(records.holes), list(records.remarks)
    for kind, head in (("problems", "OTHER PROBLEMS"), ("code", "MIXED CODE VERSIONS")):
        let_in = [
            f"{records.names[label]} seed {seed} ({why})"
            for (label, seed), own in sorted(reasons.items())
            for word, why in own
            if word == kind and kind in allow
        ]
        if let_in:
            remarks.append(f"{head} by allow=[{kind}]: {listed(let_in)}.")
    gone = {
        cell: left for cell, own in reasons.items() if (left := [one for one in own if one[0] not in allow])
    }
    for cell, own in gone.items():
        words, folder = ",".join(kind for kind, _ in own), records.runs[cell].folder
        why = "; ".join(why for _, why in own)
        holes.append(Hole(*cell, f"excluded: {why}", REMAKE.format(folder=folder, allow=words)))
    return records.keep(set(records.runs) - set(gone), holes, remarks=tuple(remarks))


def _other_problems(records: Records, baseline: str) -> dict[tuple[str, int], str]:
    def problems(run: Run, split: str) -> frozenset[tuple[str, str]]:
        return frozenset((domain, mark) for domain, mark, _ in run.splits.get(split, ()))

    found: dict[tuple[str, int], str] = {}
    for split in ("test", "curve", "validation"):
        usual = _most([problems(records.runs[baseline, seed], split) for seed in records.seeds(baseline)])
        for cell, run in records.runs.items():
            if problems(run, split) != usual:
                start = (
                    f"{found[cell]} and"
                    if cell in found
                    else f"other problems than most of {baseline}'s runs:"
                )
                found[cell] = f"{start} {split}"
    return found


def _other_code(records: Records, baseline: str) -> dict[tuple[str, int], str]:
    """Cell -> in which modules (or commits) its code differs from the reference."""
    versions = {cell: _versions(run) for cell, run in records.runs.items()}
    usual = _most([_mark(versions[baseline, seed][0]) for seed in records.seeds(baseline)])
    reference = next(
        versions[baseline, seed][0]
        for seed in records.seeds(baseline)
        if _mark(versions[baseline, seed][0]) == usual
    )
    usual_code = dict(reference["code"])
    # A module that the baseline does not load: most of the runs that do, of those not known to differ already.
    users: dict[str, list[str]] = {}
    for own in versions.values():
        for version in own:
            if usual_code and version["code"] and not _differs(version, reference, usual_code):
                for module, digest in version["code"].items():
                    users.setdefault(module, []).append(digest)
    usual_code |= {module: _most(digests) for module, digests in users.items() if module not in usual_code}
    found = {}
    for cell, own in versions.items():
        differing = [what for version in own for what in _differs(version, reference, usual_code)]
        if differing:
            resumed = " (resumed by other code)" if len(own) > 1 else ""
            found[cell] = f"other code than most of {baseline}'s runs: {listed(differing)}{resumed}"
    return found


def _versions(run: Run) -> list[Mapping[str, Any]]:
    """Each {code: module -> digits, commit} that made a part of this run."""
    return [
        {"code": env.get("code") or {}, COMMIT: str(env.get(COMMIT))}
        for env in (run.env, *run.env.get("resumed", ()))
    ]


def _mark(version: Mapping[str, Any]) -> tuple:
    return tuple(sorted(version["code"].items())) or (version[COMMIT],)


def _differs(version: Mapping[str, Any], reference: Mapping[str, Any], code: Mapping[str, str]) -> list[str]:
    if not version["code"] or not reference["code"]:
        ours, theirs = version[COMMIT], reference[COMMIT]
        return [] if ours == theirs else [f"{COMMIT} {_short(ours)} instead of {_short(theirs)}"]
    return [name for name, digest in sorted(version["code"].items()) if code.get(name, digest) != digest]


def _short(commit: str) -> str:
    return commit[:8] + "+" * commit.endswith("+") if len(commit) > 9 else commit


def _most(values: Sequence[Any]) -> Any:
    """The most frequent value; of several, the one that comes first."""
    return Counter(values).most_common(1)[0][0]


def choose(records: Records, tuned: Sequence[str] = ()) -> tuple[Records, pd.DataFrame]:
    """(the records with one value of the tuned keys per method, every value tried).

    tuned: configuration keys; without any, those that the runs' own `tuned` lists name. Labels equal but for
    these keys are one method; of its values the one with the highest validation accuracy is kept: mean over
    seeds and domains, sampled at the evaluation temperature after the last step (of equal ones, the first in
    order). A method whose values or seeds are not those of the others had another budget: it is excluded,
    with a hole for every seed. The frame has the columns cell (display name), each tuned key, validation
    (mean), n (seeds), chosen. Raises UsageError for a key that no configuration has.
    """
    keys = sorted(
        set(tuned) or {key for run in records.runs.values() for key in run.config.get("tuned") or ()}
    )
    known = {key for run in records.runs.values() for key in run.config}
    for key in keys:
        if key not in known:
            raise UsageError(f"tuned: no configuration has {key!r}: {nearest(key, known)}")
        if key in BOOKKEEPING:
            raise UsageError(f"tuned: {key} is no setting that could be tuned")
    if not keys or not records.runs:
        return records, pd.DataFrame()
    cells = _cells(records, keys)
    value = {label: _value(records, label, keys) for labels in cells.values() for label in labels}
    grids = {cell: sorted({value[label] for label in labels}, key=_order) for cell, labels in cells.items()}
    # the grid that most methods have; of several, the larger, then the first
    often = Counter(map(tuple, grids.values()))
    usual = min(often, key=lambda grid: (-often[grid], -len(grid), list(map(_order, grid))))
    seeds = sorted({seed for _, seed in records.runs})
    accuracy = _validation(records)
    kept: dict[str, str] = {}
    holes: list[Hole] = []
    rows: list[tuple] = []
    unread = {hole.label for hole in records.holes} - set(value)
    dropped: set[str] = set()
    for cell, labels in cells.items():
        ordered = sorted(labels, key=lambda label: (_order(value[label]), label))
        lost = sorted(
            label for label in unread if untuned(label, keys) in {untuned(own, keys) for own in labels}
        )
        unread, dropped = unread - set(lost), dropped | set(lost)
        why = _unequal(records, ordered, value, grids[cell], usual, seeds, lost)
        if not why and len(usual) > 1:
            why = _unmeasured(accuracy, ordered, seeds)
        means = {label: accuracy[accuracy["label"] == label]["avg"] for label in ordered}
        # max takes the first of equal ones, and `ordered` is in the order of values
        best = None if why else max(ordered, key=lambda label: means[label].mean() if len(usual) > 1 else 0)
        kept[best or ordered[0]] = why
        for label in ordered:
            rows.append(
                (best or ordered[0], *value[label], means[label].mean(), len(means[label]), label == best)
            )
        if why:
            todo = "make the missing runs of this method's grid, or leave seeds out with where=[seed=…]"
            own_seeds = {seed for label in ordered for seed in records.seeds(label)}
            holes += [Hole(ordered[0], seed, why, todo) for seed in sorted(own_seeds)]
    whole = {label for label, why in kept.items() if not why}
    holes += [hole for hole in records.holes if hole.label in whole | unread]
    runs = [(label, seed) for label, seed in records.runs if label in whole]
    remark = SAME_SEEDS.format(keys=", ".join(keys))
    remarks = (*records.remarks, remark) if len(usual) > 1 else records.remarks
    after = records.keep(runs, holes, remarks=remarks, tuned=tuple(keys))
    frame = pd.DataFrame(rows, columns=["label", *keys, "validation", "n", "chosen"])
    frame.insert(0, "cell", [after.names[label] for label in frame.pop("label")])
    frame = frame.sort_values("cell", kind="stable", ignore_index=True)
    return after.keep(after.runs, after.holes, tuning=frame), frame


def _cells(records: Records, keys: Sequence[str]) -> dict[frozenset, list[str]]:
    """Labels whose configurations are equal but for the tuned keys, names, and what turns with the seed."""
    ignored = {*BOOKKEEPING, *keys} - {"method.name"}
    settings = {
        cell: {key: str(own) for key, own in run.config.items() if key not in ignored}
        for cell, run in records.runs.items()
    }
    turning = {
        key
        for label in records.labels
        for seed in records.seeds(label)[1:]
        for key, _ in settings[label, seed].items() ^ settings[label, records.seeds(label)[0]].items()
    }
    found: dict[frozenset, list[str]] = {}
    for label in records.labels:
        if own := records.seeds(label):
            setting = frozenset(item for item in settings[label, own[0]].items() if item[0] not in turning)
            found.setdefault(setting, []).append(label)
    return found


def _value(records: Records, label: str, keys: Sequence[str]) -> tuple:
    config = records.runs[label, records.seeds(label)[0]].config
    # a list is a value too, and has to stand in sets
    return tuple(str(v) if isinstance(v := config.get(key), list | dict) else v for key in keys)


def _order(values: Iterable[Any]) -> list[tuple]:
    """Numbers by size, then the rest as text: None, names and numbers may stand side by side."""
    return [(0, v, "") if isinstance(v, int | float) else (1, 0, str(v)) for v in values]


def _validation(records: Records) -> pd.DataFrame:
    """Columns label, seed, avg: accuracy on validation problems after the last step, over all domains."""
    evals = records.evals
    own = evals[(evals["split"] == "validation") & (evals["mode"] == "sampled") & (evals["domain"] == ALL)]
    configs = [records.runs[cell].config for cell in zip(own["label"], own["seed"], strict=True)]
    last = [config["trainer.steps"] for config in configs]
    temperature = [config.get("evaluation.temperature") for config in configs]
    return own[(own["step"] == last) & (own["temperature"] == temperature)][["label", "seed", "avg"]]


def _unequal(
    records: Records,
    labels: list[str],
    value: Mapping[str, tuple],
    grid: list[tuple],
    usual: tuple[tuple, ...],
    seeds: list[int],
    lost: list[str],
) -> str:
    """Why a method cannot be tuned beside the others; empty if it can. lost: its labels without any run."""

    def shown(values: Iterable[tuple]) -> str:
        return ", ".join("/".join(map(str, one)) for one in values)

    if tuple(grid) != usual:
        return f"unequal budget: tried {shown(grid)}, where most methods tried {shown(usual)}"
    if lost:
        return f"unequal budget: {listed(lost)} has no finished run"
    if len(labels) > len(grid):
        return f"not to be tuned: {listed(labels)} have the same value and differ in nothing but their names"
    for label in labels:
        if lacking := sorted(set(seeds) - set(records.seeds(label))):
            return f"unequal budget: {shown([value[label]])} lacks seed {listed(list(map(str, lacking)))}"
    return ""


def _unmeasured(accuracy: pd.DataFrame, labels: list[str], seeds: list[int]) -> str:
    for label in labels:
        own = accuracy[accuracy["label"] == label]
        if lacking := sorted(set(seeds) - set(own["seed"])):
            return (
                f"nothing to choose by: {label} seed {listed(list(map(str, lacking)))} has no validation "
                "evaluation after the last step"
            )
    return ""

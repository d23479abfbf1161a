"""Reads what runs wrote (results/<experiment>/<label>/seed-<n>/) into tidy frames and a list of holes.

A run enters the frames only if it is finished and every file the comparison needs is whole. Everything else
is a `Hole`: a (label, seed) cell that the tables lack, with the reason and what to do about it.
"""

from __future__ import annotations

import difflib
import re
from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import pandas as pd

from harness.compare.read import RecordError, Run, read_config, read_run, read_text

RESUME = "start the same sweep again: finished runs are skipped, this one resumes from its last checkpoint"
MAKE = "start the same sweep again: finished runs are skipped, only this one is made"
REMAKE = "delete {folder} and start the same sweep again: only this run is made anew"


class UsageError(Exception):
    """What the user asked for cannot be done; the message is one line that says what to change."""


@dataclass(frozen=True, order=True)
class Hole:
    """A cell of the table that is not there: a run that is missing, unfinished, failed or unreadable."""

    label: str
    seed: int
    why: str
    todo: str


@dataclass(frozen=True)
class Records:
    """All runs of one experiment folder.

    evals, metrics: the lines of evals.jsonl and metrics.jsonl of the finished runs, with columns `label` and
    `seed`. labels: every label seen, finished or not, sorted. holes: cells of seeds x labels that are not in
    the frames.
    """

    root: Path
    runs: dict[tuple[str, int], Run]
    holes: list[Hole]
    labels: list[str]
    evals: pd.DataFrame
    metrics: pd.DataFrame

    def seeds(self, label: str) -> list[int]:
        return sorted(seed for other, seed in self.runs if other == label)

    @cached_property
    def names(self) -> dict[str, str]:
        """label -> display name: the label without its hash, and without the overrides that all labels share,
        wherever that is unambiguous.
        """
        parts = {label: without_hash(label).split("+") for label in self.labels}
        shared = set.intersection(*(set(own[1:]) for own in parts.values())) if parts else set()
        short = {
            label: "+".join([own[0], *(part for part in own[1:] if part not in shared)])
            for label, own in parts.items()
        }
        counts = Counter(short.values())
        return {label: name if counts[name] == 1 else label for label, name in short.items()}

    def resolve(self, name: str) -> str:
        """The label that `name` (a label, or a label without its hash) stands for; UsageError otherwise."""
        if name in self.labels:
            return name
        if len(shown := [label for label, short in self.names.items() if short == name]) == 1:
            return shown[0]
        short = {label: without_hash(label) for label in self.labels}
        matches = [label for label in self.labels if short[label] == name]
        # Overrides that a whole sweep shares stand in every label: the preset alone may still be enough.
        matches = matches or [label for label in self.labels if short[label].startswith(f"{name}+")]
        if len(matches) == 1:
            return matches[0]
        if matches:
            raise UsageError(f"baseline={name} could be {', '.join(matches)}: write the full label")
        raise UsageError(f"no method {name!r} in {self.root}: {nearest(name, set(self.names.values()))}")


def without_hash(label: str) -> str:
    return re.sub(r"-[0-9a-f]{6,12}$", "", label)


def nearest(name: str, valid: Iterable[str]) -> str:
    """The part of an error message that helps: the closest valid names, or else all of them."""
    valid = sorted(valid)
    if close := difflib.get_close_matches(name, valid, n=3, cutoff=0.5):
        return f"did you mean {' or '.join(close)}?"
    return f"there is {', '.join(valid[:12])}{', …' if len(valid) > 12 else ''}" if valid else "there is none"


def load(root: Path) -> Records:
    """Reads every run below `root` (layout <label>/seed-<n>); UsageError if there is nothing to read."""
    runs: dict[tuple[str, int], Run] = {}
    holes: list[Hole] = []
    claimed: dict[tuple[str, int], list[Path]] = {}
    for folder, seed in _run_folders(root):
        todo = REMAKE.format(folder=folder)
        try:
            config = read_config(folder)
        except RecordError as error:
            holes.append(Hole(folder.parent.name, seed, str(error), todo))
            continue
        cell = (config["label"], seed)
        claimed.setdefault(cell, []).append(folder)
        if config["seed"] != seed:
            why = f"config.yaml says seed {config['seed']}, the folder is {folder.name}"
            holes.append(Hole(*cell, why, todo))
            continue
        try:
            status = read_text(folder / "STATUS").strip()
            if status == "done":
                runs[cell] = read_run(folder, *cell, config)
            else:
                holes.append(Hole(*cell, *_unfinished(status, todo)))
        except RecordError as error:
            holes.append(Hole(*cell, str(error), todo))
    for cell, folders in claimed.items():
        if len(folders) > 1:  # which of them counts is not ours to choose
            runs.pop(cell, None)
            holes = [hole for hole in holes if (hole.label, hole.seed) != cell]
            why = f"duplicated seed: {' and '.join(map(str, folders))} are both {cell[0]} seed {cell[1]}"
            holes.append(Hole(*cell, why, "delete all but one of these folders"))
    holes += _missing(set(runs) | {(hole.label, hole.seed) for hole in holes})
    labels = sorted({label for label, _ in runs} | {hole.label for hole in holes})
    ordered = [runs[cell] for cell in sorted(runs)]
    return Records(root, runs, sorted(holes), labels, _stack(ordered, "evals"), _stack(ordered, "metrics"))


def _stack(runs: list[Run], name: str) -> pd.DataFrame:
    frames = [getattr(run, name).assign(label=run.label, seed=run.seed) for run in runs]
    return pd.concat(frames, ignore_index=True) if frames else pd.DataFrame()


def _run_folders(root: Path) -> Iterator[tuple[Path, int]]:
    if not root.is_dir():
        siblings = {str(path) for path in root.parent.glob("*") if path.is_dir()}
        raise UsageError(f"no folder {root}: {nearest(str(root), siblings)}")
    found = [
        (folder, int(match[1]))
        for folder in sorted(root.glob("*/seed-*"))
        if folder.is_dir() and (match := re.fullmatch(r"seed-(\d+)", folder.name))
    ]
    if not found and list(root.glob("seed-*")):
        raise UsageError(
            f"{root} holds the seeds of one method: give the folder above it, runs={root.parent}"
        )
    if not found:
        deeper = sorted({str(folder.parents[1]) for folder in root.glob("*/*/seed-*")})
        hint = (
            f"did you mean runs={' or runs='.join(deeper[:5])}?"
            if deeper
            else "start some with python -m harness"
        )
        raise UsageError(f"no runs (<label>/seed-<n>) in {root}: {hint}")
    yield from found


def _missing(cells: set[tuple[str, int]]) -> list[Hole]:
    labels, seeds = {label for label, _ in cells}, {seed for _, seed in cells}
    absent = {(label, seed) for label in labels for seed in seeds} - cells
    return [
        Hole(label, seed, "no such run, though other methods have this seed", MAKE) for label, seed in absent
    ]


def _unfinished(status: str, todo: str) -> tuple[str, str]:
    if status == "running":
        return "running, or interrupted", f"wait, or {RESUME}"
    if status.startswith("failed"):
        return status, f"mend the cause, then {RESUME}"
    return f"STATUS says {status!r}, not running, done or failed", todo

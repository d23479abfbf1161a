"""Reads what runs wrote (<experiment>/<label>/seed-<n>/) into tidy frames and a list of holes.

A run enters the frames only if it is finished and every file the comparison needs is whole. Everything else
is a `Hole`: a (label, seed) cell that the tables lack, with the reason and what to do about it.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Callable, Collection, Iterable, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from harness.compare.filters import UsageError, apply, nearest
from harness.compare.read import Columns, RecordError, Run, read_config, read_run, read_text

__all__ = ["Hole", "Records", "UsageError", "load", "nearest", "without_hash"]

RESUME = "start the same sweep again: finished runs are skipped, this one resumes from its last checkpoint"
MAKE = "start the same sweep again: finished runs are skipped, only this one is made"
REMAKE = "delete {folder} and start the same sweep again: only this run is made anew"
ALLOW = "; or let it in as it is with allow=[incomplete]"
ALONE = 64  # up to so many runs are read by this process: starting others takes longer
WORKERS = 2
CHUNK = 8  # runs handed to a worker at a time


@dataclass(frozen=True, order=True)
class Hole:
    """A cell of the table that is not there: a run that is missing, unfinished, unreadable or excluded."""

    label: str
    seed: int
    why: str
    todo: str


@dataclass(frozen=True)
class Records:
    """All runs of one or several experiment folders.

    evals, metrics: the lines of evals.jsonl and metrics.jsonl of the runs in `runs`, with columns `label` and
    `seed`. labels: every label seen, finished or not, sorted. holes: cells of seeds x labels that are not in
    the frames. remarks: what the reader has to know about the choice of runs. tuned: configuration keys whose
    value was chosen per method; tuning: what was tried for that (`select.choose`), empty if nothing was.
    """

    roots: tuple[Path, ...]
    runs: dict[tuple[str, int], Run]
    holes: list[Hole]
    labels: list[str]
    evals: pd.DataFrame
    metrics: pd.DataFrame
    remarks: tuple[str, ...] = ()
    tuned: tuple[str, ...] = ()
    tuning: pd.DataFrame = field(default_factory=pd.DataFrame)

    @property
    def name(self) -> str:
        """A title: the names of the folders, 'demo' or 'demo, controls'."""
        return ", ".join(root.resolve().name for root in self.roots)

    @cached_property
    def _seeds(self) -> dict[str, list[int]]:
        found: dict[str, list[int]] = {}
        for label, seed in sorted(self.runs):
            found.setdefault(label, []).append(seed)
        return found

    def seeds(self, label: str) -> list[int]:
        return list(self._seeds.get(label, ()))

    def keep(
        self,
        cells: Collection[tuple[str, int]],
        holes: Iterable[Hole],
        labels: Iterable[str] = (),
        **changes: Any,
    ) -> Records:
        """These records with the runs of `cells` alone and other holes.

        labels: of those without a run or a hole, which stay; changes: of other fields.
        """
        cells, holes = set(cells), sorted(holes)
        frames = {"evals": self.evals, "metrics": self.metrics}
        if len(cells) < len(self.runs):
            for name, frame in frames.items():
                own = [cell in cells for cell in zip(frame["label"], frame["seed"], strict=True)]
                frames[name] = frame[own].reset_index(drop=True)
        runs = {cell: run for cell, run in self.runs.items() if cell in cells}
        seen = {label for label, _ in cells} | {hole.label for hole in holes} | set(labels)
        return replace(self, runs=runs, holes=holes, labels=sorted(seen), **frames, **changes)

    @cached_property
    def names(self) -> dict[str, str]:
        """label -> display name: the label without its hash, without overrides of tuned keys, and without the
        overrides that all labels share, wherever that is unambiguous.
        """
        parts = {label: untuned(label, self.tuned).split("+") for label in self.labels}
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
        where = ", ".join(map(str, self.roots))
        raise UsageError(f"no method {name!r} in {where}: {nearest(name, set(self.names.values()))}")


def without_hash(label: str) -> str:
    return re.sub(r"-[0-9a-f]{6,12}$", "", label)


def untuned(label: str, tuned: Iterable[str]) -> str:
    """A label without its hash and without the overrides of tuned keys (in labels, `method.` is left out)."""
    preset, *parts = without_hash(label).split("+")
    heads = tuple(f"{name}-" for key in tuned for name in (key, key.removeprefix("method.")))
    return "+".join([preset, *(part for part in parts if not part.startswith(heads))])


def load(roots: Path | Sequence[Path], where: Sequence[str] = (), partial: bool = False) -> Records:
    """Reads every run below `roots` (layout <label>/seed-<n>) whose configuration passes `where`.

    partial: runs that are not finished, or whose records are cut short, enter with what they have, if their
    base policy was evaluated. Raises UsageError if there is nothing to read, or if two folders hold one cell
    (label, seed): which of them counts is not ours to choose.
    """
    roots = (roots,) if isinstance(roots, Path) else tuple(roots)
    folders = [found for root in roots for found in _run_folders(root)]
    holes: list[Hole] = []
    with _mapper(len(folders)) as spread:
        read = list(zip(folders, spread(_config, [folder for folder, _ in folders]), strict=True))
        for (folder, seed), config in read:
            if isinstance(config, RecordError):
                holes.append(Hole(folder.parent.name, seed, str(config), REMAKE.format(folder=folder)))
        read = [(*found, config) for found, config in read if isinstance(config, dict)]
        passes = apply(where, [config for *_, config in read]) if where else [True] * len(read)
        wanted = [one for one, stays in zip(read, passes, strict=True) if stays]
        _refuse_duplicates(wanted)
        parts = []
        for part in spread(_read, [(*one, partial) for one in wanted]):
            if isinstance(part, Hole):
                holes.append(part)
            else:
                parts.append(part)
    parts.sort(key=lambda part: (part[0].label, part[0].seed))
    runs = {(run.label, run.seed): run for run, *_ in parts}
    holes += _missing(set(runs) | {(hole.label, hole.seed) for hole in holes})
    labels = sorted({label for label, _ in runs} | {hole.label for hole in holes})
    cells = list(runs)
    evals = _stack(cells, [columns for _, columns, _ in parts])
    metrics = _stack(cells, [columns for *_, columns in parts])
    left = passes.count(False)
    remark = f"{left} run{'s' * (left > 1)} left out by where=[{','.join(where)}]."
    return Records(roots, runs, sorted(holes), labels, evals, metrics, (remark,) if left else ())


@contextmanager
def _mapper(count: int) -> Iterator[Callable[[Callable, Sequence], Iterator]]:
    """`map`, by worker processes where there is enough to do; results keep their order."""
    if count <= ALONE:
        yield map
        return
    with ProcessPoolExecutor(WORKERS) as pool:
        yield lambda function, arguments: pool.map(function, arguments, chunksize=CHUNK)


def _config(folder: Path) -> dict[str, Any] | RecordError:
    try:
        return read_config(folder)
    except RecordError as error:
        return error


def _read(one: tuple[Path, int, dict[str, Any], bool]) -> tuple[Run, Columns, Columns] | Hole:
    folder, seed, config, partial = one
    cell, todo = (config["label"], seed), REMAKE.format(folder=folder)
    if config["seed"] != seed:
        return Hole(*cell, f"config.yaml says seed {config['seed']}, the folder is {folder.name}", todo)
    try:
        status = read_text(folder / "STATUS").strip()
        why, todo = ("", todo) if status == "done" else _unfinished(status, todo)
        if not why:
            return read_run(folder, *cell, config)
    except RecordError as error:
        why = str(error)
    if partial:
        try:
            return read_run(folder, *cell, config, why)
        except RecordError as error:
            why = str(error) if str(error) == why else f"{why}; even as an incomplete run, {error}"
    return Hole(*cell, why, todo if partial else todo + ALLOW)


def _refuse_duplicates(read: Iterable[tuple[Path, int, dict[str, Any]]]) -> None:
    claimed: dict[tuple[str, int], Path] = {}
    for folder, seed, config in read:
        if (first := claimed.setdefault((config["label"], seed), folder)) != folder:
            raise UsageError(
                f"duplicated seed: {first} and {folder} are both {config['label']} seed {seed}; leave one of "
                "them out (runs=, where=) or delete it"
            )


def _stack(cells: Sequence[tuple[str, int]], parts: list[Columns]) -> pd.DataFrame:
    """One frame of all runs' lines. What a run lacks is NaN; empties `parts`, to hold no number twice.

    Columns of numbers are float64, or int64 where every run has whole numbers; float32 for what a method
    records of itself (names with a slash), of which a large sweep has hundreds of columns.
    """
    if not parts:
        return pd.DataFrame()
    counts = [len(columns["step"]) for columns in parts]
    starts = np.concatenate([[0], np.cumsum(counts)])
    names = dict.fromkeys(name for columns in parts for name in columns)
    table: dict[str, Any] = {}
    for name in names:
        own = [columns.pop(name, None) for columns in parts]
        kinds = {None if values is None else values.dtype for values in own}
        common = object if np.dtype(object) in kinds else np.float32 if "/" in name else np.float64
        kind = np.int64 if kinds == {np.dtype(np.int64)} else common
        whole = np.full(starts[-1], 0 if kind is np.int64 else np.nan, dtype=kind)
        for values, start, count in zip(own, starts, counts, strict=False):
            if values is not None:
                whole[start : start + count] = values
        table[name] = whole
    labels, seeds = (
        np.array([label for label, _ in cells], dtype=object),
        np.array([seed for _, seed in cells]),
    )
    table |= {"label": np.repeat(labels, counts), "seed": np.repeat(seeds, counts)}
    return pd.DataFrame(table, copy=False)


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

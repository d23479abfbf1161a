"""Reads one run's folder: whole files or a `RecordError` that names the file and the line.

No file is repaired and no line is skipped silently: half a run would look like a run. Only where the caller
asks for a `partial` run may the end be missing, and the run then says so (`Run.why`).
"""

from __future__ import annotations

import itertools
import json
from collections import defaultdict
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from harness.compare.lines import RecordError, check_fields, is_a, read_lines, read_text
from harness.plaindata import NotYaml, is_finite, load_yaml

ALL = "all"  # the domain that is the unweighted mean over domains

EVAL_FIELDS: dict[str, type] = {
    "step": int, "split": str, "mode": str, "temperature": float, "domain": str, "samples": int, "avg": float,
    "problems": int, "errors": float, "train_tokens": float, "train_seconds": float, "problems_hash": str,
    "eval_seed": int,
}  # fmt: skip
METRIC_FIELDS: dict[str, type] = {"step": int, "tokens": float, "seconds": float}
SAMPLE_FIELDS: dict[str, type] = {"domain": str, "problem": str, "mode": str}
ENV_FIELDS = ("command", "commit", "common_random_numbers", "policy_hash")
ENV_TYPES = {"command": (str, list), "versions": (dict,), "resumed": (list,), "code": (dict,)}
BASE_MODES = ("sampled", "greedy", "best")  # of the evaluations before training

# column name -> its values in the order of the lines: float64 (null is NaN), int64, or any objects
Columns = dict[str, np.ndarray]


@dataclass(frozen=True)
class Items:
    """Completions of one domain's test problems in one mode: problems (p,) hashes, sorted; n (p,) int64 judged ones,
    correct (p,) int64 right ones.
    """

    problems: np.ndarray
    n: np.ndarray
    correct: np.ndarray


@dataclass(frozen=True)
class Run:
    """One run. `config` is flat (dotted key -> value; a list is one value), `env` is env.json.

    splits: split -> its distinct (domain, problems_hash, eval_seed), sorted. why: empty for a finished run,
    otherwise why it is incomplete (such a run is read only where it is asked for). items: (domain, mode) -> counts
    (`read_items`), empty for an incomplete run, whose test problems were not sampled yet, and for one that kept no
    completions.
    """

    label: str
    seed: int
    folder: Path
    config: dict[str, Any]
    env: dict[str, Any]
    splits: dict[str, tuple[tuple[str, str, int], ...]]
    items: dict[tuple[str, str], Items] = field(compare=False, repr=False)
    why: str = ""


def flatten(tree: dict[str, Any], prefix: str = "") -> dict[str, Any]:
    """Nested mapping -> {dotted key: leaf}. Lists and empty mappings are leaves."""
    flat: dict[str, Any] = {}
    for key, value in tree.items():
        nested = isinstance(value, dict) and value
        flat |= flatten(value, f"{prefix}{key}.") if nested else {f"{prefix}{key}": value}
    return flat


def read_config(folder: Path) -> dict[str, Any]:
    try:
        tree = load_yaml(read_text(folder / "config.yaml"))
    except NotYaml as error:
        raise RecordError(f"config.yaml line {error.line or '?'} is not YAML") from error
    if not isinstance(tree, dict):
        raise RecordError("config.yaml holds no mapping")
    config = flatten(tree)
    for key in ("label", "seed", "method.name", "trainer.steps", "evaluation.every"):
        if key not in config:
            raise RecordError(f"config.yaml has no {key}")
    for key in ("trainer.steps", "evaluation.every"):
        if not is_a(config[key], int) or config[key] < 1:
            raise RecordError(f"config.yaml: {key} is {config[key]!r}, expected a positive int")
    if not isinstance(tuned := config.get("tuned", []), list) or not all(isinstance(key, str) for key in tuned):
        raise RecordError(f"config.yaml: tuned is {tuned!r}, expected a list of keys")
    if not isinstance(config["label"], str):
        raise RecordError(f"config.yaml: label is {config['label']!r}, expected text")
    return config


def curve_steps(config: Mapping[str, Any]) -> list[int]:
    """The steps at which a finished run of this configuration has measured its learning curve."""
    last = config["trainer.steps"]
    return sorted({*range(0, last, config["evaluation.every"]), last})


def _columns(lines: Sequence[Mapping[str, Any]]) -> Columns:
    """Lines -> columns. A field of numbers becomes a float64 array (int64 if all are whole), null is NaN."""
    names = list(lines[0])
    if all(list(line) == names for line in lines):  # nearly always, and much the faster way
        table = dict(zip(names, zip(*(line.values() for line in lines), strict=True), strict=True))
    else:
        names = list(dict.fromkeys(itertools.chain.from_iterable(lines)))
        table = {name: [line.get(name) for line in lines] for name in names}
    columns = {}
    for name, values in table.items():
        kinds = {*map(type, values)}
        if kinds <= {int, float, type(None)}:
            if int in kinds and not all(is_finite(value) for value in values if type(value) is int):
                raise RecordError(f"{name} has a number that is too large")
            columns[name] = np.array(values, dtype=np.int64 if kinds == {int} else np.float64)
        else:
            columns[name] = np.fromiter(values, dtype=object, count=len(values))
    return columns


def read_env(folder: Path) -> dict[str, Any]:
    try:
        env = json.loads(read_text(folder / "env.json"))
    except (ValueError, RecursionError) as error:
        raise RecordError(f"env.json line {getattr(error, 'lineno', 1)} is not JSON") from error
    for key in ENV_FIELDS:
        if not isinstance(env, dict) or key not in env:
            raise RecordError(f"env.json has no {key}")
    for key, kinds in ENV_TYPES.items():
        if not isinstance(env.get(key, kinds[0]()), kinds):
            raise RecordError(f"env.json: {key} is {env[key]!r}, expected {kinds[0].__name__}")
    return env


def read_run(
    folder: Path, label: str, seed: int, config: dict[str, Any], partial: str = ""
) -> tuple[Run, Columns, Columns]:
    """(the run, columns of evals.jsonl, columns of metrics.jsonl).

    partial: why the run is known to be incomplete. Then its base evaluations and the first point of its
    learning curve are enough, the rest is read as far as it goes, without a last line that was cut short.
    """
    env, last = read_env(folder), config["trainer.steps"]
    lines = read_lines(folder / "evals.jsonl", EVAL_FIELDS, cut=bool(partial))
    check_fields("evals.jsonl", lines)
    for number, line in enumerate(lines, start=1):
        if not isinstance(shares := line.get("pass", {}), dict) or not all(map(str.isdecimal, shares)):
            raise RecordError(f"evals.jsonl line {number}: pass is {shares!r:.60}, expected shares by samples")
    seen = _evaluations(lines)
    expected = [(0, "test", mode, None) for mode in BASE_MODES]
    if partial:
        expected += [(0, "curve", "sampled", None)]
    else:
        expected += [(last, "test", "sampled", None), (last, "test", "greedy", None)]
        expected += [(step, "curve", "sampled", None) for step in curve_steps(config)]
        expected += [(*evaluation, temperature) for *evaluation, _, temperature in seen]  # of one domain: of each
    domains: dict[str, set[str]] = defaultdict(lambda: {ALL})  # a mix may be tested on others than it is trained on
    for line in lines:
        domains[line["split"]].add(line["domain"])
    for step, split, mode, temperature in dict.fromkeys(expected):
        for domain in sorted(domains[split]):
            if (step, split, mode, domain, temperature) not in seen:
                raise RecordError(f"evals.jsonl has no {split}/{mode} evaluation of domain {domain} at step {step}")
    metrics = _metrics(folder / "metrics.jsonl", last, bool(partial))
    marks: dict[str, set[tuple[str, str, int]]] = {}
    for line in lines:
        marks.setdefault(line["split"], set()).add((line["domain"], line["problems_hash"], line["eval_seed"]))
    splits = {split: tuple(sorted(own)) for split, own in sorted(marks.items())}
    # one that is not there says nothing; one that is damaged makes a hole
    kept = not partial and (folder / "samples.jsonl").is_file()
    ends = [line for line in lines if (line["step"], line["split"]) == (last, "test") and line["domain"] != ALL]
    items = read_items(folder, {(line["domain"], line["mode"]): line for line in ends}) if kept else {}
    return Run(label, seed, folder, config, env, splits, items, partial), _columns(lines), metrics


def _evaluations(lines: Sequence[Mapping[str, Any]]) -> Collection[tuple]:
    """(step, split, mode, domain, temperature on validation) of every line; each may stand there once."""
    seen: dict[tuple, int] = {}
    for number, line in enumerate(lines, start=1):
        # elsewhere there is one line a mode
        temperature = line["temperature"] if line["split"] == "validation" else None
        key = (line["step"], line["split"], line["mode"], line["domain"], temperature)
        if (first := seen.setdefault(key, number)) != number:
            raise RecordError(f"evals.jsonl line {number} repeats the evaluation of line {first}")
    return seen.keys()


def _metrics(path: Path, last: int, partial: bool) -> Columns:
    if partial and (not path.is_file() or not path.stat().st_size):  # stopped before the first step ended
        return {"step": np.zeros(0, np.int64), **{name: np.zeros(0) for name in METRIC_FIELDS if name != "step"}}
    lines = read_lines(path, METRIC_FIELDS, cut=partial)
    check_fields(path.name, lines)
    columns = _columns(lines)
    steps = columns["step"]
    whole = len(steps) <= last if partial else len(steps) == last
    if not whole or not np.array_equal(steps, np.arange(1, len(steps) + 1)):
        raise RecordError(f"metrics.jsonl does not hold the steps 1 to {last}, one line each")
    for name, values in columns.items():
        kinds = {type(value) for value in values} if values.dtype == object else set()
        if kinds & {int, float} and kinds & {str, list}:
            raise RecordError(f"metrics.jsonl: {name} is a number on some lines and none on others")
    return columns


def read_items(
    folder: Path, ends: Mapping[tuple[str, str], Mapping[str, Any]] | None = None
) -> dict[tuple[str, str], Items]:
    """(domain, mode) -> counts per test problem from samples.jsonl.

    A completion whose verdict is null (a verifier error) is not judged and counts nowhere. No texts are kept.
    ends: (domain, mode) -> the line of evals.jsonl that counts these completions: a file that ends early on a whole
    line shows in it.
    """
    counts: dict[tuple[str, str], dict[str, list[int]]] = defaultdict(dict)
    for number, line in enumerate(read_lines(folder / "samples.jsonl", SAMPLE_FIELDS), start=1):
        own = counts[line["domain"], line["mode"]].setdefault(line["problem"], [0, 0, 0])
        own[2] += 1
        if (verdict := line.get("correct", "missing")) is not None:
            if not isinstance(verdict, bool):
                raise RecordError(f"samples.jsonl line {number}: correct is {verdict!r}, expected true, false or null")
            own[0] += 1
            own[1] += verdict
    asked: dict[str, Collection[str]] = {}
    for domain, mode in sorted(counts.keys() | ends.keys()) if ends is not None else ():
        told, own = ends.get((domain, mode), {"problems": 0, "samples": 0}), counts.get((domain, mode), {})
        sizes = [size for *_, size in own.values()]
        if len(sizes) != told["problems"] or {*sizes} - {told["samples"]}:
            raise RecordError(
                f"samples.jsonl has {sum(sizes)} {mode} completions of {len(sizes)} problems of domain {domain}; "
                f"evals.jsonl says {told['problems']} problems, {told['samples']} of each"
            )
        if sizes and asked.setdefault(domain, own.keys()) != own.keys():
            raise RecordError(f"samples.jsonl: the {mode} problems of domain {domain} are not those of other modes")
    return {key: _items(counts[key]) for key in sorted(counts)}


def _items(counts: Mapping[str, Sequence[int]]) -> Items:
    problems = sorted(counts)
    n, correct, _ = np.array([counts[problem] for problem in problems], dtype=np.int64).T
    return Items(np.array(problems), n, correct)

"""Reads one run's folder: whole files or a `RecordError` that names the file and the line.

No file is repaired and no line is skipped silently: half a run would look like a run.
"""

from __future__ import annotations

import itertools
import json
import math
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pandas as pd
import yaml

ALL = "all"  # the domain that is the unweighted mean over domains

EVAL_FIELDS: dict[str, type] = {
    "step": int, "split": str, "mode": str, "temperature": float, "domain": str, "samples": int, "avg": float,
    "errors": float, "train_tokens": float, "train_seconds": float, "problems_hash": str, "eval_seed": int,
}  # fmt: skip
METRIC_FIELDS: dict[str, type] = {"step": int, "tokens": float, "seconds": float}
ENV_FIELDS = ("command", "commit", "common_random_numbers", "policy_hash")


class RecordError(Exception):
    """A record file is missing or damaged; the message names file and line."""


@dataclass(frozen=True)
class Run:
    """One finished run. `config` is flat (dotted key -> value; a list is one value), `env` is env.json."""

    label: str
    seed: int
    folder: Path
    config: dict[str, Any]
    env: dict[str, Any]
    evals: pd.DataFrame
    metrics: pd.DataFrame


def flatten(tree: dict[str, Any], prefix: str = "") -> dict[str, Any]:
    """Nested mapping -> {dotted key: leaf}. Lists and empty mappings are leaves."""
    flat: dict[str, Any] = {}
    for key, value in tree.items():
        nested = isinstance(value, dict) and value
        flat |= flatten(value, f"{prefix}{key}.") if nested else {f"{prefix}{key}": value}
    return flat


def read_text(path: Path) -> str:
    if not path.is_file():
        raise RecordError(f"{path.name} is missing")
    try:
        return path.read_text(encoding="utf-8")
    except UnicodeDecodeError as error:
        raise RecordError(f"{path.name} is not text: byte {error.start} is no UTF-8") from error


def read_config(folder: Path) -> dict[str, Any]:
    loader = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
    try:
        tree = yaml.load(read_text(folder / "config.yaml"), loader)
    except yaml.YAMLError as error:
        mark = getattr(error, "problem_mark", None)
        raise RecordError(f"config.yaml line {mark.line + 1 if mark else '?'} is not YAML") from error
    if not isinstance(tree, dict):
        raise RecordError("config.yaml holds no mapping")
    config = flatten(tree)
    for key in ("label", "seed", "method.name", "trainer.steps", "evaluation.every"):
        if key not in config:
            raise RecordError(f"config.yaml has no {key}")
    for key in ("trainer.steps", "evaluation.every"):
        if not _is(config[key], int) or config[key] < 1:
            raise RecordError(f"config.yaml: {key} is {config[key]!r}, expected a positive int")
    if not isinstance(config["label"], str):
        raise RecordError(f"config.yaml: label is {config['label']!r}, expected text")
    return config


def _read_lines(path: Path, fields: dict[str, type]) -> list[dict[str, Any]]:
    lines = []
    for number, text in enumerate(read_text(path).splitlines(), start=1):
        where = f"{path.name} line {number}"
        try:
            line = json.loads(text)
        except json.JSONDecodeError as error:
            raise RecordError(f"{where} is not JSON (cut short?)") from error
        if not isinstance(line, dict):
            raise RecordError(f"{where} is not a JSON object")
        for field, kind in fields.items():
            if not _is(line.get(field), kind):
                raise RecordError(
                    f"{where}: {field} is {line.get(field)!r}, expected a finite {kind.__name__}"
                )
        if not 0 <= line.get("avg", 0) <= 1:
            raise RecordError(f"{where}: avg is {line['avg']!r}, expected an accuracy between 0 and 1")
        lines.append(line)
    if not lines:
        raise RecordError(f"{path.name} is empty")
    return lines


def _is(value: Any, kind: type) -> bool:
    if kind is float:
        return isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value)
    return isinstance(value, kind) and not isinstance(value, bool)


def read_run(folder: Path, label: str, seed: int, config: dict[str, Any]) -> Run:
    try:
        env = json.loads(read_text(folder / "env.json"))
    except json.JSONDecodeError as error:
        raise RecordError(f"env.json line {error.lineno} is not JSON") from error
    for key in ENV_FIELDS:
        if not isinstance(env, dict) or key not in env:
            raise RecordError(f"env.json has no {key}")
    lines = _read_lines(folder / "evals.jsonl", EVAL_FIELDS)
    seen: dict[tuple, int] = {}
    for number, line in enumerate(lines, start=1):
        temperature = (
            line["temperature"] if line["split"] == "validation" else None
        )  # elsewhere one line a mode
        key = (line["step"], line["split"], line["mode"], line["domain"], temperature)
        if (first := seen.setdefault(key, number)) != number:
            raise RecordError(f"evals.jsonl line {number} repeats the evaluation of line {first}")
    last, every = config["trainer.steps"], config["evaluation.every"]
    expected = [(0, "test", mode) for mode in ("sampled", "greedy", "best")]
    expected += [
        (last, "test", "sampled"),
        (last, "test", "greedy"),
        *((step, "curve", "sampled") for step in sorted({*range(0, last, every), last})),
    ]
    domains = sorted({ALL} | {line["domain"] for line in lines})
    for (step, split, mode), domain in itertools.product(expected, domains):
        if (step, split, mode, domain, None) not in seen:
            raise RecordError(
                f"evals.jsonl has no {split}/{mode} evaluation of domain {domain} at step {step}"
            )
    metrics = _read_lines(folder / "metrics.jsonl", METRIC_FIELDS)
    if [line["step"] for line in metrics] != list(range(1, last + 1)):
        raise RecordError(f"metrics.jsonl does not hold the steps 1 to {last}, one line each")
    return Run(label, seed, folder, config, env, pd.DataFrame(lines), pd.DataFrame(metrics))

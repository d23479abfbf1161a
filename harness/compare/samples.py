"""Reads what one run shows of its completions: samples.jsonl, problems.jsonl and credit.jsonl.

As in `read`: a file is whole, or a `RecordError` names the file and the line. A file that is not there gives an
empty list: runs made before these records existed lack it, and the page says so.
"""

from __future__ import annotations

import json
import math
from collections import Counter
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from harness.compare.read import RecordError, read_text

NONE = type(None)
SAMPLE_FIELDS: dict[str, tuple[type, ...]] = {
    "step": (int,), "split": (str,), "mode": (str,), "domain": (str,), "problem": (str,), "sample": (int,),
    "text": (str,), "answer": (str, NONE), "correct": (bool, NONE),
}  # fmt: skip
PROBLEM_FIELDS: dict[str, tuple[type, ...]] = {
    "problem": (str,), "split": (str,), "domain": (str,), "prompt": (str,), "reference": (str, NONE),
}  # fmt: skip
CREDIT_FIELDS: dict[str, tuple[type, ...]] = {
    "step": (int,), "domain": (str,), "problem": (str,), "sample": (int,), "reward": (float, int, NONE),
    "correct": (bool, NONE), "tokens": (list,), "credit": (list,),
}  # fmt: skip


@dataclass(frozen=True)
class Samples:
    """The completions that one run recorded.

    samples: one mapping a completion of the test problems after the last step (fields: SAMPLE_FIELDS). problems:
    problem hash -> its prompt and reference. credit: one mapping a training completion (CREDIT_FIELDS), with as
    many numbers in `credit` as there are `tokens`.
    """

    samples: list[dict[str, Any]]
    problems: dict[str, dict[str, Any]]
    credit: list[dict[str, Any]]


def read_samples(folder: Path) -> Samples:
    """All three files of a run's folder; RecordError if one that is there is damaged."""
    samples = _read_lines(folder / "samples.jsonl", SAMPLE_FIELDS)
    _check_pools(samples)
    problems = {line["problem"]: line for line in _read_lines(folder / "problems.jsonl", PROBLEM_FIELDS)}
    credit = _read_lines(folder / "credit.jsonl", CREDIT_FIELDS)
    for number, line in enumerate(credit, start=1):
        where = f"credit.jsonl line {number}"
        if len(line["tokens"]) != len(line["credit"]):
            raise RecordError(f"{where}: {len(line['tokens'])} tokens, but credit for {len(line['credit'])}")
        if not all(isinstance(token, str) for token in line["tokens"]):
            raise RecordError(f"{where}: tokens are not all text")
        if not all(_finite(value) for value in line["credit"]):
            raise RecordError(f"{where}: credit is not all finite numbers")
    return Samples(samples, problems, credit)


def _check_pools(samples: list[dict[str, Any]]) -> None:
    """A file that ends early on a whole line shows in a problem with fewer completions than the others."""
    pools = Counter((line["mode"], line["problem"]) for line in samples)
    for mode in sorted({mode for mode, _ in pools}):
        sizes = Counter(size for (own, _), size in pools.items() if own == mode)
        if len(sizes) > 1:
            few, most = min(sizes), max(sizes)
            raise RecordError(f"samples.jsonl: {few} {mode} completions of a problem, {most} of another")


def _read_lines(path: Path, fields: dict[str, tuple[type, ...]]) -> list[dict[str, Any]]:
    if not path.exists():
        return []
    lines = []
    for number, text in enumerate(read_text(path).splitlines(), start=1):
        where = f"{path.name} line {number}"
        try:
            line = json.loads(text)
        except (ValueError, RecursionError) as error:
            raise RecordError(f"{where} is not JSON (cut short?)") from error
        if not isinstance(line, dict):
            raise RecordError(f"{where} is not a JSON object")
        for field, kinds in fields.items():
            if field not in line:
                raise RecordError(f"{where} has no {field}")
            # exact types: a bool is an int to isinstance
            if type(line[field]) not in kinds:
                names = " or ".join("null" if kind is NONE else kind.__name__ for kind in kinds)
                raise RecordError(f"{where}: {field} is {line[field]!r:.60}, expected {names}")
        lines.append(line)
    return lines


def _finite(value: Any) -> bool:
    return type(value) in (float, int) and math.isfinite(value)

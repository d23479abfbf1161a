"""Token credit of one training completion, as every method gave it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from harness.compare.plots import style
from harness.compare.plots.cells import cells, shown
from harness.compare.read import RecordError
from harness.compare.samples import read_samples
from harness.compare.scores import Findings

STEP = 1  # where all methods of a seed still have the same completions
TOKENS = 60  # drawn of a completion
CAPTIONS = {
    "credit_heatmap": (
        "Credit of each token of one training completion at step 1, where all methods of a seed learn from the "
        "same completions: blue is raised, orange is lowered. Each row is scaled by its own largest absolute value, "
        "given at its end, so colours compare tokens within a row and not methods; at most the first 60 tokens."
    )
}


@dataclass(frozen=True)
class Completion:
    """One training completion. rows: label -> credit (tokens,); others: labels that sampled something else."""

    seed: int
    line: Mapping[str, Any]
    rows: dict[str, np.ndarray]
    others: list[str]


def read_credit(folder: Path) -> list[dict[str, Any]]:
    """The lines of credit.jsonl of a run's folder (`samples.CREDIT_FIELDS`); empty if it recorded none.

    Also empty if a file of its completions is damaged: `html.drill` names such runs, and the page warns of them.
    """
    try:
        return read_samples(folder).credit
    except RecordError:
        return []


def credit_heatmap(found: Findings, out: Path) -> list[Path]:
    """credit_heatmap: one row a method, one column a token; nothing if no completion qualifies (`choose`)."""
    if (chosen := choose(found)) is None:
        return []
    texts = [shown(token) for token in chosen.line["tokens"][:TOKENS]]
    numbers = pd.DataFrame([
        (label, place, token, value)
        for label, row in chosen.rows.items()
        for place, (token, value) in enumerate(zip(chosen.line["tokens"], row, strict=True))
    ], columns=["label", "place", "token", "credit"])  # fmt: skip
    rows = {found.name(label): row for label, row in chosen.rows.items()}
    figure = cells(rows, texts, _title(found, chosen))
    return style.save(figure, numbers, out, "credit_heatmap")


def choose(found: Findings) -> Completion | None:
    """The completion that is drawn; None if no run recorded a fitting one.

    Of the lowest seed that the most methods recorded: the first problem of step 1, in the order of the first
    method that has it, with both a right and a wrong completion and credit other than 0; of these completions
    the one to which the most methods give credit, the right ones first.
    """
    for seed in _seeds(found):
        recorded = {
            label: [line for line in read_credit(run.folder) if line["step"] == STEP]
            for label in found.labels
            if (run := found.records.runs.get((label, seed))) is not None
        }
        recorded = {label: lines for label, lines in recorded.items() if lines}
        if recorded:
            return _choose(recorded, seed)
    return None


def _seeds(found: Findings) -> list[int]:
    """Seeds with recorded credit, those that the most methods have first."""
    cells = [
        (label, seed)
        for label, seed in sorted(found.records.runs)
        if (found.records.runs[label, seed].folder / "credit.jsonl").is_file()
    ]
    counts = pd.Series([seed for _, seed in cells], dtype=int).value_counts()
    return sorted(counts.index, key=lambda seed: (-counts[seed], seed))


def _choose(recorded: Mapping[str, Sequence[dict[str, Any]]], seed: int) -> Completion | None:
    by_key = {label: {_key(line): line for line in lines} for label, lines in recorded.items()}
    problems: dict[tuple[str, str], list[dict[str, Any]]] = {}
    first = next(iter(recorded.values()))
    for line in first:
        problems.setdefault((line["domain"], line["problem"]), []).append(line)
    for lines in problems.values():
        if not {True, False} <= {line["correct"] for line in lines}:
            continue
        candidates = []
        for line in lines:
            same = {label: own[_key(line)] for label, own in by_key.items() if _key(line) in own}
            rows = {
                label: np.array(own["credit"], dtype=float)
                for label, own in same.items()
                if own["tokens"] == line["tokens"]
            }
            others = [label for label in recorded if label not in rows]
            candidates.append(Completion(seed, line, rows, others))
        best = max(candidates, key=lambda own: (_credited(own), own.line["correct"] is True))
        if _credited(best):
            return best
    return None


def _key(line: Mapping[str, Any]) -> tuple[str, str, int]:
    return line["domain"], line["problem"], line["sample"]


def _credited(completion: Completion) -> int:
    return sum(bool(row.any()) for row in completion.rows.values())


def _title(found: Findings, chosen: Completion) -> str:
    line = chosen.line
    judged = {True: "right", False: "wrong", None: "not judged"}[line["correct"]]
    title = (
        f"{judged} completion of {line['domain']} problem {line['problem']}, step {STEP}, seed {chosen.seed}"
    )
    if len(line["tokens"]) > TOKENS:
        title += f": the first {TOKENS} of {len(line['tokens'])} tokens"
    if chosen.others:
        names = [found.name(label) for label in chosen.others]
        more = f" and {len(names) - 4} more" if len(names) > 4 else ""
        title += f"\nother completions were sampled by {', '.join(names[:4])}{more}"
    return title

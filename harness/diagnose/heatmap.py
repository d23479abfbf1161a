"""Heat maps: one completion, its true credit on the first line, each method's below."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from harness.compare.plots import style
from harness.compare.plots.cells import cells, shown

TRUE = "true credit"
MAPS = 3
TOKENS = 48  # drawn of a completion


def choose(
    truth: Sequence[Sequence[dict[str, Any]]], credit: Mapping[str, list[list[np.ndarray]]]
) -> list[tuple[int, int]]:
    """(problem, completion) of up to MAPS heat maps: of different problems, with credit by some method, those whose
    largest |Δ̂| is largest; wrong and right ones in turn, as far as there are both.
    """
    found: dict[bool, list[tuple[float, int, int]]] = {False: [], True: []}
    for number, completions in enumerate(truth):
        for sample, line in enumerate(completions):
            if line["reward"] is None or not any(own[number][sample].any() for own in credit.values()):
                continue
            largest = np.abs(np.diff(np.array(line["values"]).mean(axis=0))).max()
            found[bool(line["correct"])].append((-largest, number, sample))
    ranked = {kind: sorted(own) for kind, own in found.items()}
    picked: list[tuple[int, int]] = []
    while len(picked) < MAPS and any(ranked.values()):
        for kind in (False, True):
            taken = {number for number, _ in picked}
            own = next((one for one in ranked[kind] if one[1] not in taken), None)
            ranked[kind] = [one for one in ranked[kind] if own is not None and one > own]
            if own is not None and len(picked) < MAPS:
                picked.append(own[1:])
    return picked


def heatmap(title: str, line: dict[str, Any], credit: Mapping[str, np.ndarray], out: Path, stem: str) -> list[Path]:
    """stem.png, .svg and .csv of one completion (a line of truth.jsonl); credit: method -> (T,)."""
    rows = {TRUE: np.diff(np.array(line["values"]).mean(axis=0)), **credit}
    numbers = pd.DataFrame([
        (name, place, token, value)
        for name, row in rows.items()
        for place, (token, value) in enumerate(zip(line["tokens"], row, strict=True))
    ], columns=["method", "place", "token", "credit"])  # fmt: skip
    marked = [place for place, mark in enumerate(line["marks"]) if mark]
    judged = {True: "right", False: "wrong", None: "not judged"}[line["correct"]]
    cut = f", the first {TOKENS} of {len(line['tokens'])} tokens" if len(line["tokens"]) > TOKENS else ""
    texts = [shown(token) for token in line["tokens"][:TOKENS]]
    figure = cells(rows, texts, f"{title}: a {judged} completion{cut}", marked)
    return style.save(figure, numbers, out, stem)

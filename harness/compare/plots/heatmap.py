"""Token credit of one training completion, as every method gave it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

import matplotlib
import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.font_manager import FontProperties, findfont, get_font

from harness.compare.plots import style
from harness.compare.read import RecordError
from harness.compare.samples import read_samples
from harness.compare.scores import Findings

STEP = 1  # where all methods of a seed still have the same completions
TOKENS = 60  # drawn of a completion
LETTERS = 8  # drawn of a token
CELL = 0.073  # inches a letter
ROW = 0.19  # inches
VISIBLE = {"\n": "⏎", "\t": "⇥", " ": "␣"}
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
    texts = [shown(token) for token in chosen.line["tokens"]]
    numbers = pd.DataFrame([
        (label, place, token, value)
        for label, row in chosen.rows.items()
        for place, (token, value) in enumerate(zip(chosen.line["tokens"], row, strict=True))
    ], columns=["label", "place", "token", "credit"])  # fmt: skip
    figure = _figure(found, chosen, texts[:TOKENS])
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


def _figure(found: Findings, chosen: Completion, texts: Sequence[str]) -> Figure:
    names = [found.name(label) for label in chosen.rows]
    room = style.WIDTH - 0.75 - 0.062 * max(map(len, names))  # beside the names and the scales
    width = max(12, min(len(texts), int(room / (0.05 + CELL * max(map(len, texts))))))
    width = -(-len(texts) // -(-len(texts) // width))  # lines of equal length
    starts = range(0, len(texts), width)
    crowd = len(names) > style.CROWD  # then the text stands above the columns instead of in each cell
    row = ROW if not crowd else 0.15
    with matplotlib.rc_context(style.STYLE):
        height = 0.55 + len(starts) * (0.12 + row * len(names) + 0.12 * crowd)
        figure = Figure(figsize=(style.WIDTH, height))
        axes = figure.subplots(len(starts), 1, squeeze=False)[:, 0]
        scales = [max(np.abs(row).max(), 1e-300) for row in chosen.rows.values()]
        credit = np.stack([row / scale for row, scale in zip(chosen.rows.values(), scales, strict=True)])
        for ax, start in zip(axes, starts, strict=True):
            own = texts[start : start + width]
            values = credit[:, start : start + len(own)]
            ax.pcolormesh(values, cmap=style.DIVERGING, vmin=-1, vmax=1, edgecolors="white", linewidth=0.4)
            if crowd:
                ax.set_xticks(np.arange(len(own)) + 0.5)
                ax.set_xticklabels(own, parse_math=False, fontsize=6)
                ax.xaxis.tick_top()
            else:
                ax.set_xticks([])
                _words(ax, own, values)
            for place, (label, scale) in enumerate(zip(chosen.rows, scales, strict=True)):
                given = f"{np.abs(chosen.rows[label]).max():.2g}" if scale > 1e-300 else "0"
                ax.text(width + 0.3, place + 0.5, given, va="center", fontsize=6, color=style.GREY)
            ax.set_yticks(np.arange(len(names)) + 0.5, names)
            ax.set_xlim(0, width)
            ax.set_ylim(len(names), 0)
            ax.tick_params(length=0)
            ax.grid(visible=False)
            ax.spines[:].set_visible(False)
        axes[0].text(width + 0.3, 0, "largest", va="bottom", fontsize=6, color=style.GREY)
        figure.suptitle(_title(found, chosen), fontsize=8, parse_math=False)
    return figure


def _words(ax: Axes, texts: Sequence[str], values: np.ndarray) -> None:
    for (place, column), value in np.ndenumerate(values):
        text = {"ha": "center", "va": "center", "fontsize": 6.5, "parse_math": False}
        ax.text(
            column + 0.5, place + 0.5, texts[column], color="white" if abs(value) > 0.65 else "black", **text
        )


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


def shown(token: str) -> str:
    """A token as it can be read in a cell: white space visible, at most LETTERS characters, glyphs the font has."""
    text = "".join(VISIBLE.get(letter, letter) for letter in token)
    text = "".join(letter if ord(letter) in _glyphs() else "□" for letter in text)
    return text if len(text) <= LETTERS else text[: LETTERS - 1] + "…"


@cache
def _glyphs() -> frozenset[int]:
    return frozenset(get_font(findfont(FontProperties(family=style.STYLE["font.family"]))).get_charmap())

"""What a diagnosis writes: the tables of fidelity, every completion's credit, heat maps, and pages that join them."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from harness.compare.tables import NONE, Table
from harness.diagnose import html, pool
from harness.diagnose.drawing import scored
from harness.diagnose.fidelity import decisive, thresholds
from harness.diagnose.heatmap import choose, heatmap
from harness.diagnose.look import Look

TOKENS = {  # in the tables on the page; all measures stand in fidelity.csv
    "cosine_within": "cosine within", "cosine_right": "in right ones", "cosine_wrong": "in wrong ones",
    "spearman_within": "rank within", "cosine_between": "cosine between", "auc_decisive": "AUC decisive",
    "auc_planted": "AUC planted", "sign_decisive": "sign decisive",
    "share_decisive": "share decisive", "effective_tokens": "effective tokens",
}  # fmt: skip
VALUES = {
    "value_error": "error of V", "value_r2": "share of variance explained", "value_correlation": "correlation with V",
    "value_pairs": "pairs in the right order",
}  # fmt: skip
GRADIENTS = {
    "cosine_true": "cosine to true credit's", "cosine_reinforce": "cosine to REINFORCE's",
    "cosine_one_batch": "cosine of one batch's", "snr": "signal to noise", "step_gain": "reward gained by a step",
}  # fmt: skip
EFFECTS = {
    "cosine_right": "cosine in right ones", "cosine_wrong": "in wrong ones", "cosine_between": "cosine between",
    "cosine_one_batch": "cosine of one batch's", "snr": "signal to noise", "step_gain": "reward gained by a step",
}  # fmt: skip
SIGNED = {"step_gain": "{:+.3f}"}  # how a cell is written, else as below
FORM = "{:.2f}"
READ = """\
Each method gave credit to the same completions. Δ is what a token changed of the expected reward, measured by
continuing the policy from every prefix. **Within** completions: do the tokens that mattered get the credit? Credit
that is the same on every token has 0 there and an AUC of 0.5, permuted weights have 0 on average, the true credit a
cosine of 1. Read it beside **right** and **wrong** completions alone: weights that raise the same tokens whatever the
outcome agree in one and oppose in the other. **Between**: do the completions that did better than expected get more
of it? **Decisive**: |Δ̂| in the largest tenth, and at least 0.25, by both halves of the continuations; **planted**:
the tokens that the suite marks. A token that is nearly certain can change nothing (|Δ| ≤ 1 − π), so that surprisal
finds a part of this by definition. How each is computed: `harness/diagnose/fidelity.py`."""
READ_VALUES = """\
Methods that estimate the expected reward of a state, against its value by continuations: error of one state's value,
how much of the variance over states they explain (1 all, 0 no more than the mean, below it less), their correlation,
which level and scale do not touch, and how often they put two states of a problem in the right order (0.5 by chance).
All on the states that every one of these methods values. A method that learns has seen {warm_up} problems'
completions by this very policy before. How each is computed: `harness/diagnose/values.py`."""
READ_GRADIENTS = """\
Where the methods' expected policy gradients point: cosines of expectations, from batches whose noise is independent
(they may exceed 1 by what is left of it), then what a single batch's gradient has of the true direction, the squared
length of the expected gradient over one batch's noise, and the change of mean reward on held-out problems, the same
for all seeds, after one step of equal length along the mean gradient of a seed's batches. How each is computed:
`harness/diagnose/gradient.py`, `harness/diagnose/step.py`."""
READ_DIFFERENCES = """\
Each method's measures minus those of the first one, paired. An interval that holds 0 resolves nothing."""
READ_EFFECTS = """\
What each change does alone, what both do together, and the interaction: how much both together differ from the sum.
An interval that holds 0 resolves nothing. Nothing trains here: how fast a method learns is told by
`python -m harness.compare`."""


@dataclass(frozen=True)
class Written:
    """The folder, what was written there, and the tables for the terminal."""

    folder: Path
    files: list[Path]
    table: str


@dataclass(frozen=True)
class Section:
    """A part of the page: a table with what to know of it."""

    title: str
    text: str
    table: Table


def write(folder: Path, looks: Sequence[Look], warm_up: int, command: str) -> Written:
    """Everything but the truth, which the looks have written already."""
    found = pool.estimates(looks)
    frame = pool.frame(found)
    tokens, values, gradients, gains = found
    sections = [Section("", READ, fidelity_table(frame, TOKENS))]
    if values:
        sections.append(Section("Values of states", READ_VALUES.format(warm_up=warm_up), fidelity_table(frame, VALUES)))
    if gradients:
        sections.append(Section("Gradients", READ_GRADIENTS, fidelity_table(frame, GRADIENTS)))
        own = pool.frame([pool.differences(kind) for kind in (gradients, gains)])
        table = fidelity_table(own, GRADIENTS, signed=True)
        sections.append(Section("Differences in gradients", READ_DIFFERENCES, table))
    for square in pool.squares(looks[0].cfgs):
        own = pool.frame([pool.effects(square, kind) for kind in (tokens, gradients, gains)])
        title = f"{square[1]} and {square[2]}: each alone, both, and the interaction"
        sections.append(Section(title, READ_EFFECTS, fidelity_table(own, EFFECTS, signed=True)))
    (folder / "fidelity.csv").write_text(frame.to_csv(index=False, float_format="%.6g", lineterminator="\n"))
    effects = [s.table.numbers.assign(square=s.title) for s in sections if s.text is READ_EFFECTS]
    files = [folder / "fidelity.csv", folder / "credit.jsonl"]
    if effects:
        files.append(folder / "interaction.csv")
        pd.concat(effects).to_csv(files[-1], index=False, float_format="%.6g", lineterminator="\n")
    _write_credit(folder / "credit.jsonl", looks)
    maps = _heatmaps(looks[0], folder)
    facts = _facts(looks)
    text = _page(sections, facts, maps, command)
    pages = [folder / "diagnosis.md", folder / "diagnosis.html"]
    pages[0].write_text(text, encoding="utf-8")
    pages[1].write_text(html.page(text, folder), encoding="utf-8")
    shown = "\n\n".join(section.table.markdown() for section in sections)
    return Written(folder, [*pages, *files, *maps], shown)


def fidelity_table(frame: pd.DataFrame, shown: Mapping[str, str], signed: bool = False) -> Table:
    """A row a method that has any of the measures, in their order. shown: measure -> head of its column."""
    own = frame[frame["measure"].isin(shown)]
    shown = {measure: head for measure, head in shown.items() if measure in set(own["measure"])}
    cells = own.set_index(["method", "measure"])[["value", "low", "high"]]
    rows = [
        (method, *(_cell(cells, method, measure, signed) for measure in shown))
        for method in dict.fromkeys(own["method"])
    ]
    return Table("fidelity", "Credit fidelity", ("method", *shown.values()), rows, own)


def _cell(cells: pd.DataFrame, method: str, measure: str, signed: bool) -> str:
    if (method, measure) not in cells.index:
        return NONE
    value, low, high = cells.loc[(method, measure)]
    if not np.isfinite(value):
        return NONE
    form = "{:+.3f}" if signed else SIGNED.get(measure, FORM)
    return f"{form.format(value)} [{form.format(low)}, {form.format(high)}]"


def _heatmaps(look: Look, folder: Path) -> list[Path]:
    """PNG, SVG and CSV of a few completions of the first look."""
    kept = {name: _by_problem(look.truth, given.credit) for name, given in look.given.items()}
    drawn = []
    for number, (problem, sample) in enumerate(choose(look.truth, kept), start=1):
        rows = {name: own[problem][sample] for name, own in kept.items()}
        title = f"{look.problems[problem].domain} problem {look.problems[problem].prompt}"
        drawn += heatmap(title, look.truth[problem][sample], rows, folder, f"heatmap_{number}")
    return drawn


def _by_problem(truth: Sequence[Sequence[Any]], rows: Sequence[np.ndarray]) -> list[list[np.ndarray]]:
    of_group = iter(rows)
    return [[next(of_group) for _ in completions] for completions in truth]


def _write_credit(path: Path, looks: Sequence[Look]) -> None:
    with path.open("w", encoding="utf-8") as file:
        for look in looks:
            kept = {name: _by_problem(look.truth, given.credit) for name, given in look.given.items()}
            for number, problem in enumerate(look.problems):
                for sample in range(len(look.truth[number])):
                    credit = {name: own[number][sample].tolist() for name, own in kept.items()}
                    line = {"seed": look.seed, "problem": problem.hash, "sample": sample, "credit": credit}
                    file.write(json.dumps(line) + "\n")


def _facts(looks: Sequence[Look]) -> str:
    """What the truth rests on, over all completions that could be judged."""
    lines = [line for look in looks for group in look.truth for line in group if line["reward"] is not None]
    every = np.concatenate([np.diff(np.array(line["values"]), axis=1) for line in lines], axis=1)
    error = np.sqrt(np.mean(np.concatenate([line["errors"] for line in lines]) ** 2))
    problems = sum(len(look.problems) for look in looks)
    if len(looks) > 1:
        seeds = ", ".join(str(look.seed) for look in looks)
        brackets = (
            f"Seeds {seeds}, each with problems, rollouts and continuations of its own. Brackets: 95 %, jackknife over "
            f"the {len(looks)} seeds with Student's t"
        )
    else:
        brackets = (
            "One seed. Brackets: 95 %, jackknife with Student's t over problems, for gradients over batches, for the "
            "step over held-out problems"
        )
    return (
        f"{brackets}; they are about this policy and not corrected for the number of cells.\n\n"
        f"{problems} prompts, {len(lines)} completions that could be judged "
        f"({100 * np.mean([bool(line['correct']) for line in lines]):.0f} % right), {every.shape[1]} tokens; "
        f"{sum(line['continuations'] for line in lines)} continuations, of which "
        f"{sum(line['sampled'] for line in lines)} left their completion and were sampled. Standard error of Δ̂ of a "
        f"token: {error:.3f} (root mean square); correlation of Δ̂ between the halves of the continuations: "
        f"{np.corrcoef(every)[0, 1]:.2f}. {100 * np.mean(np.abs(every.mean(axis=0)) > 0.05):.1f} % of the tokens have "
        f"|Δ̂| above 0.05, {100 * _decisive(looks) / every.shape[1]:.1f} % are decisive."
    )


def _decisive(looks: Sequence[Look]) -> int:
    """Decisive tokens of all looks."""
    groups = [[scored(completions) for completions in look.truth] for look in looks]
    bounds = [thresholds(group) for group in groups]
    pairs = zip(groups, bounds, strict=True)
    return sum(int(decisive(own, bound).sum()) for group, bound in pairs for one in group for own in one)


MAPS = (
    "First row: the true credit Δ̂. Underlined tokens are marked by the suite. Each row is scaled by its own largest "
    "absolute value, given at its end."
)


def _page(sections: Sequence[Section], facts: str, maps: Sequence[Path], command: str) -> str:
    parts = ["# Credit against its true value"]
    for section in sections:
        parts += [*([f"## {section.title}"] if section.title else []), section.text, section.table.markdown()]
        parts += [facts] if section is sections[0] else []
    if drawn := [f"![{path.stem}]({path.name})" for path in maps if path.suffix == ".png"]:
        parts += ["## Completions", MAPS, *drawn]
    parts += ["## Command", f"```\n{command}\n```"]
    return "\n\n".join(parts) + "\n"

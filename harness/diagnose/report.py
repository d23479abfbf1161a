"""What a diagnosis writes: the table of fidelity, every completion's credit, heat maps, and a page that joins them."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from harness.compare.tables import NONE, Table
from harness.diagnose.drawing import scored
from harness.diagnose.fidelity import fidelity
from harness.diagnose.heatmap import choose, heatmap
from harness.suites import Problem

SHOWN = {  # in the table on the page; all measures stand in fidelity.csv
    "cosine_within": "cosine within", "spearman_within": "rank within", "cosine_between": "cosine between",
    "auc_decisive": "AUC decisive", "auc_planted": "AUC planted", "sign_decisive": "sign decisive",
    "share_decisive": "share decisive", "effective_tokens": "effective tokens",
}  # fmt: skip
READ = """\
Each method gave credit to the same completions. Δ is what a token changed of the expected reward, measured by
continuing the policy from every prefix. **Within** completions: do the tokens that mattered get the credit? Credit that
is the same on every token has 0 there and an AUC of 0.5, permuted weights have 0 on average, the true credit 1.
**Between**: do the completions that did better than expected get more of it? **Decisive**: the tenth of all tokens with
the largest |Δ|, among which noise puts more unlikely tokens than belong there, so that surprisal is flattered;
**planted**: the tokens that the suite marks. Brackets: 95 % bootstrap over prompts; they are about this policy and not
corrected for the number of cells. How each is computed: `harness/diagnose/fidelity.py`."""

GRADIENTS = {
    "cosine_true": "cosine to true credit's", "cosine_reinforce": "cosine to REINFORCE's",
    "cosine_one_batch": "cosine of one batch's", "snr": "signal to noise", "step_gain": "reward gained by a step",
}  # fmt: skip
READ_GRADIENTS = """\
Where the methods' expected policy gradients point: cosines of expectations, from batches whose noise is independent
(they may exceed 1 by what is left of it), then what a single batch's gradient has of the true direction, the squared
length of the expected gradient over one batch's noise, and the change of mean reward on held-out problems after one
step of equal length along the mean gradient. Brackets: 95 %, jackknife over batches (REINFORCE's own noise is in the
cosine, not in its bracket); of the last column over held-out problems. How each is computed:
`harness/diagnose/gradient.py`, `harness/diagnose/step.py`."""


@dataclass(frozen=True)
class Written:
    """The folder, what was written there, and the table for the terminal."""

    folder: Path
    files: list[Path]
    table: str


def write(
    folder: Path,
    problems: Sequence[Problem],
    truth: Sequence[Sequence[dict[str, Any]]],
    credit: Mapping[str, Sequence[np.ndarray]],
    more: Sequence[pd.DataFrame],
    command: str,
) -> Written:
    """truth: completions of each problem as in truth.jsonl; credit: of each method, completion by completion; more:
    further measures (method, measure, value, low, high), those of gradients.
    """
    groups = [scored(completions) for completions in truth]
    frames, kept = [], {}
    for name, rows in credit.items():
        of_group = iter(rows)
        kept[name] = [[next(of_group) for _ in completions] for completions in truth]
        judged = [
            [c for c, line in zip(own, completions, strict=True) if line["reward"] is not None]
            for own, completions in zip(kept[name], truth, strict=True)
        ]
        frames.append(fidelity(groups, judged).assign(method=name))
    frame = pd.concat([*frames, *more], ignore_index=True)[["method", "measure", "value", "low", "high"]]
    shown = [fidelity_table(frame, SHOWN)]
    if len(more):
        shown.append(fidelity_table(frame, GRADIENTS))
    (folder / "fidelity.csv").write_text(frame.to_csv(index=False, float_format="%.6g", lineterminator="\n"))
    _write_credit(folder / "credit.jsonl", problems, kept)
    drawn = []
    for number, (problem, sample) in enumerate(choose(truth, kept), start=1):
        rows = {name: own[problem][sample] for name, own in kept.items()}
        title = f"{problems[problem].domain} problem {problems[problem].prompt}"
        drawn += heatmap(title, truth[problem][sample], rows, folder, f"heatmap_{number}")
    page = folder / "diagnosis.md"
    page.write_text(_page(shown, truth, drawn, command), encoding="utf-8")
    text = "\n\n".join(table.markdown() for table in shown)
    return Written(folder, [page, folder / "fidelity.csv", folder / "credit.jsonl", *drawn], text)


def fidelity_table(frame: pd.DataFrame, shown: Mapping[str, str]) -> Table:
    """A row a method that has any of the measures, in their order. shown: measure -> head of its column."""
    own = frame[frame["measure"].isin(shown)]
    cells = own.set_index(["method", "measure"], drop=False)
    rows = [
        (method, *(_cell(cells.loc[(method, measure)]) for measure in shown))
        for method in dict.fromkeys(own["method"])
    ]
    return Table("fidelity", "Credit fidelity", ("method", *shown.values()), rows, own)


def _cell(row: pd.Series) -> str:
    if not np.isfinite(row["value"]):
        return NONE
    form = "{:+.3f}" if row["measure"] == "step_gain" else "{:.2f}"
    return f"{form.format(row['value'])} [{form.format(row['low'])}, {form.format(row['high'])}]"


def _write_credit(path: Path, problems: Sequence[Problem], kept: Mapping[str, list[list[np.ndarray]]]) -> None:
    lines = [
        {"problem": problem.hash, "sample": sample,
         "credit": {name: own[number][sample].tolist() for name, own in kept.items()}}
        for number, problem in enumerate(problems)
        for sample in range(len(next(iter(kept.values()))[number]))
    ]  # fmt: skip
    path.write_text("".join(json.dumps(line) + "\n" for line in lines), encoding="utf-8")


def facts(truth: Sequence[Sequence[dict[str, Any]]]) -> dict[str, float]:
    """What the truth rests on, over all completions that could be judged."""
    lines = [line for completions in truth for line in completions if line["reward"] is not None]
    every = np.concatenate([np.diff(np.array(line["values"]), axis=1) for line in lines], axis=1)
    return {
        "completions": len(lines),
        "tokens": every.shape[1],
        "continuations": sum(line["continuations"] for line in lines),
        "sampled": sum(line["sampled"] for line in lines),
        "right": float(np.mean([bool(line["correct"]) for line in lines])),
        "halves": float(np.corrcoef(every)[0, 1]) if every.shape[1] > 1 else float("nan"),
        "error": float(np.sqrt(np.mean(np.concatenate([line["errors"] for line in lines]) ** 2))),
        "moved": float(np.mean(np.abs(every.mean(axis=0)) > 0.05)),
    }


def _page(
    shown: Sequence[Table], truth: Sequence[Sequence[dict[str, Any]]], drawn: Sequence[Path], command: str
) -> str:
    own = facts(truth)
    resting = (
        f"{len(truth)} prompts, {own['completions']} completions that could be judged "
        f"({100 * own['right']:.0f} % right), {own['tokens']} tokens; {own['continuations']} continuations, of which "
        f"{own['sampled']} left their completion and were sampled. Standard error of Δ̂ of a token: {own['error']:.3f} "
        f"(root mean square); correlation of Δ̂ between the halves of the continuations: {own['halves']:.2f}. "
        f"{100 * own['moved']:.0f} % of the tokens have |Δ̂| above 0.05."
    )
    maps = [f"![{path.stem}]({path.name})" for path in drawn if path.suffix == ".png"]
    parts = ["# Credit against its true value", READ, shown[0].markdown(), resting]
    if len(shown) > 1:
        parts += ["## Gradients", READ_GRADIENTS, shown[1].markdown()]
    if maps:
        parts += ["## Completions", "First row: the true credit Δ̂. Underlined tokens are marked by the suite. Each row "
                  "is scaled by its own largest absolute value, given at its end.", *maps]  # fmt: skip
    parts += ["## Command", f"```\n{command}\n```"]
    return "\n\n".join(parts) + "\n"


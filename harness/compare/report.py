"""The page: verdicts first, then tables, what the words mean, what is missing, and the commands."""

from __future__ import annotations

import re
import shlex
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd

from harness.compare import fairness, plots, scores, tables
from harness.compare.load import Hole, UsageError, load
from harness.compare.read import ALL
from harness.compare.scores import AULC, END, Findings
from harness.compare.statistics import MIN_SEEDS

AREA = "area under the learning curve"
COST_NOTE = (
    "Means over seeds. Generated tokens include the extra ones, beside the batches that were learnt from (dynamic "
    "sampling, continuations), and are what learning curves count. Extra passes run through the policy or a second "
    "model beside sampling and loss; a backward pass counts as two, reading a continuation's prefix is not counted. "
    "In the update, live weightings and GRPO-λ put every completion through the policy, the others only those with "
    "credit. A phase is a share of the time of all phases."
)
SHOWN = 20  # commands on the page, each with its seeds
WORDS = """\
- **End point**: accuracy on the test problems after the last step, sampled at the evaluation temperature,
  averaged over several samples a problem. **Greedy**: the same with the most probable token each time.
  `all` is the unweighted mean over domains.
- **n**: training seeds. The seed is what is repeated; problems and samples within one run are not
  repetitions.
- **[{level}]**: Student's t interval of the mean over seeds. A **difference** is method minus baseline,
  paired by seed: the interval is that of the mean of the differences, in percentage points, uncorrected.
- **Verdict**: better or worse only if the paired t-test's p-value, Holm-corrected over the methods compared
  with the baseline in that domain and measure, is below {alpha}; otherwise **not resolved**, which does not
  mean equal. With fewer than {n} pairs of seeds it is always not resolved. So an interval may exclude 0 and
  the verdict still be not resolved: the correction for many comparisons is the difference. If all
  differences are equal there is no spread to estimate: the interval is that one point, and p is 1 for
  differences of 0, otherwise the sign test's 2 · 2^-n.
- **AULC**: area under the learning curve (curve problems, against steps) divided by its length: mean
  accuracy over training. It tells fast learners from slow ones that end alike.
- **Tokens to threshold**: generated training tokens at which the learning curve first reaches {goal}, by
  linear interpolation; the median over seeds, a seed that never gets there counting as infinite.
- **Gain over best base**: end point minus the best the untrained policy can do on the same problems:
  sampled, greedy, or at the temperature that was best on validation problems. A gain that a lower
  temperature gives is not learning.
- **Not compared**: the configurations differ outside the declared factors ({factors}), so a difference
  could not be put down to the method.
- **Positive control**: oracle credit knows the decisive tokens. If even that does not beat the baseline,
  the suite cannot rank credit methods."""


@dataclass(frozen=True)
class Question:
    """What is asked of the runs. baseline: a label with or without hash; command: the line that asks it."""

    baseline: str
    factors: Sequence[str]
    threshold: float | None
    alpha: float
    command: str


@dataclass(frozen=True)
class Report:
    """What was written, and what the terminal shows of it."""

    summary: str
    files: list[Path]
    holes: list[Hole]


def write(root: Path, out: Path, question: Question) -> Report:
    """Reads `root`, writes comparison.md, comparison.csv and the figures to `out`; UsageError if nothing
    compares.
    """
    found = find(root, question)
    records = found.records
    out.mkdir(parents=True, exist_ok=True)
    page, table = out / "comparison.md", out / "comparison.csv"
    page.write_text(compose(found, question), encoding="utf-8")
    tidy = pd.concat([scores.base_rows(found.base), found.rows], ignore_index=True)
    tidy.to_csv(table, index=False, float_format="%.6g", lineterminator="\n")
    figures = plots.learning_curves(found, out) + plots.endpoint(found, out)
    return Report(summary(found), [page, table, *figures], records.holes)


def find(root: Path, question: Question) -> Findings:
    """Reads `root` and compares; UsageError where the question does not fit the runs."""
    records = load(root)
    baseline = records.resolve(question.baseline)
    if not records.seeds(baseline):
        why = "; ".join(f"seed {hole.seed}: {hole.why}" for hole in records.holes if hole.label == baseline)
        raise UsageError(f"baseline {baseline} has no finished run to compare with ({why})")
    fairness.check_factors(records, question.factors)
    labels = scores.ordered_labels(records, baseline)
    differences = {label: fairness.differing(records, label, baseline, question.factors) for label in labels}
    refusals = {label: fairness.refusal(differing) for label, differing in differences.items()}
    levels = scores.thresholds(records, baseline, question.threshold)
    runs = scores.scores(records)
    rows = scores.comparison(records, runs, baseline, refusals, levels, question.alpha)
    return Findings(
        records,
        baseline,
        runs,
        rows,
        fairness.base_policy(records, baseline),
        levels,
        differences,
        question.alpha,
    )


def verdicts(found: Findings) -> str:
    """A line each: '- **lampo vs grpo**: end point **not resolved**: +0.8 [-1.2, +2.8] points, n=5; …'."""
    lines = []
    for label in found.labels[1:]:
        sentences = [
            _sentence("end point", found.cell(label, ALL, END)),
            _sentence(AREA, found.cell(label, ALL, AULC)),
        ]
        text = sentences[0] if sentences[0] == sentences[1] else "; ".join(sentences)  # refused: said once
        lines.append(f"- **{found.name(label)} vs {found.name(found.baseline)}**: {text}")
    return "\n".join(lines or ["- No method other than the baseline has a finished run."])


def _sentence(measure: str, cell: pd.Series) -> str:
    if cell["verdict"].startswith("not compared"):
        return cell["verdict"]
    margin = f": {tables.difference(cell)} points" if cell["pairs"] else ""
    p = f", Holm p={cell['p_holm']:.2g}" if np.isfinite(cell["p_holm"]) else ""
    return f"{measure} **{cell['verdict']}**{margin}, n={cell['pairs']:.0f}{p}"


def control(found: Findings) -> str:
    """Whether the suite can rank credit methods at all: oracle credit has to be resolved above the baseline
    in AULC.
    """
    name, records = found.name(found.baseline), found.records
    methods = {
        label: records.runs[label, records.seeds(label)[0]].config["method.name"] for label in found.labels
    }
    oracles = {
        label: found.cell(label, ALL, AULC) for label in found.labels[1:] if methods[label] == "oracle"
    }
    if not oracles:
        return (
            "**No positive control.** No finished run has oracle credit beside the baseline, so nothing here "
            "shows that this suite and setting tell credit methods apart; add `method=oracle` to the sweep."
        )
    margins = ", ".join(_sentence(found.name(label), cell) for label, cell in oracles.items())
    if all(cell["verdict"] == "better" for cell in oracles.values()):
        return f"**Positive control passed.** Oracle credit beats {name} in {AREA} ({margins})."
    return (
        "**POSITIVE CONTROL FAILED: this suite and setting cannot rank credit methods.** Oracle credit does "
        f"not beat {name} in {AREA} by a resolved margin ({margins}), so no verdict here, nor lack of one, "
        "says anything about credit. Try more seeds, a longer horizon or another setting."
    )


def summary(found: Findings) -> str:
    """The top of the page, and what the terminal shows: verdicts, control, warnings and the tables over all
    domains.
    """
    holes = len(found.records.holes)
    warning = (
        [f"HOLES: {holes} run{'s' * (holes > 1)} missing from these tables, each listed with what to do."]
        if holes
        else []
    )
    notes = "\n".join(f"- {note}" for note in [*warning, *fairness.notes(found.records)])
    parts = [verdicts(found), control(found), notes, "Base policy, before training, on the test problems:"]
    parts += [tables.base_table(found), "End point, mean over domains:", tables.end_table(found, ALL)]
    parts += ["Learning speed, mean over domains:", tables.speed_table(found, ALL)]
    return "\n\n".join(parts)


def compose(found: Findings, question: Question) -> str:
    """The whole page as markdown."""
    parts = [
        f"# {found.records.root.name}: every method against {found.name(found.baseline)}",
        summary(found),
    ]
    if found.records.holes:
        parts += ["## Holes: runs that are not in these tables", tables.holes_table(found.records.holes)]
    parts += ["## Learning curves", "![learning curves](learning_curves.png)"]
    if len(found.domains) > 2:
        parts += ["![learning curves by domain](learning_curves_domains.png)"]
    parts += ["## End points", "![end points](endpoint.png)"]
    for domain in found.domains[1:]:
        parts += [f"## Domain {domain}", tables.end_table(found, domain), tables.speed_table(found, domain)]
    cost, stability = tables.cost_tables(found)
    parts += ["## Cost", COST_NOTE, cost]
    parts += [
        "## Stability",
        "Means over the last tenth of the steps; gradient norm: maximum of the whole run.",
        stability,
    ]
    parts += ["## What else differs", tables.differences_table(found)]
    parts += ["## What the words mean", _words(question), "## Commands", _commands(found, question)]
    return "\n\n".join(parts) + "\n"


def _words(question: Question) -> str:
    halfway = (
        "halfway between the base policy (sampled) and the baseline's mean final accuracy, in each domain"
    )
    return WORDS.format(
        level=f"{100 * (1 - question.alpha):g} %",
        alpha=f"{question.alpha:g}",
        n=MIN_SEEDS,
        goal=halfway if question.threshold is None else f"{100 * question.threshold:g} %, as asked for",
        factors=", ".join(question.factors),
    )


def _commands(found: Findings, question: Question) -> str:
    seeds: dict[str, list[str]] = {}
    for run in found.records.runs.values():
        given = run.env["command"] if isinstance(run.env["command"], str) else shlex.join(run.env["command"])
        seeds.setdefault(re.sub(r" seed=\d+\b", "", given), []).append(str(run.seed))
    made = [f"{command}  # seed {', '.join(own)}" for command, own in sorted(seeds.items())]
    more = [f"# and {len(made) - SHOWN} more, in each run's env.json"] if len(made) > SHOWN else []
    return "\n".join(["```", "# the runs", *made[:SHOWN], *more, "# this page", question.command, "```"])

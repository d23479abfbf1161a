"""The comparison, written: verdicts first, then tables and figures, what the words mean, and the commands."""

from __future__ import annotations

import os
import re
import shlex
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
import pandas as pd

from harness.compare import fairness, plots, scores, select, tables
from harness.compare.html.drill import Drill, gather
from harness.compare.html.page import Content, Section, page, versions
from harness.compare.interaction import TwoByTwos, sentences, two_by_twos
from harness.compare.load import Hole, UsageError, load
from harness.compare.plots import CAPTIONS
from harness.compare.read import ALL
from harness.compare.scores import AULC, END, Findings
from harness.compare.statistics import MIN_SEEDS
from harness.compare.tables import Table
from harness.compare.words import words

AREA = "area under the learning curve"
SHOWN = 20  # commands on the page, each with its seeds
# Where each figure stands, by the beginning of its stem.
PLACES = {
    "learning_curves": "Learning curves", "endpoint": "End points", "improvement": "Probability of improvement",
    "pass_at_k": "pass@k", "tokens_to_threshold": "Tokens to the threshold", "stability": "Stability",
    "performance_profile": "Performance profile", "credit_heatmap": "Credit of one completion",
}  # fmt: skip
SWITCHED = ("learning_curves_tokens", "learning_curves_seconds")  # in HTML only, which shows one axis at a time
OVERVIEW = "learning_curves"  # all axes side by side: where there is no switch


@dataclass(frozen=True)
class Question:
    """What is asked of the runs. baseline: a label with or without hash; command: the line that asks it.

    where: filters on the configuration (`filters.parse_filter`); allow: what may enter although it is excluded
    by default (`select.exclude`); tuned: keys chosen per method on validation (`select.choose`). Two declared factors
    other than the default ones are also compared as a 2x2.
    """

    baseline: str
    factors: Sequence[str]
    threshold: float | None
    alpha: float
    command: str
    where: tuple[str, ...] = ()
    allow: tuple[str, ...] = ()
    tuned: tuple[str, ...] = ()


@dataclass(frozen=True)
class Report:
    """What was written, and what the terminal shows of it."""

    summary: str
    files: list[Path]
    holes: list[Hole]


def write(roots: Path | Sequence[Path], out: Path, question: Question) -> Report:
    """Reads `roots` and writes pages, tables/ and figures/ to `out`; UsageError if nothing compares.

    All is written beside first and then moved: a full disk leaves the older pages as they were.
    """
    found = find(roots, question)
    square = two_by_two(found, question.factors)
    out.mkdir(parents=True, exist_ok=True)
    with TemporaryDirectory(prefix=".comparison-", dir=out) as beside:
        new = _written(found, square, question, Path(beside))
        files = [out / path.relative_to(beside) for path in new]
        for path, target in zip(new, files, strict=True):
            target.parent.mkdir(exist_ok=True)
            os.replace(path, target)
    return Report(summary(found, square), files, found.records.holes)


def _written(found: Findings, square: TwoByTwos | None, question: Question, out: Path) -> list[Path]:
    for folder in (out / "tables", out / "figures"):
        folder.mkdir()
    with plots.drawing(found, out / "figures") as drawn:  # beside the tables
        made, drill = tables_of(found, square), gather(found)
        figures = drawn()
    sections = arrange(made, figures)
    pages = [out / f"comparison.{ending}" for ending in ("md", "html", "csv")]
    pages[0].write_text(compose(found, question, sections, square), encoding="utf-8")
    pages[1].write_text(page(contents(found, question, sections, square, drill)), encoding="utf-8")
    tidy = pd.concat([scores.base_rows(found.base), found.rows], ignore_index=True)
    tidy.to_csv(pages[2], index=False, float_format="%.6g", lineterminator="\n")
    written = [path for section in sections for table in section.tables for path in table.write(out / "tables")]
    return [*pages, *written, *figures]


def find(roots: Path | Sequence[Path], question: Question) -> Findings:
    """Reads `roots` and compares; UsageError where the question does not fit the runs."""
    records = load(roots, question.where, partial="incomplete" in question.allow)
    records, _ = select.choose(records, question.tuned)
    baseline = records.resolve(question.baseline)
    if records.seeds(baseline):
        records = select.exclude(records, baseline, question.allow)
    else:
        why = "; ".join(f"seed {hole.seed}: {hole.why}" for hole in records.holes if hole.label == baseline)
        raise UsageError(f"baseline {baseline} has no finished run to compare with ({why})")
    if all(records.runs[baseline, seed].why for seed in records.seeds(baseline)):  # also where none is left
        gone = "; ".join(sorted({hole.why for hole in records.holes if hole.label == baseline}))
        raise UsageError(f"baseline {baseline} has no finished run left to compare with {gone and f'({gone})'}")
    fairness.check_factors(records, question.factors)
    labels = scores.ordered_labels(records, baseline)
    differences = {label: fairness.differing(records, label, baseline, question.factors) for label in labels}
    refusals = {label: fairness.refusal(differing) for label, differing in differences.items()}
    levels = scores.thresholds(records, baseline, question.threshold)
    runs = scores.scores(records)
    rows = scores.comparison(records, runs, baseline, refusals, levels, question.alpha)
    base = fairness.base_policy(records, baseline)
    return Findings(records, baseline, runs, rows, base, levels, differences, question.alpha)


def two_by_two(found: Findings, factors: Sequence[str]) -> TwoByTwos | None:
    """The 2x2s of two declared factors, None where other than two are declared."""
    return two_by_twos(found, factors) if len(factors) == 2 else None


def tables_of(found: Findings, square: TwoByTwos | None) -> dict[str, list[Table]]:
    """Title of a section -> its tables, in the order of the page; sections of figures alone have none."""
    domains = found.domains
    cost, stability = tables.cost_tables(found)
    parts: list[tuple[str, list[Table]]] = [
        ("Base policy", [tables.base_table(found)]),
        ("End points", [tables.end_table(found, *domains)]),
        ("Learning curves", [tables.speed_table(found, *domains)]),
        *([("The 2×2", [tables.factors_table(square)])] if square and square.squares else []),
        *([("What was tuned", [tables.tuning_table(found)])] if len(found.records.tuning) else []),
        ("By base policy", [tables.policies_table(found)]),
        ("At equal cost", [tables.budget_table(found)]),
        ("Cost", [cost]),
        ("Stability", [stability]),
        ("pass@k", []),
        ("Tokens to the threshold", []),
        ("Probability of improvement", [tables.aggregate_table(found)]),
        ("Performance profile", []),
        ("Power", [tables.power_table(found)]),
        ("Single cells", [tables.cells_table(found)]),
        ("By problem", [tables.items_table(found)]),
        ("Credit of one completion", []),
        ("Hyper-parameters", [tables.hyperparameters_table(found), tables.differences_table(found)]),
    ]
    return dict(parts)


def arrange(made: Mapping[str, list[Table]], figures: Sequence[Path]) -> list[Section]:
    """The sections of the page; those with neither table nor figure are left out."""
    vectors = [path for path in figures if path.suffix == ".svg"]
    placed = {title: [path for path in vectors if path.stem.startswith(stem)] for stem, title in PLACES.items()}
    sections = [Section(title, _notes(own), own, placed.get(title, [])) for title, own in made.items()]
    return [section for section in sections if section.figures or any(_shown(t) for t in section.tables)]


def _notes(own: Sequence[Table]) -> str:
    return "\n\n".join(table.note for table in own if table.note)


def _shown(table: Table) -> bool:
    return bool(table.rows or table.note)


def verdicts(found: Findings) -> str:
    """A line each: '- **lampo vs grpo**: end point **not resolved**: +0.8 [-1.2, +2.8] points, n=5; …'."""
    lines = []
    for label in found.labels[1:]:
        parts = [
            _sentence("end point", found.cell(label, ALL, END)),
            _sentence(AREA, found.cell(label, ALL, AULC)),
        ]
        text = parts[0] if parts[0] == parts[1] else "; ".join(parts)  # refused: said once
        lines.append(f"- **{found.name(label)} vs {found.name(found.baseline)}**: {text}")
    return "\n".join(lines or ["- No method other than the baseline has a finished run."])


def lead(found: Findings, square: TwoByTwos | None) -> str:
    """The verdicts, of the 2x2 first where one was asked for, and what the positive control says of them."""
    squares = [sentences(square)] if square and square.squares else []
    return "\n\n".join([*squares, verdicts(found), control(found)])


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
    methods = {label: records.runs[label, records.seeds(label)[0]].config["method.name"] for label in found.labels}
    oracles = {label: found.cell(label, ALL, AULC) for label in found.labels[1:] if methods[label] == "oracle"}
    if not oracles:
        return (
            "**No positive control.** No finished run that stands in these tables has oracle credit beside the "
            "baseline, so nothing here shows that this suite and setting tell credit methods apart; add "
            "`method=oracle` to the sweep."
        )
    margins = ", ".join(_sentence(found.name(label), cell) for label, cell in oracles.items())
    untested = [cell for cell in oracles.values() if not cell["pairs"] >= MIN_SEEDS]  # also refused: no pairs
    if len(untested) == len(oracles):
        return f"**Positive control not tested yet** ({margins}): it takes {MIN_SEEDS} seeds that can be compared."
    if all(cell["verdict"] == "better" for cell in oracles.values()):
        return f"**Positive control passed.** Oracle credit beats {name} in {AREA} ({margins})."
    return (
        "**POSITIVE CONTROL FAILED: this suite and setting cannot rank credit methods.** Oracle credit does "
        f"not beat {name} in {AREA} by a resolved margin ({margins}), so no verdict here, nor lack of one, "
        "says anything about credit. Try more seeds, a longer horizon or another setting."
    )


def _notes_of(found: Findings, square: TwoByTwos | None) -> list[str]:
    notes = fairness.notes(found.records)
    if holes := len(found.records.holes):
        plural = "s" * (holes > 1)
        notes.insert(0, f"HOLES: {holes} run{plural} missing from these tables, each listed with what to do.")
    if square and not square.squares:
        notes.append("Two factors were declared, but no two changes have runs in all four cells of a 2×2.")
    if square:
        notes += [f"Not in the 2×2: {found.name(label)} {why}." for label, why in square.left_out.items()]
    return notes


def summary(found: Findings, square: TwoByTwos | None = None) -> str:
    """The top of the page, and what the terminal shows: verdicts, control, warnings, tables over all domains."""
    notes = "\n".join(f"- {note}" for note in _notes_of(found, square))
    parts = [lead(found, square), notes]
    for table in (tables.base_table(found), tables.end_table(found, ALL), tables.speed_table(found, ALL)):
        parts += [f"{table.title}{', mean over domains' * (table.stem != 'base')}:", table.markdown()]
    return "\n\n".join(parts)


def compose(found: Findings, question: Question, sections: Sequence[Section], square: TwoByTwos | None) -> str:
    """The whole page as markdown."""
    title = f"# {found.records.name}: every method against {found.name(found.baseline)}"
    parts = [title, summary(found, square)]
    if found.records.holes:
        holes = tables.holes_table(found.records.holes)
        parts += [f"## Holes: {holes.title[0].lower()}{holes.title[1:]}", holes.markdown()]
    for section in sections:
        if section.title == "Base policy":
            continue  # stands in the summary
        parts += [f"## {section.title}", *([section.note] if section.note else [])]
        for path in section.figures:
            if path.stem not in SWITCHED:
                parts += [f"![{section.title}](figures/{path.stem}.png)", CAPTIONS[path.stem]]
        parts += [table.markdown() for table in section.tables if table.rows]
    explained = words(question.alpha, question.threshold, question.factors)
    lines = "\n".join(["```", *commands(found, question), "```"])
    parts += ["## What the words mean", explained, "## Commands", lines]
    return "\n\n".join(parts) + "\n"


def contents(
    found: Findings, question: Question, sections: Sequence[Section], square: TwoByTwos | None, drill: Drill
) -> Content:
    """What comparison.html is made of."""
    holes = found.records.holes
    return Content(
        title=found.records.name,
        question=f"Every method against {found.name(found.baseline)}",
        lead=lead(found, square),
        notes=_notes_of(found, square),
        holes=tables.holes_table(holes) if holes else None,
        sections=[
            replace(section, figures=[path for path in section.figures if path.stem != OVERVIEW])
            for section in sections
        ],
        drill=drill,
        words=words(question.alpha, question.threshold, question.factors),
        commands=commands(found, question),
        versions=versions(found.records.runs.values()),
    )


def commands(found: Findings, question: Question) -> list[str]:
    """What made the runs, each command with its seeds, and what made the page."""
    seeds: dict[str, list[str]] = {}
    for run in found.records.runs.values():
        given = run.env["command"] if isinstance(run.env["command"], str) else shlex.join(run.env["command"])
        seeds.setdefault(re.sub(r" seed=\d+\b", "", given), []).append(str(run.seed))
    made = [f"{command}  # seed {', '.join(own)}" for command, own in sorted(seeds.items())]
    more = [f"# and {len(made) - SHOWN} more, in each run's env.json"] if len(made) > SHOWN else []
    return ["# the runs", *made[:SHOWN], *more, "# this page", question.command]

"""What the page embeds of single problems: completions of every method side by side, and their token credit."""

from __future__ import annotations

import itertools
import json
from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from typing import Any

from harness.compare.read import RecordError
from harness.compare.samples import Samples, read_samples
from harness.compare.scores import Findings

METHODS = 12  # side by side: the baseline and the first eleven others
PROBLEMS = 24  # test problems shown of each domain
CHARACTERS = 4_000  # shown of one completion, prompt or reference
TRAINING_BYTES, TEST_BYTES = 1_500_000, 1_500_000  # embedded at most, as JSON


@dataclass(frozen=True)
class Drill:
    """What can be looked at problem by problem.

    methods: display names, the baseline first; every list below is in their order. seed: whose completions are
    shown, None if there are none. training, test: one mapping a problem, as `_training` and `_test` make them.
    notes: what the reader has to know, a sentence each.
    """

    methods: list[str]
    seed: int | None
    training: list[dict[str, Any]] = field(default_factory=list)
    test: list[dict[str, Any]] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)


def gather(found: Findings) -> Drill:
    """Reads the completions of the first seed that all methods have; a run with a damaged file is passed over and named
    in the notes.
    """
    labels = found.labels[:METHODS]
    names = [found.name(label) for label in labels]
    notes = []
    if more := found.labels[METHODS:]:
        left = ", ".join(found.name(label) for label in more)
        notes.append(f"The baseline and the first {METHODS - 1} other methods are shown; not shown: {left}.")
    seed, shown = _first_readable(found, labels, notes)
    if seed is None:
        return Drill(names, None, notes=[*notes, "No seed has readable completions of all these methods."])
    training, test = _training(shown), _test(shown, _shares(found, labels))
    drill = Drill(names, seed, _within(training, TRAINING_BYTES), _within(test, TEST_BYTES), notes)
    for what, all_, kept in (("training", training, drill.training), ("test", test, drill.test)):
        if len(kept) < len(all_):
            notes.append(
                f"To keep the page small it holds {len(kept)} of the {len(all_)} {what} problems chosen."
            )
    if not any(own.problems for own in shown):
        notes.append("These runs recorded no prompts (problems.jsonl): problems appear by their hash.")
    if not training:
        notes.append("These runs recorded no token credit (credit.jsonl).")
    if not test:
        notes.append("These runs recorded no completions of test problems (samples.jsonl).")
    return drill


def _first_readable(
    found: Findings, labels: Sequence[str], notes: list[str]
) -> tuple[int | None, list[Samples]]:
    """The lowest seed of which every method's completions can be read, and these; others are told in `notes`."""
    for seed in sorted(set.intersection(*(set(found.records.seeds(label)) for label in labels))):
        shown = []
        for label in labels:
            try:
                shown.append(read_samples(found.records.runs[label, seed].folder))
            except RecordError as error:
                notes.append(f"LEFT OUT HERE: {found.name(label)} seed {seed}: {error}.")
        if len(shown) == len(labels):
            return seed, shown
    return None, []


Share = tuple[int, int]  # (right, judged) completions


def _shares(found: Findings, labels: Sequence[str]) -> dict[tuple[str, str], list[Share]]:
    """(domain, problem) -> per method, over all its seeds, how many sampled completions were right, of those judged."""
    counts: dict[tuple[str, str], list[list[int]]] = defaultdict(lambda: [[0, 0] for _ in labels])
    for place, label in enumerate(labels):
        for seed in found.records.seeds(label):
            for (domain, mode), own in found.records.runs[label, seed].items.items():
                if mode == "sampled":
                    for problem, right, judged in zip(own.problems.tolist(), own.correct, own.n, strict=True):
                        count = counts[domain, problem][place]
                        count[0] += int(right)
                        count[1] += int(judged)
    return {key: [(right, judged) for right, judged in own] for key, own in counts.items()}


def spread(shares: Iterable[Share]) -> float:
    """Largest minus smallest accuracy over the methods that were judged on the problem; 0 for fewer than two."""
    values = [right / judged for right, judged in shares if judged]
    return max(values) - min(values) if values else 0.0


def _test(shown: Sequence[Samples], shares: dict[tuple[str, str], list[Share]]) -> list[dict[str, Any]]:
    """Test problems by disagreement, the domains in turn: {domain, problem, prompt, reference, spread, methods}.

    methods: per method {right, judged (over all seeds), completions of the shown seed}. Ties go by problem hash.
    """
    lines: dict[tuple[str, str], list[list[dict]]] = defaultdict(lambda: [[] for _ in shown])
    for i, own in enumerate(shown):
        for line in own.samples:
            lines[line["domain"], line["problem"]][i].append(line)
    ranked: dict[str, list[str]] = defaultdict(list)
    for domain, problem in sorted(shares, key=lambda key: (-spread(shares[key]), key[1])):
        if (domain, problem) in lines:
            ranked[domain].append(problem)
    turns = itertools.zip_longest(*([(d, p) for p in ranked[d][:PROBLEMS]] for d in sorted(ranked)))
    entries = []
    for domain, problem in (key for turn in turns for key in turn if key):
        methods = [
            {
                "right": right,
                "judged": judged,
                "completions": [
                    {name: line.get(name) for name in ("mode", "sample", "answer", "correct", "error")}
                    | cut("text", line["text"])
                    for line in sorted(own, key=lambda line: (line["mode"] != "greedy", line["sample"]))
                ],
            }
            for own, (right, judged) in zip(lines[domain, problem], shares[domain, problem], strict=True)
        ]
        head = {"domain": domain, "problem": problem, "spread": round(spread(shares[domain, problem]), 4)}
        entries.append(head | _wording(shown, problem) | {"methods": methods})
    return entries


def _training(shown: Sequence[Samples]) -> list[dict[str, Any]]:
    """Training problems at the first and the last recorded step: {step, domain, problem, prompt, reference, same,
    methods}. Within a step, problems on which any method gave credit come first: without variance of reward there is
    nothing to see.

    same: whether every method judged the same completions. methods: per method {scale: largest |credit| on this
    problem at this step, completions [{sample, reward, correct, tokens, credit, cut}]}. Tokens of methods after the
    first are null where they equal the first method's.
    """
    lines: dict[tuple[int, str, str], list[list[dict]]] = defaultdict(lambda: [[] for _ in shown])
    for i, own in enumerate(shown):
        for line in own.credit:
            lines[line["step"], line["domain"], line["problem"]][i].append(line)
    first = min((step for step, _, _ in lines), default=0)
    last = max((step for step, _, _ in lines), default=0)
    entries = []
    wanted = [key for key in lines if key[0] in (first, last)]
    for step, domain, problem in sorted(wanted, key=lambda key: (key[0], not _any_credit(lines[key]), key)):
        own = lines[step, domain, problem]
        texts = [[line["tokens"] for line in completions] for completions in own]
        methods = [
            {
                "scale": max((abs(value) for line in completions for value in line["credit"]), default=0.0),
                "completions": [
                    _credited(line, known=i > 0 and j < len(texts[0]) and line["tokens"] == texts[0][j])
                    for j, line in enumerate(completions)
                ],
            }
            for i, completions in enumerate(own)
        ]
        head = {"step": step, "domain": domain, "problem": problem, "same": all(t == texts[0] for t in texts)}
        entries.append(head | _wording(shown, problem) | {"methods": methods})
    return entries


def _any_credit(own: Sequence[Sequence[dict]]) -> bool:
    return any(value for completions in own for line in completions for value in line["credit"])


def _credited(line: dict[str, Any], known: bool) -> dict[str, Any]:
    ends = itertools.accumulate(map(len, line["tokens"]))
    kept = sum(end <= CHARACTERS for end in ends)
    return {
        "sample": line["sample"],
        "reward": line["reward"],
        "correct": line["correct"],
        "tokens": None if known else line["tokens"][:kept],
        "credit": [float(f"{value:.4g}") for value in line["credit"][:kept]],
        "cut": len(line["tokens"]) - kept,
    }


def _wording(shown: Sequence[Samples], problem: str) -> dict[str, Any]:
    """Prompt and reference, from the first method that recorded them."""
    found = next((own.problems[problem] for own in shown if problem in own.problems), {})
    texts = {name: found.get(name) for name in ("prompt", "reference")}
    return {name: text if text is None else shortened(text) for name, text in texts.items()}


def cut(name: str, text: str) -> dict[str, Any]:
    """{name: at most CHARACTERS of the text, "cut": how many characters were left out}."""
    return {name: text[:CHARACTERS], "cut": max(0, len(text) - CHARACTERS)}


def shortened(text: str) -> str:
    left = len(text) - CHARACTERS
    return text if left <= 0 else f"{text[:CHARACTERS]} […] ({left} characters more)"


def _within(entries: list[dict[str, Any]], limit: int) -> list[dict[str, Any]]:
    """The first entries whose JSON stays within `limit` bytes together."""
    sizes = itertools.accumulate(len(json.dumps(entry, separators=(",", ":"))) for entry in entries)
    return entries[: sum(size <= limit for size in sizes)]

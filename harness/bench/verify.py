"""Seconds that the verifiers take for a batch of answers.

    python -m harness.bench verify [rounds=3] [answers=1000] [workers=null] [programs=500] [data=../shared/data]

The answers are made up on the spot: short word problems with the reasoning before the answer, stated
in the ways that models state it, 30 % of them wrong; the same with expressions in LaTeX, fractions,
roots, tuples and intervals. The processes that compare are started before the first round. The row of
the code verifier runs MBPP's own solutions; it needs `mbpp.jsonl` in `data` and is left out without it.
"""

from __future__ import annotations

import json
import os
import random
import statistics
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from omegaconf import OmegaConf

from harness.suites.problem import Problem
from harness.suites.schemas import mbpp
from harness.verifiers import Verifier
from harness.verifiers.code import CodeVerifier
from harness.verifiers.math import MathVerifier

WRONG = 0.3  # share of wrong answers

Batch = tuple[list[Problem], list[str], list[bool]]


@dataclass
class Options:
    """What can be set on the command line."""

    rounds: int = 3
    answers: int = 1000
    workers: int | None = None
    programs: int = 500
    data: str = "../shared/data"


def worded(count: int, seed: int = 0) -> Batch:
    """Word problems with an integer answer, in five ways to state it; which of them are right."""
    rng = random.Random(seed)
    problems, completions, right = [], [], []
    for number in range(count):
        boxes, each, sold = rng.randint(12, 90), rng.randint(12, 99), rng.randint(2, 50)
        value = boxes * each - sold
        correct = rng.random() >= WRONG
        given = value if correct else value + rng.choice([-10, -1, 1, 2, sold, 100])
        reasoning = (
            f"There are {boxes} boxes with {each} eggs each, so {boxes} * {each} = {boxes * each} eggs.\n"
            f"After {sold} are sold, {boxes * each} - {sold} = {given} are left.\n"
        )
        ways = (
            f"#### {given:,}",
            rf"So the answer is $\boxed{{{given}}}$.",
            rf"\boxed{{{given:,} \text{{ eggs}}}}",
            f"The answer is {given}.",
            f"That leaves {given:,} eggs.",
        )
        problems.append(Problem(f"Word problem {number}", "math", data=str(value)))
        completions.append(reasoning + ways[number % len(ways)])
        right.append(correct)
    return problems, completions, right


def latex(count: int, seed: int = 0) -> Batch:
    """Problems of which half have a number and half another expression as their answer."""
    rng = random.Random(seed)
    problems, completions, right = [], [], []
    for number in range(count):
        a, b, c = rng.randint(2, 9), rng.randint(11, 40), rng.choice([2, 3, 5, 7])
        forms = [(str(a * b), str(a * b), str(a + b))] * 4 + [
            (rf"\frac{{{b}}}{{{a}}}", rf"\dfrac{{{2 * b}}}{{{2 * a}}}", rf"\frac{{{b + 1}}}{{{a}}}"),
            (rf"{a}\sqrt{{{c}}}", rf"\sqrt{{{a * a * c}}}", rf"{a + 1}\sqrt{{{c}}}"),
            (
                rf"\left( {a}, \frac{{\pi}}{{{c}}} \right)",
                rf"({a}, \pi/{c})",
                rf"({a}, \frac{{\pi}}{{{c + 1}}})",
            ),
            (rf"({a},{b}]", rf"\left({a}, {b}\right]", rf"[{a},{b}]"),
        ]
        reference, same, other = forms[number % len(forms)]
        correct = rng.random() >= WRONG
        problems.append(Problem(f"Problem {number}", "math", data=reference))
        completions.append(f"We compute step by step.\nTherefore $\\boxed{{{same if correct else other}}}$.")
        right.append(correct)
    return problems, completions, right


def programs(count: int, data: str) -> Batch | None:
    """MBPP's own solutions to its first `count` problems; None without any."""
    path = Path(os.environ.get("HARNESS_DATA", data)) / "mbpp.jsonl"
    if not count or not path.is_file():
        return None
    lines = path.read_text().splitlines()[:count]
    problems = [mbpp(json.loads(line), "code", "{question}") for line in lines]
    return problems, [problem.reference for problem in problems], [True] * len(problems)


def timed(verifier: Verifier, batch: Batch, rounds: int) -> tuple[list[float], int, int]:
    """Seconds of each round after one to warm up, and how many verdicts were unexpected or failed."""
    problems, completions, right = batch
    verifier.judge(problems, completions)
    seconds = []
    for _ in range(rounds):
        start = time.perf_counter()
        verdicts = verifier.judge(problems, completions)
        seconds.append(time.perf_counter() - start)
    failed = sum(verdict.correct is None for verdict in verdicts)
    unexpected = sum(verdict.correct is not want for verdict, want in zip(verdicts, right, strict=True))
    return seconds, unexpected - failed, failed


def rows(options: Options) -> list[tuple[str, Verifier, Batch]]:
    """What is timed: a name, a verifier, its batch."""
    verifier = MathVerifier(workers=options.workers)
    named: list[tuple[str, Verifier, Batch]] = [
        ("math: word problems", verifier, worded(options.answers)),
        ("math: LaTeX", verifier, latex(options.answers)),
    ]
    batch = programs(options.programs, options.data)
    if batch:
        named.append(("code: MBPP", CodeVerifier(), batch))
    return named


def main(arguments: list[str]) -> None:
    """Time each batch and print the table."""
    options: Any = OmegaConf.to_object(
        OmegaConf.merge(OmegaConf.structured(Options), OmegaConf.from_cli(arguments))
    )
    print(
        f"{len(os.sched_getaffinity(0))} core(s), median of {options.rounds} rounds after one to warm up\n\n"
        "| verifier | answers | median s | min | max | ms per answer | unexpected | failed |\n"
        "|---|--:|--:|--:|--:|--:|--:|--:|"
    )
    for name, verifier, batch in rows(options):
        seconds, unexpected, failed = timed(verifier, batch, options.rounds)
        median, count = statistics.median(seconds), len(batch[0])
        print(
            f"| {name} | {count} | {median:.2f} | {min(seconds):.2f} | {max(seconds):.2f} "
            f"| {1000 * median / count:.2f} | {unexpected} | {failed} |",
            flush=True,
        )

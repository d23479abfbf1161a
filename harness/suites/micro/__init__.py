"""The embedded suite: seeded problems in three domains whose decisive tokens are known.

A problem is `horizon` independent questions of one domain, joined by `;`; its answer is one line for
each, joined the same way. Every question has a right procedure and a misconception, so `horizon` is
the number of decisions that share one outcome reward: the dial for credit assignment.

Problems are disjoint between splits by construction: a hash of the prompt decides its split. At horizon
1 no question recurs across splits; at longer horizons single questions do, in other combinations.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import count, cycle, islice
from random import Random
from typing import Any

from harness.suites.micro import code, math, science
from harness.suites.micro.items import Item, common_prefix
from harness.suites.problem import SPLIT_PERCENT, Problem, Split, Verdict, one_by_one

DOMAINS = {"math": math, "code": code, "science": science}
SEPARATOR = ";"
MAX_TRIES = 20_000  # draws without a new problem before the possible ones count as used up


@dataclass(frozen=True)
class MicroSuite:
    """Seeded generators of short problems in math, code and science.

    `horizon`: decisions per problem. `level`: 1 or 2, larger numbers and multiple choice at 2.
    `reward`: `all` gives 1 when every question is right, else 0; `share` the mean of graded shares.
    `seed` chooses the problems.
    """

    name: str = "micro"
    domains: Sequence[str] = ("math", "code", "science")
    horizon: int = 4
    level: int = 1
    reward: str = "all"
    seed: int = 0

    def __post_init__(self) -> None:
        if unknown := sorted(set(self.domains) - set(DOMAINS)) or (not self.domains and "empty"):
            raise ValueError(f"suite.domains: {unknown}; choose from {', '.join(DOMAINS)}")
        if len(set(self.domains)) < len(self.domains):
            raise ValueError(f"suite.domains: {', '.join(self.domains)} names one twice")
        if self.horizon < 1:
            raise ValueError(f"suite.horizon must be at least 1, got {self.horizon}")
        if self.level not in (1, 2):
            raise ValueError(f"suite.level must be 1 or 2, got {self.level}")
        if self.reward not in ("all", "share"):
            raise ValueError(f"suite.reward must be 'all' or 'share', got {self.reward!r}")

    def training(self, seed: int) -> Iterator[Problem]:
        """Training problems, the domains in turn; none comes again before all others have come."""
        streams = [self._laps(domain, f"{self.seed}/{seed}") for domain in self.domains]
        return map(next, cycle(streams))

    def evaluation(self, split: Split, size: int) -> list[Problem]:
        """`size` held-out problems of `split` for each domain."""
        problems = [
            p for domain in self.domains for p in islice(self._distinct(domain, split, str(self.seed)), size)
        ]
        if len(problems) < size * len(self.domains):
            raise ValueError(
                f"evaluation.{split}_problems={size}: there are fewer different problems at horizon "
                f"{self.horizon}, level {self.level}; ask for fewer"
            )
        return problems

    def verify(self, problem: Problem, completion: str) -> Verdict:
        """Judge every line of `completion` against its question; mark where each went right or wrong."""
        items: tuple[Item, ...] = problem.data
        grade = DOMAINS[problem.domain].grade
        lines = completion.split(SEPARATOR)
        grades, marks, offset = [], [], 0
        for item, line in zip(items, lines, strict=False):
            verdict = grade(item, line)
            grades.append(verdict)
            agreed = common_prefix(line, item.right)
            if not verdict.correct:
                marks.append((offset + agreed, -1))
            elif agreed > item.branch or line == item.right:
                marks.append((offset + item.branch, +1))
            offset += len(line) + len(SEPARATOR)
        if len(lines) != len(items):  # stopped too early, or went on after the last answer
            marks.append((min(offset - len(SEPARATOR), len(completion)), -1))
        correct = len(lines) == len(items) and all(g.correct for g in grades)
        share = sum(g.share for g in grades) / max(len(items), len(lines))
        return Verdict(
            reward=float(correct) if self.reward == "all" else share,
            correct=correct,
            answer=SEPARATOR.join([*(g.answer or "?" for g in grades), *lines[len(items) :]]),
            decisive=tuple(dict(marks).items()),
        )

    def asks(self, problem: Problem) -> bool:
        """No: these questions are asked nowhere else."""
        return False

    def judge(self, problems: Sequence[Problem], completions: Sequence[str]) -> list[Verdict]:
        """The verdict on each completion."""
        return one_by_one(self.verify, problems, completions)

    def facts(self) -> dict[str, Any]:
        """Nothing beside the configuration: the problems are computed from it."""
        return {}

    def _laps(self, domain: str, key: str) -> Iterator[Problem]:
        """The training problems of a domain again and again, in another order each time."""
        for lap in count(0):
            yield from self._distinct(domain, "train", f"{key}/{lap}")

    def _distinct(self, domain: str, split: Split, key: str) -> Iterator[Problem]:
        """The different problems of one split in the order of `key`, until no new one turns up."""
        rng = Random(f"{domain}/{split}/{key}/{self.horizon}/{self.level}")
        low, high = SPLIT_PERCENT[split]
        seen: set[str] = set()
        tries = 0
        while tries < MAX_TRIES:
            problem = make_problem(domain, self.horizon, self.level, rng)
            tries += 1
            if problem.hash not in seen and low <= int(problem.hash, 16) % 100 < high:
                seen.add(problem.hash)
                tries = 0
                yield problem


def make_problem(domain: str, horizon: int, level: int, rng: Random) -> Problem:
    """One problem of `horizon` questions, their kinds drawn independently."""
    items = tuple(_draw(domain, level, rng) for _ in range(horizon))
    prompt = SEPARATOR.join(item.question for item in items) + "?"
    return Problem(prompt, domain, reference=SEPARATOR.join(item.right for item in items), data=items)


def _draw(domain: str, level: int, rng: Random) -> Item:
    kinds = DOMAINS[domain].KINDS
    while True:
        item = kinds[rng.choice(list(kinds))].make(rng, level)
        # A question on which the misconception happens to be right decides nothing.
        if item is not None and DOMAINS[domain].grade(item, item.wrong).correct is False:
            return item


def demonstration(problem: Problem, rng: Random, slip: float) -> str:
    """A flawed worked solution: the misconception with its kind's probability, and slips in results.

    A slip moves the last number of a line by 1 or 2, with probability `slip`.
    """
    kinds = DOMAINS[problem.domain].KINDS
    lines = []
    for item in problem.data:
        line = item.wrong if rng.random() < kinds[item.kind].misconception else item.right
        lines.append(_slipped(line, rng) if rng.random() < slip else line)
    return SEPARATOR.join(lines)


def _slipped(line: str, rng: Random) -> str:
    end = len(line.rstrip("abx*"))
    start = len(line[:end].rstrip("0123456789"))
    number = max(0, int(line[start:end]) + rng.choice((-2, -1, 1, 2)))
    return line[:start] + str(number) + line[end:]


def alphabet() -> str:
    """Every character that a problem or an answer can hold, sorted."""
    fixed = "0123456789+-*/()=>,?;x abMenK" + "".join((*science.LIGHT, *science.ELEMENTS))
    return "".join(sorted(set(fixed)))

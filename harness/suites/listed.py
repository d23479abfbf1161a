"""A suite from a list of problems and a function that judges: all that a data set of one's own takes."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from itertools import count, cycle, islice
from random import Random
from typing import Any

from harness.suites.problem import SPLIT_PERCENT, Problem, Split, Verdict, one_by_one


@dataclass(frozen=True)
class ListSuite:
    """`problems`, split by a hash of their prompts, and `verify(problem, completion) → Verdict`.

    Splits are disjoint whatever the seeds: a quarter of the problems is the test split, 15 % each validation and
    learning curve, the rest is for training. Training takes domains in turn, and every problem of a domain once
    before any comes again, in an order that the training seed determines.
    Raises ValueError for problems that come twice, and where a split has too few.
    """

    name: str
    problems: Iterable[Problem]
    verify: Callable[[Problem, str], Verdict]

    def __post_init__(self) -> None:
        by_hash: dict[str, Problem] = {}
        for problem in self.problems:
            if by_hash.setdefault(problem.hash, problem) is not problem:
                raise ValueError(f"suite {self.name}: a problem comes twice: {problem.prompt!r}")
        if not by_hash:
            raise ValueError(f"suite {self.name}: there are no problems")
        object.__setattr__(self, "problems", tuple(by_hash.values()))

    def training(self, seed: int) -> Iterator[Problem]:
        """Training problems, the domains in turn."""
        streams = [self._laps(domain, self._of(domain, "train", 1), seed) for domain in self._domains()]
        return map(next, cycle(streams))

    def evaluation(self, split: Split, size: int) -> list[Problem]:
        """The first `size` problems of `split` in each domain, in the order of the list."""
        return [p for domain in self._domains() for p in islice(self._of(domain, split, size), size)]

    def asks(self, problem: Problem) -> bool:
        """Whether the test split holds a problem of this content."""
        return problem.content in self._test_contents

    def judge(self, problems: Sequence[Problem], completions: Sequence[str]) -> list[Verdict]:
        """The verdict on each completion."""
        return one_by_one(self.verify, problems, completions)

    def facts(self) -> dict[str, Any]:
        """How many problems there are."""
        return {"problems": len(self.problems)}

    @cached_property
    def _test_contents(self) -> set[str]:
        return {p.content for domain in self._domains() for p in self._of(domain, "test", 0)}

    def _domains(self) -> list[str]:
        return list(dict.fromkeys(problem.domain for problem in self.problems))

    def _of(self, domain: str, split: Split, least: int) -> list[Problem]:
        low, high = SPLIT_PERCENT[split]
        found = [p for p in self.problems if p.domain == domain and low <= int(p.hash, 16) % 100 < high]
        if len(found) < least:
            raise ValueError(
                f"suite {self.name}, domain {domain}: the {split} split has {len(found)} problems, {least} are "
                f"wanted: give more problems, or ask for fewer (evaluation.{split}_problems)"
            )
        return found

    def _laps(self, domain: str, problems: list[Problem], seed: int) -> Iterator[Problem]:
        for lap in count():
            yield from Random(f"{self.name}/{domain}/{seed}/{lap}").sample(problems, len(problems))

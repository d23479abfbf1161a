"""Several suites as one: train on some in given shares, test on others."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from itertools import islice
from typing import Any

from harness.suites.problem import Problem, Split, Suite, Verdict

MAX_OVERLAP = 1000  # problems in a row that are also test problems: then there is nothing else to come


@dataclass
class Mix:
    """Training problems of `train` in the shares of `weights` (1 where it names none), test problems of `test`.

    Validation and learning curve take the held-out problems of `train`. Every suite is a domain of its own under its
    key here. A training problem that asks the same as any test problem is left out, and counted in `facts`.
    Raises ValueError for weights that are not above zero or belong to no suite.
    """

    name: str
    train: Mapping[str, Suite] = field(default_factory=dict)
    test: Mapping[str, Suite] = field(default_factory=dict)
    weights: Mapping[str, float] = field(default_factory=dict)

    def __post_init__(self) -> None:
        for part, suites in (("train", self.train), ("test", self.test)):
            if not suites:
                raise ValueError(
                    f"suite {self.name} has nothing to {part} on: add +suite@suite.{part}.gsm8k=gsm8k"
                )
        for key, weight in self.weights.items():
            if key not in self.train:
                raise ValueError(
                    f"suite.weights.{key}: there is no suite.train.{key}; {', '.join(self.train)} are"
                )
            if not isinstance(weight, int | float) or not 0 < weight < math.inf:
                raise ValueError(f"suite.weights.{key}={weight} must be a number above zero")
        self._left_out = 0

    def training(self, seed: int) -> Iterator[Problem]:
        """At every moment the next problem is of the suite that is furthest behind its share."""
        streams = {key: self._stream(key, seed) for key in self.train}
        return self._mixed(streams)

    def evaluation(self, split: Split, size: int) -> list[Problem]:
        """`size` problems of every suite, or all it has."""
        suites = self.test if split == "test" else self.train
        return [
            _labelled(key, split, p) for key, suite in suites.items() for p in suite.evaluation(split, size)
        ]

    def asks(self, problem: Problem) -> bool:
        """Whether any of the test suites asks the same."""
        return any(suite.asks(problem) for suite in self.test.values())

    def judge(self, problems: Sequence[Problem], completions: Sequence[str]) -> list[Verdict]:
        """Each suite's own verdicts on its problems."""
        places: dict[tuple[str, str], list[int]] = {}
        for place, problem in enumerate(problems):
            places.setdefault(problem.data[:2], []).append(place)
        verdicts: dict[int, Verdict] = {}
        for (key, split), own in places.items():
            suite = (self.test if split == "test" else self.train)[key]
            judged = suite.judge([problems[i].data[2] for i in own], [completions[i] for i in own])
            verdicts |= zip(own, judged, strict=True)
        return [verdicts[place] for place in range(len(problems))]

    def facts(self) -> dict[str, Any]:
        """Those of every suite, and how many training problems drawn so far were also test problems."""
        parts = {"train": self.train, "test": self.test}
        told = {part: {key: s.facts() for key, s in suites.items()} for part, suites in parts.items()}
        return told | {"left_out": {"train: also a test problem": self._left_out}}

    def _stream(self, key: str, seed: int) -> Iterator[Problem]:
        stream = self.train[key].training(seed)  # here, not at the first problem: it may refuse
        return self._fresh(key, stream)

    def _fresh(self, key: str, stream: Iterator[Problem]) -> Iterator[Problem]:
        while True:
            tried = islice(stream, MAX_OVERLAP)
            fresh = next((p for p in tried if not self._is_tested(p)), None)
            if fresh is None:
                raise ValueError(f"suite {self.name}: all problems of train.{key} are also test problems")
            yield _labelled(key, "train", fresh)

    def _is_tested(self, problem: Problem) -> bool:
        tested = self.asks(problem)
        self._left_out += tested
        return tested

    def _mixed(self, streams: dict[str, Iterator[Problem]]) -> Iterator[Problem]:
        shares = {key: float(self.weights.get(key, 1)) for key in streams}
        total = sum(shares.values())
        taken = dict.fromkeys(streams, 0)
        while True:
            due = (sum(taken.values()) + 1) / total
            key = max(streams, key=lambda k: shares[k] * due - taken[k])
            taken[key] += 1
            yield next(streams[key])


def _labelled(key: str, split: str, problem: Problem) -> Problem:
    """The problem in the domain `key`, with its way back to the suite that judges it."""
    return replace(problem, domain=key, data=(key, "test" if split == "test" else "train", problem))

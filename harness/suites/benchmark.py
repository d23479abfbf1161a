"""A published data set as a suite: its rows, the schema that reads them, and the verifier that judges answers."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from itertools import count
from random import Random
from typing import Any

from harness.suites.problem import Problem, Split, Verdict
from harness.suites.source import Row, Source
from harness.verifiers import Verifier

# Percent of the range of a training problem's hash; the test problems are the published ones.
HELD_OUT_PERCENT = {"validation": (0, 10), "curve": (10, 20), "train": (20, 100)}


class Ungradable(ValueError):
    """A row that makes no problem: nothing in it tells a right answer from a wrong one."""


@dataclass
class Benchmark:
    """Training problems, with a tenth each held out for validation and the learning curve, and test problems.

    name: of the suite. schema: a row → its problem; raises `Ungradable` for a row to leave out. verifier: judges
    answers. test, train: where rows come from, `path` and `train_path` being local files in their place; without
    `train` it is for evaluation only, without `test` for training only. test_size: of the published test set, for the
    plan of a dry run.

    A training problem that asks the same as a test problem (`Problem.content`) is left out, and counted in `facts`.
    Rows are read when they are first asked for. Raises ValueError or OSError with advice where there are none.
    """

    name: str
    schema: Callable[[Row], Problem]
    verifier: Verifier
    test: Source | None = None
    train: Source | None = None
    path: str | None = None
    train_path: str | None = None
    test_size: int | None = None

    def __post_init__(self) -> None:
        for option, split in (("path", "test"), ("train_path", "train")):
            if getattr(self, option) and getattr(self, split) is None:
                raise ValueError(f"suite {self.name} has no {split} problems, so it takes no {option}")
        self._origin: dict[str, dict[str, Any]] = {}
        self._left_out: Counter[str] = Counter()
        self._read_already: dict[int, Problem | None] = {}

    def training(self, seed: int) -> Iterator[Problem]:
        """The training problems in a random order, again and again in another one each time."""
        if self.train is None:
            raise ValueError(
                f"suite {self.name} has test problems only: train on others, with suite=mix "
                f"+suite@suite.train.gsm8k=gsm8k +suite@suite.test.{self.name}={self.name} for example"
            )
        return self._laps(self._train_rows, seed)

    def evaluation(self, split: Split, size: int) -> list[Problem]:
        """`size` problems in an order that is always the same; all of the test problems if they are fewer.

        Raises ValueError where a split that is held out of training has fewer.
        """
        if split == "test":
            return self._tests[:size]
        if self.train is None:
            raise ValueError(f"suite {self.name} has test problems only, and none of the {split} split")
        found: dict[str, Problem] = {}
        for number in Random(f"{self.name}/{split}").sample(
            range(len(self._train_rows)), len(self._train_rows)
        ):
            if len(found) == size:
                break
            problem = self._problem(number)
            if problem is not None and _is_of(problem, split):
                found.setdefault(problem.hash, problem)
        if len(found) < size:
            raise ValueError(
                f"suite {self.name}: the {split} split has {len(found)} problems, {size} are wanted: ask for fewer "
                f"(evaluation.{split}_problems), or give more training problems"
            )
        return list(found.values())

    def asks(self, problem: Problem) -> bool:
        """Whether a test problem has this content."""
        return problem.content in self._test_contents

    def judge(self, problems: Sequence[Problem], completions: Sequence[str]) -> list[Verdict]:
        """The verifier's verdicts."""
        return self.verifier.judge(problems, completions)

    def facts(self) -> dict[str, Any]:
        """Origins of the rows, how many gave no problem and why, and what the verifier says of itself."""
        if self.test is not None:
            self.evaluation("test", 0)  # reads the rows, and so knows where they came from
        return {"rows": self._origin, "left_out": dict(self._left_out), **self.verifier.facts()}

    @cached_property
    def _tests(self) -> list[Problem]:
        if self.test is None:
            raise ValueError(
                f"suite {self.name} has training problems only: test on others, with suite=mix "
                f"+suite@suite.train.{self.name}={self.name} +suite@suite.test.math500=math500 for example"
            )
        rows = self._rows(self.test, "test", self.path, "suite.path")
        found: dict[str, Problem] = {}
        for number, row in enumerate(rows):
            problem = self._read("test", number, row)
            if problem is not None and found.setdefault(problem.hash, problem) is not problem:
                self._left_out["test: asked twice"] += 1
        if not found:
            raise ValueError(
                f"suite {self.name}: of {self._origin['test']} no row is a test problem: {self._reasons()}"
            )
        return Random(f"{self.name}/test").sample(list(found.values()), len(found))

    @cached_property
    def _train_rows(self) -> Sequence[Row]:
        return self._rows(self.train, "train", self.train_path, "suite.train_path")

    @cached_property
    def _test_contents(self) -> set[str]:
        return set() if self.test is None else {problem.content for problem in self._tests}

    def _rows(self, source: Source, split: str, path: str | None, option: str) -> Sequence[Row]:
        try:
            rows, self._origin[split] = source.rows(path, option)
        except (OSError, ValueError) as error:
            raise type(error)(f"suite {self.name}: {error}") from error
        return rows

    def _problem(self, number: int) -> Problem | None:
        """Training problem `number`, or None if it cannot be used; each row is read once."""
        if number not in self._read_already:
            problem = self._read("train", number, self._train_rows[number])
            if problem is not None and self.asks(problem):
                self._left_out["train: also a test problem"] += 1
                problem = None
            self._read_already[number] = problem
        return self._read_already[number]

    def _read(self, split: str, number: int, row: Row) -> Problem | None:
        try:
            return self.schema(row)
        except Ungradable as error:
            self._left_out[f"{split}: {error}"] += 1
            return None
        except (KeyError, TypeError, ValueError, IndexError, AttributeError) as error:
            raise ValueError(
                f"suite {self.name}: row {number} of {self._origin[split]} is not in the data set's schema: "
                f"{type(error).__name__} {error}; its columns are {', '.join(map(str, row))}"
            ) from error

    def _reasons(self) -> str:
        counts = [f"{reason} ({count})" for reason, count in self._left_out.items()]
        return "left out: " + ", ".join(counts) if counts else "there is none in the range of this split"

    def _laps(self, rows: Sequence[Row], seed: int) -> Iterator[Problem]:
        for lap in count():
            seen: set[str] = set()
            for number in Random(f"{self.name}/{seed}/{lap}").sample(range(len(rows)), len(rows)):
                problem = self._problem(number)
                if problem is not None and problem.hash not in seen and _is_of(problem, "train"):
                    seen.add(problem.hash)
                    yield problem
            if not seen:
                raise ValueError(f"suite {self.name}: no row is left to train on: {self._reasons()}")


def _is_of(problem: Problem, split: str) -> bool:
    low, high = HELD_OUT_PERCENT[split]
    return low <= int(problem.content, 16) % 100 < high

"""What every suite hands to the pipeline: problems, and verdicts on completions."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any, Literal, Protocol

from harness.suites.deadline import Overrun, within

Split = Literal["train", "validation", "test", "curve"]
JUDGE_SECONDS = 60.0  # for one completion, of a verifier in this process
# Share of each split in percent of the range of problem hashes: a problem is always of the same one.
SPLIT_PERCENT = {"test": (0, 25), "validation": (25, 40), "curve": (40, 55), "train": (55, 100)}


@dataclass(frozen=True)
class Problem:
    """One question.

    `prompt` is what the policy sees, `reference` a worked right solution where there is one, and
    `data` what the suite's own verifier needs (a parsed problem, hidden test cases, an answer).
    `question` is the prompt without the instructions that a suite puts round it, where they differ, and `record` what
    a run's samples keep of it, such as the order of shuffled options.
    """

    prompt: str
    domain: str
    reference: str | None = None
    data: Any = field(default=None, compare=False, repr=False)
    question: str | None = field(default=None, compare=False, repr=False)
    record: dict[str, Any] | None = field(default=None, compare=False, repr=False)

    @cached_property
    def hash(self) -> str:
        """Sixteen hex digits that identify the problem by its domain and prompt."""
        return hashlib.sha256(f"{self.domain}\n{self.prompt}".encode()).hexdigest()[:16]

    @cached_property
    def content(self) -> str:
        """Sixteen hex digits of what is asked: the same in any suite, under any instructions, case or spacing."""
        words = " ".join((self.question or self.prompt).casefold().split())
        return hashlib.sha256(words.encode()).hexdigest()[:16]


@dataclass(frozen=True)
class Verdict:
    """What a verifier says about one completion.

    `reward` is NaN where the verifier itself failed (`error` says why): that is not a wrong answer.
    `decisive` lists `(character offset, sign)`: +1 where a right decision was taken, -1 where the
    completion first went wrong. An offset equal to the completion's length means its end.
    """

    reward: float
    correct: bool | None
    answer: str | None
    decisive: tuple[tuple[int, int], ...] = ()
    error: str | None = None

    @classmethod
    def failure(cls, error: str) -> Verdict:
        """The verifier could not judge: counted apart, never as a wrong answer."""
        return cls(reward=float("nan"), correct=None, answer=None, error=error)


class Suite(Protocol):
    """A named set of problems with its verifier."""

    name: str

    def training(self, seed: int) -> Iterator[Problem]:
        """Training problems without end, in the order that `seed` determines, the same for every method."""
        ...

    def evaluation(self, split: Split, size: int) -> list[Problem]:
        """`size` problems per domain of a held-out split, the same for every training seed.

        A published test set that has fewer gives all it has.
        """
        ...

    def asks(self, problem: Problem) -> bool:
        """Whether the test asks the same as `problem` (of another suite: `training` never yields one of its own)."""
        ...

    def judge(self, problems: Sequence[Problem], completions: Sequence[str]) -> list[Verdict]:
        """The verdict on each completion (text without special tokens) to the problem beside it.

        What the verifier cannot judge is `Verdict.failure`.
        """
        ...

    def facts(self) -> dict[str, Any]:
        """What a run records of its problems beside the configuration: revisions, files, the sandbox."""
        ...


def one_by_one(
    verify: Callable[[Problem, str], Verdict], problems: Sequence[Problem], completions: Sequence[str]
) -> list[Verdict]:
    """`verify` on each completion; where it raises or hangs it has failed, which is not the completion's fault."""

    def judged(problem: Problem, completion: str) -> Verdict:
        try:
            return within(JUDGE_SECONDS, verify, problem, completion)
        except (Exception, Overrun) as error:
            return Verdict.failure(f"{type(error).__name__}: {error}")

    return [judged(*pair) for pair in zip(problems, completions, strict=True)]

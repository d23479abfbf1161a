"""What every suite hands to the pipeline: problems, and verdicts on completions."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any, Literal, Protocol

Split = Literal["train", "validation", "test", "curve"]
# Share of each split in percent of the range of problem hashes: a problem is always of the same one.
SPLIT_PERCENT = {"test": (0, 25), "validation": (25, 40), "curve": (40, 55), "train": (55, 100)}


@dataclass(frozen=True)
class Problem:
    """One question.

    `prompt` is what the policy sees, `reference` a worked right solution where there is one, and
    `data` what the suite's own verifier needs (a parsed problem, hidden test cases, an answer).
    """

    prompt: str
    domain: str
    reference: str | None = None
    data: Any = field(default=None, compare=False, repr=False)

    @cached_property
    def hash(self) -> str:
        """Sixteen hex digits that identify the problem by its domain and prompt."""
        return hashlib.sha256(f"{self.domain}\n{self.prompt}".encode()).hexdigest()[:16]


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

    def training(self, size: int, seed: int) -> list[Problem]:
        """`size` training problems in the order that `seed` determines, the same for every method."""
        ...

    def evaluation(self, split: Split, size: int) -> list[Problem]:
        """`size` problems per domain of a held-out split, the same for every training seed."""
        ...

    def verify(self, problem: Problem, completion: str) -> Verdict:
        """Judge one completion (text without special tokens)."""
        ...

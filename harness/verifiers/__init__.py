"""Verifiers: from an answer's text to right, wrong, or cannot be judged."""

from collections.abc import Sequence
from typing import Any, Protocol

from harness.suites.problem import Problem, Verdict


class Verifier(Protocol):
    """Judges completions by what their problem's `data` says of the right answer.

    Made when a configuration is checked, so it starts nothing (a pool, a sandbox) before the first `judge`.
    """

    def judge(self, problems: Sequence[Problem], completions: Sequence[str]) -> list[Verdict]:
        """One verdict each; `Verdict.failure` where the verifier itself failed, never an exception."""
        ...

    def facts(self) -> dict[str, Any]:
        """What a run records of it, such as the sandbox that it found."""
        ...

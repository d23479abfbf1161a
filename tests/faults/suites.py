"""A suite whose verdicts need a process of their own, and a call that leaves a trace."""

from pathlib import Path

from harness.suites import Problem, Verdict
from harness.verifiers.workers import shared_pool
from tests.harness.conftest import EasySuite


class CheckedSuite(EasySuite):
    """EasySuite, once the math verifier's worker process has agreed that x = x."""

    def verify(self, problem: Problem, completion: str) -> Verdict:
        assert shared_pool(1, 2048, 5.0).ask([("x", "x")]) == ["right"]
        return super().verify(problem, completion)


def executed(**_) -> None:
    """What no file in results/ may have called."""
    Path("executed").mkdir(exist_ok=True)

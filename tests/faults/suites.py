"""Suites whose verdicts need processes of their own, and a call that leaves a trace."""

import itertools
import os
import time
from pathlib import Path

from harness.sandbox import Sandbox, SandboxError
from harness.suites import Problem, Verdict
from harness.verifiers.code import shared
from harness.verifiers.workers import shared_pool
from tests.harness.conftest import EasySuite

VERDICTS = itertools.count(1)  # of this process


class CheckedSuite(EasySuite):
    """EasySuite, once the math verifier's worker process has agreed that x = x."""

    def verify(self, problem: Problem, completion: str) -> Verdict:
        assert shared_pool(1, 2048, 5.0).ask([("x", "x")]) == ["right"]
        return super().verify(problem, completion)


def executed(**_) -> None:
    """What no file in results/ may have called."""
    Path("executed").mkdir(exist_ok=True)


class StalledSuite(CheckedSuite):
    """CheckedSuite that opens a sandbox in the verdict whose number a file `stall` holds, and waits until that is gone.

    Who waits leaves a file `stalled-<pid>`.
    """

    def verify(self, problem: Problem, completion: str) -> Verdict:
        verdict, stall = super().verify(problem, completion), Path("stall")
        if stall.exists() and next(VERDICTS) == int(stall.read_text()):
            assert sandbox().run_tests("def f(): return 1", "assert f() == 1").passed
            Path(f"stalled-{os.getpid()}").touch()
            while stall.exists():
                time.sleep(0.05)
        return verdict


def sandbox() -> Sandbox:
    try:
        return shared("auto", 1)
    except SandboxError:  # none works here; its processes are in a session of their own all the same
        return shared("unsafe", 1)

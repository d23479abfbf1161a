"""One run: a process for the program, a process for the judge, and the harness between them.

    program  <── question, answer ──>  harness  <── question, answer, verdict ──>  judge

The two processes share nothing, not even a pipe. The harness passes questions and answers on as bytes it
does not read, and takes a verdict from the judge's pipe only. A cell serves one run and is then destroyed,
so nothing that a program did outlives it.
"""

from __future__ import annotations

import time
from dataclasses import dataclass

from harness.sandbox.inside.wire import INVALID, PASSED, VERDICT, Malformed, decode, encode
from harness.sandbox.limits import Limits, Outcome, SandboxError
from harness.sandbox.process import Gone, Process, TooLong, receive

LOOK_SECONDS = 0.25  # between looks at the scratch directory; a program makes some 40,000 files meanwhile
MAX_QUESTION = 1 << 28  # from the judge: arguments come from the test set, not from the program


class TooMany(Exception):
    """More files in the scratch directory than allowed."""


class JudgeDied(Exception):
    """The judge ended without a verdict: the program's doing, or the machine's; a second run tells."""


@dataclass(frozen=True)
class Job:
    """A program and what it is to be judged by."""

    program: str
    tests: str
    names: tuple[str, ...]
    modules: tuple[str, ...]
    timeout: float
    patience: float
    cpu: float | None


class Cell:
    """Two started processes, ready for one job."""

    def __init__(self, program: Process, judge: Process, limits: Limits) -> None:
        self._program, self._judge, self._limits = program, judge, limits

    def run(self, job: Job) -> Outcome:
        """The verdict on `job`. Raises SandboxError, and `JudgeDied` where a second try is in order."""
        for process in (self._program, self._judge):
            process.await_ready(time.monotonic() + self._limits.start_seconds)
        start = time.monotonic()
        try:
            passed, reason = self._relay(job, start + job.timeout)
        except Malformed as error:
            raise SandboxError(f"the judge's verdict cannot be read: {error}") from error
        return Outcome(passed, reason, time.monotonic() - start)

    def _relay(self, job: Job, deadline: float) -> tuple[bool, str]:
        asked = {"program": job.program, "cpu": job.cpu, "tests": job.tests}
        self._judge.send(encode(asked | {"names": list(job.names), "modules": list(job.modules)}))
        while True:
            try:
                frame = receive(self._judge, deadline, MAX_QUESTION)
            except (Gone, TooLong) as error:
                raise JudgeDied(self._judge.status()) from error
            if frame is None:
                return False, f"timeout: no verdict after {job.timeout:g} s"
            if frame[:1] == VERDICT:
                return verdict(frame[1:])
            self._program.send(frame[1:])
            try:
                answer = self._answer(min(deadline, time.monotonic() + job.patience))
            except Gone:
                return False, f"died: {self._program.status()}"
            except TooLong as error:
                return False, f"answer: {error} bytes, over {self._limits.answer_mb:g} MB"
            except TooMany as error:
                return False, f"files: {error} in the scratch directory, over {self._limits.scratch_files}"
            if answer is None:
                return False, f"timeout: no answer after {min(job.patience, job.timeout):g} s"
            self._judge.send(answer)

    def _answer(self, deadline: float) -> bytes | None:
        """The program's answer, or None at `deadline`. Raises `Gone`, `TooLong`, `TooMany`."""
        longest = int(self._limits.answer_mb * (1 << 20))
        while True:
            now = time.monotonic()
            answer = receive(self._program, min(deadline, now + LOOK_SECONDS), longest)
            if answer is not None or now >= deadline:
                return answer
            if (files := self._program.files()) > self._limits.scratch_files:
                raise TooMany(files)

    def alive(self) -> bool:
        """Whether both processes are still there; not so if somebody else has ended one while it waited."""
        return self._program.alive() and self._judge.alive()

    def end(self) -> None:
        """Kill the processes from another thread; the one at work on this cell notices and cleans up."""
        self._program.end()
        self._judge.end()

    def kill(self) -> None:
        self._program.kill()
        self._judge.kill()


def verdict(frame: bytes) -> tuple[bool, str]:
    """What the judge's last frame says; SandboxError if the tests themselves are at fault."""
    status, reason = decode(frame)
    if status == INVALID:
        raise SandboxError(f"the tests cannot be run: {reason}")
    return status == PASSED, "" if status == PASSED else f"{status}: {reason}"

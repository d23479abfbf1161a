"""What the untrusted code may use, and what is said about it."""

from __future__ import annotations

from dataclasses import dataclass


class SandboxError(RuntimeError):
    """The sandbox itself failed, or the tests are no valid Python: not a verdict on the program.

    A verifier makes NaN of it, never "failed". It carries text only, so that it crosses process borders.
    """


@dataclass(frozen=True)
class Limits:
    """Bounds on one run. The program and its judge are a process each, and each has these."""

    wall_seconds: float = 10.0  # from the moment the program is handed over; `timeout` of a run replaces it
    cpu_seconds: int = 10
    memory_mb: int = 1024  # address space
    scratch_mb: int = 16  # all files together; also the size of one file
    scratch_files: int = (
        1000  # where they can be counted; empty ones use the kernel's memory, not the directory's
    )
    answer_mb: float = 8.0  # one message of the program to its judge
    open_files: int = 64
    start_seconds: float = 60.0  # for a process to come up; beyond it the sandbox has failed, not the program

    def __post_init__(self) -> None:
        for name, value in vars(self).items():
            if not value > 0:
                raise ValueError(f"{name} must be above zero, not {value}")

    def arguments(self) -> list[str]:
        """The command line that `inside.boot` reads."""
        return [
            str(limit)
            for limit in (self.memory_mb << 20, self.cpu_seconds, self.scratch_mb << 20, self.open_files)
        ]


@dataclass(frozen=True)
class Outcome:
    """The verdict on one program.

    `reason` is empty for a pass, else one line `kind: detail` with the kinds `wrong` (an assertion did not
    hold), `raised` (an exception, of the program or of the test on what the program gave), `timeout`,
    `died` (the program's process ended or was ended), `answer` (a message over the limit),
    `files` (too many of them) and `judge` (the judge's process ended twice without a verdict).
    """

    passed: bool
    reason: str
    seconds: float

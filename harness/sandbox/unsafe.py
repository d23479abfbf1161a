"""No sandbox: an ordinary process with resource limits, for code that is trusted anyway.

Covered: CPU, memory, file size and open files are limited, the environment is empty, the working
directory is a scratch one that is removed, the whole process group is killed at the end, and the verdict
cannot be forged through the answers.

Not covered: everything else. The program can read and write the user's files, use the network, signal
and trace the user's processes (the judge and the harness among them, so it can forge a verdict if it
means to), leave processes behind in another session, sleep on after a harness that was killed, and as root
start as many as it likes.
"""

from __future__ import annotations

import os
import subprocess
import tempfile

from harness.sandbox import runtime
from harness.sandbox.limits import Limits
from harness.sandbox.process import Child, Process, spawn


class Unsafe:
    """The backend that has to be asked for by its name."""

    name = "unsafe"
    way = "resource limits only"

    def missing(self) -> str | None:
        return None if hasattr(os, "waitid") else "needs a POSIX system with waitid"

    def launch(self, main: str, limits: Limits) -> Process:
        scratch = tempfile.mkdtemp(prefix="harness-sandbox-")
        command = [str(runtime.executable()), *runtime.start(main, limits.arguments())]
        return Process(Child(spawn(command, runtime.environment(), scratch)), lambda: _remove(scratch))


def _remove(scratch: str) -> None:
    """By the tool, since Python's own function gives up on directories nested a thousand deep."""
    remove = ["rm", "-rf", "--", scratch]
    if subprocess.run(remove, check=False, stderr=subprocess.DEVNULL).returncode:
        # The program has closed its directories to everybody, which as their owner we may undo.
        subprocess.run(["chmod", "-R", "u+rwX", "--", scratch], check=False, stderr=subprocess.DEVNULL)
        subprocess.run(remove, check=True)

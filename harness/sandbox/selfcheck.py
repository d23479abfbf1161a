"""Trying a sandbox out before it is trusted: an honest program, a wrong one, and one that tries the walls."""

from __future__ import annotations

from pathlib import Path
from tempfile import TemporaryDirectory

from harness.sandbox.limits import SandboxError
from harness.sandbox.pool import Sandbox

HONEST = "def double(x):\n    return 2 * x\n"
TESTS = "assert double(21) == 42"

# It reports truthfully what it gets done; what a hostile program tries is for the tests of this package.
EXPLORER = """
def escapes(folder, harness):
    import os, socket
    tries = {
        "a file outside can be read": lambda: open(folder + "/canary").read(),
        "a file outside can be written": lambda: open(folder + "/canary", "a"),
        "a folder outside can be listed": lambda: os.listdir(folder),
        "a folder outside can be written to": lambda: os.mkdir(folder + "/new"),
        "a file's mode outside can be changed": lambda: os.chmod(folder + "/canary", 0o600),
        "processes are visible": lambda: os.listdir("/proc/self"),
        "a connection can be made": lambda: socket.create_connection(("127.0.0.1", 9), 0.2),
        "a port can be bound": lambda: socket.socket().bind(("127.0.0.1", 0)),
        "a process can be started": lambda: os.fork() or os._exit(0),
        "the harness can be signalled": lambda: os.kill(harness, 0),
        "the user id can be root's": lambda: os.setuid(0),
        "the environment is there": lambda: os.environ["HOME"],
    }
    done = []
    for name, attempt in tries.items():
        try:
            attempt()
        except (ConnectionRefusedError, TimeoutError):  # nobody listens, but it was let through
            done.append(name)
        except (OSError, KeyError):
            pass
        else:
            done.append(name)
    return done
"""


def self_check(sandbox: Sandbox, contains: bool = True) -> None:
    """SandboxError unless the sandbox judges rightly and, where it `contains`, keeps a program in."""
    if not (outcome := sandbox.run_tests(HONEST, TESTS)).passed:
        raise SandboxError(f"an honest program fails in it: {outcome.reason}")
    if sandbox.run_tests(HONEST, "assert double(21) == 43").passed:
        raise SandboxError("a wrong program passes in it")
    if contains:
        with TemporaryDirectory(prefix="harness-sandbox-") as folder:
            canary = Path(folder) / "canary"
            canary.write_text("alive")
            canary.chmod(0o666)  # open to everybody: only the sandbox is in the way
            Path(folder).chmod(0o777)
            tests = f"found = escapes({folder!r}, {sandbox.owner})\nassert not found, found"
            if not (outcome := sandbox.run_tests(EXPLORER, tests)).passed:
                raise SandboxError(f"it does not contain: {outcome.reason}")

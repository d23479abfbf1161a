"""sandlock: the kernel's Landlock and system-call filters, without namespaces, so without any privilege.

For machines where bubblewrap cannot make namespaces, as in most unprivileged containers.

Covered: the program can read the interpreter's and the system's libraries, /dev/null and /dev/urandom,
and write nothing. No sockets, no connection to any that exists, no signal to a process outside, no
/proc. Files' modes, owners, times and attributes and other processes' limits and priorities cannot be
changed. It cannot start a process or a thread, so its limits are those of the whole run. Its environment
is empty; when the harness is root it runs under an unprivileged user id.

Not covered: there is no scratch directory, so a program that writes a file fails, and so
does one that reads its cases from descriptor 0 (`open(0)`). The existence and size
of files outside can be asked for (`stat`), and their numbers of processes probed. The kernel itself, and
the supervising thread that sandlock runs inside the harness. As root, the interpreter has to lie where
every user may read it.
"""

from __future__ import annotations

import os
import shutil
import sys
from importlib.util import find_spec
from pathlib import Path

from harness.sandbox import runtime, seccomp
from harness.sandbox.bubblewrap import PRIVILEGES
from harness.sandbox.limits import Limits, SandboxError
from harness.sandbox.process import Process, in_words


class Sandlock:
    """Needs the package `sandlock` and a kernel of 6.12 or later with Landlock switched on."""

    name = "sandlock"
    way = "Landlock"

    def missing(self) -> str | None:
        if sys.platform != "linux" or find_spec("sandlock") is None:
            return "no package `sandlock`: pip install sandlock (Linux only)"
        import sandlock

        have, needed = sandlock.landlock_abi_version(), sandlock.min_landlock_abi()
        if have < needed:
            return f"the kernel offers Landlock version {have}, sandlock needs {needed}"
        if seccomp.program(attributes=True) is None:
            return "its filter of system calls is not known for this processor"
        if os.geteuid() == 0 and shutil.which("setpriv") is None:
            return "no `setpriv` on the PATH (Debian: package util-linux)"
        return runtime.closed_to_others() if os.geteuid() == 0 else None

    def launch(self, main: str, limits: Limits) -> Process:
        import sandlock

        arguments = [*limits.arguments(), seccomp.program(attributes=True).hex()]
        command = [str(runtime.executable()), *runtime.start(main, arguments)]
        readable = [command[0], *map(str, runtime.libraries()), str(runtime.INSIDE), "/dev/urandom"]
        readable += [path for path in ("/usr/lib", "/usr/lib64", "/lib", "/lib64") if Path(path).exists()]
        if os.geteuid() == 0:
            setpriv = shutil.which("setpriv")
            command = [setpriv, *PRIVILEGES, "--", *command]
            readable.append(setpriv)
        policy = sandlock.Sandbox(
            fs_readable=readable,
            fs_writable=["/dev/null"],
            cwd="/",
            clean_env=True,
            env=runtime.environment(),
            max_processes=1,
            no_coredump=True,
        )
        pipes = dict.fromkeys(("stdin", "stdout", "stderr"), sandlock.StdioMode.PIPED)
        try:
            return Process(Confined(policy.popen(command, **pipes)))
        except (RuntimeError, sandlock.SandlockError) as error:
            raise SandboxError(f"sandlock: {error}") from error


class Confined:
    """A handle on a process that sandlock started."""

    def __init__(self, process) -> None:
        self.stdin, self.stdout, self.stderr = process.stdin, process.stdout, process.stderr
        self._process = process
        self.kill = process.kill
        self.wait = process.wait

    def files(self) -> int:
        return 0  # there is no scratch directory

    def status(self) -> str:
        status = self._process.wait(1).exit_code  # -1 for a signal, whose number sandlock does not tell
        return in_words(status) if status >= 0 else "ended by a signal"

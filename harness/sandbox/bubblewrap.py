"""bubblewrap: namespaces of its own for every process, on a file system that holds little but Python.

Covered: new mount, PID, network, IPC, UTS and (where there is one) cgroup namespaces. The program sees the
interpreter's and the system's libraries read-only, /dev/null, /dev/zero and /dev/urandom, and an empty
scratch directory in memory with a size limit, gone with the process; the harness looks every `LOOK_SECONDS`
(`cell.py`) that there are not too many files in it, if /proc lets it. No /proc, no /sys, no network and,
by the filter of system calls, no sockets at all. It is alone in its PID namespace (but for a waiting shell
of another user where root began it) and cannot start a process or a thread, so its limits on memory and CPU
are those of the whole run. No capabilities, no new privileges, an unprivileged user id, an empty environment.

Not covered: the kernel itself (a hole in it is a way out), timing and other side channels, the load on
the machine within the limits. On a machine other than x86-64 and AArch64 there is no system-call filter.

Three ways in, the first that works being taken: an ordinary user makes a user namespace; root makes the
namespaces directly and gives its user id up inside (as root a limit on processes would not hold, and the
same id would be root's outside); root without the right to mount gives its user id up first, which needs
an interpreter that everybody may read.
"""

from __future__ import annotations

import os
import re
import select
import shutil
import signal
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from harness.sandbox import runtime, seccomp
from harness.sandbox.limits import Limits, SandboxError
from harness.sandbox.process import LINGER_SECONDS, Child, Process, spawn

USER, ROOT, ROOT_FIRST = "user namespace", "root, id given up inside", "root, id given up first"
ADVICE = "install it (Debian: apt-get install bubblewrap)"
NOBODY = "65534"
PRIVILEGES = [
    "--reuid", NOBODY, "--regid", NOBODY, "--clear-groups", "--inh-caps=-all", "--bounding-set=-all",
    "--pdeathsig", "KILL",  # changing the id takes away what --die-with-parent has set
]  # fmt: skip
# Process 1, still root: bwrap, root without a right, may kill it at the harness's end, but nobody of another id.
WAITER = ["/python/bin/sh", "-c", '"$@"; exit $?', "sh"]
ISOLATION = [
    "--unshare-pid", "--unshare-net", "--unshare-ipc", "--unshare-uts", "--unshare-cgroup-try",
    "--as-pid-1", "--die-with-parent", "--new-session", "--clearenv",
]  # fmt: skip


class Bubblewrap:
    """One of the three ways; `missing` says why it cannot be tried here, or None."""

    name = "bubblewrap"

    def __init__(self, way: str) -> None:
        self.way = way

    def missing(self) -> str | None:
        if shutil.which("bwrap") is None:
            return "no `bwrap` on the PATH: " + ADVICE
        if (self.way == USER) == (os.geteuid() == 0):
            return "for an ordinary user" if self.way == USER else "for root"
        if self.way != USER and shutil.which("setpriv") is None:
            return "no `setpriv` on the PATH (Debian: package util-linux)"
        return runtime.closed_to_others() if self.way == ROOT_FIRST else None

    def launch(self, main: str, limits: Limits) -> Process:
        give_up = [_found("setpriv"), *PRIVILEGES, "--"] if self.way != USER else []
        command = [_found("bwrap"), *ISOLATION, *_file_system(limits)]
        if self.way == ROOT:
            command += ["--cap-drop", "ALL"]
            for capability in ("CAP_SETUID", "CAP_SETGID", "CAP_SETPCAP"):
                command += ["--cap-add", capability]
            for tool in ("sh", "setpriv"):
                command += ["--ro-bind", os.path.realpath(_found(tool)), f"/python/bin/{tool}"]
            give_up = [*WAITER, "/python/bin/setpriv", *give_up[1:]]
        else:
            command += ["--unshare-user", "--uid", NOBODY, "--gid", NOBODY, "--cap-drop", "ALL"]
        for name, value in runtime.environment("/inside").items():
            command += ["--setenv", name, value]
        command += ["--setenv", "PYTHONHOME", "/python", "--setenv", "LD_LIBRARY_PATH", "/python/lib"]
        command += ["--remount-ro", "/", "--chdir", "/tmp"]
        python = ["/python/bin/python", *runtime.start(main, limits.arguments())]
        inlet, outlet = os.pipe()
        with _filter() as descriptors, open(outlet, "wb"):
            for descriptor in descriptors:
                command += ["--seccomp", str(descriptor)]
            command += ["--info-fd", str(outlet)]
            if self.way == ROOT:
                command += ["--", *give_up, *python]
            else:
                command = [*give_up, *command, "--", *python]
            try:
                return Process(Inner(spawn(command, {}, pass_fds=[*descriptors, outlet]), inlet))
            except SandboxError:
                os.close(inlet)
                raise


class Inner(Child):
    """A handle that kills process 1 of the sandbox and leaves it to bwrap, its parent, to collect it.

    Were bwrap killed, process 1 would die too, but be handed to the machine's own process 1, which in many
    containers collects nobody: after some sixty runs no process could be started.
    """

    def __init__(self, popen: subprocess.Popen, info: int) -> None:
        super().__init__(popen)
        self._info = info  # where bwrap tells the number of process 1, once it has one
        self._told = b""

    def files(self) -> int:
        number = self._first()
        if number is None:
            return 0
        try:
            scratch = os.statvfs(f"/proc/{number}/root/tmp")
        except OSError:  # it has ended, or this machine keeps us from looking
            return 0
        return scratch.f_files - scratch.f_ffree

    def _shoot(self) -> None:
        if self._exit_status() is not None:
            return
        number = self._first()
        if number is None:
            return super()._shoot()
        with suppress(ProcessLookupError):  # it has ended, and bwrap is about to
            os.kill(number, signal.SIGKILL)

    def _first(self) -> int | None:
        """The number of process 1; None if bwrap ends, or hangs, before it has started one."""
        while (told := re.search(rb'"child-pid": (\d+),', self._told)) is None:
            poll = select.poll()
            poll.register(self._info, select.POLLIN)
            data = os.read(self._info, 4096) if poll.poll(1000 * LINGER_SECONDS) else b""
            if not data:
                return None
            self._told += data
        return int(told[1])

    def wait(self) -> None:
        super().wait()
        os.close(self._info)


def _found(tool: str) -> str:
    path = shutil.which(tool)
    if path is None:
        raise SandboxError(f"no `{tool}` on the PATH any more")
    return path


def _file_system(limits: Limits) -> list[str]:
    """Arguments that lay out the root directory, which is an empty one in memory to begin with."""
    arguments = ["--dir", "/python", "--dir", "/python/bin", "--dir", "/usr", "--dir", "/dev"]
    arguments += ["--ro-bind", str(runtime.executable()), "/python/bin/python"]
    for folder in runtime.libraries():
        inside = f"/python/{folder.name}"
        arguments += ["--ro-bind", str(folder), inside]
        for packages in folder.glob("python3*/*-packages"):  # not on the path, but nobody's business either
            hidden = f"{inside}/{packages.relative_to(folder)}"
            arguments += ["--tmpfs", hidden, "--remount-ro", hidden]
    for path in map(Path, ("/usr/lib", "/usr/lib64", "/lib", "/lib64")):
        if path.is_symlink():
            arguments += ["--symlink", os.readlink(path), str(path)]
        elif path.is_dir():
            arguments += ["--ro-bind", str(path), str(path)]
    for device in ("/dev/null", "/dev/zero", "/dev/urandom"):
        arguments += ["--dev-bind", device, device]
    arguments += ["--ro-bind", str(runtime.INSIDE), "/inside"]
    return [*arguments, "--perms", "1777", "--size", str(limits.scratch_mb << 20), "--tmpfs", "/tmp"]


@contextmanager
def _filter() -> Iterator[list[int]]:
    """A descriptor from which bwrap reads the filter of system calls; none where there is no filter."""
    program = seccomp.program()
    if program is None:
        yield []
        return
    inlet, outlet = os.pipe()
    try:
        with open(outlet, "wb") as file:
            file.write(program)  # a few hundred bytes: a pipe holds them without a reader
        yield [inlet]
    finally:
        os.close(inlet)

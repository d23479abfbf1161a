"""One confined process as the harness sees it: a pipe in, a pipe out, frames on both, and an end.

All reading and writing is without waiting: a process that says half a message, or does not listen, holds
nobody up but itself.
"""

from __future__ import annotations

import os
import select
import signal
import subprocess
import time
from collections.abc import Callable, Sequence
from threading import Lock
from typing import IO, Protocol

from harness.sandbox.inside.wire import READY
from harness.sandbox.limits import SandboxError

CHUNK = 1 << 18
MAX_COMPLAINT = 500
LINGER_SECONDS = 10.0  # for the kernel to take down what was killed


class Gone(Exception):
    """The process has closed its pipe."""


class TooLong(Exception):
    """A frame is longer than allowed."""


class Handle(Protocol):
    """What starting a process gives, by whatever means it was started."""

    stdin: IO[bytes]
    stdout: IO[bytes]
    stderr: IO[bytes]

    def kill(self) -> None:
        """Kill it and all that it started; nothing if it is gone already. From any thread."""

    def wait(self) -> None:
        """Wait for a killed process to be gone."""

    def status(self) -> str:
        """In words, how a process ended that has closed its pipe."""

    def files(self) -> int:
        """How many files and folders are in its scratch directory; 0 where that cannot be told."""


class Child:
    """A `Handle` on a process that `subprocess` started as the leader of a group of its own."""

    def __init__(self, popen: subprocess.Popen) -> None:
        self.stdin, self.stdout, self.stderr = popen.stdin, popen.stdout, popen.stderr
        self._popen = popen
        self._lock = Lock()

    def kill(self) -> None:
        with self._lock:  # its number is not given to another process before `wait` has collected it
            if self._popen.returncode is None:
                self._shoot()

    def wait(self) -> None:
        with self._lock:
            self._popen.wait()

    def status(self) -> str:
        for _ in range(100):
            if (status := self._exit_status()) is not None:
                return in_words(status)
            time.sleep(0.01)
        return "it closed its channel"

    def files(self) -> int:
        return 0

    def _shoot(self) -> None:
        os.killpg(self._popen.pid, signal.SIGKILL)

    def _exit_status(self) -> int | None:
        """The exit status, 128 + signal for a signal, of a process that has ended and is left uncollected."""
        ended = os.waitid(os.P_PID, self._popen.pid, os.WEXITED | os.WNOHANG | os.WNOWAIT)
        if ended is None:
            return None
        return ended.si_status + (0 if ended.si_code == os.CLD_EXITED else 128)


def in_words(status: int) -> str:
    """An exit status; above 128 it stands for a signal, as bwrap and shells report one."""
    if status - 128 == signal.SIGXCPU:
        return "its CPU time is used up"
    return f"ended by signal {status - 128}" if 128 < status < 160 else f"ended with exit status {status}"


class Process:
    """A started process; `kill` is safe to call at any time and any number of times."""

    def __init__(self, handle: Handle, clean_up: Callable[[], None] = lambda: None) -> None:
        self._handle = handle
        self._clean_up = clean_up
        self._inlet, self._outlet = handle.stdin.fileno(), handle.stdout.fileno()
        self._received = bytearray()
        self._unsent = bytearray()
        self.end, self.status, self.files = handle.kill, handle.status, handle.files
        for descriptor in (self._inlet, self._outlet):
            os.set_blocking(descriptor, False)

    def send(self, frame: bytes) -> None:
        """Queue one frame; `receive` of any process passes it on as the other end reads."""
        self._unsent += len(frame).to_bytes(4, "little") + frame

    def await_ready(self, deadline: float) -> None:
        """Wait until the process has confined itself; SandboxError if it does not by `deadline`."""
        try:
            ready = receive(self, deadline, len(READY))
        except (Gone, TooLong):
            ready = None
        if ready != READY:
            raise SandboxError(f"a sandboxed process did not come up: {self._complaint()}")

    def alive(self) -> bool:
        """Whether something still holds the other end of its pipe."""
        poll = select.poll()
        poll.register(self._outlet, 0)  # a hang-up is always reported
        return not poll.poll(0)

    def _complaint(self) -> str:
        """What the process, or the tool that was to confine it, wrote to standard error."""
        status = self.status()
        self.end()
        lines = self._handle.stderr.read().decode(errors="replace").split("\n")
        return " ".join([status, *filter(None, map(str.strip, lines))])[:MAX_COMPLAINT]

    def kill(self) -> None:
        """End the process and everything in its sandbox, close the pipes, and remove its scratch directory."""
        if self._handle.stdout.closed:
            return
        self._unsent.clear()
        self._handle.kill()
        self._handle.wait()
        deadline = time.monotonic() + LINGER_SECONDS
        try:
            while receive(self, deadline, 1 << 32) is not None:  # until nobody holds the other end any more
                pass
        except Gone:
            pass
        for stream in (self._handle.stdin, self._handle.stdout, self._handle.stderr):
            stream.close()
        self._clean_up()

    def _flush(self) -> None:
        try:
            del self._unsent[: os.write(self._inlet, self._unsent[:CHUNK])]
        except BlockingIOError:
            pass  # poll will say when it can be written to again
        except BrokenPipeError:
            self._unsent.clear()  # its end is noticed where its answer is read

    def _frame(self, longest: int) -> bytes | None:
        if len(self._received) < 4:
            return None
        length = int.from_bytes(self._received[:4], "little")
        if length > longest:
            raise TooLong(length)
        if len(self._received) < 4 + length:
            return None
        frame = bytes(self._received[4 : 4 + length])
        del self._received[: 4 + length]
        return frame

    def _fill(self) -> None:
        try:
            data = os.read(self._outlet, CHUNK)
        except BlockingIOError:
            return
        if not data:
            raise Gone
        self._received += data


def receive(process: Process, deadline: float, longest: int, others: Sequence[Process] = ()) -> bytes | None:
    """The next frame of `process`, at most `longest` bytes, or None at `deadline` (of `time.monotonic`).

    Meanwhile everything queued for it and for `others` is sent. Raises `Gone` and `TooLong`.
    """
    while (frame := process._frame(longest)) is None:
        poll = select.poll()
        poll.register(process._outlet, select.POLLIN)
        waiting = {p._inlet: p for p in (process, *others) if p._unsent}
        for descriptor in waiting:
            poll.register(descriptor, select.POLLOUT)
        left = deadline - time.monotonic()
        if left <= 0:
            return None
        for descriptor, _ in poll.poll(1000 * left):
            if descriptor == process._outlet:
                process._fill()
            else:
                waiting[descriptor]._flush()
    return frame


def spawn(
    command: Sequence[str],
    environment: dict[str, str],
    directory: str = "/",
    pass_fds: Sequence[int] = (),
) -> subprocess.Popen:
    """Start `command` in a session of its own with its three standard streams on pipes."""
    try:
        return subprocess.Popen(
            command,
            bufsize=0,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            env=environment,
            cwd=directory,
            start_new_session=True,  # Ctrl-C goes to the harness alone, which then ends what it has started
            pass_fds=pass_fds,
        )
    except OSError as error:
        raise SandboxError(f"cannot start {command[0]}: {error}") from error

"""The first thing that both processes do: take the channel, close everything else, set their own limits.

Limits come as four numbers on the command line: bytes of memory, seconds of CPU, bytes a file, open files;
then, from a backend that does not install it itself, the filter of system calls in hexadecimal. All are
hard: what runs later cannot raise or remove them.
"""

from __future__ import annotations

import _signal  # what `signal` wraps, at a fraction of its start-up time
import math
import os
import resource
import sys


class Channel:
    """Frames, each a length of four bytes and so many bytes, read from one descriptor and written to another."""

    def __init__(self, inlet: int, outlet: int) -> None:
        self._inlet, self._outlet = inlet, outlet

    def send(self, frame: bytes) -> None:
        data = memoryview(len(frame).to_bytes(4, "little") + frame)
        while data:
            data = data[os.write(self._outlet, data) :]

    def receive(self) -> bytes:
        return self._read(int.from_bytes(self._read(4), "little"))

    def _read(self, count: int) -> bytes:
        parts = []
        while count:
            part = os.read(self._inlet, min(count, 1 << 20))
            if not part:
                raise EOFError("the other side is gone")
            parts.append(part)
            count -= len(part)
        return b"".join(parts)


def boot() -> Channel:
    """Confine this process as its command line says, and return its only way out."""
    channel = Channel(os.dup(0), os.dup(1))  # not inherited by anything this process may become
    null = os.open(os.devnull, os.O_RDWR)
    for standard in (0, 1, 2):  # whatever is printed goes nowhere, whatever is read is at its end
        os.dup2(null, standard)
    os.close(null)
    memory, cpu, file, files = map(int, sys.argv[1:5])
    for name, limit in (
        ("RLIMIT_AS", memory),
        ("RLIMIT_CPU", cpu),
        ("RLIMIT_FSIZE", file),
        ("RLIMIT_NOFILE", files),
        ("RLIMIT_NPROC", 0),  # neither a process nor a thread besides this one
        (
            "RLIMIT_CORE",
            1,
        ),  # too little for a file, and unlike 0 it also keeps a machine's crash reporter out
        ("RLIMIT_MEMLOCK", 0),
        ("RLIMIT_MSGQUEUE", 0),
    ):
        number = getattr(resource, name, None)  # not every system has all of them
        if number is not None:
            _, hard = resource.getrlimit(number)  # a machine's own, lower limit stays
            limit = limit if hard == resource.RLIM_INFINITY else min(limit, hard)
            resource.setrlimit(number, (limit, limit))
    if len(sys.argv) > 5:
        install_filter(bytes.fromhex(sys.argv[5]))
    return channel


def allow_cpu(seconds: float, total: bool = False) -> None:
    """So many more seconds of CPU time, rounded up, then SIGXCPU; never beyond the hard limit.

    With `total` the hard limit comes down to a second more, for good. Without it a program can lift what
    is set here, up to the hard limit; and process 1 of a sandbox is in one long call into C until then.
    """
    if os.getpid() == 1:  # to which a signal that nobody handles does nothing
        _signal.signal(_signal.SIGXCPU, lambda *_: os._exit(128 + _signal.SIGXCPU))
    _, hard = resource.getrlimit(resource.RLIMIT_CPU)
    used = resource.getrusage(resource.RUSAGE_SELF)
    soft = min(hard, math.ceil(used.ru_utime + used.ru_stime + seconds))
    resource.setrlimit(resource.RLIMIT_CPU, (soft, min(hard, soft + 1) if total else hard))


def install_filter(code: bytes) -> None:
    """Hand the kernel a filter that holds for the rest of this process's life."""
    import ctypes  # not above: it would cost a quarter of the start-up time where it is not needed

    class Filter(ctypes.Structure):
        _fields_ = [("length", ctypes.c_ushort), ("code", ctypes.c_char_p)]

    libc = ctypes.CDLL(None, use_errno=True)
    whole = Filter(len(code) // 8, code)
    no_new_privileges, seccomp, by_filter = 38, 22, 2
    if libc.prctl(no_new_privileges, 1, 0, 0, 0) or libc.prctl(seccomp, by_filter, ctypes.byref(whole), 0, 0):
        raise OSError(ctypes.get_errno(), "the filter of system calls was refused")

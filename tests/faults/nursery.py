"""Starts the command `python -m harness …` many times without paying its imports each time.

A process that has imported everything, but has trained nothing (autograd does not survive a fork), forks a child
for every order it reads from standard input, one JSON a line:

    {"start": {"argv": […], "cwd": …, "log": …, "fault": null or [name, argument, …]}}  ->  {"pid": …}
    {"wait": pid, "seconds": …}  ->  {"code": …}, negative for a signal; a child that takes longer is killed: "timeout"

What a command leaves behind becomes a child of this process, so that it can be found whatever session it is in.
"""

import contextlib
import ctypes
import json
import os
import signal
import sys
import time

import psutil

SUBREAPER = 36  # PR_SET_CHILD_SUBREAPER of <linux/prctl.h>


def start(argv: list[str], cwd: str, log: str, fault: list | None) -> int:
    pid = os.fork()
    if pid:
        return pid
    os.setsid()  # for a signal to all processes of the command, as Ctrl-C sends it
    signal.signal(signal.SIGINT, signal.default_int_handler)
    out = os.open(log, os.O_WRONLY | os.O_CREAT | os.O_APPEND)
    for descriptor in (1, 2):
        os.dup2(out, descriptor)
    os.dup2(os.open(os.devnull, os.O_RDONLY), 0)
    os.chdir(cwd)
    sys.argv = ["harness", *argv]
    if fault:
        from tests.faults import causes

        getattr(causes, fault[0])(*fault[1:])
    from harness.__main__ import main

    sys.exit(main())  # and ends as any program does: `os._exit` would leave worker processes waiting for work


def wait(pid: int, seconds: float) -> int | str:
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        ended, status = os.waitpid(pid, os.WNOHANG)
        if ended:
            return os.waitstatus_to_exitcode(status)
        time.sleep(0.02)
    for process in [*psutil.Process(pid).children(recursive=True), psutil.Process(pid)]:
        with contextlib.suppress(psutil.NoSuchProcess):
            process.kill()
    os.waitpid(pid, 0)
    return "timeout"


def serve() -> None:
    import harness.__main__  # noqa: F401
    import harness.compare.__main__  # noqa: F401
    import harness.run  # noqa: F401
    import tests.harness.conftest  # noqa: F401

    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(SUBREAPER, 1, 0, 0, 0)
    for line in sys.stdin:
        order = json.loads(line)
        if "start" in order:
            reply = {"pid": start(**order["start"])}
        else:
            reply = {"code": wait(order["wait"], order["seconds"])}
        print(json.dumps(reply), flush=True)


if __name__ == "__main__":
    serve()

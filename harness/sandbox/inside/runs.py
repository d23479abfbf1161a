"""In the program's process: what is called once for every case, each time with CPU time of its own.

`caller` is for a function: `prefix` and the program's text are executed once, as the module `solution`.
`runner` is for a program of standard input and output: each run executes them as `__main__` with new
globals. Standard input and output are files in the scratch directory, so that everything works that works
on a pipe or a file: `input`, `sys.stdin` and its `buffer`, `open(0)`, `os.read(0, …)`, `print`,
`sys.stdout`, `os.write(1, …)`. Where there is no scratch directory (sandlock) they are streams in memory,
and descriptors 0 and 1 are empty. Leaving by `exit()` or `SystemExit` is a normal end, whatever its status;
another exception is a failure. A run that does its work in a thread (for a larger stack, usually) does it in
the main one: `start` here runs it to its end. Modules stay imported from case to case, with what was done
to them.
"""

from __future__ import annotations

import atexit
import io
import os
import sys

from boot import allow_cpu

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any

INPUT, OUTPUT = "input", "output"


def caller(source: str, prefix: str, name: str, seconds: float) -> Callable:
    """The method `name` of a new `Solution()`, or else the function of that name, as the program defines it."""
    module = sys.modules["solution"] = type(sys)("solution")
    for text in (prefix, source):
        exec(compile(text, "program.py", "exec", dont_inherit=True), module.__dict__)

    def call(*arguments: Any) -> Any:
        allow_cpu(seconds)
        owner = module.Solution() if hasattr(module, "Solution") else module
        return getattr(owner, name)(*arguments)

    return call


def runner(source: str, prefix: str, seconds: float) -> Callable[[str], str]:
    """A function from what a program reads to what it writes, with so many seconds of CPU for each call.

    `prefix` is run before the program in the same globals, but is no part of its text: a
    `from __future__ import` may stand at the top of either. Raises SyntaxError.
    """
    parts = [compile(text, "program.py", "exec", dont_inherit=True) for text in (prefix, source)]

    def run(text: str) -> str:
        allow_cpu(seconds)
        result = redirect(text)
        module = type(sys)("__main__")
        sys.modules["__main__"] = module
        if "threading" in source:
            run_threads_at_once()
        try:
            for part in parts:
                exec(part, module.__dict__)
        except SystemExit:
            pass
        return result()

    return run


def redirect(text: str) -> Callable[[], str]:
    """Give the process `text` to read, and a fresh standard output; returns what gives the text written."""
    data = text.encode("utf-8", "surrogatepass")
    try:
        with open(INPUT, "wb") as file:
            file.write(data)
    except OSError:  # no scratch directory
        read, written = io.BytesIO(data), Kept()
        sys.stdin, sys.stdout = io.TextIOWrapper(read), io.TextIOWrapper(written, write_through=True)
        contents = written.getvalue
    else:
        onto(0, INPUT, os.O_RDONLY)
        onto(1, OUTPUT, os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_TRUNC)
        sys.stdin, sys.stdout = os.fdopen(0, closefd=False), os.fdopen(1, "w", closefd=False)

        def contents() -> bytes:
            with open(OUTPUT, "rb") as file:
                return file.read()

    own = sys.__stdout__ = sys.stdout  # the program may put another object in its place
    sys.__stdin__ = sys.stdin

    def result() -> str:
        atexit._run_exitfuncs()  # the end of the program is the time for them
        for stream in (sys.stdout, own):
            if not getattr(stream, "closed", False):
                stream.flush()
        return contents().decode("utf-8", "replace")

    return result


class Kept(io.BytesIO):
    """Bytes that are still there when the stream has been closed."""

    def close(self) -> None:
        pass


def onto(number: int, path: str, flags: int) -> None:
    """Open `path` as the descriptor `number`, which the program may have closed."""
    descriptor = os.open(path, flags)
    if descriptor != number:
        os.dup2(descriptor, number)
        os.close(descriptor)


def run_threads_at_once() -> None:
    import threading

    threading.Thread.start = lambda self: self.run()
    threading.Thread.join = lambda self, timeout=None: None
    threading.Thread.is_alive = lambda self: False

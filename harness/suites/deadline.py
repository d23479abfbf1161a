"""A limit on what is called in this process."""

from __future__ import annotations

import signal
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager


class Overrun(BaseException):
    """The limit has passed. No Exception, so that a handler within the code that hangs does not swallow it."""


@contextmanager
def deadline(seconds: float) -> Iterator[None]:
    """Raise `Overrun` in what runs inside after `seconds` on the clock.

    Only in the main thread, where runs work: elsewhere Python takes no signal, and there is no limit. A call that never
    comes back to the interpreter, inside a library in C, is not ended either. A timer that was set before goes on.
    """
    if threading.current_thread() is not threading.main_thread():
        yield
        return

    def expire(*_) -> None:
        raise Overrun(f"no verdict within {seconds:g} s")

    handler, start = signal.signal(signal.SIGALRM, expire), time.monotonic()
    left, interval = signal.setitimer(signal.ITIMER_REAL, seconds)
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, handler)
        if left:
            signal.setitimer(signal.ITIMER_REAL, max(1e-3, left - (time.monotonic() - start)), interval)

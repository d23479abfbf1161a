"""A limit on what is called in this process."""

from __future__ import annotations

import signal
import threading
import time
from collections.abc import Callable
from typing import TypeVar

T = TypeVar("T")
GRACE = 1.0  # seconds for what is to be cleaned up, until the limit is enforced


class Overrun(BaseException):
    """The limit has passed. No Exception, so that a handler within the code that hangs does not swallow it."""


def within(seconds: float, call: Callable[..., T], *arguments: object) -> T:
    """Return `call(*arguments)`; raise `Overrun` in it after `seconds` on the clock.

    A bare `except:` swallows that, so it is raised again after `GRACE`, and then every few microseconds until it meets
    no handler any more. Only in the main thread, where runs work: elsewhere Python takes no signal, and there is no
    limit. A call that never comes back to the interpreter, inside a library in C, is not ended either. A timer that
    was set before goes on.
    """
    if threading.current_thread() is not threading.main_thread():
        return call(*arguments)
    times, over = 0, False

    def expire(*_) -> None:
        nonlocal times
        if over:
            return
        times += 1
        if times > 1:  # uneven intervals, lest it always comes at the same place of a loop
            signal.setitimer(signal.ITIMER_REAL, (1 + time.monotonic_ns() % 50) * 1e-6, GRACE)
        raise Overrun(f"no verdict within {seconds:g} s")

    handler, start = signal.signal(signal.SIGALRM, expire), time.monotonic()
    left, interval = signal.setitimer(signal.ITIMER_REAL, seconds, GRACE)
    try:
        return call(*arguments)
    finally:
        over = True  # first, and here: no signal is taken between the call and this line
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, handler)
        if left:
            signal.setitimer(signal.ITIMER_REAL, max(1e-3, left - (time.monotonic() - start)), interval)

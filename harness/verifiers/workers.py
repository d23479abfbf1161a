"""Warm processes that answer one question at a time, with a limit on each.

Not `multiprocessing`: its spawned children import the parent's main module again, which here means
torch, and a script without a main guard would start itself.
"""

from __future__ import annotations

import atexit
import json
import os
import selectors
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from pathlib import Path

SCRIPT = Path(__file__).with_name("equivalence.py")
QUESTIONS = 2_000  # answered by one process; SymPy's caches grow with each
START_SECONDS = 120.0


class Failed(RuntimeError):
    """A question got no answer: why, for people."""


class Died(Failed):
    """The process ended, and not by the limits on its question."""


class Worker:
    """One process of `equivalence`; started by the first question, and again after it has ended.

    seconds: of the processor, for each question, kept by the process itself. The clock on the wall
    is only the second guard, five times as long, so that a busy machine changes no verdict.
    """

    def __init__(self, memory_mb: int, seconds: float) -> None:
        self._memory_mb = memory_mb
        self._seconds = seconds
        self._process: subprocess.Popen[bytes] | None = None
        self._asked = 0
        self._cancelled = False

    @property
    def pid(self) -> int | None:
        return self._process.pid if self._process else None

    def ask(self, question: Sequence[str]) -> str:
        """The reply to one question; raises `Failed` where there is none.

        A process that is killed is replaced once, so that what happens to it changes no verdict.
        """
        self._cancelled = False
        try:
            return self._ask(question)
        except Died:
            if self._cancelled:
                raise
            return self._ask(question)

    def _ask(self, question: Sequence[str]) -> str:
        if self._asked >= QUESTIONS:
            self.close()
        try:
            if self._process is None:
                self._start()
            self._process.stdin.write(json.dumps(list(question)).encode() + b"\n")
            self._process.stdin.flush()
            reply = self._line(5 * self._seconds + 5)
        except BrokenPipeError:
            raise self._ended() from None
        except Failed:
            raise
        except BaseException:
            self.close()  # its reply would be taken for the next question's
            raise
        self._asked += 1
        if reply == "memory":
            self.close()
            raise Failed(f"out of memory ({self._memory_mb} MB)")
        return reply

    def _start(self) -> None:
        # -P: the script's folder holds a math.py and a code.py, which must not hide the standard ones.
        command = [sys.executable, "-P", str(SCRIPT), str(self._memory_mb), repr(self._seconds)]
        self._asked = 0
        self._process = subprocess.Popen(
            command,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            env={
                **os.environ,
                "OMP_NUM_THREADS": "1",
                "PYTHONHASHSEED": "0",
            },  # the same verdict in every process
        )
        reply = self._line(START_SECONDS)
        if reply != "ready":
            self.close()
            raise Failed(f"the checking process did not start: {reply}")

    def _line(self, seconds: float) -> str:
        """The next line of the process, raising `Failed` where it ends first or takes too long."""
        deadline = time.monotonic() + seconds
        received = b""
        with selectors.DefaultSelector() as selector:
            selector.register(self._process.stdout, selectors.EVENT_READ)
            while not received.endswith(b"\n"):
                if not selector.select(deadline - time.monotonic()):
                    self.close()
                    raise Failed(f"no reply within {seconds:g} s")
                part = os.read(self._process.stdout.fileno(), 65536)
                if not part:
                    raise self._ended()
                received += part
        return received.decode().rstrip("\n")

    def _ended(self) -> Failed:
        """Why the process ended by itself; it is gone after this."""
        code = self._process.wait(timeout=60)
        self.close()
        if code == -signal.SIGPROF:
            return Failed(f"time limit of {self._seconds:g} s")
        how = signal.Signals(-code).name if code < 0 else f"exit code {code}"
        return Died(f"the checking process died ({how})")

    def cancel(self) -> None:
        """Another thread's question gets no reply."""
        self._cancelled = True
        if process := self._process:  # closed by the thread that waits for it
            process.kill()

    def close(self) -> None:
        """End the process and wait until it has ended."""
        process, self._process = self._process, None
        if process is None:
            return
        process.kill()
        process.wait()
        with suppress(BrokenPipeError):  # a question that it did not take
            process.stdin.close()
        process.stdout.close()


class Pool:
    """As many workers as may be busy at once; safe to use from several threads."""

    def __init__(self, workers: int, memory_mb: int, seconds: float) -> None:
        self.workers = [Worker(memory_mb, seconds) for _ in range(workers)]
        self._idle = list(self.workers)
        self._free = threading.Semaphore(workers)

    def ask(self, questions: Sequence[Sequence[str]]) -> list[str | Failed]:
        """The reply to each question in order, or the failure that took its place."""
        if not questions:
            return []
        threads = min(len(questions), len(self.workers))
        if threads == 1:
            return [self._one(question) for question in questions]
        with ThreadPoolExecutor(threads, thread_name_prefix="verifier") as executor:
            try:
                return list(executor.map(self._one, questions))
            except BaseException:  # an interrupt, which is not to wait for replies
                executor.shutdown(wait=False, cancel_futures=True)
                for worker in self.workers:
                    worker.cancel()
                raise

    def _one(self, question: Sequence[str]) -> str | Failed:
        with self._free:
            worker = self._idle.pop()
            try:
                return worker.ask(question)
            except Failed as failure:
                return failure
            finally:
                self._idle.append(worker)

    def close(self) -> None:
        for worker in self.workers:
            worker.close()


_pools: dict[tuple[int, int, float], Pool] = {}
_lock = threading.Lock()


def shared_pool(workers: int | None, memory_mb: int, seconds: float) -> Pool:
    """The pool of this process for these limits, the same one each time; its processes start when asked.

    workers: None for one per usable core, eight at most.
    """
    count = workers if workers is not None else min(8, len(os.sched_getaffinity(0)))
    with _lock:
        return _pools.setdefault((count, memory_mb, seconds), Pool(count, memory_mb, seconds))


def close_all() -> None:
    """End every process of every pool; the next question starts new ones."""
    for pool in list(_pools.values()):
        pool.close()


def _forget() -> None:
    """After a fork the processes belong to the parent: talk to none of them."""
    global _lock
    _lock = threading.Lock()
    _pools.clear()


atexit.register(close_all)
os.register_at_fork(after_in_child=_forget)

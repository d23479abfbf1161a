"""A warm pool: cells that wait, each for one job, and as many threads as may be busy at once."""

from __future__ import annotations

import os
import time
from collections import deque
from collections.abc import Collection, Iterable
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from threading import Lock
from typing import Protocol

from harness.sandbox.cell import Cell, Job, JudgeDied
from harness.sandbox.limits import Limits, Outcome, SandboxError
from harness.sandbox.names import split_names
from harness.sandbox.process import Process


class Backend(Protocol):
    """A way to start one confined process that runs a module of `inside`."""

    name: str
    way: str

    def missing(self) -> str | None: ...

    def launch(self, main: str, limits: Limits) -> Process: ...


@dataclass(frozen=True)
class Task:
    """A program, the tests that judge it, which of their names are the program's, and seconds to do it in.

    `timeout` and `patience` are wall-clock time, of the whole run and of one answer of the program; `cpu` is
    the program's CPU time, up to the limits' `cpu_seconds`.
    """

    program: str
    tests: str
    names: Collection[str] | None = None  # None: see `harness.sandbox.names`
    timeout: float | None = None  # None: the limits' `wall_seconds`
    patience: float | None = None  # None: the timeout
    cpu: float | None = None  # None: the limits' `cpu_seconds`


class Sandbox:
    """Judges programs, `workers` at a time, each in a fresh pair of confined processes.

    A context manager; closing it ends every process it has started. Use it from any thread of the
    process that opened it.
    """

    def __init__(self, backend: Backend, limits: Limits, workers: int) -> None:
        self.name = backend.name
        self.way = backend.way
        self.limits = limits
        self._backend = backend
        self.owner = os.getpid()
        self._cells: deque[Cell] = deque()
        self._busy: set[Cell] = set()
        self._lock = Lock()
        self._closed = False
        # Cells are started by these threads only: the kernel ends a sandbox with the thread that began it.
        self._threads = ThreadPoolExecutor(workers, thread_name_prefix="sandbox")
        for _ in range(workers):
            self._threads.submit(self._refill)

    def run_tests(
        self,
        program: str,
        tests: str,
        *,
        names: Collection[str] | None = None,
        timeout: float | None = None,
    ) -> Outcome:
        """Whether `program` passes `tests`, Python text whose assertions must all hold.

        Raises SandboxError if that cannot be told: the sandbox does not start, the tests do not parse.
        """
        return self._submit(Task(program, tests, names, timeout)).result()

    def run_many(self, tasks: Iterable[Task]) -> list[Outcome | SandboxError]:
        """The outcomes in the order of the tasks; where there is none, the error in its place."""
        futures: list[Future[Outcome]] = []
        try:
            for task in tasks:
                futures.append(self._submit(task))
            return [error if (error := _error(future)) else future.result() for future in futures]
        finally:  # after an interrupt, nobody waits for the rest: the process could not end before it is done
            for future in futures:
                future.cancel()

    def close(self) -> None:
        """End all processes, those at work too; runs under way raise SandboxError.

        In a process that was forked from the one that opened it this does nothing: they are not its own.
        """
        if os.getpid() != self.owner:
            return
        with self._lock:
            self._closed = True
            for cell in self._busy:
                cell.end()
        while (cell := self._waiting()) is not None:  # before the threads that started them end
            cell.kill()
        self._threads.shutdown()  # what is still queued finds the sandbox closed

    def __enter__(self) -> Sandbox:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def _submit(self, task: Task) -> Future[Outcome]:
        if self._closed or os.getpid() != self.owner:
            raise SandboxError("the sandbox is closed, or was opened by another process")
        names, modules = split_names(task.tests, task.names)
        timeout = self.limits.wall_seconds if task.timeout is None else task.timeout
        try:
            patience = timeout if task.patience is None else task.patience
            job = Job(task.program, task.tests, names, modules, timeout, patience, task.cpu)
            return self._threads.submit(self._run, job)
        except RuntimeError as error:
            raise SandboxError(f"the sandbox is closed: {error}") from error

    def _run(self, job: Job) -> Outcome:
        started = time.monotonic()
        for last in (False, True):
            cell = self._take()
            try:
                outcome = cell.run(job)
                if self._closed and not outcome.passed:  # `close` may be what ended it
                    raise SandboxError("the sandbox was closed")
                return outcome
            except SandboxError as error:
                if self._closed:
                    raise SandboxError("the sandbox was closed") from error
                raise
            except JudgeDied as error:
                if last and not self._closed:
                    seconds = time.monotonic() - started
                    return Outcome(False, f"judge: twice without a verdict: {error}", seconds)
            finally:
                with self._lock:
                    self._busy.discard(cell)
                cell.kill()
                self._refill()
        raise SandboxError("the sandbox was closed")

    def _take(self) -> Cell:
        """A cell that is alive: a waiting one, or else a new one."""
        cell = None
        while cell is None and not self._closed:
            cell = self._waiting()
            if cell is None:
                cell = self._start()
            elif not cell.alive():
                cell.kill()
                cell = None
        with self._lock:
            if not self._closed:
                self._busy.add(cell)
                return cell
        if cell is not None:
            cell.kill()
        raise SandboxError("the sandbox was closed")

    def _waiting(self) -> Cell | None:
        try:
            return self._cells.popleft()
        except IndexError:  # asking first would leave time for another thread to take the last one
            return None

    def _refill(self) -> None:
        """Start the cell for a later run; it comes up while this thread goes on."""
        if self._closed:
            return
        try:
            cell = self._start()
        except SandboxError:
            return  # the run that needs it will start one itself, and say why if that fails
        with self._lock:
            if not self._closed:
                self._cells.append(cell)
                return
        cell.kill()

    def _start(self) -> Cell:
        program = self._backend.launch("program", self.limits)
        try:
            return Cell(program, self._backend.launch("judge", self.limits), self.limits)
        except SandboxError:
            program.kill()
            raise


def _error(future: Future[Outcome]) -> SandboxError | None:
    """The SandboxError that a run ended with; any other exception is a defect here and is raised."""
    error = future.exception()
    if error is None or isinstance(error, SandboxError):
        return error
    raise error

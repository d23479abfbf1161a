"""The pool over many runs, at its end, and when parts of it fail."""

import os
import signal
import subprocess
import sys
import threading
import time
from contextlib import suppress

import pytest

from harness.sandbox import SandboxError, Task, open_sandbox
from harness.sandbox.cell import Cell, JudgeDied
from harness.sandbox.pool import Sandbox
from harness.sandbox.process import Child, Process, spawn
from harness.sandbox.unsafe import Unsafe
from tests.harness.sandbox.conftest import LIMITS, descendants, exists, opened

DOUBLE = "def double(x):\n    return 2 * x\n"
GOOD = Task(DOUBLE, "assert double(4) == 8")
ASLEEP = Task("import time\ntime.sleep(60)", "f()")


def counts():
    return len(os.listdir("/proc/self/fd")), threading.active_count()


def settles(condition, seconds=10):
    """Whether it comes true: the last cells are ended, and new ones started, after the outcome is told."""
    end = time.monotonic() + seconds
    while not (true := condition()) and time.monotonic() < end:
        time.sleep(0.02)
    return true


def gone(pids, seconds):
    """Whether all of these processes are gone, collected too, after a moment."""
    return settles(lambda: not any(map(exists, pids)), seconds)


def test_hundreds_of_runs_leave_nothing_behind():
    bad = Task("import os\nos._exit(3)", "f()")
    others = descendants(os.getpid())
    with opened("auto") as sandbox:
        sandbox.run_many([GOOD] * 4)
        assert settles(lambda: len(sandbox._cells) == 2)
        before = counts()
        outcomes = sandbox.run_many([GOOD, GOOD, bad] * 100)
        assert [o.passed for o in outcomes] == [True, True, False] * 100
        assert settles(lambda: len(sandbox._cells) == 2 and counts() == before), (counts(), before)
        pids = descendants(os.getpid()) - others
        assert 0 < len(pids) <= 12  # two cells of two processes, each with what confines it
    assert gone(pids, seconds=0)


def test_closing_ends_what_is_at_work():
    others = descendants(os.getpid())
    sandbox = opened("auto")
    caught = []

    def run():
        try:
            sandbox.run_tests(ASLEEP.program, ASLEEP.tests)
        except SandboxError as error:
            caught.append(str(error))

    thread = threading.Thread(target=run)
    thread.start()
    time.sleep(0.5)
    pids = descendants(os.getpid()) - others
    started = time.monotonic()
    sandbox.close()
    thread.join()
    assert time.monotonic() - started < 5
    assert caught == ["the sandbox was closed"]
    assert pids and gone(pids, seconds=0)
    with pytest.raises(SandboxError, match="closed"):
        sandbox.run_tests(*("", ""))
    sandbox.close()


def test_nothing_survives_a_harness_that_is_killed():
    code = (
        "from harness.sandbox import open_sandbox\n"
        "sandbox = open_sandbox(workers=1)\n"
        "print('up', flush=True)\n"
        "sandbox.run_tests('import time\\ntime.sleep(60)', 'f()', timeout=60)\n"
    )
    with opened("auto"):
        pass  # skips where there is none
    with subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE) as harness:
        assert harness.stdout.readline() == b"up\n"
        time.sleep(0.5)
        pids = descendants(harness.pid)
        harness.kill()
        harness.wait()
    assert pids and gone(pids, seconds=5)


def test_a_waiting_cell_that_somebody_ended_is_replaced():
    others = descendants(os.getpid())
    with opened("auto") as sandbox:
        sandbox.run_many([GOOD] * 4)
        time.sleep(0.3)
        for pid in descendants(os.getpid()) - others:
            with suppress(ProcessLookupError):  # ended with the one before
                os.kill(pid, signal.SIGKILL)
        time.sleep(0.3)
        assert all(outcome.passed for outcome in sandbox.run_many([GOOD] * 4))


def test_another_process_cannot_use_it(sandbox, monkeypatch):
    monkeypatch.setattr(os, "getpid", lambda: sandbox.owner + 1)
    with pytest.raises(SandboxError, match="opened by another process"):
        sandbox.run_tests(DOUBLE, "pass")


def test_a_forked_process_cannot_close_it():
    with opened("auto") as sandbox:
        child = os.fork()
        if child == 0:
            sandbox.close()
            os._exit(0)
        assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
        assert not sandbox._closed and sandbox.run_many([GOOD])[0].passed


def test_an_interrupt_drops_what_has_not_begun():
    """Else the process could not end before all of it had been run."""
    with opened("auto") as sandbox:
        done = []
        run = sandbox._run
        sandbox._run = lambda job: done.append(job) or run(job)

        def tasks():
            yield from [Task("import time\ntime.sleep(0.2)\nf = 1", "assert f")] * 40
            raise KeyboardInterrupt

        with pytest.raises(KeyboardInterrupt):
            sandbox.run_many(tasks())
        time.sleep(1)
        assert len(done) < 8


def test_many_threads_and_a_close_in_their_midst():
    """Every run has a verdict that is right, or an error; nothing hangs, and nothing is left."""
    others = descendants(os.getpid())
    for wait in (0.05, 0.2, 0.4):
        sandbox = opened("auto")
        found = []

        def run(sandbox=sandbox, found=found):
            for k in range(20):
                try:
                    outcome = sandbox.run_tests(DOUBLE, f"assert double(4) == {8 + k % 2}")
                except SandboxError as error:
                    found.append(str(error))
                else:
                    found.append("right" if outcome.passed == (k % 2 == 0) else outcome.reason)

        threads = [threading.Thread(target=run) for _ in range(4)]
        for thread in threads:
            thread.start()
        time.sleep(wait)
        closers = [threading.Thread(target=sandbox.close) for _ in range(2)]
        for thread in closers:
            thread.start()
        for thread in threads + closers:
            thread.join(30)
            assert not thread.is_alive()
        assert len(found) == 80
        assert [x for x in found if x != "right" and "closed" not in x] == []
    assert gone(descendants(os.getpid()) - others, seconds=0)


class Faulty(Unsafe):
    """A backend whose judges, the first `count` of them, run `code` in place of the judge's own."""

    def __init__(self, code: str, count: int) -> None:
        self.code, self.count = code, count

    def launch(self, main, limits):
        if main == "program" or self.count <= 0:
            return super().launch(main, limits)
        self.count -= 1
        return Process(Child(spawn([sys.executable, "-S", "-c", self.code], {})))


DIES = "import os; os.write(1, b'\\5\\0\\0\\0ready'); os.read(0, 1)"
LIES = "import os; os.write(1, b'\\5\\0\\0\\0ready\\2\\0\\0\\0V?'); os.read(0, 9999); os.read(0, 9999)"


def test_a_judge_that_dies_once_is_replaced_and_twice_is_a_failure():
    with Sandbox(Faulty(DIES, count=1), LIMITS, workers=1) as sandbox:
        assert sandbox.run_many([GOOD])[0].passed
    with Sandbox(Faulty(DIES, count=2), LIMITS, workers=1) as sandbox:
        assert sandbox.run_many([GOOD])[0].reason.startswith("judge: twice without a verdict")


def test_a_judge_that_ends_because_the_sandbox_is_closed_is_no_failure(monkeypatch):
    ended = []

    def run(cell, job):
        ended.append(cell)
        sandbox._closed = len(ended) == 2
        raise JudgeDied("ended")

    with Sandbox(Unsafe(), LIMITS, workers=1) as sandbox:
        monkeypatch.setattr(Cell, "run", run)
        (error,) = sandbox.run_many([GOOD])
        assert isinstance(error, SandboxError) and "closed" in str(error) and len(ended) == 2
        sandbox._closed = False


def test_a_program_cannot_keep_its_files_from_being_removed(unsafe, monkeypatch):
    """Folders closed to everybody stop an ordinary user's `rm`, which is the user to run this test."""
    program = "import os\ndef f():\n    os.makedirs('a/b')\n    os.chmod('a', 0)\n    return os.getcwd()"
    outcome = unsafe.run_tests(program, "assert False, f()")
    folder = outcome.reason.split()[2]
    assert "harness-sandbox-" in folder and settles(lambda: not os.path.exists(folder))
    assert unsafe.run_tests(DOUBLE, GOOD.tests).passed


def test_a_verdict_that_is_none_is_an_error():
    with Sandbox(Faulty(LIES, count=1), LIMITS, workers=1) as sandbox:
        assert "cannot be read" in str(sandbox.run_many([GOOD])[0])


def test_a_process_that_does_not_come_up_is_an_error_with_its_message():
    code = "import sys; sys.exit('no such luck')"
    with Sandbox(Faulty(code, count=9), LIMITS, workers=1) as sandbox:
        (error,) = sandbox.run_many([GOOD])
        assert isinstance(error, SandboxError) and "no such luck" in str(error)


def test_the_command_says_what_is_chosen():
    done = subprocess.run(
        [sys.executable, "-m", "harness.sandbox"], capture_output=True, text=True, check=False
    )
    if done.returncode:
        pytest.skip(done.stdout)
    with open_sandbox(limits=LIMITS, workers=1) as sandbox:
        assert f"get: {sandbox.name} ({sandbox.way})" in done.stdout
    assert "unsafe (resource limits only): works" in done.stdout and "Not covered" in done.stdout

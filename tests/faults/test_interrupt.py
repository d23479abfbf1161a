"""Ctrl-C and SIGTERM at every phase: stopped within five seconds, resumable, nothing left behind."""

import json
import os
import signal
import time
from collections.abc import Callable

import psutil
import pytest

from tests.faults.conftest import numbers, runs

# Phase, which call of it, and the signal: every phase gets Ctrl-C, one of them SIGTERM too.
MOMENTS = [("rollouts", 7, "SIGINT"), ("optimizer", 3, "SIGINT"), ("trainer state", 2, "SIGINT")]
MOMENTS += [("lines", 8, "SIGINT"), ("end point", 1, "SIGINT"), ("optimizer", 2, "SIGTERM")]


@pytest.mark.long
@pytest.mark.parametrize(("phase", "nth", "name"), MOMENTS)
def test_a_signal_stops_the_sweep_and_the_same_command_finishes_it(
    nursery, sweep, whole, tmp_path, phase, nth, name
):
    marker = tmp_path / "now"
    pid = nursery.start(sweep, tmp_path, ["stalls", phase, nth, str(marker)])
    wait_until(marker.exists, 120, lambda: f"{phase} never came")
    start = time.monotonic()
    os.killpg(pid, getattr(signal, name))
    code = nursery.wait(pid, 10)
    assert code == {"SIGINT": 130, "SIGTERM": 143}[name], nursery.log.read_text()
    assert time.monotonic() - start < 5
    assert not in_session(pid)
    assert "0 done, 0 skipped (done before), 2 not finished" in nursery.log.read_text()
    [folder] = runs(
        tmp_path
    ).values()  # SIGTERM, too, is no failure of a run after which the next one would start
    assert (folder / "STATUS").read_text() == "running\n"
    assert json.loads((folder / "env.json").read_text())
    if phase != "lines":  # which is the moment in the middle of a line
        assert [json.loads(text) for path in folder.glob("*.jsonl") for text in path.read_text().splitlines()]
    code, out = nursery.run(sweep, tmp_path)
    assert code == 0, out
    assert numbers(tmp_path) == whole


@pytest.mark.long
def test_a_signal_ends_the_workers_of_runs_and_their_own_processes(nursery, small, tmp_path):
    """Two worker processes; each run has started a process that checks answers."""
    overrides = ["suite._target_=tests.faults.suites.CheckedSuite", "trainer.steps=1000", "n_jobs=2"]
    pid = nursery.start(["-m", "seed=0,1", *small, *overrides], tmp_path)
    wait_until(lambda: checkers(pid) == 2, 240, lambda: f"{checkers(pid)} checkers; {nursery.log.read_text()}")
    assert {(f / "STATUS").read_text() for f in runs(tmp_path).values()} == {"running\n"}
    start = time.monotonic()
    os.killpg(pid, signal.SIGINT)
    assert nursery.wait(pid, 10) == 130
    assert time.monotonic() - start < 5
    wait_until(lambda: not in_session(pid), start + 5 - time.monotonic(), lambda: in_session(pid))
    assert {(f / "STATUS").read_text() for f in runs(tmp_path).values()} == {"running\n"}


def wait_until(true: Callable[[], bool], seconds: float, why_not: Callable[[], object]) -> None:
    deadline = time.monotonic() + seconds
    while not true():
        assert time.monotonic() < deadline, why_not()
        time.sleep(0.05)


def checkers(leader: int) -> int:
    """Processes of a command that check answers: each run's worker process starts one."""
    return sum("equivalence.py" in " ".join(command(process)) for process in in_session(leader))


def command(process: psutil.Process) -> list[str]:
    try:
        return process.cmdline()
    except psutil.NoSuchProcess:
        return []


def in_session(leader: int) -> list[psutil.Process]:
    """Processes that a command has started and left behind, zombies that nobody has asked for yet aside."""
    found = []
    for process in psutil.process_iter():
        try:
            if process.pid != leader and os.getsid(process.pid) == leader:
                found.append(process)
        except (ProcessLookupError, psutil.NoSuchProcess):
            continue
    return [process for process in found if is_alive(process)]


def is_alive(process: psutil.Process) -> bool:
    try:
        return process.status() != psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return False

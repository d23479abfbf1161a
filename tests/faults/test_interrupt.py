"""Ctrl-C and SIGTERM at every phase: stopped within five seconds, resumable, nothing left behind."""

import json
import os
import signal
import time
from pathlib import Path

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
    wait_for(marker)
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
    deadline = time.monotonic() + 240
    while len(list(tmp_path.glob("results/*/*/*/metrics.jsonl"))) < 2 and time.monotonic() < deadline:
        time.sleep(0.1)
        statuses = [
            (folder / "STATUS").read_text()
            for folder in runs(tmp_path).values()
            if (folder / "STATUS").exists()
        ]
        assert {*statuses} <= {"running\n"}
    commands = [" ".join(process.cmdline()) for process in in_session(pid)]
    assert sum("equivalence.py" in command for command in commands) >= 2, (commands, nursery.log.read_text())
    start = time.monotonic()
    os.killpg(pid, signal.SIGINT)
    assert nursery.wait(pid, 10) == 130
    while in_session(pid) and time.monotonic() < start + 5:
        time.sleep(0.05)
    assert not in_session(pid)
    assert {(f / "STATUS").read_text() for f in runs(tmp_path).values()} == {"running\n"}


def wait_for(path: Path, seconds: float = 120) -> None:
    deadline = time.monotonic() + seconds
    while not path.exists():
        assert time.monotonic() < deadline, f"{path.name} never came"
        time.sleep(0.02)


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

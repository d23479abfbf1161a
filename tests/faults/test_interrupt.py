"""Ctrl-C, SIGTERM and `kill -9` of the command: stopped within five seconds, resumable, nothing left behind."""

import json
import os
import signal
import time
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file

from harness.records import Records
from tests.faults.conftest import numbers, runs

# Phase, which call of it, and the signal: five of the phases, in one of them SIGTERM too.
MOMENTS = [("rollouts", 7, "SIGINT"), ("optimizer", 3, "SIGINT"), ("trainer state", 2, "SIGINT")]
MOMENTS += [("lines", 8, "SIGINT"), ("end point", 1, "SIGINT"), ("optimizer", 2, "SIGTERM")]
CODES = {"SIGINT": 130, "SIGTERM": 143, "SIGKILL": -9}


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
    assert code == CODES[name], nursery.log.read_text()
    assert time.monotonic() - start < 5
    assert not nursery.left()
    assert "0 done, 0 skipped (done before), 2 not finished" in nursery.log.read_text()
    [folder] = runs(
        tmp_path
    ).values()  # SIGTERM, too, is no failure of a run after which the next one would start
    assert (folder / "STATUS").read_text() == "running\n"
    assert_whole(folder, cut=phase == "lines")  # that moment is in the middle of a line
    code, out = nursery.run(sweep, tmp_path)
    assert code == 0, out
    assert numbers(tmp_path) == whole


def assert_whole(folder: Path, cut: bool) -> None:
    """No file is half-written, but for one line that a run takes up without, and checkpoints that do not count."""
    assert json.loads((folder / "env.json").read_text())
    texts = [path.read_text() for path in folder.glob("*.jsonl")]
    assert [json.loads(line) for text in texts for line in text[: text.rfind("\n") + 1].splitlines()]
    assert sum(text != "" and text[-1] != "\n" for text in texts) == cut
    assert not list(folder.glob(".*.new"))
    if checkpoint := Records(folder).last_checkpoint():
        assert load_file(checkpoint[1] / "model.safetensors")
        for name in ("optimizer.pt", "scheduler.pt"):
            assert torch.load(checkpoint[1] / name, weights_only=True)


# The signal, whether Ctrl-C's way to all processes, and the verdict that it comes in: at first in the second step.
STOPS = [("SIGKILL", False, 45), ("SIGTERM", False, 5), ("SIGINT", True, 5)]


@pytest.mark.long
@pytest.mark.timeout(600)
def test_worker_processes_and_theirs_end_with_the_command_and_the_same_command_goes_on(nursery, small, tmp_path):
    """Two worker processes; each has started a process that checks answers, and a sandbox in another session."""
    given = ["-m", "seed=0,1", *small]
    code, out = nursery.run(given, tmp_path / "whole")
    assert code == 0, out
    given += ["suite._target_=tests.faults.suites.StalledSuite", "n_jobs=2"]
    cwd = tmp_path / "stopped"
    cwd.mkdir()
    for name, to_all, verdict in STOPS:
        (cwd / "stall").write_text(str(verdict))
        pid = nursery.start(given, cwd)
        wait_until(lambda: len(list(cwd.glob("stalled-*"))) == 2, 120, nursery.log.read_text)
        left = nursery.left()
        assert sum("equivalence.py" in " ".join(process.cmdline()) for process in left) == 2
        assert {os.getsid(process.pid) for process in left} > {pid}
        start = time.monotonic()
        (os.killpg if to_all else os.kill)(pid, getattr(signal, name))
        assert nursery.wait(pid, 10) == CODES[name], nursery.log.read_text()
        wait_until(lambda: not nursery.left(), start + 5 - time.monotonic(), nursery.left)
        assert [(folder / "STATUS").read_text() for folder in runs(cwd).values()] == ["running\n"] * 2
        for path in cwd.glob("stall*"):
            path.unlink()
    code, out = nursery.run(given, cwd)
    assert code == 0, out
    assert numbers(cwd) == numbers(tmp_path / "whole")


def wait_until(true: Callable[[], bool], seconds: float, why_not: Callable[[], object]) -> None:
    deadline = time.monotonic() + seconds
    while not true():
        assert time.monotonic() < deadline, why_not()
        time.sleep(0.05)

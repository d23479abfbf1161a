"""Runs whose worker processes are killed. The sweep is stood in for: two runs at a time."""

import time

import pytest
from joblib.externals.loky.process_executor import TerminatedWorkerError

from harness.errors import RunFailed
from harness.killed import IN_VAIN, make_all
from harness.sweep import ALONE, LATER, is_left_out, status


@pytest.fixture
def made(tmp_path, monkeypatch):
    """Make runs a, b and c, killing as `kills` says: (statuses, runs of each launch)."""
    monkeypatch.setenv(LATER, "")
    monkeypatch.setenv(ALONE, "")
    runs, launches = [tmp_path / name for name in "abc"], []

    def launch(kills):
        time.sleep(0.02)  # the clock of files is coarse
        todo = [run for run in runs if not is_left_out(run) and status(run) != "done"]
        launches.append("".join(run.name for run in todo))
        while todo:
            now, todo = todo[:2], todo[2:]
            for run in now:
                run.mkdir(exist_ok=True)
                (run / "STATUS").write_text("running\n")
            if kills("".join(run.name for run in now)):
                raise TerminatedWorkerError("The exit codes of the workers are {SIGKILL(-9)}")
            for run in now:
                (run / "STATUS").write_text("done\n")

    def made(kills):
        make_all(lambda: launch(kills), runs)
        return [status(run) for run in runs], launches

    return made


KILLED = "failed: worker process killed (SIGKILL; out of memory?)"


def test_a_run_that_is_killed_alone_has_failed_and_no_other_one(made):
    assert made(lambda now: "a" in now) == ([KILLED, "done", "done"], ["abc", "abc", "c", "a", "b"])


def test_two_that_have_no_room_beside_each_other_are_made_one_by_one(made, capsys):
    assert made(lambda now: now == "ab") == (["done"] * 3, ["abc", "abc", "c", "a", "b"])
    assert "taking the unfinished runs up again, 2 of them alone, after the others" in capsys.readouterr().err


def test_one_kill_changes_nothing(made):
    kills = iter([True])
    assert made(lambda now: next(kills, False)) == (["done"] * 3, ["abc", "abc"])


def test_runs_that_an_earlier_command_left_are_not_to_blame(made, tmp_path):
    (tmp_path / "c").mkdir()
    (tmp_path / "c" / "STATUS").write_text("running\n")
    assert made(lambda now: "a" in now)[1] == ["abc", "abc", "c", "a", "b"]


def test_worker_processes_that_never_start_are_given_up(tmp_path, capsys):
    launches = []

    def launch():
        launches.append(1)
        raise TerminatedWorkerError("The exit codes of the workers are {SIGSEGV(-11)}")

    make_all(launch, [tmp_path / "a"])
    assert len(launches) == IN_VAIN and status(tmp_path / "a") == "not started"
    assert "giving up" in capsys.readouterr().err


def test_a_run_that_fails_keeps_no_other_one_from_being_made_alone(tmp_path):
    def launch():
        (tmp_path / "STATUS").write_text("failed: why\n")
        raise RunFailed("why")

    make_all(launch, [tmp_path])
    assert status(tmp_path) == "failed: why"


def test_too_many_worker_processes_are_given_up_with_what_to_do(tmp_path, capsys):
    """Each launch is killed with two other runs under way, and none is ever finished."""
    runs, launches = [tmp_path / str(i) for i in range(100)], []

    def launch():
        time.sleep(0.02)
        for run in [run for run in runs if not is_left_out(run)][:2]:
            run.mkdir(exist_ok=True)
            (run / "STATUS").write_text("running\n")
        launches.append(1)
        raise TerminatedWorkerError("The exit codes of the workers are {SIGKILL(-9)}")

    make_all(launch, runs)
    assert len(launches) == IN_VAIN
    assert "giving up: try a lower n_jobs\n" in capsys.readouterr().err


def test_what_has_failed_of_itself_is_not_made_again_after_a_kill(tmp_path):
    runs, launches = [tmp_path / name for name in "ab"], []

    def launch():
        time.sleep(0.02)
        todo = [run for run in runs if not is_left_out(run) and status(run) != "done"]
        launches.append("".join(run.name for run in todo))
        for run in todo:
            run.mkdir(exist_ok=True)
            (run / "STATUS").write_text("failed: why\n" if run.name == "a" else "running\n")
        if len(launches) == 1:
            raise TerminatedWorkerError("The exit codes of the workers are {SIGKILL(-9)}")
        (tmp_path / "b" / "STATUS").write_text("done\n")

    make_all(launch, runs)
    assert launches == ["ab", "b"] and [*map(status, runs)] == ["failed: why", "done"]

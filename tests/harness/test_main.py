"""The command `python -m harness`: its modes, exit codes, summary and workers. Runs are stood in for."""

import logging
import os
import re
import signal
import subprocess
import sys
import time
import types
from pathlib import Path

import pytest

from harness.__main__ import main
from harness.config import CONF, run_dir
from harness.errors import RunFailed, Unrecorded

STAND_IN = """
import os, sys, time
torch_was_there = "torch" in sys.modules
from hydra.utils import instantiate
from harness.config import run_dir
from harness.errors import RunFailed

def run(cfg):
    folder = run_dir(cfg)
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "STATUS").write_text("running")
    (folder / "pid").write_text(str(os.getpid()))
    time.sleep(float(os.environ.get("STAND_IN_SECONDS", 0)))
    part = instantiate(cfg.method, _convert_="all").advantage
    seen = [cfg.label, os.environ["OMP_NUM_THREADS"], os.environ["HARNESS_RUNS"], torch_was_there, part]
    (folder / "seen").write_text(" ".join(map(str, seen)))
    if (cfg.method.name, cfg.seed) == ("own", 1):
        (folder / "STATUS").write_text("failed: on purpose")
        raise RunFailed("on purpose")
    (folder / "STATUS").write_text("done")
"""


@pytest.fixture
def command(monkeypatch, tmp_path, capsys):
    """Run the command in this process: `command("method=lampo") -> (exit code, stdout, stderr)`."""
    ran = []

    def run(cfg):
        ran.append(run_dir(cfg))
        run_dir(cfg).mkdir(parents=True, exist_ok=True)
        if cfg.seed == 4:
            raise Unrecorded("no space")
        failed = cfg.seed == 3
        (run_dir(cfg) / "STATUS").write_text("failed: on purpose" if failed else "done")
        if failed:
            raise RunFailed("on purpose")

    def command(*arguments):
        ran.clear()
        monkeypatch.setattr(sys, "argv", ["harness", *arguments])
        code = main()
        return code, *capsys.readouterr()

    command.ran = ran
    monkeypatch.setitem(sys.modules, "harness.run", types.SimpleNamespace(run=run))
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", list(sys.path))
    environment, handlers = dict(os.environ), list(logging.root.handlers)
    terminate = signal.getsignal(signal.SIGTERM)
    yield command
    os.environ.clear()
    os.environ.update(environment)
    logging.root.handlers[:] = handlers
    signal.signal(signal.SIGTERM, terminate)


def test_one_run_and_again(command, tmp_path):
    code, out, err = command("method=rloo", "seed=2")
    assert (code, err) == (0, "")
    [run] = command.ran
    assert out == f"1 done, 0 skipped (done before), 0 not finished\nRecords: {run}\n"
    assert run.parent.name.startswith("rloo-") and run.name == "seed-2"
    assert command("method=rloo", "seed=2")[1].startswith("0 done, 1 skipped (done before), 0 not finished\n")
    assert command.ran == []
    assert sorted(path.name for path in tmp_path.iterdir()) == ["results"], "no outputs/ folder, no log file"
    assert [path.name for path in run.iterdir()] == ["STATUS"]
    assert [path.name for path in Path("results").iterdir()] == ["default"]


def test_a_sweep_goes_on_after_a_failed_run(command):
    code, out, err = command("-m", "method=grpo,rloo", "seed=0,3", "n_jobs=1", "experiment_name=exp")
    assert code == 1 and "Traceback" not in err
    assert len(command.ran) == 4
    lines = out.splitlines()
    assert lines[0] == "2 done, 0 skipped (done before), 2 not finished"
    assert [line.split(": ", 1)[1] for line in lines[1:3]] == ["failed: on purpose"] * 2
    assert all("/seed-3" in line for line in lines[1:3])
    code, out, _ = command("-m", "method=grpo,rloo", "seed=0,1", "n_jobs=1", "experiment_name=exp")
    assert code == 0 and [run.name for run in command.ran] == ["seed-1", "seed-1"]
    assert out.startswith("2 done, 2 skipped (done before), 0 not finished\n")
    assert out.endswith("Compare: python -m harness.compare runs=results/exp baseline=grpo\n")


def test_what_no_status_says_is_printed_whichever_run_failed_first(command):
    code, out, err = command("-m", "seed=3,4,5", "n_jobs=1")
    assert code == 1 and "harness: no space\n" in err
    assert out.startswith("1 done, 0 skipped (done before), 2 not finished\n")


def test_a_tuned_sweep_is_compared_by_the_methods_name(command):
    swept = ("method=grpo,rloo", "trainer.learning_rate=1e-4,2e-4", "tuned=[trainer.learning_rate]", "n_jobs=1")
    out = command("-m", *swept, "experiment_name=exp")[1]
    assert out.endswith("Compare: python -m harness.compare runs=results/exp baseline=grpo\n")


def test_an_experiment_sweeps_without_m(command):
    code, out, _ = command(
        "experiment=demo", "method=grpo,rloo", "seed=0", "n_jobs=1", "results_dir=elsewhere"
    )
    assert (code, len(command.ran)) == (0, 2)
    assert "runs=elsewhere/demo " in out
    assert {run.parts[:2] for run in command.ran} == {("elsewhere", "demo")}


@pytest.mark.parametrize(
    "arguments, says",
    [
        (["method=lampoo"], "harness: There is no method named lampoo. Did you mean lampo"),
        (["-m", "method=grpo", "trainer.steps=1,0"], "harness: trainer.steps=0 must be at least 1"),
        (["-m", "method=lampo", "method.advantage.temperature=1,-1"], "harness: method.advantage: "),
        (["--cfg", "job", "trainer.stepz=3"], "Did you mean trainer.steps?"),
        (["--config-name", "other"], "--config-dir"),
        (["--config-dir", "nowhere"], "no folder nowhere"),
    ],
)
def test_refused_before_anything_runs(command, arguments, says, tmp_path):
    code, out, err = command(*arguments)
    assert (code, out, command.ran) == (2, "", [])
    assert says in err and err.count("\n") == 1
    assert not list(tmp_path.iterdir())


def test_an_error_that_is_not_a_failed_run_is_shown(command, monkeypatch, capsys):
    def broken(cfg):
        raise ZeroDivisionError("a bug")

    monkeypatch.setitem(sys.modules, "harness.run", types.SimpleNamespace(run=broken))
    with pytest.raises(ZeroDivisionError, match="a bug"):
        command("-m", "seed=0,1", "n_jobs=1")
    assert "2 not finished" in capsys.readouterr().out


def test_cfg_shows_the_composed_configuration(command):
    code, out, _ = command("--cfg", "job", "method=lampo", "--resolve")
    assert code == 0 and "temperature: 0.1" in out and "label: lampo-" in out
    assert command.ran == []


def test_help_teaches(command, capsys):
    with pytest.raises(SystemExit) as ended:
        command("--help")
    assert ended.value.code == 0
    out = capsys.readouterr().out
    assert "python -m harness -m method=grpo,lampo,delta,lampo_delta seed=0,1,2,3,4" in out
    (weightings,) = re.findall(r"method/weighting: (.+)", out)
    assert {"delta", "forking_tokens", "oracle", "uniform"} <= set(weightings.split(", "))
    assert "method/control: inverted, none, permuted" in out
    assert "<results_dir>/<experiment_name>/<label>/seed-<seed>" in out


# Real workers


@pytest.fixture
def started(tmp_path):
    """Start the command as its console script does, without the working directory on the path."""
    (tmp_path / "stand_in").mkdir()
    (tmp_path / "stand_in" / "harness_stand_in.py").write_text(STAND_IN)
    (tmp_path / "stand_in" / "sitecustomize.py").write_text(
        "import importlib.abc, importlib.util, pathlib, sys\n"
        "class Finder(importlib.abc.MetaPathFinder):\n"
        "    def find_spec(self, name, path, target=None):\n"
        "        if name == 'harness.run':\n"
        "            file = pathlib.Path(__file__).with_name('harness_stand_in.py')\n"
        "            return importlib.util.spec_from_file_location(name, file)\n"
        "sys.meta_path.insert(0, Finder())\n"
    )
    work = tmp_path / "work"
    work.mkdir()
    path = os.pathsep.join([str(tmp_path / "stand_in"), str(CONF.parent)])

    def start(*arguments, **variables):
        environment = os.environ | {"PYTHONPATH": path, "OMP_NUM_THREADS": "7"} | variables
        script = "import sys; from harness.__main__ import main; sys.exit(main())"
        return subprocess.Popen(
            [sys.executable, "-P", "-c", script, *arguments],
            cwd=work,
            env=environment,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            start_new_session=True,
            # A shell's background jobs ignore Ctrl-C, and what they start inherits that.
            preexec_fn=lambda: signal.signal(signal.SIGINT, signal.default_int_handler),
        )

    start.work = work
    return start


def test_workers_with_a_users_own_method(started):
    (started.work / "own_advantage.py").write_text(
        "def own(batch, share):\n    return share * batch.rewards\n"
    )
    conf = started.work / "my_conf" / "method"
    (conf / "advantage").mkdir(parents=True)
    (conf / "advantage" / "own.yaml").write_text("_target_: own_advantage.own\n_partial_: true\nshare: 0.5\n")
    (conf / "own.yaml").write_text("defaults: [grpo, override advantage: own, _self_]\nname: own\n")
    (conf / "lampo.yaml").write_text("name: a built-in's name\n")

    process = started("--config-dir", "my_conf", "-m", "method=own,lampo", "seed=1", "n_jobs=2")
    out, err = process.communicate(timeout=120)
    assert process.returncode == 1, err
    assert "my_conf/method/lampo.yaml is not read" in err and "Traceback" not in err
    assert out.startswith("1 done, 0 skipped (done before), 1 not finished\n")
    assert "/seed-1: failed: on purpose" in out
    runs = sorted((started.work / "results" / "default").glob("*/seed-*"))
    assert [run.parent.name.split("-")[0] for run in runs] == ["lampo", "own"]
    assert str(process.pid) not in {(run / "pid").read_text() for run in runs}
    for run in runs:
        label, threads, count, torch_was_there, part = (run / "seen").read_text().split(" ", 4)
        assert (label, threads, count, torch_was_there) == (run.parent.name, "1", "2", "False")
        assert ("own_advantage" in part or "function own" in part) == label.startswith("own")


@pytest.mark.parametrize("name, code", [("SIGTERM", 143), ("SIGINT", 130)])
def test_signals_end_the_workers(started, name, code):
    process = started("-m", "seed=0,1", "n_jobs=2", STAND_IN_SECONDS="60")
    results = started.work / "results"
    deadline = time.monotonic() + 60
    workers = []
    while len(workers) < 2 and time.monotonic() < deadline:
        time.sleep(0.1)
        workers = [int(pid) for path in results.glob("*/*/*/pid") if (pid := path.read_text())]
    assert len(workers) == 2
    os.kill(process.pid, getattr(signal, name))
    out, _ = process.communicate(timeout=20)
    assert process.returncode == code
    assert out.startswith("0 done, 0 skipped (done before), 2 not finished\n")
    while any(Path(f"/proc/{pid}").exists() for pid in workers) and time.monotonic() < deadline:
        time.sleep(0.1)
    assert not any(Path(f"/proc/{pid}").exists() for pid in workers)

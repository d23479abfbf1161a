import contextlib
import functools
import json
import os
import shutil
import subprocess
import sys
import time
from pathlib import Path

import psutil
import pytest
from omegaconf import OmegaConf

from harness.compose import composer
from harness.config import run_dir
from harness.run import run
from harness.trainer import CreditGRPOTrainer
from tests.harness.conftest import make_policy

ROOT = Path(__file__).resolve().parents[2]
OF_THE_MACHINE = ("seconds", "train_seconds", "started", "memory_mb")
FILES = ("metrics", "evals", "samples", "credit", "problems")


class Nursery:
    """Starts commands by forking a process that has imported everything: see nursery.py."""

    def __init__(self, log: Path) -> None:
        self.log = log
        environment = os.environ | {"OMP_NUM_THREADS": "1", "PYTHONPATH": str(ROOT)}
        self.process = subprocess.Popen(
            [sys.executable, "-m", "tests.faults.nursery"],
            cwd=ROOT, env=environment, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True,
        )  # fmt: skip

    def start(self, argv, cwd, fault=None) -> int:
        cwd.mkdir(exist_ok=True)
        order = {"argv": [*map(str, argv)], "cwd": str(cwd), "log": str(self.log), "fault": fault}
        self.log.write_text("")
        return self._ask({"start": order})["pid"]

    def wait(self, pid, seconds=120) -> int | str:
        return self._ask({"wait": pid, "seconds": seconds})["code"]

    def run(self, argv, cwd, fault=None, seconds=120) -> tuple[int | str, str]:
        """(exit code, negative for a signal; what was printed)."""
        return self.wait(self.start(argv, cwd, fault), seconds), self.log.read_text()

    def left(self) -> list[psutil.Process]:
        """All that started commands have started, in whatever session, and that has not ended; zombies aside."""
        return [p for p in psutil.Process(self.process.pid).children(recursive=True) if is_alive(p)]

    def end(self) -> None:
        """End the commands that a test has left behind, with all that they have started."""
        while left := self.left():
            for process in left:
                with contextlib.suppress(psutil.NoSuchProcess):
                    process.kill()
            time.sleep(0.05)

    def _ask(self, order):
        self.process.stdin.write(json.dumps(order) + "\n")
        self.process.stdin.flush()
        return json.loads(self.process.stdout.readline())


def is_alive(process: psutil.Process) -> bool:
    try:
        return process.status() != psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return False


@pytest.fixture(scope="session")
def shared_nursery(tmp_path_factory):
    found = Nursery(tmp_path_factory.mktemp("nursery") / "log")
    yield found
    found.end()
    found.process.stdin.close()
    found.process.wait(timeout=120)


@pytest.fixture
def nursery(shared_nursery):
    yield shared_nursery
    shared_nursery.end()


@pytest.fixture(scope="session")
def small(tmp_path_factory):
    return small_run(tmp_path_factory.mktemp("policy"))


def small_run(path: Path) -> list[str]:
    """Overrides of a run of three steps that takes a second, from a policy that is kept at `path`."""
    policy = make_policy(context=256)
    policy.model.save_pretrained(path)
    policy.tokenizer.save_pretrained(path)
    return [
        f"policy.path={path}", "suite._target_=tests.harness.conftest.EasySuite", "suite.horizon=1",
        "trainer.steps=3", "trainer.prompts_per_step=3", "trainer.completions_per_prompt=4",
        "trainer.max_completion_tokens=8", "trainer.checkpoint_every=1", "trainer.learning_rate=0.01",
        "evaluation.every=2", "evaluation.curve_problems=1", "evaluation.curve_samples=2",
        "evaluation.validation_problems=1", "evaluation.test_problems=1", "evaluation.test_samples=2",
        "evaluation.temperatures=[1.0]", "evaluation.shown_problems=1", "n_jobs=1", "experiment_name=sweep",
    ]  # fmt: skip


@pytest.fixture(scope="session")
def sweep(small):
    """Two methods, of which one has learnt a critic that is to be kept too."""
    return ["-m", "method=delta,ppo", *small]


@pytest.fixture(scope="session")
def whole(shared_nursery, sweep, tmp_path_factory):
    """The numbers of the sweep that nothing interrupted."""
    cwd = tmp_path_factory.mktemp("whole")
    code, out = shared_nursery.run(sweep, cwd)
    assert code == 0, out
    return numbers(cwd)


def runs(cwd: Path) -> dict[str, Path]:
    found = sorted((cwd / "results").glob("*/*/seed-*"))
    return {f"{path.parent.name.partition('+')[0]}/{path.name}": path for path in found}


def numbers(cwd: Path) -> dict[str, dict[str, list]]:
    """Every record of every run, without what may differ between two runs of the same: durations and memory."""
    found = {}
    for name, folder in runs(cwd).items():
        assert (folder / "STATUS").read_text() == "done\n", (name, (folder / "STATUS").read_text())
        found[name] = {
            file: [
                {key: value for key, value in json.loads(line).items() if not key.startswith(OF_THE_MACHINE)}
                for line in (folder / f"{file}.jsonl").read_text().splitlines()
            ]
            for file in FILES
        }
    return found


def compose(overrides, results: Path):
    """One run's configuration, as the command line would compose it, kept below `results`."""
    cfg = _composed(tuple(overrides)).copy()
    cfg.results_dir = str(results)
    return cfg


@functools.cache
def _composed(overrides):
    with composer() as composed:
        cfg = composed(list(overrides))
        label = cfg.label
        OmegaConf.set_struct(cfg, False)
        del cfg["hydra"]
        cfg.label = label
    return cfg


@pytest.fixture(scope="session")
def kept(tmp_path_factory):
    """Where a run that was stopped is kept, to be copied: {label: folder}."""
    return {"folder": tmp_path_factory.mktemp("stopped")}


@pytest.fixture
def stopped(monkeypatch, kept):
    """Run until Ctrl-C in the second step; the run's folder, with checkpoint-2."""

    def stopped(cfg) -> Path:
        if cfg.label not in kept:
            kept[cfg.label] = shutil.copytree(run_to(cfg), kept["folder"] / cfg.label)
        elif not run_dir(cfg).exists():
            shutil.copytree(kept[cfg.label], run_dir(cfg))
        return run_dir(cfg)

    def run_to(cfg) -> Path:
        step = CreditGRPOTrainer.training_step

        def interrupted(self, *arguments, **named):
            if self.state.global_step == 2:
                raise KeyboardInterrupt
            return step(self, *arguments, **named)

        with monkeypatch.context() as patch:
            patch.setattr(CreditGRPOTrainer, "training_step", interrupted)
            with pytest.raises(KeyboardInterrupt):
                run(cfg)
        return run_dir(cfg)

    return stopped

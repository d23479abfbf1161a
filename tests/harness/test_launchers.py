"""Sweeps through submitit: its Slurm launcher composes, its local executor runs the harness's jobs."""

import os
import subprocess
import sys
from pathlib import Path

from harness.sweep import plan

ROOT = Path(__file__).parents[2]
TINY = [
    "suite.horizon=1", "trainer.steps=1", "trainer.checkpoint_every=1", "trainer.prompts_per_step=2",
    "trainer.completions_per_prompt=2", "evaluation.every=1", "evaluation.curve_problems=2",
    "evaluation.validation_problems=2", "evaluation.test_problems=2", "evaluation.temperatures=[1.0]",
]  # fmt: skip


def test_a_sweep_composes_for_slurm():
    given = ["hydra/launcher=submitit_slurm", "+hydra.launcher.gres=gpu:1", "hydra.launcher.timeout_min=600"]
    cfgs = plan([*given, "method=grpo,lampo", "seed=0,1"], sweep=True, config_dir=None)
    assert [cfg.method.name for cfg in cfgs] == ["grpo", "grpo", "lampo", "lampo"]
    launcher = cfgs[0].hydra.launcher
    assert launcher._target_.endswith("SlurmLauncher") and launcher.gres == "gpu:1" and launcher.timeout_min == 600


def test_the_local_executor_runs_a_sweep(tmp_path):
    given = ["hydra/launcher=submitit_local", "hydra.launcher.timeout_min=5", "method=grpo,zero", *TINY]
    ended = subprocess.run(
        [sys.executable, "-m", "harness", "-m", *given], cwd=tmp_path, capture_output=True, text=True, timeout=280,
        env=os.environ | {"OMP_NUM_THREADS": "1", "PYTHONPATH": str(ROOT)}, check=False,
    )  # fmt: skip
    assert ended.returncode == 0, ended.stderr[-2000:]
    assert "2 done, 0 skipped (done before), 0 not finished" in ended.stdout
    assert sorted(path.read_text() for path in tmp_path.rglob("STATUS")) == ["done\n"] * 2

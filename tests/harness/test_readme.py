"""The README's examples run as they stand."""

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

README = Path(__file__).parents[2] / "README.md"


def blocks():
    """Fenced blocks by the file name in their first line."""
    found = re.findall(r"```\w+\n# (\S+)\n(.*?)```", README.read_text(), flags=re.DOTALL)
    return dict(found)


@pytest.fixture
def folder(tmp_path):
    for name, text in blocks().items():
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text(text)
    return tmp_path


def python(folder, *arguments):
    environment = os.environ | {"PYTHONPATH": str(README.parent), "OMP_NUM_THREADS": "1"}
    done = subprocess.run(
        [sys.executable, *arguments], cwd=folder, env=environment, capture_output=True, text=True, timeout=280
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def test_there_is_an_example_of_each_kind():
    names = {"my_methods/sign.py", "my_conf/method/advantage/sign.yaml", "train.py", "notebook.py"}
    assert names == blocks().keys()


def test_a_users_own_method_runs_from_outside_the_repository(folder):
    python(
        folder, "-m", "harness", "--config-dir", "my_conf", "method/advantage=sign", "trainer.steps=1",
        "trainer.prompts_per_step=3", "trainer.completions_per_prompt=4", "evaluation.curve_problems=1",
        "evaluation.test_problems=1", "evaluation.validation_problems=1", "evaluation.temperatures=[1.0]",
    )  # fmt: skip
    (status,) = (folder / "results" / "default").glob("*advantage-sign*/seed-0/STATUS")
    assert status.read_text() == "done\n"


def test_the_trl_script_trains(folder):
    python(folder, "train.py")


def test_the_notebook_example_prints_a_credit_map(folder):
    # By hand: s = -0.7/3, -1.5/2; w_01 = sigmoid((s_0 - s_1)/0.1) = sigmoid(5.1667) = 0.994330, Z = 1
    out = python(folder, "notebook.py")
    assert "0.9943" in out and "-0.0057" in out

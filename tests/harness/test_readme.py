"""The examples of the README and of docs/ run as they stand."""

import json
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
PAGES = ("README.md", "docs/extend.md")
SHORT = [
    "trainer.steps=1", "trainer.prompts_per_step=3", "trainer.completions_per_prompt=4",
    "evaluation.curve_problems=1", "evaluation.test_problems=1", "evaluation.validation_problems=1",
    "evaluation.temperatures=[1.0]",
]  # fmt: skip


def blocks(page):
    """Fenced blocks by the file name in their first line."""
    found = re.findall(r"```\w+\n# (\S+)\n(.*?)```", (ROOT / page).read_text(), flags=re.DOTALL)
    return dict(found)


@pytest.fixture
def folder(tmp_path):
    for name, text in [block for page in PAGES for block in blocks(page).items()]:
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text(text)
    return tmp_path


def python(folder, *arguments):
    environment = os.environ | {"PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1"}
    done = subprocess.run(
        [sys.executable, *arguments], cwd=folder, env=environment, capture_output=True, text=True, timeout=280
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def test_there_is_an_example_of_each_kind():
    names = {"my_methods/sign.py", "my_conf/method/advantage/sign.yaml", "train.py", "notebook.py"}
    assert names == blocks("README.md").keys()
    own = {"brevity.py", "brevity.yaml", "sums.py", "sums.yaml"}
    assert own == {Path(name).name for name in blocks("docs/extend.md")}


def test_a_users_own_method_runs_from_outside_the_repository(folder):
    python(folder, "-m", "harness", "--config-dir", "my_conf", "method/advantage=sign", *SHORT)
    (status,) = (folder / "results" / "default").glob("*advantage-sign*/seed-0/STATUS")
    assert status.read_text() == "done\n"


def test_a_users_own_reward_and_data_set_run_together(folder):
    python(
        folder, "-m", "harness", "--config-dir", "my_conf", "method=lampo", "method/shaping=brevity",
        "method.shaping.cost=0.002", "suite=sums", *SHORT,
    )  # fmt: skip
    (run,) = (folder / "results" / "default").glob("lampo*/seed-0")
    assert (run / "STATUS").read_text() == "done\n"
    (line,) = [json.loads(line) for line in (run / "metrics.jsonl").read_text().splitlines()]
    assert line["lampo/shaping_mean"] == pytest.approx(-0.002 * line["length_mean"])
    domains = {json.loads(line)["domain"] for line in (run / "evals.jsonl").read_text().splitlines()}
    assert domains == {"all", "sums"}


def test_the_trl_script_trains(folder):
    python(folder, "train.py")


def test_the_notebook_example_prints_a_credit_map(folder):
    # By hand: s = -0.7/3, -1.5/2; w_01 = sigmoid((s_0 - s_1)/0.1) = sigmoid(5.1667) = 0.994330, Z = 1
    out = python(folder, "notebook.py")
    assert "0.9943" in out and "-0.0057" in out

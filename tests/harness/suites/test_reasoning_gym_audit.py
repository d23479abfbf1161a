import json
import os
import subprocess
import sys
from importlib.util import find_spec

import pytest

pytestmark = [
    pytest.mark.skipif(find_spec("reasoning_gym") is None, reason="reasoning-gym is not installed"),
    pytest.mark.filterwarnings("ignore:loadtxt"),  # of a scorer that is shown text without numbers
]

from harness.suites import reasoning_gym as room  # noqa: E402
from harness.suites.reasoning_gym import EXACT, REFUSED, SHAPES, audit  # noqa: E402


def test_the_tables_name_tasks_once():
    known = set(room._catalogue())
    assert set(REFUSED) | set(EXACT) | set(SHAPES) | set(audit.SEVERAL) <= known
    assert not set(REFUSED) & (set(EXACT) | set(SHAPES) | set(audit.SEVERAL)) and not set(EXACT) & set(SHAPES)


TAKEN = ["gcd", "basic_arithmetic", "letter_jumble", "gsm_symbolic", "countdown", "n_queens", "mini_sudoku", "survo",
         "game_of_life", "syllogism", "tower_of_hanoi", "prime_factorization", "spell_backward", "maze"]  # fmt: skip
SHOWN = {"coin_flip": "any text right", "number_sorting": "altered answer right", "puzzle24": "evaluates with sympy",
         "pool_matrix": "altered answer right", "rush_hour": "no answer", "boxnet": "no answer",
         "decimal_arithmetic": "altered answer right", "time_intervals": "two answers right"}  # fmt: skip


@pytest.mark.parametrize("task", TAKEN)
def test_a_task_that_is_taken_shows_no_defect(task):
    from harness.suites.reasoning_gym.__main__ import examine

    assert examine(task, None) == {}


@pytest.mark.parametrize(("task", "defect"), SHOWN.items())
def test_a_refused_task_shows_its_defect(task, defect):
    from harness.suites.reasoning_gym.__main__ import examine

    assert task in REFUSED and defect in examine(task, None)


def test_zero_is_right_for_every_probability_in_coin_flip():
    make, config = room._catalogue()["coin_flip"]
    assert make(config(seed=1)).score_answer("0", {"answer": "0.171875"}) == 1.0


def test_problems_are_the_same_in_another_process():
    def made(hash_seed):
        command = [
            sys.executable,
            "-m",
            "harness.suites.reasoning_gym",
            "--digests",
            "gcd",
            "syllogism",
            "ransom_note",
        ]
        run = subprocess.run(
            command,
            env={**os.environ, "PYTHONHASHSEED": hash_seed},
            capture_output=True,
            text=True,
            check=True,
        )
        return json.loads(run.stdout)

    one, other = made("1"), made("2")
    assert [task for task in one if one[task] != other[task]] == ["ransom_note"]

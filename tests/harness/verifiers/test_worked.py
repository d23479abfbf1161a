import pytest

from harness.verifiers.worked import final_answer, work_holds


@pytest.mark.parametrize(
    ("line", "answer"),
    [
        ("3+8=11", "11"), ("3+8=011", "11"), ("2-9=-7", "-7"), ("14-6=8b", "b"), ("=5", "5"),
        ("3+8=", None), ("11", None), ("3+8=1 1", None), ("", None), ("3+8=11bb", None), ("1=2=3", None),
    ],
)  # fmt: skip
def test_final_answer(line, answer):
    assert final_answer(line) == answer


@pytest.mark.parametrize(
    ("line", "holds"),
    [
        ("3+8=11", True),
        ("3+8=12", False),
        ("14-6=8b", True),
        ("=5", False),
        ("x+5=5", True),
        ("3+=5", False),
        ("", False),
    ],
)
def test_work_holds(line, holds):
    assert work_holds(line) is holds

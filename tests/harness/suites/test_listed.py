import math
from itertools import islice

import pytest

from harness.suites import ListSuite, Problem, Verdict


def verify(problem, completion):
    return Verdict(float(completion == problem.data), completion == problem.data, completion)


def suite(count=200, domains=("a", "b")):
    problems = [Problem(f"{d}{i}", d, data=str(i)) for i in range(count) for d in domains]
    return ListSuite("mine", problems, verify)


def drawn(whole, size, seed):
    return list(islice(whole.training(seed), size))


def test_splits_are_disjoint_and_cover_everything():
    whole = suite()
    sizes = {split: len(whole._of("a", split, 0)) for split in ("train", "validation", "curve", "test")}
    assert sum(sizes.values()) == 200 and sizes["train"] > sizes["test"] > 0
    train = {p.hash for p in drawn(whole, 1000, 0)}
    for split in ("validation", "curve", "test"):
        assert train.isdisjoint(p.hash for p in whole.evaluation(split, 10))


def test_training_takes_domains_in_turn_and_each_problem_once_a_lap():
    whole = suite()
    count = len(whole._of("a", "train", 0))
    problems = drawn(whole, 4 * count, 3)
    assert [p.domain for p in problems[:4]] == ["a", "b", "a", "b"]
    laps = [problems[0 : 2 * count : 2], problems[2 * count :: 2]]
    assert all(len({p.hash for p in lap}) == count for lap in laps) and laps[0] != laps[1]
    assert problems == drawn(suite(), 4 * count, 3) != drawn(whole, 4 * count, 4)


def test_a_longer_run_begins_like_a_shorter_one():
    assert drawn(suite(), 500, 0)[:100] == drawn(suite(), 100, 0)


def test_a_judge_that_raises_has_failed_and_the_others_count():
    broken = ListSuite("mine", suite().problems, lambda p, text: verify(p, text) if text else 1 / 0)
    right, failed, wrong = broken.judge(broken.problems[:3], ["0", "", "x"])
    assert (right.correct, wrong.correct) == (True, False)
    assert failed.error == "ZeroDivisionError: division by zero" and math.isnan(failed.reward)


def test_mistakes_are_named():
    with pytest.raises(ValueError, match="suite mine: a problem comes twice: 'x'"):
        ListSuite("mine", [Problem("x", "a"), Problem("x", "a")], verify)
    with pytest.raises(ValueError, match="suite mine: there are no problems"):
        ListSuite("mine", [], verify)
    with pytest.raises(ValueError, match=r"domain a: the test split has \d problems, 50 are.*evaluation.test_problems"):
        suite(10).evaluation("test", 50)

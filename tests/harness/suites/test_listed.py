import pytest

from harness.suites import ListSuite, Problem, Verdict


def verify(problem, completion):
    return Verdict(float(completion == problem.data), completion == problem.data, completion)


def suite(count=200, domains=("a", "b")):
    problems = [Problem(f"{d}{i}", d, data=str(i)) for i in range(count) for d in domains]
    return ListSuite("mine", problems, verify)


def test_splits_are_disjoint_and_cover_everything():
    whole = suite()
    sizes = {split: len(whole._of("a", split, 0)) for split in ("train", "validation", "curve", "test")}
    assert sum(sizes.values()) == 200 and sizes["train"] > sizes["test"] > 0
    train = {p.hash for p in whole.training(1000, seed=0)}
    for split in ("validation", "curve", "test"):
        assert train.isdisjoint(p.hash for p in whole.evaluation(split, 10))


def test_training_takes_domains_in_turn_and_each_problem_once_a_lap():
    whole = suite()
    count = len(whole._of("a", "train", 0))
    problems = whole.training(4 * count, seed=3)
    assert [p.domain for p in problems[:4]] == ["a", "b", "a", "b"]
    laps = [problems[0 : 2 * count : 2], problems[2 * count :: 2]]
    assert all(len({p.hash for p in lap}) == count for lap in laps) and laps[0] != laps[1]
    assert problems == suite().training(4 * count, seed=3) != whole.training(4 * count, seed=4)


def test_a_longer_run_begins_like_a_shorter_one():
    assert suite().training(500, 0)[:100] == suite().training(100, 0)


def test_mistakes_are_named():
    with pytest.raises(ValueError, match="suite mine: a problem comes twice: 'x'"):
        ListSuite("mine", [Problem("x", "a"), Problem("x", "a")], verify)
    with pytest.raises(ValueError, match="suite mine: there are no problems"):
        ListSuite("mine", [], verify)
    with pytest.raises(ValueError, match=r"domain a: the test split has \d problems, 50 are.*evaluation.test_problems"):
        suite(10).evaluation("test", 50)

from collections import Counter
from itertools import islice

import pytest

from harness.suites import ListSuite, Problem, Verdict
from harness.suites.mix import Mix


def suite(name, numbers):
    problems = [Problem(f"{name}: {n}?", "own", data=f"{name}{n}", question=f"{n}?") for n in numbers]
    return ListSuite(name, problems, lambda p, text: Verdict(1.0, p.data == text, text))


def drawn(mix, size, seed=0):
    return list(islice(mix.training(seed), size))


def test_training_keeps_the_shares_at_every_moment():
    mix = Mix("m", {"a": suite("a", range(100)), "b": suite("b", range(100, 200))}, {"t": suite("t", range(200, 300))},
              {"a": 3})  # fmt: skip
    domains = [p.domain for p in drawn(mix, 80)]
    for end in range(1, 81):
        assert abs(domains[:end].count("a") - 0.75 * end) <= 1
    assert Counter(domains) == {"a": 60, "b": 20}
    assert drawn(mix, 20) == drawn(mix, 20) != drawn(mix, 20, seed=1)


def test_a_training_problem_that_any_test_suite_asks_is_left_out_and_counted():
    mix = Mix(
        "m", {"a": suite("a", range(100))}, {"s": suite("s", range(50, 80)), "t": suite("t", range(70, 100))}
    )
    tested = {p.question for p in mix.evaluation("test", 3)}
    asked = {p.question for p in drawn(mix, 150)}
    assert tested and asked.isdisjoint(
        p.question for s in mix.test.values() for p in s.problems if in_test(p)
    )
    assert mix.facts()["left_out"]["train: also a test problem"] > 0


def in_test(problem):
    return int(problem.hash, 16) % 100 < 25


def test_every_suite_is_a_domain_and_judges_its_own():
    mix = Mix(
        "m",
        {"a": suite("a", range(100)), "b": suite("b", range(100, 200))},
        {"a": suite("z", range(200, 300))},
    )
    problems = [*mix.evaluation("test", 2), *mix.evaluation("curve", 2)]
    assert [p.domain for p in problems] == ["a", "a", "a", "a", "b", "b"]
    own = [p.data[2].data for p in problems]
    assert own[0].startswith("z") and own[2].startswith("a") and own[4].startswith("b")
    assert [v.correct for v in mix.judge(problems, own)] == [True] * 6
    assert [v.answer for v in mix.judge(problems[::-1], own[::-1])] == own[::-1]
    assert not any(v.correct for v in mix.judge(problems, own[1:] + own[:1]))


def test_what_cannot_work_is_refused_with_what_to_do():
    one, other = {"a": suite("a", range(100))}, {"t": suite("t", range(100))}
    with pytest.raises(ValueError, match=r"nothing to train on: add \+suite@suite.train.gsm8k=gsm8k"):
        Mix("m", {}, other)
    with pytest.raises(ValueError, match="nothing to test on"):
        Mix("m", one, {})
    with pytest.raises(ValueError, match="suite.weights.b: there is no suite.train.b; a are"):
        Mix("m", one, other, {"b": 1})
    with pytest.raises(ValueError, match="suite.weights.a=0 must be a number above zero"):
        Mix("m", one, other, {"a": 0})

from itertools import islice
from random import Random

import pytest

from harness.suites.micro import DOMAINS, MicroSuite, alphabet, demonstration, make_problem
from harness.suites.micro.items import Item
from harness.suites.problem import Problem


def drawn(suite, size, seed):
    return list(islice(suite.training(seed), size))


FOUR = (
    Item("precedence", "3+4*2", "3+8=11", "7*2=14"),
    Item("chain", "9-3-2", "6-2=4", "9-1=8"),
)
PROBLEM = Problem("3+4*2;9-3-2?", "math", data=FOUR)


@pytest.mark.parametrize(
    ("completion", "correct", "decisive"),
    [
        # both right: +1 where each line leaves the misconception's, at its first character
        ("3+8=11;6-2=4", True, ((0, +1), (7, +1))),
        # a misconception in the second line
        ("3+8=11;9-1=8", False, ((0, +1), (7, -1))),
        # a slip in the result of the first
        ("3+8=12;6-2=4", False, ((5, -1), (7, +1))),
        # stopped after the first line: the end is where it went wrong
        ("3+8=11", False, ((0, +1), (6, -1))),
        ("", False, ((0, -1),)),
        # went on after the last answer
        ("3+8=11;6-2=4;1", False, ((0, +1), (7, +1), (12, -1))),
        # right by another road: right, but nothing decisive was seen
        ("5+6=11;6-2=4", True, ((7, +1),)),
    ],
)
def test_verdicts_and_decisive_characters(completion, correct, decisive):
    verdict = MicroSuite(horizon=2).verify(PROBLEM, completion)
    assert verdict.correct is correct
    assert verdict.reward == float(correct)
    assert verdict.decisive == decisive


def test_an_answer_that_goes_on_is_another_answer():
    verify = MicroSuite(horizon=2).verify
    assert verify(PROBLEM, "3+8=11;6-2=4").answer == "11;4"
    assert verify(PROBLEM, "3+8=11;6-2=4;1").answer == "11;4;1"


def test_graded_reward_tells_right_steps_from_lucky_answers():
    suite = MicroSuite(horizon=2, reward="share")
    assert suite.verify(PROBLEM, "3+8=11;6-2=4").reward == 1.0
    assert suite.verify(PROBLEM, "5+6=11;6-2=4").reward == 0.75
    assert suite.verify(PROBLEM, "3+8=11;9-1=8").reward == 0.5
    assert suite.verify(PROBLEM, "3+8=12;6-2=4").reward == 0.5  # its work does not hold
    assert suite.verify(PROBLEM, "3+8=11;6-2=4;0=0").reward == pytest.approx(2 / 3)


@pytest.mark.parametrize("domain", DOMAINS)
@pytest.mark.parametrize("level", [1, 2])
def test_references_are_right_and_misconceptions_wrong(domain, level):
    suite = MicroSuite(domains=[domain], horizon=1, level=level)
    kinds = set()
    for problem in drawn(suite, 200, 1):
        (item,) = problem.data
        kinds.add(item.kind)
        right, wrong = suite.verify(problem, item.right), suite.verify(problem, item.wrong)
        assert (right.correct, wrong.correct) == (True, False)
        assert right.decisive == ((item.branch, +1),)
        assert wrong.decisive == ((item.branch, -1),)
        assert set(problem.prompt + item.right + item.wrong) <= set(alphabet())
    assert kinds == set(DOMAINS[domain].KINDS)


def test_science_uses_real_values():
    from harness.suites.micro.science import _tables

    number, mass, isotopes, ice = _tables()
    assert (number["Na"], mass["Na"], mass["C"], mass["F"], ice) == (11, 23, 12, 19, 273)
    assert isotopes["C"] == (12, 13)


@pytest.mark.parametrize("horizon", [1, 4])
def test_splits_are_disjoint_and_training_never_meets_them(horizon):
    suite = MicroSuite(horizon=horizon)
    held_out = {
        split: {p.hash for p in suite.evaluation(split, 40)} for split in ("test", "validation", "curve")
    }
    training = {p.hash for p in drawn(suite, 1500, 0)}
    for split, hashes in held_out.items():
        assert len(hashes) == 120
        assert not hashes & training
        for other, others in held_out.items():
            assert split == other or not hashes & others


def test_held_out_problems_do_not_depend_on_the_training_seed_and_training_does():
    suite = MicroSuite()
    assert suite.evaluation("test", 10) == MicroSuite().evaluation("test", 10)
    assert drawn(suite, 32, 0) == drawn(suite, 32, 0)
    assert drawn(suite, 32, 0) == drawn(suite, 64, 0)[:32]
    assert drawn(suite, 32, 0) != drawn(suite, 32, 1)
    assert [p.domain for p in drawn(suite, 6, 0)] == ["math", "code", "science"] * 2


def test_no_problem_comes_twice_while_there_are_others():
    problems = drawn(MicroSuite(), 3000, 0)
    assert len({p.hash for p in problems}) == len(problems)


def test_more_held_out_problems_than_there_are_is_an_error():
    with pytest.raises(ValueError, match=r"evaluation.test_problems=5000: there are fewer"):
        MicroSuite(domains=["science"], horizon=1).evaluation("test", 5000)


@pytest.mark.parametrize(
    ("option", "message"),
    [
        ({"domains": ["maths"]}, "maths.*choose from math, code, science"),
        ({"domains": []}, "choose from"),
        ({"horizon": 0}, "at least 1"),
        ({"level": 3}, "1 or 2"),
        ({"reward": "none"}, "'all' or 'share'"),
    ],
)
def test_bad_options_say_what_to_choose(option, message):
    with pytest.raises(ValueError, match=message):
        MicroSuite(**option)


def test_demonstrations_err_as_often_as_they_should():
    rng = Random(0)
    right = {kind: [] for domain in DOMAINS.values() for kind in domain.KINDS}
    suite = MicroSuite(horizon=1)
    for domain, module in DOMAINS.items():
        for _ in range(1200):
            problem = make_problem(domain, 1, 1, rng)
            verdict = suite.verify(problem, demonstration(problem, rng, slip=0.0))
            right[problem.data[0].kind].append(verdict.correct)
        for kind, spec in module.KINDS.items():
            assert sum(right[kind]) / len(right[kind]) == pytest.approx(1 - spec.misconception, abs=0.12)


def test_slips_change_one_number_only():
    problem = PROBLEM
    slipped = {demonstration(problem, Random(i), slip=1.0) for i in range(50)}
    lines = {line for text in slipped for line in text.split(";")}
    assert lines <= {
        *(f"3+8={n}" for n in (9, 10, 12, 13)), *(f"7*2={n}" for n in (12, 13, 15, 16)),
        *(f"6-2={n}" for n in (2, 3, 5, 6)), *(f"9-1={n}" for n in (6, 7, 9, 10)),
    }  # fmt: skip

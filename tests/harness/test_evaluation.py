import math

import pytest

from harness.evaluation import (
    EVALUATION_STEP,
    Sample,
    TooManyVerifierErrors,
    check_error_share,
    majority,
    pass_at_k,
    sample_problems,
    scores,
)
from harness.rollouts import Key, RolloutEngine
from harness.suites import Problem, Verdict
from harness.suites.micro import MicroSuite


def test_pass_at_k_by_hand():
    # n=4, c=1: of the C(4,2)=6 pairs, C(3,2)=3 hold no right one
    assert pass_at_k(4, 1, 1) == pytest.approx(1 / 4)
    assert pass_at_k(4, 1, 2) == pytest.approx(1 - 3 / 6)
    assert pass_at_k(4, 1, 4) == 1.0
    assert pass_at_k(5, 2, 3) == pytest.approx(1 - 1 / 10)
    assert pass_at_k(8, 0, 8) == 0.0
    with pytest.raises(ValueError, match="pass@5 needs at least 5 samples, there are 4"):
        pass_at_k(4, 1, 5)


def verdict(answer, correct):
    return Verdict(reward=float(correct), correct=correct, answer=answer)


def test_majority_by_hand():
    assert majority([verdict("7", False), verdict("8", True), verdict("8", True)]) == 1.0
    assert majority([verdict("7", False), verdict("7", False), verdict("8", True)]) == 0.0
    assert majority([verdict("7", False), verdict("8", True)]) == 0.5  # a tie of a wrong and a right answer


def test_one_answer_with_two_verdicts_is_an_error():
    with pytest.raises(ValueError, match="one answer was judged right"):
        majority([verdict("8", True), verdict("8", False)])


def judged(domain, prompt, outcomes, tokens=3):
    problem = Problem(prompt, domain)
    verdicts = [Verdict.failure("boom") if o is None else verdict(str(o), o) for o in outcomes]
    return [Sample(problem, i, "", v, tokens) for i, v in enumerate(verdicts)]


def test_scores_by_hand():
    samples = [
        *judged("math", "a", [True, False, False, False]),
        *judged("math", "b", [True, True, True, False]),
        *judged("code", "c", [False, False, False, False]),
    ]
    result = scores(samples)
    assert result["math"]["avg"] == pytest.approx((1 / 4 + 3 / 4) / 2)
    assert result["math"]["pass"] == pytest.approx({"1": 0.5, "2": (0.5 + 1.0) / 2, "4": 1.0})
    assert result["math"]["maj"] == pytest.approx((0 + 1) / 2)
    assert result["code"]["avg"] == 0.0
    assert result["all"]["avg"] == pytest.approx((0.5 + 0.0) / 2)  # domains count alike, not problems
    assert result["all"]["problems"] == 3
    assert result["all"]["samples"] == 4


def test_a_verifier_error_is_not_a_wrong_answer():
    result = scores(judged("math", "a", [True, None, True, None]))
    assert result["math"]["avg"] == 1.0
    assert result["math"]["errors"] == 2
    nothing = scores(judged("math", "a", [None, None]))
    assert math.isnan(nothing["math"]["avg"])


def test_a_completion_that_answers_nothing_has_no_vote():
    silent = [verdict(None, False)] * 3
    assert majority([*silent, verdict("1", True), verdict("1", True), verdict("2", False)]) == 1.0
    assert majority(silent) == 0.0


def test_too_many_errors_fail_with_the_cause():
    good, bad = verdict("1", True), Verdict.failure("time-out of 5 s")
    check_error_share([good] * 9 + [bad])
    with pytest.raises(
        TooManyVerifierErrors, match="failed on 2 of 10 completions, 2 times with: time-out of 5 s"
    ):
        check_error_share([good] * 8 + [bad] * 2)


def test_sampling_covers_every_problem_with_noise_of_its_own(policy):
    suite = MicroSuite(horizon=1)
    engine = RolloutEngine(policy.model, policy.tokenizer, seed=5)
    problems = suite.evaluation("test", 2)
    samples = sample_problems(engine, policy, suite, problems, samples=3, temperature=1.0, max_tokens=8, seed=9)
    assert [(s.problem, s.sample) for s in samples] == [(p, i) for p in problems for i in range(3)]
    first = problems[0]
    alone = engine.generate(
        policy.tokenizer([first.prompt])["input_ids"],
        [Key(first.hash, 1, EVALUATION_STEP)],
        max_tokens=8,
        seed=9,
    )
    assert alone.texts(policy.tokenizer)[0] == samples[1].text
    assert alone.tokens == samples[1].tokens

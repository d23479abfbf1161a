import numpy as np
import pytest

from harness.diagnose.truth import true_credit
from harness.rollouts import Key, RolloutEngine

from .bigram import ASK, EOS, LIMIT, TOKENIZER, A, B, Bigram, X, Y, exact, judge

COMPLETIONS = [[A, X, EOS], [B, X, X, EOS], [A, Y, EOS], [B, Y, EOS]]


@pytest.fixture
def engine():
    return RolloutEngine(Bigram(), TOKENIZER, seed=0)


def credit(engine, completions=COMPLETIONS, worlds=64, problem="p", judge=judge):
    rewards = judge(completions)
    return true_credit(
        engine, [ASK], completions, rewards, judge, problem=problem, worlds=worlds, max_tokens=LIMIT
    )


def test_the_planted_case_within_its_stated_error(engine):
    """Δ of a right turn into A is 0.9 − 0.41, of X after A 0.1, of what follows X nothing; over 100 prompts."""
    assert exact([A, X, EOS]) == pytest.approx([0.49, 0.1, 0.0])
    assert exact([B, Y, EOS]) == pytest.approx([-0.21, -0.2, 0.0])
    errors, stated = [], []
    for number in range(100):
        for ids, truth in zip(COMPLETIONS, credit(engine, problem=str(number)), strict=True):
            errors.append(truth.deltas - exact(ids))
            stated.append(truth.errors)
    for place in range(2):  # a decision each: branch, then outcome
        z = np.array([error[place] / own[place] for error, own in zip(errors, stated, strict=True)])
        assert abs(z.mean()) < 4 / np.sqrt(len(z)), "biased"
        assert np.mean(np.abs(z) < 1.96) > 0.92, "larger than its stated error"
        assert 0.6 < z.std() < 1.1, "the stated error is not the error's size"


def test_values_telescope_to_the_reward(engine):
    for ids, truth in zip(COMPLETIONS, credit(engine), strict=True):
        assert truth.values.shape == (2, len(ids) + 1)
        assert truth.values[:, -1].tolist() == [float(X in ids)] * 2
        assert truth.halves.sum(axis=1) == pytest.approx(float(X in ids) - truth.values[:, 0])


def test_one_prefix_has_one_value(engine):
    first, second, third, fourth = credit(engine)
    assert np.array_equal(first.values[:, :2], third.values[:, :2])  # the prompt, and A
    assert np.array_equal(second.values[:, :2], fourth.values[:, :2])
    assert np.array_equal(first.values[:, 0], second.values[:, 0])


def test_only_worlds_that_leave_are_sampled_and_shared_prefixes_once(engine):
    (alone,) = credit(engine, [[A, X, EOS]], worlds=200)
    # of 200 worlds 0.7 leave at the branch, 0.1 after A, 0.25 after X: 210 ± 12 in the mean
    assert alone.continuations == 600 and 160 < alone.sampled < 260
    again = credit(engine, [[A, X, EOS], [A, X, EOS]], worlds=200)
    assert [own.sampled for own in again] == [alone.sampled, 0]


def test_coupled_and_plain_continuations_have_the_same_mean(engine):
    """V̂ of the prompt against continuations of the prompt without any completion."""
    plain = engine.generate([[ASK]] * 4000, [Key("q", k, 0) for k in range(4000)], max_tokens=LIMIT)
    own = np.mean([credit(engine, problem=str(n), worlds=200)[0].values[:, 0].mean() for n in range(20)])
    assert own == pytest.approx(0.41, abs=0.03) and np.mean(judge(plain.ids())) == pytest.approx(0.41, abs=0.03)


def test_a_stream_goes_on_where_its_prefix_ends(engine):
    whole = engine.generate([[ASK]], [Key("p", 3, 0)], max_tokens=LIMIT).ids()[0]
    rest = engine.generate([[ASK, *whole[:1]]], [Key("p", 3, 0, first=1)], max_tokens=LIMIT - 1).ids()[0]
    assert whole[:1] + rest == whole


def test_a_verdict_that_failed_has_no_vote(engine):
    def shaky(completions):
        return [np.nan if ids[0] == B and len(ids) == 4 else float(X in ids) for ids in completions]

    (truth,) = credit(engine, [[A, X, EOS]], judge=shaky)
    assert np.isfinite(truth.values).all() and np.isfinite(truth.errors).all()


def test_what_is_refused(engine):
    with pytest.raises(ValueError, match="continuations=3: expected an even number"):
        credit(engine, worlds=3)
    with pytest.raises(ValueError, match="a completion of 0 tokens, expected 1 to 6"):
        credit(engine, [[]])
    with pytest.raises(ValueError, match="without a verdict"):
        true_credit(engine, [ASK], [[A, Y, EOS]], [np.nan], judge, problem="p", worlds=2, max_tokens=LIMIT)


def test_no_continuation_is_longer_than_a_completion_may_be(engine):
    lengths = []

    def measured(completions):
        lengths.extend(map(len, completions))
        return judge(completions)

    true_credit(engine, [ASK], [[A, X]], [1.0], measured, problem="p", worlds=64, max_tokens=3)
    assert max(lengths) == 3

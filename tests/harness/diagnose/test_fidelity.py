import numpy as np
import pytest

from harness.diagnose.fidelity import MEASURES, Scored, fidelity, measures, prompt_sums, thresholds
from harness.diagnose.truth import true_credit
from harness.rollouts import Key, RolloutEngine

from .bigram import ASK, LIMIT, TOKENIZER, Bigram, exact, judge


def scored(*halves, marks=None, right=True):
    halves = np.array(halves if len(halves) == 2 else halves * 2, dtype=float)
    return Scored(halves, np.zeros(halves.shape[1], dtype=int) if marks is None else np.array(marks), right)


def measured(completion, credit):
    sums = prompt_sums([[completion]], [[np.array(credit, dtype=float)]])
    return dict(zip(MEASURES, measures(sums[0]), strict=True))


def test_cosines_by_hand():
    # Δ = 3, 0, 0: mean 1, within 2, -1, -1 (square 6), between 3·1 = 3; C = 1, 0, 2: mean 1, within 0, -1, 1 (square 2)
    found = measured(scored([3, 0, 0]), [1, 0, 2])
    assert found["cosine_within"] == pytest.approx((0 + 1 - 1) / np.sqrt(2 * 6))
    assert found["cosine_between"] == pytest.approx(3 / np.sqrt(3 * 3))
    # C = 2, 1, 0: within 1, 0, -1
    assert measured(scored([3, 0, 0]), [2, 1, 0])["cosine_within"] == pytest.approx((2 + 1) / np.sqrt(2 * 6))


def test_noise_of_the_truth_is_taken_out_of_its_length():
    # halves (2, 0, 0, -2) and (2, 0, -2, 0): mean (2, 0, -1, -1), square 6; ⟨a, b⟩ = 4, the true length is 2
    found = measured(scored([2, 0, 0, -2], [2, 0, -2, 0]), [1, 0, -1, 0])
    assert found["cosine_within"] == pytest.approx((2 + 1) / (np.sqrt(2) * 2))
    # halves that disagree have no length, and nothing can be said
    assert np.isnan(measured(scored([1, -1], [-1, 1]), [1, 0])["cosine_within"])


def test_uniform_credit_has_nothing_within():
    found = measured(scored([3, 0, 0], marks=[1, 0, 0]), [0.1, 0.1, 0.1])
    assert (found["cosine_within"], found["spearman_within"]) == (0, 0)
    assert (found["auc_decisive"], found["auc_planted"]) == (0.5, 0.5)
    assert found["cosine_between"] == pytest.approx(1)
    assert found["effective_tokens"] == pytest.approx(1) and found["share_planted"] == pytest.approx(1 / 3)


def test_no_credit_at_all():
    found = measured(scored([3, 0, 0], marks=[1, 0, 0]), [0, 0, 0])
    assert (found["cosine_within"], found["cosine_between"]) == (0, 0)
    assert (found["sign_decisive"], found["sign_planted"]) == (0.5, 0.5)
    assert np.isnan([found["share_decisive"], found["effective_tokens"]]).all()


def test_ranks_by_hand():
    # ranks of C 1 2 3, of Δ 3 1 2: ρ = 1 - 6·(4 + 1 + 1)/(3·8) = -1/2; halves alike, reliability 1
    assert measured(scored([0.9, 0.1, 0.2]), [1, 2, 3])["spearman_within"] == pytest.approx(-0.5)
    # halves 1 2 3 and 1 3 2: r = 1/2, Spearman-Brown 2/3; Δ̂ = 1, 2.5, 2.5 against C = 1, 2, 3: ρ = √3/2
    found = measured(scored([1, 2, 3], [1, 3, 2]), [1, 2, 3])
    assert found["spearman_within"] == pytest.approx(np.sqrt(3) / 2 / np.sqrt(2 / 3))


def test_decisive_tokens_by_hand():
    # twenty tokens, so two are in the top tenth of each half: 0 and 1 by a, 0 and 2 by b, token 0 by both
    a, b = np.zeros(20), np.zeros(20)
    a[[0, 1, 2]], b[[0, 1, 2]] = [-0.9, 0.8, 0.1], [-0.7, 0.1, 0.9]
    own = scored(a, b)
    assert thresholds([[own]]) == pytest.approx([0.25, 0.25])  # the top tenth begins lower
    # |C| of token 0 exceeds 17 of the others, equals one, is below one
    found = measured(own, [-4, 4, 5, *[2] * 17])
    assert found["auc_decisive"] == pytest.approx((17 + 0.5) / 19)
    assert found["sign_decisive"] == 1 and measured(own, [4, *[1] * 19])["sign_decisive"] == 0
    assert found["share_decisive"] == pytest.approx(4 / (13 + 34))


def test_what_changes_little_is_not_decisive_where_most_changes_nothing():
    a = np.zeros(40)
    a[[0, 1]] = [0.5, 0.1]
    found = measured(scored(a), [1, 3, *[2] * 38])
    # were token 1 decisive too, half of the pairs would be in order
    assert found["auc_decisive"] == 0


def test_the_top_tenth_is_chosen_where_much_is_decisive():
    assert thresholds([[scored(np.linspace(0, 1, 11))]]) == pytest.approx([0.9, 0.9])


def test_the_same_weights_may_fit_one_outcome_and_oppose_the_other():
    right, wrong = scored([0.9, 0, 0]), scored([-0.9, 0, 0], right=False)
    sums = prompt_sums([[right, wrong]], [[np.array([1.0, 2, 2]), np.array([-1.0, -2, -2])]])
    found = dict(zip(MEASURES, measures(sums[0]), strict=True))
    # credit −1, ½, ½ about its mean against Δ 2, −1, −1: opposed in both; with the other sign it agrees
    assert found["cosine_right"] == found["cosine_wrong"] == found["cosine_within"] == pytest.approx(-1)
    sums = prompt_sums([[right, wrong]], [[np.array([2.0, 1, 1]), np.array([-1.0, -2, -2])]])
    found = dict(zip(MEASURES, measures(sums[0]), strict=True))
    assert (found["cosine_right"], found["cosine_wrong"]) == (pytest.approx(1), pytest.approx(-1))
    assert found["cosine_within"] == pytest.approx(0)


def test_halves_of_opposite_sign_decide_nothing():
    a, b = np.zeros(20), np.zeros(20)
    a[0], b[0] = 0.9, -0.9
    assert np.isnan(measured(scored(a, b), np.arange(20))["auc_decisive"])


def test_planted_tokens_by_hand():
    found = measured(scored([1, 0, 0, -1], marks=[1, 0, 0, -1]), [3, 0, 3, 1])
    # token 0: above token 1, equal to 2; token 3: above 1, below 2
    assert found["auc_planted"] == pytest.approx((1 + 0.5 + 1 + 0) / 4)
    assert found["sign_planted"] == 0.5 and found["share_planted"] == pytest.approx(4 / 7)
    assert found["effective_tokens"] == pytest.approx(49 / (4 * 19))


def test_a_prompt_without_a_judged_completion_is_no_hole():
    one = scored([3, 0, 0])
    found = measures(prompt_sums([[one], []], [[np.array([1.0, 0, 2])], []]).sum(axis=0))
    found = dict(zip(MEASURES, found, strict=True))
    assert found["cosine_between"] == pytest.approx(measured(one, [1, 0, 2])["cosine_between"])


def test_rounding_is_no_difference_between_tokens():
    found = measured(scored([3, 0, 0], marks=[1, 0, 0]), [0.1, 0.1 + 1e-17, 0.1 - 1e-16])
    assert (found["cosine_within"], found["spearman_within"], found["auc_planted"]) == (0, 0, 0.5)


def test_shapes_are_checked():
    with pytest.raises(ValueError, match="2 tokens with credit"):
        measured(scored([1, 0, 0]), [1, 0])


@pytest.fixture(scope="module")
def planted():
    """300 prompts of the two-branch task, four completions each; few worlds, so that the truth is noisy."""
    engine = RolloutEngine(Bigram(), TOKENIZER, seed=1)
    prompts, credits = [], {"exact": [], "permuted": [], "uniform": []}
    rng = np.random.default_rng(0)
    for number in range(300):
        keys = [Key(str(number), sample, 0) for sample in range(4)]
        rows = engine.generate([[ASK]] * 4, keys, max_tokens=LIMIT).ids()
        rewards = judge(rows)
        truths = true_credit(
            engine, [ASK], rows, rewards, judge, problem=str(number), worlds=8, max_tokens=LIMIT
        )
        prompts.append([
            Scored(truth.halves, np.zeros(len(ids), int), reward > 0)
            for truth, ids, reward in zip(truths, rows, rewards, strict=True)
        ])
        credits["exact"].append([np.array(exact(ids)) for ids in rows])
        credits["permuted"].append([rng.permutation(exact(ids)) for ids in rows])
        credits["uniform"].append([np.full(len(ids), reward - 0.41) for ids, reward in zip(rows, rewards, strict=True)])
    return prompts, credits


def interval(planted, name, measure):
    prompts, credits = planted
    found = fidelity(prompt_sums(prompts, credits[name]), np.arange(len(prompts)))
    return found.frame(name).set_index("measure").loc[measure]


def test_the_true_credit_scores_one_within_its_error(planted):
    for measure in ("cosine_within", "cosine_between"):
        own = interval(planted, "exact", measure)
        assert own["low"] < 1 < own["high"] and own["high"] - own["low"] < 0.1, measure


def test_permuted_credit_scores_nothing_within_and_all_between(planted):
    for measure in ("cosine_within", "spearman_within"):
        own = interval(planted, "permuted", measure)
        assert own["low"] < 0 < own["high"] and own["high"] - own["low"] < 0.2, measure
    between = interval(planted, "permuted", "cosine_between")
    assert between["low"] < 1 < between["high"]


def test_uniform_credit_agrees_between_completions_only(planted):
    assert interval(planted, "uniform", "cosine_between")["low"] > 0.8
    assert interval(planted, "uniform", "cosine_within")["value"] == 0

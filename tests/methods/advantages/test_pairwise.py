"""LamPO's advantage: constants by hand for G = 3, then the identities."""

import math

import pytest
import torch
from torch.utils._python_dispatch import TorchDispatchMode

from methods import MissingSignal, RolloutBatch
from methods.advantages.leave_one_out import LeaveOneOut
from methods.advantages.pairwise import Pairwise

nan = math.nan

# σ at the six values of Δ_ij/τ below
S1, S1N = 0.7310585786300049, 0.2689414213699951  # σ(±1)
S2, S2N = 0.8807970779778823, 0.11920292202211755  # σ(±2)
S3, S3N = 0.9525741268224334, 0.04742587317756678  # σ(±3)

# s = (-1, -0.5, -2), R = (1, 0, 0.5), τ = 0.5: Δ_01/τ = -1, Δ_02/τ = 2, Δ_12/τ = 3
REWARDS = [1.0, 0.0, 0.5]
LOGPS = torch.tensor([[-1.5, -0.5], [-0.5, nan], [-3.0, -1.0]], dtype=torch.float64)
MASK = [[1, 1], [1, 0], [1, 1]]

# Σ_j w_ij (R_i - R_j), before 1/Z
BY_HAND = {
    "self": [S1N * 1.0 + S2 * 0.5, S1 * -1.0 + S3 * -0.5, S2N * -0.5 + S3N * 0.5],
    "winner": [S1N * 1.0 + S2 * 0.5, S1N * -1.0 + S3N * -0.5, S2 * -0.5 + S3N * 0.5],
    "lambdarank": [S1 * 1.0 + S2N * 0.5, S1 * -1.0 + S3 * -0.5, S2N * -0.5 + S3 * 0.5],
    "constant": [0.5 * 1.5, 0.5 * -1.5, 0.0],
}
SUM_OF_WEIGHTS = {
    "self": [S1N + S2, S1 + S3, S2N + S3N],
    "winner": [S1N + S2, S1N + S3N, S2 + S3N],
    "lambdarank": [S1 + S2N, S1 + S3, S2N + S3],
    "constant": [1.0, 1.0, 1.0],
}


@pytest.fixture
def small(batch_of):
    return batch_of(REWARDS, 3, mask=MASK, logps=LOGPS)


@pytest.fixture
def random_batch(batch_of):
    def make(rewards=None, groups=3, size=6, length=5, seed=0):
        generator = torch.Generator().manual_seed(seed)
        count = groups * size
        rewards = torch.rand(count, generator=generator).double() if rewards is None else rewards
        logps = -2 * torch.rand(count, length, generator=generator, dtype=torch.float64)
        return batch_of(rewards, size, length=length, logps=logps)

    return make


def advantages(batch, **options):
    return Pairwise(**options)(batch).values[:, 0]


@pytest.mark.parametrize("weight", BY_HAND)
def test_weights_by_hand(small, close, weight):
    close(advantages(small, weight=weight, temperature=0.5), [a / 2 for a in BY_HAND[weight]])


@pytest.mark.parametrize("weight", BY_HAND)
@pytest.mark.parametrize("pair_norm", ["peers", "group", "none", "weights"])
def test_pair_norms_by_hand(small, close, weight, pair_norm):
    z = {"peers": [2.0] * 3, "group": [3.0] * 3, "none": [1.0] * 3, "weights": SUM_OF_WEIGHTS[weight]}[
        pair_norm
    ]
    expected = [a / z_i for a, z_i in zip(BY_HAND[weight], z, strict=True)]
    close(advantages(small, weight=weight, temperature=0.5, pair_norm=pair_norm), expected)


def test_center_subtracts_the_group_mean(small, close):
    a = [x / 2 for x in BY_HAND["self"]]
    mean = sum(a) / 3
    close(advantages(small, temperature=0.5, center=True), [x - mean for x in a])


def sigmoid(x):
    return 1 / (1 + math.exp(-x))


def self_by_hand(s, tau):
    """Σ_j σ((s_i-s_j)/τ)(R_i-R_j)/2 for the three rewards of this file, in Python floats."""
    pairs = [[(i, j) for j in range(3) if j != i] for i in range(3)]
    return [
        sum(sigmoid((s[i] - s[j]) / tau) * (REWARDS[i] - REWARDS[j]) for i, j in row) / 2 for row in pairs
    ]


def test_score_sum_adds_the_tokens(small, close):
    close(advantages(small, score="sum", temperature=0.5), self_by_hand([-2.0, -0.5, -4.0], 0.5))


def test_score_zscore_standardises_the_means(small, close):
    # means -1, -0.5, -2: their mean -3.5/3, deviations 1/6, 2/3, -5/6
    # unbiased variance (1 + 16 + 25) / 36 / 2 = 7/12
    s = math.sqrt(7 / 12) + 1e-4
    z = [1 / 6 / s, 2 / 3 / s, -5 / 6 / s]
    close(advantages(small, score="zscore", temperature=0.7), self_by_hand(z, 0.7))


def test_zscore_of_equal_scores_leaves_weights_of_one_half(batch_of, close):
    batch = batch_of(REWARDS, 3, logps=torch.full((3, 2), -0.3, dtype=torch.float64))
    close(advantages(batch, score="zscore"), [0.375, -0.375, 0.0])


def test_unscorable_rows_neither_get_nor_give(batch_of, close):
    # the three rows of the hand example with an unscorable one between, and a group with one valid row
    rewards = [1.0, nan, 0.0, 0.5, 3.0, nan, nan, nan]
    logps = torch.stack([LOGPS[0], torch.tensor([-9.0, 5.0]), LOGPS[1], LOGPS[2], *LOGPS[:1].expand(4, 2)])
    mask = [MASK[0], [1, 1], MASK[1], MASK[2], *[[1, 1]] * 4]
    batch = batch_of(rewards, 4, mask=mask, logps=logps)
    a = BY_HAND["self"]
    close(advantages(batch, temperature=0.5), [a[0] / 2, 0.0, a[1] / 2, a[2] / 2] + [0.0] * 4)
    close(advantages(batch, temperature=0.5, pair_norm="group")[:4], [a[0] / 3, 0.0, a[1] / 3, a[2] / 3])
    s = math.sqrt(7 / 12) + 1e-4
    z = self_by_hand([1 / 6 / s, 2 / 3 / s, -5 / 6 / s], 0.1)
    close(advantages(batch, score="zscore")[:4], [z[0], 0.0, z[1], z[2]])
    mean = sum(a) / 6
    close(
        advantages(batch, temperature=0.5, center=True)[:4],
        [a[0] / 2 - mean, 0.0, a[1] / 2 - mean, a[2] / 2 - mean],
    )


def test_a_completion_without_tokens_has_no_score_and_weighs_one_half(batch_of, close):
    batch = batch_of(REWARDS, 3, mask=[[1, 1], [1, 0], [0, 0]], logps=LOGPS)
    credit = Pairwise(temperature=0.5)(batch)
    expected_0, expected_1 = (S1N * 1.0 + 0.5 * 0.5) / 2, (S1 * -1.0 + 0.5 * -0.5) / 2
    close(credit.values, [[expected_0, expected_0], [expected_1, 0.0], [0.0, 0.0]])


def test_shuffled_permutes_scores_inside_the_group(random_batch, close):
    batch = random_batch(groups=2, size=3)
    plain = batch.logps.mean(1)
    shuffled = advantages(batch, weight="shuffled", temperature=0.5)
    for g in range(2):
        rewards, s = batch.rewards[3 * g : 3 * g + 3].tolist(), plain[3 * g : 3 * g + 3].tolist()
        candidates = []
        for order in [(0, 1, 2), (0, 2, 1), (1, 0, 2), (1, 2, 0), (2, 0, 1), (2, 1, 0)]:
            t = [s[k] for k in order]
            candidates.append(
                [
                    sum(sigmoid((t[i] - t[j]) / 0.5) * (rewards[i] - rewards[j]) for j in range(3)) / 2
                    for i in range(3)
                ]
            )
        gaps = [
            max(abs(a - b) for a, b in zip(c, shuffled[3 * g : 3 * g + 3].tolist(), strict=True))
            for c in candidates
        ]
        assert min(gaps) < 1e-12


def test_shuffled_is_the_same_again_and_leaves_the_global_generator_alone(random_batch):
    batch = random_batch(groups=8)
    state = torch.get_rng_state()
    first = advantages(batch, weight="shuffled")
    assert torch.equal(torch.get_rng_state(), state)
    torch.rand(1)
    assert torch.equal(first, advantages(batch, weight="shuffled"))
    assert not torch.equal(first, advantages(batch, weight="self"))


def test_shuffled_follows_from_the_group_alone(random_batch):
    batch = random_batch(groups=4)
    whole = advantages(batch, weight="shuffled")
    for g in range(4):
        rows = slice(6 * g, 6 * g + 6)
        alone = RolloutBatch.from_tensors(
            batch.completion_ids[rows], batch.mask[rows], batch.rewards[rows], 6, logps=batch.logps[rows]
        )
        assert torch.equal(advantages(alone, weight="shuffled"), whole[rows])


@pytest.mark.parametrize("weight", ["self", "winner", "lambdarank", "constant", "shuffled"])
def test_rows_permute_along(random_batch, close, weight):
    batch, order = random_batch(groups=1), [4, 2, 0, 5, 1, 3]
    moved = RolloutBatch.from_tensors(
        batch.completion_ids[order], batch.mask[order], batch.rewards[order], 6, logps=batch.logps[order]
    )
    close(advantages(moved, weight=weight), advantages(batch, weight=weight)[order])


def test_shuffled_does_not_depend_on_padding(random_batch, batch_of):
    batch = random_batch()
    longer = batch_of(
        batch.rewards,
        6,
        mask=torch.cat([batch.mask, torch.zeros(18, 2).bool()], 1),
        logps=torch.cat([batch.logps, torch.full((18, 2), nan)], 1),
    )
    object.__setattr__(longer, "completion_ids", torch.cat([batch.completion_ids, torch.full((18, 2), 7)], 1))
    assert torch.equal(advantages(batch, weight="shuffled"), advantages(longer, weight="shuffled"))


def test_shuffled_moves_scores_among_scorable_rows_only(batch_of, close):
    # two valid rows: whatever the permutation, the weights are σ(±1), never from the unscorable row's score
    for seed in range(6):
        ids = torch.full((3, 1), seed)
        batch = batch_of([1.0, nan, 0.0], 3, length=1, logps=torch.tensor([[-1.0], [-99.0], [-0.5]]))
        object.__setattr__(batch, "completion_ids", ids)
        a = advantages(batch, weight="shuffled", temperature=0.5, pair_norm="none")
        assert a[1] == 0
        assert min(abs(a[0] - S1), abs(a[0] - S1N)) < 1e-7 and abs(a[0] - a[2] - 1.0) < 1e-7


def test_metrics_are_of_the_pairs_that_carry_credit(small, batch_of, close):
    metrics = Pairwise(temperature=0.5)(small).metrics
    weights = [S1N, S2, S1, S3, S2N, S3N]
    close(metrics["pair_weight_sd"], math.sqrt(sum((w - 0.5) ** 2 for w in weights) / 6))
    assert metrics["pair_weight_saturated"] == 0.0
    # Δ/τ = -10, 20, 30: all beyond 0.01 and 0.99
    assert Pairwise(temperature=0.05)(small).metrics["pair_weight_saturated"] == 1.0
    # at Δ/τ = -5/3, 10/3, 5 only the pair 5 is: σ(5) = .9933, σ(10/3) = .966
    assert Pairwise(temperature=0.3)(small).metrics["pair_weight_saturated"] == pytest.approx(1 / 3)
    equal = batch_of([1.0, 1.0, nan], 3, logps=LOGPS, mask=MASK)
    assert Pairwise()(equal).metrics == {"pair_weight_sd": 0.0, "pair_weight_saturated": 0.0}


# ---------------------------------------------------------------- identities


def test_self_is_half_rloo_plus_a_tanh_term(random_batch, close):
    batch, tau = random_batch(), 0.3
    rloo, s = LeaveOneOut()(batch).values[:, 0], batch.logps.mean(1)
    expected = []
    for i in range(18):
        peers = [j for j in range(18) if j // 6 == i // 6 and j != i]
        tail = sum(
            (batch.rewards[i] - batch.rewards[j]) * math.tanh((s[i] - s[j]) / (2 * tau)) for j in peers
        )
        expected.append(0.5 * rloo[i] + tail / 10)
    close(advantages(batch, temperature=tau), torch.stack(expected))


@pytest.mark.parametrize("weight", ["self", "winner", "lambdarank", "shuffled"])
def test_high_temperature_is_half_rloo(random_batch, close, weight):
    batch = random_batch()
    half_rloo = LeaveOneOut()(batch).values[:, 0] / 2
    close(advantages(batch, weight=weight, temperature=1e9), half_rloo, tolerance=1e-8)
    close(advantages(batch, weight="constant", temperature=1e-3), half_rloo)
    close(
        advantages(batch, weight=weight, temperature=1e9, pair_norm="weights"), 2 * half_rloo, tolerance=1e-8
    )


@pytest.mark.parametrize("weight", ["self", "winner", "lambdarank", "shuffled"])
def test_infinite_temperature_is_rloo_to_the_last_digits(random_batch, close, weight):
    batch = random_batch()
    rloo = LeaveOneOut()(batch).values[:, 0]
    close(advantages(batch, weight=weight, temperature=math.inf, pair_norm="weights"), rloo, tolerance=1e-14)
    close(advantages(batch, weight=weight, temperature=math.inf), rloo / 2, tolerance=1e-14)
    close(advantages(batch, weight="constant", pair_norm="weights"), rloo, tolerance=1e-14)


# s = (-1, -0.5, -2): row 1 beats both, row 0 beats row 2; R = (1, 0, 0.5). Pairs that count, as τ → 0:
# self        where the row itself is ahead: 0 against 2; 1 against 0 and 2
# winner      where the better answer is ahead: 0 against 2 only
# lambdarank  where it is behind: 0 against 1, 2 against 1
COLD = {"self": [0.5, -1.5, 0.0], "winner": [0.5, 0.0, -0.5], "lambdarank": [1.0, -1.5, 0.5]}


@pytest.mark.parametrize("weight", COLD)
def test_low_temperature_counts_a_pair_or_does_not(small, close, weight):
    close(advantages(small, weight=weight, temperature=1e-3), [a / 2 for a in COLD[weight]])


def test_low_temperature_under_its_own_weights_is_the_mean_over_whom_one_beats(small, close):
    # row 0 beats row 2 only, row 1 both; row 2 beats none and is held against the nearest, row 0
    close(advantages(small, temperature=1e-3, pair_norm="weights"), [0.5, -0.75, -0.5])


def test_not_zero_sum_but_by_the_tanh_formula(random_batch, close):
    batch, tau = random_batch(groups=1), 0.2
    r, s = batch.rewards, batch.logps.mean(1)
    expected = sum(
        (r[i] - r[j]) * math.tanh((s[i] - s[j]) / (2 * tau)) for i in range(6) for j in range(i + 1, 6)
    ) / 5  # fmt: skip
    total = advantages(batch, temperature=tau).sum()
    close(total, expected)
    assert abs(total) > 1e-3
    close(advantages(batch, temperature=tau, center=True).sum(), 0.0)


@pytest.mark.parametrize("weight", ["winner", "lambdarank", "constant"])
@pytest.mark.parametrize("pair_norm", ["peers", "group", "none"])
def test_symmetric_weights_are_zero_sum(random_batch, close, weight, pair_norm):
    a = advantages(random_batch(), weight=weight, pair_norm=pair_norm)
    close(a.view(3, 6).sum(1), [0.0] * 3)
    assert a.abs().max() > 0.01


def test_winner_and_lambdarank_weights_add_to_one(random_batch, close):
    batch = random_batch()
    both = sum(advantages(batch, weight=w, pair_norm="none") for w in ("winner", "lambdarank"))
    close(both, 5 * LeaveOneOut()(batch).values[:, 0])


@pytest.mark.parametrize("weight", ["self", "winner", "lambdarank", "shuffled"])
@pytest.mark.parametrize("pair_norm", ["peers", "weights"])
def test_binary_rewards_keep_the_sign_of_the_baseline(random_batch, weight, pair_norm):
    rewards = [1, 0, 0, 1, 1, 0, 0, 0, 0, 0, 0, 1, 1, 1, 1, 1, 1, 1]
    batch = random_batch(rewards=torch.tensor(rewards).double())
    a = advantages(batch, weight=weight, pair_norm=pair_norm)
    assert torch.equal(a.sign(), LeaveOneOut()(batch).values[:, 0].sign())


def test_graded_rewards_can_change_the_sign(batch_of):
    # row 2 is above the mean of its peers (0.5 > 0.45), but confident against the winner only
    batch = batch_of([0.9, 0.0, 0.5], 3, length=1, logps=torch.tensor([[-3.0], [0.0], [-1.0]]))
    assert LeaveOneOut()(batch).values[2, 0] > 0 > Pairwise()(batch).values[2, 0]


@pytest.mark.parametrize("weight", ["self", "winner", "lambdarank", "constant", "shuffled"])
@pytest.mark.parametrize("pair_norm", ["peers", "group", "none", "weights"])
@pytest.mark.parametrize("center", [False, True])
def test_equal_rewards_are_exactly_zero(random_batch, weight, pair_norm, center):
    batch = random_batch(rewards=torch.full((18,), 1e6 + 0.1, dtype=torch.float64))
    assert (advantages(batch, weight=weight, pair_norm=pair_norm, center=center) == 0).all()


def test_small_differences_on_large_rewards(batch_of, close):
    step = 2.0**-20
    batch = batch_of([1e6 + step, 1e6], 2, length=1, logps=torch.tensor([[-1.0], [-1.5]]))
    close(advantages(batch, temperature=0.5), [S1 * step, -S1N * step], tolerance=1e-15)


@pytest.mark.parametrize("weight", ["self", "winner", "lambdarank"])
def test_weights_that_underflow_still_normalise(batch_of, close, weight):
    # Δ/τ = ±30000 and ±60000: every σ of the losing side is 0 in float64, their ratio is not
    batch = batch_of([1.0, 0.0, 0.5], 3, length=1, logps=torch.tensor([[-3000.0], [-6000.0], [-9000.0]]))
    a = advantages(batch, weight=weight, temperature=0.1, pair_norm="weights")
    assert a.isfinite().all()
    if weight == "self":  # row 2 loses to both, by 30000 less to row 1: all of its weight is there
        close(a, [0.75, -0.5, 0.5])


def test_float32_signals_count_in_float64(batch_of):
    batch = batch_of(REWARDS, 3, mask=MASK, logps=LOGPS.float())
    assert Pairwise()(batch).values.dtype == torch.float64


def test_memory_grows_with_pairs_and_the_credit_map_only(batch_of):
    """Of 1024 × 512 tokens float64 nothing but the credit map itself is made."""
    batch = batch_of([1.0, 0.0] * 512, 8, length=512, logps=-torch.rand(1024, 512))
    sizes = []

    class Sizes(TorchDispatchMode):
        def __torch_dispatch__(self, func, types, args=(), kwargs=None):
            result = func(*args, **(kwargs or {}))
            if isinstance(result, torch.Tensor) and result.dtype == torch.float64 and result._base is None:
                sizes.append(result.untyped_storage().nbytes())
            return result

    with Sizes():
        Pairwise()(batch)
    assert sorted(sizes)[-1] == 1024 * 512 * 8 and sorted(sizes)[-2] <= 64 * 512 * 8


def test_constant_weight_needs_no_signal(batch_of):
    batch = batch_of(REWARDS, 3)
    assert Pairwise(weight="constant")(batch).values[:, 0].tolist() == [0.375, -0.375, 0.0]
    assert Pairwise(weight="constant").needs == frozenset() and Pairwise().needs == {"logps"}
    with pytest.raises(MissingSignal, match="logps"):
        Pairwise()(batch)


@pytest.mark.parametrize("options", [{"weight": "selfish"}, {"score": "max"}, {"pair_norm": None}])
def test_wrong_choices_are_refused(options):
    with pytest.raises(ValueError, match=f"Pairwise.{next(iter(options))}"):
        Pairwise(**options)


def test_a_switch_takes_true_or_false_only():
    with pytest.raises(ValueError, match="Pairwise.center.*bool.*'off'"):
        Pairwise(center="off")  # a non-empty string, which Python takes for true


@pytest.mark.parametrize("temperature", [0.0, -1.0, nan])
def test_temperature_must_be_positive(temperature):
    with pytest.raises(ValueError, match="temperature"):
        Pairwise(temperature=temperature)

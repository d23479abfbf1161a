"""FIPO: influence weights of a few tokens by hand at γ = ½, then the filters, one by one."""

import math

import pytest
import torch

from methods import Credit, LiveBatch
from methods.weightings.fipo import Fipo

nan = math.nan
HALF = {"half_life": 1.0}  # γ = 2^(−1/1) = ½


def f64(rows):
    return torch.tensor(rows, dtype=torch.float64)


def weighted(weighting, log_ratio, advantages, mask=None):
    """The credit that `weighting.live` gives tokens of these log-ratios; advantages by row or token."""
    log_ratio = f64(log_ratio)
    mask = torch.ones(log_ratio.shape).bool() if mask is None else torch.tensor(mask).bool()
    advantages = f64(advantages)
    advantages = advantages[:, None] if advantages.ndim == 1 else advantages
    credit = Credit(advantages.expand(mask.shape).where(mask, 0.0))
    old = torch.full(mask.shape, -3.0).double()
    zeros = torch.zeros(mask.shape).double()
    ids = torch.zeros(mask.shape).long()
    return weighting.live(LiveBatch(ids, mask, old, old + log_ratio, zeros), credit)


def test_weights_by_hand(close):
    # F₃ = 0.1              F₂ = -0.2 + 0.05 = -0.15     F₁ = 0.18 - 0.075 = 0.105
    # F₃ = -0.4 → 0.8       F₂ = 0.1 - 0.2 = -0.1        F₁ = 0.3 - 0.05 = 0.25 → 1.2
    result = weighted(Fipo(**HALF), [[0.18, -0.2, 0.1], [0.3, 0.1, -0.4]], [2.0, -1.0])
    f = [[math.exp(0.105), math.exp(-0.15), math.exp(0.1)], [1.2, math.exp(-0.1), 0.8]]
    close(result.values, [[2 * w for w in f[0]], [-w for w in f[1]]])
    assert result.metrics == pytest.approx(
        {"fipo_weight": sum(f[0] + f[1]) / 6, "fipo_at_bound": 2 / 6, "fipo_extreme": 0, "fipo_lost_rows": 0}
    )


def test_half_life_is_in_tokens(close):
    # one shift of 0.16 on the last token: after two half-lives of two tokens each a quarter of it is left
    result = weighted(Fipo(half_life=2.0), [[0.0, 0.0, 0.0, 0.0, 0.16]], [1.0])
    r = math.sqrt(0.5)
    close(
        result.values,
        [[math.exp(0.16 * w) for w in (0.25, 0.5 * r, 0.5, r, 1.0)]],
    )


def test_the_default_is_the_setting_of_the_7b_model():
    assert Fipo() == Fipo(half_life=32.0, cap=10.0, bounds=(0.8, 1.2), safety=3.0, safety_floor=0.8)


def test_bounds(close):
    shifts = [[0.5, -0.5, 0.1]]
    close(
        weighted(Fipo(half_life=1e-3), shifts, [1.0]).values, [[1.2, 0.8, math.exp(0.1)]]
    )  # γ = 2^-1000: F is the token's own shift
    close(
        weighted(Fipo(half_life=1e-3, bounds=[1.0, 1.3]), shifts, [1.0]).values, [[1.3, 1.0, math.exp(0.1)]]
    )


def test_tokens_beyond_the_cap_count_in_no_sum(close):
    # r = 20: left out of the sums, its own weight then comes from what follows it
    result = weighted(Fipo(**HALF), [[0.1, math.log(20.0), 0.08]], [1.0])
    close(result.values, [[math.exp(0.1 + 0.02), math.exp(0.04), math.exp(0.08)]])
    assert result.metrics["fipo_extreme"] == pytest.approx(1 / 3)
    # just below the cap it counts: log 1.99 and 0.1 + ½·log 1.99 are beyond the upper bound
    close(
        weighted(Fipo(**HALF, cap=2.0), [[0.1, math.log(1.99), 0.08]], [1.0]).values,
        [[1.2, 1.2, math.exp(0.08)]],
    )


@pytest.mark.parametrize(
    ("options", "weight"),
    [
        ({}, 1.0),  # r = 4 > 3: f = 1.2 is clipped to [0.8, 1]
        ({"safety": 5.0}, 1.2),  # below the threshold
    ],
)
def test_no_amplified_blame_for_what_became_likely(options, weight, close):
    result = weighted(Fipo(half_life=1e-3, **options), [[math.log(4.0), 0.1]], [-1.0])
    close(result.values, [[-weight, -math.exp(0.1)]])
    # praise is not limited
    close(weighted(Fipo(half_life=1e-3, **options), [[math.log(4.0), 0.1]], [1.0]).values[0, 0], 1.2)


def test_safety_keeps_small_weights_unless_it_is_the_papers(close):
    # r = 20 is left out of its own sum: F₁ = ½·(-0.24), f₁ = e^-0.12 within [0.8, 1]; the paper sets 1
    shifts = [[math.log(20.0), -0.24]]
    close(weighted(Fipo(**HALF), shifts, [-1.0]).values, [[-math.exp(-0.12), -0.8]])
    close(weighted(Fipo(**HALF, safety_floor=1.0), shifts, [-1.0]).values, [[-1.0, -0.8]])


def test_a_row_with_two_dual_clipped_tokens_is_lost(close):
    far = math.log(20.0)
    result = weighted(Fipo(**HALF), [[far, far, 0.0], [far, 0.0, 0.0], [far, far, 0.0]], [-1.0, -1.0, 1.0])
    close(result.values, [[0.0, 0.0, 0.0], [-1.0, -1.0, -1.0], [1.0, 1.0, 1.0]])
    assert result.metrics["fipo_lost_rows"] == pytest.approx(1 / 3)


def test_the_unmoved_policy_keeps_its_credit():
    result = weighted(Fipo(), [[0.0, 0.0], [0.0, 0.0]], [2.0, -1.0])
    assert torch.equal(result.values, f64([[2.0, 2.0], [-1.0, -1.0]]))
    assert result.metrics == {
        "fipo_weight": 1.0, "fipo_at_bound": 0.0, "fipo_extreme": 0.0, "fipo_lost_rows": 0.0,
    }  # fmt: skip


def test_outside_the_mask_nothing_counts(close):
    result = weighted(
        Fipo(**HALF), [[0.1, 9.0, 0.12], [0.1, -9.0, 9.0]], [1.0, -1.0], mask=[[1, 0, 1], [1, 0, 0]]
    )
    # distance is in columns: F₁ = 0.1 + ¼·0.12
    close(result.values, [[math.exp(0.13), 0.0, math.exp(0.12)], [-math.exp(0.1), 0.0, 0.0]])
    assert result.metrics["fipo_extreme"] == 0.0
    assert result.metrics["fipo_weight"] == pytest.approx(
        (math.exp(0.13) + math.exp(0.12) + math.exp(0.1)) / 3
    )


def test_huge_shifts_stay_finite(close):
    close(weighted(Fipo(cap=math.inf), [[900.0, 900.0]], [1.0]).values, [[1.2, 1.2]])
    close(weighted(Fipo(), [[-900.0, -900.0]], [1.0]).values, [[0.8, 0.8]])


def test_no_credit_no_tokens(close):
    result = weighted(Fipo(), [[0.3, 0.1]], [0.0])
    close(result.values, [[0.0, 0.0]])
    assert result.metrics["fipo_weight"] == 1.0 and result.metrics["fipo_at_bound"] == 0.0
    empty = weighted(Fipo(), torch.zeros(2, 0).tolist(), [1.0, 1.0])
    assert empty.values.shape == (2, 0) and empty.metrics["fipo_extreme"] == 0.0


def test_credit_may_differ_between_tokens(close):
    result = weighted(Fipo(**HALF), [[0.0, 0.1]], [[1.0, -2.0]])
    close(result.values, [[math.exp(0.05), -2 * math.exp(0.1)]])


def test_the_frozen_stage_leaves_credit_as_it_is(batch_of):
    credit = Credit(torch.ones(2, 2).double())
    assert Fipo()(batch_of([1.0, 0.0], 2), credit) is credit


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"half_life": 0.0}, "Fipo.half_life.*0.0"),
        ({"half_life": nan}, "Fipo.half_life.*nan"),
        ({"cap": 1.0}, "Fipo.cap.*1.0"),
        ({"safety": 0.5}, "Fipo.safety.*0.5"),
        ({"safety_floor": 1.2}, "Fipo.safety_floor.*1.2"),
        ({"safety_floor": -0.1}, "Fipo.safety_floor.*-0.1"),
        ({"bounds": (1.2, 0.8)}, "Fipo.bounds.*1.2"),
        ({"bounds": (0.8,)}, "Fipo.bounds"),
        ({"bounds": (-0.1, 1.0)}, "Fipo.bounds"),
        ({"bounds": (1.1, 1.2)}, "Fipo.bounds.*1.1"),
        ({"half_life": "32"}, "half_life.*float"),
    ],
)
def test_wrong_options_are_refused(options, message):
    with pytest.raises(ValueError, match=message):
        Fipo(**options)

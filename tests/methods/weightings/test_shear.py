"""SHEAR: spans of one token by hand, overlapping spans by hand, then what opposes what."""

import math

import pytest
import torch

from methods import Credit, MissingSignal
from methods.weightings.shear import Shear

nan = math.nan
SINGLE = {"span": 1, "stride": 1}


def hidden_of(rows):
    """One number a token as a vector of length 1."""
    return torch.tensor(rows, dtype=torch.float64)[:, :, None]


# right: 0 and 10, wrong: 1 and 4. Nearest of the other side: |0−1|, |10−4| and |1−0|, |4−0|; mean norm 15/4
@pytest.fixture
def example(batch_of):
    batch = batch_of([1.0, 0.0], 2, hidden=hidden_of([[0.0, 10.0], [1.0, 4.0]]))
    return batch, Credit(torch.tensor([[2.0, 2.0], [-3.0, -3.0]]).double())


def test_spans_of_one_token_by_hand(example, close):
    result = Shear(**SINGLE)(*example)
    w = [1 / 3.75, 6 / 3.75, 1 / 3.75, 4 / 3.75]
    close(result.values, [[2 * w[0], 2 * w[1]], [-3 * w[2], -3 * w[3]]])
    mean = sum(w) / 4
    close(result.metrics["shear_weight_mean"], mean)
    close(result.metrics["shear_weight_sd"], math.sqrt(sum((x - mean) ** 2 for x in w) / 4), tolerance=1e-9)
    assert result.metrics["shear_mixed_share"] == 1.0


def test_rows_of_mean_one_by_hand(example, close):
    # 1 and 6 of mean 3.5; 1 and 4 of mean 2.5
    result = Shear(**SINGLE, normalise="row")(*example)
    close(result.values, [[2 / 3.5, 12 / 3.5], [-3 / 2.5, -12 / 2.5]])


def test_overlapping_spans_by_hand(batch_of, close):
    # spans of two tokens: right (0, 0) (0, 9), wrong (2, 2) (2, 2)
    # all costs of (0, 0) against (2, 2) are 2; of (0, 9) 2 and 7, each half of the mass: 4.5
    # the token of both right spans has the larger; wrong spans are 2 from their nearest
    batch = batch_of([1.0, 0.0], 2, length=3, hidden=hidden_of([[0.0, 0.0, 9.0], [2.0, 2.0, 2.0]]))
    credit = Credit.broadcast(torch.tensor([1.0, -1.0]), batch.mask)
    n = 15 / 6
    result = Shear(span=2, stride=1)(batch, credit)
    close(result.values, [[2 / n, 4.5 / n, 4.5 / n], [-2 / n, -2 / n, -2 / n]])


def test_smoothing_by_hand(batch_of, close):
    # one span each: 0 and 3 against 0 and 2: costs 0 2 | 3 1, ε = ½·3
    # plan x on the diagonal, x/(½−x) = e^{(5 − 1)/2ε}
    ratio = math.exp(4.0 / 3.0)
    x = 0.5 * ratio / (1 + ratio)
    batch = batch_of([1.0, 0.0], 2, hidden=hidden_of([[0.0, 3.0], [0.0, 2.0]]))
    credit = Credit.broadcast(torch.tensor([1.0, -1.0]), batch.mask)
    w = (x * 1.0 + (0.5 - x) * 5.0) / (5 / 4)
    close(Shear(epsilon=0.5, iterations=300)(batch, credit).values, [[w, w], [-w, -w]])


def test_points_stand_for_a_span_by_hand(batch_of, close):
    # two of four tokens: those at 0 and 2. 1 against 3 wherever they are looked at, but the norm counts all
    batch = batch_of(
        [1.0, 0.0], 2, length=4, hidden=hidden_of([[1.0, 50.0, 1.0, -7.0], [3.0, 0.0, 3.0, 9.0]])
    )
    credit = Credit.broadcast(torch.tensor([1.0, -1.0]), batch.mask)
    w = 2 / (74 / 8)
    close(Shear(points=2)(batch, credit).values, [[w] * 4, [-w] * 4])


def test_the_nearest_of_several_opposing_completions_counts_by_hand(batch_of, close):
    # right 0; wrong 5, −3, 1: distances 1 for the right one, 5, 3, 1 for the others; mean norm 9/4
    batch = batch_of([1.0, 0.0, 0.0, 0.0], 4, length=1, hidden=hidden_of([[0.0], [5.0], [-3.0], [1.0]]))
    credit = Credit(torch.ones(4, 1, dtype=torch.float64))
    close(Shear()(batch, credit).values[:, 0], [x / 2.25 for x in (1.0, 5.0, 3.0, 1.0)])


@pytest.mark.parametrize("rewards", [[1.0, 1.0, 0.5], [0.0, -1.0, 0.0], [1.0, nan, 1.0], [nan] * 3])
def test_without_an_opposite_outcome_credit_stays(batch_of, rewards):
    torch.manual_seed(0)
    batch = batch_of(rewards, 3, hidden=torch.randn(3, 2, 4))
    credit = Credit(torch.where(batch.valid[:, None], 1.5, 0.0).double().expand(3, 2).clone())
    result = Shear()(batch, credit)
    assert torch.equal(result.values, credit.values)
    assert result.metrics == {"shear_weight_mean": 0.0, "shear_weight_sd": 0.0, "shear_mixed_share": 0.0}


def test_unscorable_and_empty_completions_do_not_count(batch_of, close, example):
    batch = batch_of(
        [1.0, nan, 0.0, 0.0], 4,
        mask=[[1, 1], [1, 1], [1, 1], [0, 0]],
        hidden=hidden_of([[0.0, 10.0], [0.0, 0.0], [1.0, 4.0], [nan, nan]]),
    )  # fmt: skip
    values = torch.tensor([[2.0, 2.0], [0.0, 0.0], [-3.0, -3.0], [0.0, 0.0]]).double()
    result = Shear(**SINGLE)(batch, Credit(values)).values
    close(result[[0, 2]], Shear(**SINGLE)(*example).values)
    assert result[[1, 3]].abs().sum() == 0
    # an empty completion opposes nobody
    lone = batch_of([1.0, 0.0], 2, mask=[[1, 1], [0, 0]], hidden=hidden_of([[0.0, 9.0], [1.0, 1.0]]))
    credit = Credit(torch.tensor([[2.0, 2.0], [0.0, 0.0]]).double())
    assert torch.equal(Shear()(lone, credit).values, credit.values)


def test_the_threshold_says_what_is_correct(batch_of, example, close):
    graded = batch_of([0.9, 0.4], 2, hidden=example[0].hidden)
    close(Shear(**SINGLE, correct_above=0.5)(graded, example[1]).values, Shear(**SINGLE)(*example).values)
    assert torch.equal(Shear(**SINGLE)(graded, example[1]).values, example[1].values)


def random_batch(batch_of, order=None, dtype=torch.float64):
    generator = torch.Generator().manual_seed(0)
    hidden = torch.randn(8, 12, 3, generator=generator, dtype=torch.float64).to(dtype)
    mask = torch.arange(12) < torch.tensor([12, 7, 9, 3, 12, 11, 5, 1])[:, None]
    rewards = [1.0, 0.0, 1.0, 0.0, 0.0, 1.0, 0.0, 0.0]
    order = list(range(8)) if order is None else order
    batch = batch_of([rewards[i] for i in order], 4, mask=mask[order], hidden=hidden[order])
    return batch, Credit(torch.where(batch.mask, 1.0, 0.0).double())


def test_groups_are_apart_and_their_order_within_does_not_matter(batch_of, close):
    options = {"span": 4, "stride": 2, "points": 3}
    batch, credit = random_batch(batch_of)
    values = Shear(**options)(batch, credit).values
    order = [2, 0, 3, 1, 5, 4, 7, 6]
    close(Shear(**options)(*random_batch(batch_of, order)).values, values[order], tolerance=1e-9)
    part = batch_of([0.0, 1.0, 0.0, 0.0], 4, mask=batch.mask[4:], hidden=batch.hidden[4:])
    close(Shear(**options)(part, Credit(credit.values[4:])).values, values[4:])


def test_padding_and_holes_of_the_mask_do_not_matter(batch_of, close):
    batch, credit = random_batch(batch_of)
    values = Shear(span=4, stride=2)(batch, credit).values
    mask = torch.zeros(8, 15, dtype=torch.bool)
    hidden, given = torch.full((8, 15, 3), nan, dtype=torch.float64), torch.zeros(8, 15, dtype=torch.float64)
    columns = [1, 2, 3, 5, 6, 7, 8, 9, 10, 11, 12, 13]  # a hole between the third and the fourth token
    mask[:, columns], hidden[:, columns], given[:, columns] = batch.mask, batch.hidden, credit.values
    moved = batch_of([1.0, 0.0, 1.0, 0.0, 0.0, 1.0, 0.0, 0.0], 4, mask=mask, hidden=hidden)
    close(Shear(span=4, stride=2)(moved, Credit(given)).values[:, columns], values)


def test_half_precision_signals_count_in_float64(batch_of, close):
    low, credit = random_batch(batch_of, dtype=torch.bfloat16)
    high = batch_of([1.0, 0.0, 1.0, 0.0, 0.0, 1.0, 0.0, 0.0], 4, mask=low.mask, hidden=low.hidden.double())
    result = Shear(span=4, stride=2)(low, credit).values
    assert result.dtype == torch.float64
    close(result, Shear(span=4, stride=2)(high, credit).values)


def test_scale_of_the_hidden_states_does_not_matter(batch_of, close):
    batch, credit = random_batch(batch_of)
    larger = batch_of(batch.rewards, 4, mask=batch.mask, hidden=1000 * batch.hidden)
    close(Shear(span=4, stride=2)(larger, credit).values, Shear(span=4, stride=2)(batch, credit).values)


def test_where_sides_part_credit_grows(batch_of):
    """Two completions that share their first half and not the second."""
    torch.manual_seed(0)
    shared = torch.randn(20, 6)
    hidden = torch.stack([torch.cat([shared, torch.randn(20, 6) + shift]) for shift in (3.0, -3.0)])
    batch = batch_of([1.0, 0.0], 2, length=40, hidden=hidden)
    w = Shear(span=8, stride=2)(batch, Credit.broadcast(torch.tensor([1.0, -1.0]), batch.mask)).values.abs()
    assert (w[:, 28:].amin(1) > 2 * w[:, :12].amax(1)).all()


def test_the_default_is_the_published_setting_where_one_is_known():
    shear = Shear()
    assert (shear.span, shear.stride, shear.normalise) == (100, 25, "group") and Shear.needs == {"hidden"}


def test_the_given_credit_is_left_as_it_was(example):
    before = example[1].values.clone()
    Shear(**SINGLE)(*example)
    assert torch.equal(example[1].values, before)


def test_signals_it_needs(batch_of):
    with pytest.raises(MissingSignal, match="hidden"):
        Shear()(batch_of([1.0, 0.0], 2), Credit(torch.ones(2, 2, dtype=torch.float64)))


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"span": 4, "stride": 5}, "stride"),
        ({"stride": 0}, "stride"),
        ({"points": 0}, "points"),
        ({"iterations": 0}, "iterations"),
        ({"epsilon": 0.001}, "epsilon"),
        ({"epsilon": nan}, "epsilon"),
        ({"normalise": "rows"}, "normalise.*did you mean 'row'"),
        ({"correct_above": math.inf}, "correct_above"),
        ({"span": 10.0}, "span.*int"),
    ],
)
def test_wrong_options_are_refused(options, message):
    with pytest.raises(ValueError, match=f"Shear.*{message}"):
        Shear(**options)

"""KTAE: two groups by hand, then what does not vote and what may not matter."""

import math

import pytest
import torch

from methods import Credit, RolloutBatch
from methods.weightings.ktae import Ktae

nan = math.nan


def batch_of_ids(ids, rewards, group_size=None):
    """Rows of token ids, padded with 0."""
    length = max(map(len, ids))
    padded = [row + [0] * (length - len(row)) for row in ids]
    mask = [[1] * len(row) + [0] * (length - len(row)) for row in ids]
    return RolloutBatch.from_tensors(padded, mask, rewards, group_size or len(ids))


def flat(batch, value=0.0):
    return Credit(torch.where(batch.mask & batch.valid[:, None], value, 0.0).double())


def by_id(batch, credit):
    """What each token id was given, one number an id."""
    found, tokens = {}, batch.completion_ids[batch.mask].tolist()
    for token, value in zip(tokens, credit.values[batch.mask].tolist(), strict=True):
        assert found.setdefault(token, value) == value
    return found


# Three right and two wrong completions of 11 and 6 tokens; 9 closes each of them.
IDS = [[1, 2, 9], [1, 3, 9], [2, 2, 1, 1, 9], [1, 4, 9], [4, 4, 9]]
RIGHT = [1.0, 1.0, 1.0, 0.0, 0.0]

# Token 1: a = 3, b = 1, c = 0, d = 1.
# Of the 2×2 tables with these margins a = 2 weighs 3/5 and a = 3 weighs 2/5: p = 2/5.
F = math.exp(-2 * 0.4)
# Y: 3 of 5 right, .970951 bits; given 1 is there (4 of 5): 3 of 4, .811278 bits; given it is not: 0
IG = 0.9709505944546686 - 0.8 * 0.8112781244591328
# mean length of a side (11 + 6)/2 = 8.5; q = 4/11 and 1/6
TF_RIGHT = 3 * (4 / 11) / (4 / 11 + 2 * (0.5 + 0.5 * 11 / 8.5))
TF_WRONG = 3 * (1 / 6) / (1 / 6 + 2 * (0.5 + 0.5 * 6 / 8.5))
COHEN = math.asin(1.0) - math.asin(math.sqrt(0.5))
RATIO = TF_RIGHT / (TF_WRONG + 1e-5) - TF_WRONG / (TF_RIGHT + 1e-5)


def k(z):
    return 2 / (1 + math.exp(-z)) - 1


def test_a_token_of_both_sides_by_hand(close):
    batch = batch_of_ids(IDS, RIGHT)
    values = Ktae()(batch, flat(batch)).values
    close(values[0, 0], k((F + IG) / 2 * (COHEN + RATIO)))
    assert 0.2 < values[0, 0] < 0.9  # not saturated: the arithmetic above is felt
    assert values[0, 0] == values[2, 3] == values[3, 0]


@pytest.mark.parametrize(
    ("options", "z"),
    [
        ({"gain": 0.0}, F * (COHEN + RATIO)),
        ({"fisher": 0.0}, IG * (COHEN + RATIO)),
        ({"fisher": 1.0, "gain": 2.0}, (F + 2 * IG) / 3 * (COHEN + RATIO)),
        ({"frequency": 0.0}, (F + IG) / 2 * COHEN),
        ({"frequency": 0.5}, (F + IG) / 2 * (COHEN + 0.5 * RATIO)),
    ],
)
def test_weights_of_the_ingredients_by_hand(close, options, z):
    batch = batch_of_ids(IDS, RIGHT)
    close(Ktae(**options)(batch, flat(batch)).values[0, 0], k(z))


def test_scale_by_hand(close):
    batch = batch_of_ids(IDS, RIGHT)
    close(Ktae(scale=0.5)(batch, flat(batch)).values[0, 0], 0.5 * k((F + IG) / 2 * (COHEN + RATIO)))


def test_tokens_of_one_side_saturate_and_common_ones_get_nothing(close):
    # 7 in both right completions only, 5 in both wrong ones only, 8 in one of each (p = 1, no gain), 9 ends
    batch = batch_of_ids([[7, 8, 9], [7, 7, 9], [5, 8, 9], [5, 5, 9]], [1.0, 1.0, 0.0, 0.0])
    got = by_id(batch, Ktae()(batch, flat(batch)))
    close([got[7], got[5], got[8], got[9]], [1.0, -1.0, 0.0, 0.0])


def test_it_adds_to_the_credit_it_is_given(close):
    batch = batch_of_ids(IDS, RIGHT)
    credit = Credit.broadcast(torch.tensor([2.0, 0.5, 0.0, -1.0, -3.0]), batch.mask)
    close(Ktae()(batch, credit).values, credit.values + Ktae()(batch, flat(batch)).values)
    assert Ktae()(batch, credit).values[3, 3:].tolist() == [0.0, 0.0]  # outside the mask


def test_the_end_of_sequence_token_gets_nothing_unless_asked():
    # 9 stands in every completion, so p = 1 and no gain; but the sides differ in length, so without the rule
    # a wrong completion that was cut off before its end makes the end look right
    ids = [[1, 2, 9], [3, 2, 9], [1, 4], [3, 5, 9]]
    batch = batch_of_ids(ids, [1.0, 1.0, 0.0, 0.0])
    assert by_id(batch, Ktae()(batch, flat(batch)))[9] == 0.0
    assert by_id(batch, Ktae(skip_end=False)(batch, flat(batch)))[9] > 0.1
    # a token that also stands elsewhere is no end, even where it closes a completion
    inside = batch_of_ids([[9, 2, 9], *ids[1:]], [1.0, 1.0, 0.0, 0.0])
    assert by_id(inside, Ktae()(inside, flat(inside)))[9] > 0.1


@pytest.mark.parametrize("rewards", [[1.0, 1.0, 0.5], [0.0, -1.0, 0.0], [1.0, nan, 1.0], [nan, nan, nan]])
def test_one_sided_groups_keep_their_credit(rewards):
    batch = batch_of_ids([[1, 2], [1, 3], [4, 4]], rewards)
    credit = flat(batch, 1.5)
    result = Ktae()(batch, credit)
    assert torch.equal(result.values, credit.values)
    assert result.metrics == {"ktae_mean_abs": 0.0, "ktae_mixed_share": 0.0, "ktae_flipped_share": 0.0}


def test_unscorable_and_empty_completions_do_not_vote(close):
    batch = batch_of_ids(IDS, RIGHT)
    more = batch_of_ids([IDS[0], [1, 1, 1, 9], *IDS[1:], []], [1.0, nan, 1.0, 1.0, 0.0, 0.0, 1.0])
    values = Ktae()(more, flat(more)).values
    close(values[[0, 2, 3, 4, 5]], Ktae()(batch, flat(batch)).values)
    assert values[1].abs().sum() == 0 and values[6].abs().sum() == 0


def test_the_threshold_says_what_is_correct(close):
    graded = batch_of_ids(IDS, [0.9, 1.0, 0.8, 0.3, 0.5])
    binary = batch_of_ids(IDS, RIGHT)
    close(Ktae(correct_above=0.5)(graded, flat(graded)).values, Ktae()(binary, flat(binary)).values)
    assert Ktae()(graded, flat(graded)).values.abs().sum() == 0  # all above 0


def test_groups_are_apart_and_their_order_within_does_not_matter(close):
    torch.manual_seed(0)
    ids = torch.randint(1, 12, (12, 7)).tolist()
    rewards = [1.0, 0.0, 0.0, 1.0] * 3
    whole = batch_of_ids(ids, rewards, 4)
    values = Ktae()(whole, flat(whole)).values
    assert values.abs().sum() > 1
    part = batch_of_ids(ids[4:8], rewards[4:8])
    assert torch.equal(values[4:8], Ktae()(part, flat(part)).values)
    order = [2, 0, 3, 1, 4, 5, 6, 7, 11, 10, 9, 8]
    swapped = batch_of_ids([ids[i] for i in order], [rewards[i] for i in order], 4)
    close(Ktae()(swapped, flat(swapped)).values, values[order])


def test_swapping_right_and_wrong_changes_the_sign(close):
    torch.manual_seed(1)
    ids = torch.randint(1, 9, (6, 8)).tolist()
    right = [1.0, 0.0, 0.0, 1.0, 1.0, 0.0]
    a, b = batch_of_ids(ids, right), batch_of_ids(ids, [1.0 - r for r in right])
    close(Ktae()(a, flat(a)).values, -Ktae()(b, flat(b)).values)


def test_padding_and_holes_of_the_mask_do_not_matter():
    batch = batch_of_ids(IDS, RIGHT)
    ids = torch.zeros(5, 9, dtype=torch.int64)
    mask = torch.zeros(5, 9, dtype=torch.bool)
    ids[:, 2:7], mask[:, 2:7] = batch.completion_ids, batch.mask
    ids[:, 7:] = 1  # garbage outside the mask
    moved = RolloutBatch.from_tensors(ids, mask, RIGHT, 5)
    assert torch.equal(Ktae()(moved, flat(moved)).values[:, 2:7], Ktae()(batch, flat(batch)).values)


def test_metrics_by_hand():
    # 7 gets +1 and 5 gets −1, two and three tokens; 8 and the end 0: mean |k| 5/11
    batch = batch_of_ids([[7, 8, 9], [7, 9], [5, 8, 9], [5, 5, 9], [7, 7]], [1.0, 1.0, 0.0, 0.0, nan])
    credit = flat(batch)
    credit.values[:4] = torch.where(batch.mask[:4], torch.tensor([[-0.5], [2.0], [0.5], [3.0]]).double(), 0.0)
    metrics = Ktae()(batch, credit).metrics
    assert metrics["ktae_mean_abs"] == pytest.approx(5 / 11)
    # 7 turns −0.5 and 5 turns 0.5; the two 5 under 3.0 only take from it
    assert metrics["ktae_flipped_share"] == pytest.approx(2 / 11)
    assert metrics["ktae_mixed_share"] == 1.0


def test_a_token_of_every_completion_gets_nothing_however_often_it_stands_there():
    # p = 1 and no gain, though 2 is most of the right answers and little of the wrong ones
    batch = batch_of_ids([[2, 2, 2, 2, 1], [2, 2, 2, 3], [2, 4, 5, 4], [2, 5, 4, 6]], [1.0, 1.0, 0.0, 0.0])
    assert by_id(batch, Ktae()(batch, flat(batch)))[2] == 0.0


def test_the_given_credit_is_left_as_it_was():
    batch = batch_of_ids(IDS, RIGHT)
    credit = flat(batch, 1.0)
    before = credit.values.clone()
    Ktae()(batch, credit)
    assert torch.equal(credit.values, before) and Ktae.needs == frozenset()


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"fisher": -1.0}, "fisher"),
        ({"gain": -0.1}, "gain"),
        ({"fisher": 0.0, "gain": 0.0}, "fisher . gain.*must be positive"),
        ({"frequency": -1.0}, "frequency"),
        ({"scale": 0.0}, ".*scale must be positive"),
        ({"correct_above": nan}, ".*correct_above finite"),
        ({"skip_end": "yes"}, "skip_end.*bool"),
    ],
)
def test_wrong_options_are_refused(options, message):
    with pytest.raises(ValueError, match=f"Ktae.*{message}"):
        Ktae(**options)

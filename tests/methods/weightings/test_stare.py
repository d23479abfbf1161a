"""STARE: which tokens are the surprising ones, what they weigh, and when the gate is shut."""

import math

import pytest
import torch

from methods import Credit, LiveBatch
from methods.weightings.stare import Stare

nan = math.nan

# surprisals −log π; the first two rows have A > 0, the third A < 0, the fourth none
SURPRISAL = [[0.1, 2.0, 0.3, 9.0], [1.0, 0.2, 4.0, 0.0], [3.0, 0.5, 0.4, 5.0], [8.0, 8.0, 8.0, 8.0]]
A = [[1.0, 1.0, 1.0, 0.0], [2.0, 2.0, 2.0, 2.0], [-1.0, -1.0, -1.0, -1.0], [0.0, 0.0, 0.0, 0.0]]
MASK = [[1, 1, 1, 0], [1, 1, 1, 1], [1, 1, 1, 1], [1, 1, 1, 1]]


def f64(rows):
    return torch.tensor(rows, dtype=torch.float64)


def micro_batch(surprisal=SURPRISAL, mask=MASK, entropy=0.1):
    mask = torch.tensor(mask).bool()
    entropies = torch.full(mask.shape, entropy).double() if isinstance(entropy, float) else f64(entropy)
    ids, old = torch.zeros(mask.shape).long(), torch.zeros(mask.shape).double()
    return LiveBatch(ids, mask, old, -f64(surprisal), entropies)


def test_the_most_surprising_of_the_praised_tokens_by_hand(close):
    # seven tokens with A > 0, of surprisal 0.1, 2, 0.3 and 1, 0.2, 4, 0: ⌈0.3·7⌉ = 3 of them, 4, 2 and 1
    result = Stare(top=0.3, weight_pos=1.5).live(micro_batch(), Credit(f64(A)))
    close(
        result.values,
        [[1.0, 1.5, 1.0, 0.0], [3.0, 2.0, 3.0, 2.0], [-1.0, -1.0, -1.0, -1.0], [0.0, 0.0, 0.0, 0.0]],
    )
    assert result.metrics == pytest.approx({"stare_gate": 1.0, "stare_weighted": 3 / 11})


def test_two_sided_variant_by_hand(close):
    # ⌈0.3·4⌉ = 2 of the four blamed tokens as well, 5 and 3
    result = Stare(top=0.3, weight_pos=1.5, weight_neg=0.5).live(micro_batch(), Credit(f64(A)))
    close(
        result.values,
        [[1.0, 1.5, 1.0, 0.0], [3.0, 2.0, 3.0, 2.0], [-0.5, -1.0, -1.0, -0.5], [0.0, 0.0, 0.0, 0.0]],
    )
    assert result.metrics == pytest.approx({"stare_gate": 1.0, "stare_weighted": 5 / 11})


def test_the_default_is_the_published_setting(close):
    assert Stare() == Stare(top=0.1, weight_pos=1.1, weight_neg=1.0, target_entropy=0.3)
    result = Stare().live(micro_batch(), Credit(f64(A)))  # ⌈0.1·7⌉ = 1
    expected = f64(A)
    expected[1, 2] = 2.2
    close(result.values, expected)


def test_the_surprisal_is_that_of_the_current_policy(close):
    now = micro_batch()
    old = now.logps_now.flip(1)
    moved = LiveBatch(now.completion_ids, now.mask, old, now.logps_now, now.entropies_now)
    assert torch.equal(
        Stare(top=0.3).live(moved, Credit(f64(A))).values, Stare(top=0.3).live(now, Credit(f64(A))).values
    )


@pytest.mark.parametrize(
    ("entropy", "open_"),
    [
        (0.29, True),
        (0.3, False),
        # the mean is over tokens, not rows, and over all of them: (0.9·3 + 0·12)/15 = 0.18
        ([[0.9, 0.9, 0.9, 99.0], [0.0] * 4, [0.0] * 4, [0.0] * 4], True),
        # 5.0 in a row without credit: 20/15
        ([[0.0] * 4, [0.0] * 4, [0.0] * 4, [5.0] * 4], False),
    ],
)
def test_the_gate_opens_below_the_target_entropy(entropy, open_):
    credit = Credit(f64(A))
    result = Stare(top=0.3).live(micro_batch(entropy=entropy), credit)
    assert torch.equal(result.values, credit.values) != open_
    assert result.metrics == pytest.approx({"stare_gate": float(open_), "stare_weighted": 3 / 11 * open_})


def test_garbage_outside_the_mask_is_not_read(close):
    surprisal = [row[:] for row in SURPRISAL]
    surprisal[0][3] = nan
    entropies = [[0.1, 0.1, 0.1, nan], *[[0.1] * 4] * 3]
    result = Stare(top=0.3, weight_pos=1.5).live(micro_batch(surprisal, entropy=entropies), Credit(f64(A)))
    close(result.values[0], [1.0, 1.5, 1.0, 0.0])


@pytest.mark.parametrize("sign", [1.0, -1.0, 0.0])
def test_one_side_alone(sign, close):
    credit = Credit(sign * f64([[1.0, 1.0], [1.0, 1.0]]))
    now = micro_batch([[1.0, 2.0], [3.0, 0.5]], [[1, 1], [1, 1]])
    result = Stare(weight_neg=0.9).live(now, credit)
    factor = {1.0: 1.1, -1.0: 0.9, 0.0: 1.0}[sign]
    close(result.values, [[sign, sign], [sign * factor, sign]])


def test_no_tokens():
    empty = micro_batch([[], []], [[], []])
    result = Stare().live(empty, Credit(torch.zeros(2, 0).double()))
    assert result.values.shape == (2, 0)
    assert result.metrics == {"stare_gate": 0.0, "stare_weighted": 0.0}


def test_at_the_target_itself_the_gate_is_shut():
    credit = Credit(f64(A))
    for target, gate in [(0.25, 0.0), (0.25 + 1e-9, 1.0)]:
        result = Stare(target_entropy=target).live(micro_batch(entropy=0.25), credit)
        assert result.metrics["stare_gate"] == gate


def test_the_frozen_stage_leaves_credit_as_it_is(batch_of):
    credit = Credit(torch.ones(2, 2).double())
    assert Stare()(batch_of([1.0, 0.0], 2), credit) is credit


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"top": 0.0}, "Stare.top.*0.0"),
        ({"top": 1.1}, "Stare.top.*1.1"),
        ({"weight_pos": 0.9}, "Stare.weight_pos.*0.9"),
        ({"weight_neg": 0.0}, "Stare.weight_neg.*0.0"),
        ({"weight_neg": 1.1}, "Stare.weight_neg.*1.1"),
        ({"target_entropy": 0.0}, "Stare.target_entropy.*0.0"),
        ({"target_entropy": nan}, "Stare.target_entropy.*nan"),
        ({"top": True}, "Stare.top.*float"),
    ],
)
def test_wrong_options_are_refused(options, message):
    with pytest.raises(ValueError, match=message):
        Stare(**options)

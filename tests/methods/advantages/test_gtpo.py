"""GTPO: two right and two wrong completions of two tokens by hand, then the gate and the limits."""

import math

import pytest
import torch

from methods import MissingSignal
from methods.advantages.gtpo import Gtpo

nan, inf = math.nan, math.inf

# Shares of the entropy at each place, times the two completions of the side that reach it:
#   right, H: 3/4 and 1/4, then 1/4 and 3/4       → 1.5 0.5, 0.5 1.5
#   wrong, 1/H: ½ and 1 of 1.5, then 2 and 2 of 4 → 2/3 4/3, 1 1
# r̃ = ±1 ± 0.1·those
ENTROPIES = torch.tensor([[3.0, 1.0], [1.0, 3.0], [2.0, 0.5], [1.0, 0.5]]).double()
REWARDS = [1.0, 1.0, 0.0, 0.0]
SHAPED = [[1.15, 1.05], [1.05, 1.15], [-1 - 0.2 / 3, -1.1], [-1 - 0.4 / 3, -1.1]]


@pytest.fixture
def example(batch_of):
    return batch_of(REWARDS, 4, entropies=ENTROPIES)


def test_each_side_is_standardised_apart_by_hand(example, close):
    # right: mean 1.1, deviations ±.05, standard deviation .05
    # wrong: mean −1.1, deviations 1/30, −1/30, 0, 0; variance 2·(1/900)/4, so 1/30 is √2 of them
    r = math.sqrt(2.0)
    expected = [[1.0, -1.0], [-1.0, 1.0], [r, 0.0], [-r, 0.0]]
    close(Gtpo()(example).values, expected, tolerance=1e-6)


def test_half_of_a_right_answer_is_pushed_down_by_hand(batch_of, close):
    # the right completions as above; the lone wrong one has exactly nothing
    credit = Gtpo()(batch_of(REWARDS[:3], 3, entropies=ENTROPIES[:3]))
    close(credit.values, [[1.0, -1.0], [-1.0, 1.0], [0.0, 0.0]], tolerance=1e-6)
    assert credit.metrics == {"gtpo_opposed_share": 2 / 6}


def test_credit_of_nothing_opposes_nothing_by_hand(batch_of, close):
    # the lone right completion has exactly nothing; wrong, 1/H: 1/3 2/3 and 2/3 1/3, so two are above their mean
    H = torch.tensor([[3.0, 1.0], [2.0, 1.0], [1.0, 2.0]]).double()
    credit = Gtpo()(batch_of([1.0, 0.0, 0.0], 3, entropies=H))
    close(credit.values, [[0.0, 0.0], [1.0, -1.0], [-1.0, 1.0]], tolerance=1e-6)
    assert (credit.values[0] == 0).all() and credit.metrics == {"gtpo_opposed_share": 2 / 6}


def test_only_tokens_of_groups_that_count_are_counted(batch_of):
    # the hand example, then a group of equal rewards; an unscorable row and a place outside the mask would be two more
    H = torch.cat([ENTROPIES, torch.ones(2, 2).double(), ENTROPIES[:1].expand(6, 2)])
    mask = torch.ones(12, 2)
    mask[4, 1] = 0
    # the fifth row is wrong, has a share of its own at place 0 and no token at place 1
    rewards = [*REWARDS, 0.0, nan, *[1.0] * 6]
    credit = Gtpo()(batch_of(rewards, 6, mask=mask, entropies=H))
    right, wrong = credit.values[:2], credit.values[2:5]
    opposed = (right < 0).sum() + (wrong > 0).sum()
    assert opposed > 0 and credit.metrics == {"gtpo_opposed_share": opposed.item() / 9}


def test_both_sides_standardised_together_by_hand(example, close):
    mean = sum(map(sum, SHAPED)) / 8  # 0
    sd = math.sqrt(sum((x - mean) ** 2 for row in SHAPED for x in row) / 8)
    credit = Gtpo(normalise="group")(example)
    close(credit.values, [[(x - mean) / sd for x in row] for row in SHAPED], tolerance=1e-6)
    assert credit.metrics == {"gtpo_opposed_share": 0.0}


def test_weights_by_hand(example, close):
    # r̃ = ±2 ± ½·shares; the group's mean stays 0
    shares = [[1.5, 0.5], [0.5, 1.5], [2 / 3, 1.0], [4 / 3, 1.0]]
    shaped = [[s * (2 + 0.5 * x) for x in row] for s, row in zip([1, 1, -1, -1], shares, strict=True)]
    sd = math.sqrt(sum(x * x for row in shaped for x in row) / 8)
    credit = Gtpo(reward_weight=2.0, entropy_weight=0.5, normalise="group")(example)
    close(credit.values, [[x / sd for x in row] for row in shaped], tolerance=1e-6)


def test_the_default_is_the_published_setting(example):
    assert torch.equal(Gtpo()(example).values, Gtpo(1.0, 0.1, "side", 0.0, 1e-8)(example).values)


def test_shorter_completions_leave_the_sum_and_the_count_by_hand(batch_of, close):
    # right: place 0 has H 3, 1 → 1.5, .5; place 1 only one completion: its share is 1, times 1
    # r̃ right: 1.15, 1.1 | 1.05: mean 1.1, deviations .05, 0, −.05; standard deviation .05·√(2/3)
    batch = batch_of(
        [1.0, 1.0, 0.0], 3,
        mask=[[1, 1], [1, 0], [1, 1]],
        entropies=torch.tensor([[3.0, 5.0], [1.0, nan], [1.0, 2.0]]).double(),
    )  # fmt: skip
    a = math.sqrt(1.5)
    # the one wrong completion has every share to itself: r̃ = −1.1 throughout, exactly no deviation
    close(Gtpo()(batch).values, [[a, 0.0], [-a, 0.0], [0.0, 0.0]], tolerance=1e-6)
    assert (Gtpo()(batch).values[2] == 0).all()


def test_graded_rewards_count_on_the_right_side_by_hand(batch_of, close):
    # one token, equal entropies: shares 1; r̃ = .5 + .1, 1 + .1, −1 − .1 for the wrong one whatever its reward
    batch = batch_of([0.5, 1.0, -0.3], 3, length=1, entropies=torch.ones(3, 1).double())
    close(Gtpo()(batch).values[:, 0], [-1.0, 1.0, 0.0], tolerance=1e-6)
    mean = (0.6 + 1.1 - 1.1) / 3
    sd = math.sqrt(((0.6 - mean) ** 2 + (1.1 - mean) ** 2 + (-1.1 - mean) ** 2) / 3)
    expected = [(x - mean) / sd for x in (0.6, 1.1, -1.1)]
    close(Gtpo(normalise="group")(batch).values[:, 0], expected, tolerance=1e-6)


@pytest.mark.parametrize("rewards", [[1.0] * 3, [0.0] * 3, [0.1] * 3, [1.0, nan, nan], [nan] * 3])
def test_groups_whose_rewards_do_not_differ_get_nothing(batch_of, rewards):
    torch.manual_seed(0)
    credit = Gtpo()(batch_of(rewards, 3, length=4, entropies=torch.rand(3, 4)))
    assert credit.values.abs().sum() == 0 and credit.metrics == {"gtpo_opposed_share": 0.0}


def test_unscorable_rows_neither_get_nor_vote(batch_of, close, example):
    batch = batch_of(
        [1.0, nan, 1.0, 0.0, 0.0, nan], 6,
        entropies=torch.cat([ENTROPIES[:1], torch.full((1, 2), 7.0).double(), ENTROPIES[1:], ENTROPIES[:1]]),
    )  # fmt: skip
    values = Gtpo()(batch).values
    close(values[[0, 2, 3, 4]], Gtpo()(example).values)
    assert values[[1, 5]].abs().sum() == 0


def test_the_threshold_says_what_is_correct(batch_of, close, example):
    graded = batch_of([0.9, 0.9, 0.4, 0.2], 4, entropies=ENTROPIES)
    binary = batch_of([0.9, 0.9, 0.0, 0.0], 4, entropies=ENTROPIES)
    close(Gtpo(correct_above=0.5)(graded).values, Gtpo()(binary).values)
    assert not torch.equal(Gtpo()(graded).values, Gtpo()(binary).values)


def test_certain_tokens_make_no_infinity(batch_of, close):
    entropies = torch.tensor([[0.0, 1.0], [0.0, 1.0], [0.0, 1.0], [1.0, 1.0]]).double()
    values = Gtpo(normalise="group")(batch_of(REWARDS, 4, entropies=entropies)).values
    assert values.isfinite().all()
    # right, place 0: no entropy to share, r̃ = 1; wrong, place 0: all of it on the certain token, −1 − .2 and −1
    shaped = [[1.0, 1.1], [1.0, 1.1], [-1.2, -1.1], [-1.0, -1.1]]
    mean = sum(map(sum, shaped)) / 8
    sd = math.sqrt(sum((x - mean) ** 2 for row in shaped for x in row) / 8)
    close(values, [[(x - mean) / sd for x in row] for row in shaped], tolerance=1e-6)


def test_the_mean_over_a_side_is_nothing_and_its_spread_one(batch_of, close):
    torch.manual_seed(0)
    values = Gtpo()(batch_of([1.0, 1.0, 1.0, 0.0, 0.0], 5, length=9, entropies=torch.rand(5, 9))).values
    for side in (values[:3], values[3:]):
        close(side.mean(), 0.0)
        close(side.square().mean(), 1.0, tolerance=1e-5)


def test_groups_are_apart_and_order_and_padding_do_not_matter(batch_of, close):
    torch.manual_seed(0)
    H, rewards = torch.rand(8, 5).double(), [1.0, 0.0, 1.0, 0.0, 0.0, 1.0, 0.0, 1.0]
    mask = torch.rand(8, 5) < 0.8
    values = Gtpo()(batch_of(rewards, 4, mask=mask, entropies=H)).values
    close(values[4:], Gtpo()(batch_of(rewards[4:], 4, mask=mask[4:], entropies=H[4:])).values)
    order = [2, 3, 0, 1, 7, 6, 5, 4]
    swapped = batch_of([rewards[i] for i in order], 4, mask=mask[order], entropies=H[order])
    close(Gtpo()(swapped).values, values[order])
    wide = torch.cat([mask, torch.zeros(8, 2).bool()], 1)
    padded = batch_of(rewards, 4, mask=wide, entropies=torch.cat([H, torch.full((8, 2), inf).double()], 1))
    assert torch.equal(Gtpo()(padded).values[:, :5], values)


def test_signals_it_needs(batch_of):
    assert Gtpo.needs == {"entropies"}
    with pytest.raises(MissingSignal, match="entropies"):
        Gtpo()(batch_of([1.0, 0.0], 2))


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"reward_weight": -1.0}, "reward_weight"),
        ({"entropy_weight": -0.1}, "entropy_weight"),
        ({"normalise": "sides"}, "normalise.*did you mean 'side'"),
        ({"correct_above": nan}, "correct_above"),
        ({"epsilon": 0.0}, "epsilon"),
    ],
)
def test_wrong_options_are_refused(options, message):
    with pytest.raises(ValueError, match=f"Gtpo.*{message}"):
        Gtpo(**options)

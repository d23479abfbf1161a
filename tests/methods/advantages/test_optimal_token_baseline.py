"""OTB: baselines by hand at every token, then what has no weight, no peer or no reward."""

import math

import pytest
import torch

from methods import MissingSignal, RolloutBatch
from methods.advantages.leave_one_out import LeaveOneOut
from methods.advantages.optimal_token_baseline import OptimalTokenBaseline

nan = math.nan

# o_0: p = 1/2, Σπ² = 1/2, then p = 1/4, Σπ² = 3/8: w = 1/2, 7/8, W = 1/2, 11/8
# o_1: p = 1/2, Σπ² = 3/8, then p = 1/2, Σπ² = 1/2: w = 3/8, 1/2, W = 3/8, 7/8
# o_2: p = 3/4, Σπ² = 5/8:                           w = 1/8,      W = 1/8
REWARDS = [1.0, 0.0, 0.5]
P = torch.tensor([[0.5, 0.25], [0.5, 0.5], [0.75, nan]], dtype=torch.float64)
SQUARES = torch.tensor([[0.5, 0.375], [0.375, 0.5], [0.625, nan]], dtype=torch.float64)
MASK = [[1, 1], [1, 1], [1, 0]]
# t = 1: B = (1·1/2 + 0·3/8 + 1/2·1/8) / (1/2 + 3/8 + 1/8) = 9/16
# t = 2, o_2 has ended: B = (1·11/8 + 0·7/8) / (18/8) = 11/18
BY_HAND = [[7 / 16, 7 / 18], [-9 / 16, -11 / 18], [-1 / 16, 0.0]]


@pytest.fixture
def small(batch_of):
    return batch_of(REWARDS, 3, mask=MASK, logps=P.log(), sum_sq_probs=SQUARES)


def credit(batch, **options):
    return OptimalTokenBaseline(**{"epsilon": 0.0} | options)(batch).values


def test_baseline_of_every_token_by_hand(small, close):
    close(credit(small), BY_HAND)


def test_epsilon_draws_the_baseline_to_the_group_mean(small, close):
    # the mean is 1/2. t = 1: B = 1/2 + (1/2·1/2 − 1/2·3/8 + 0·1/8)/(1 + ε) = 1/2 + 1/16/(1 + ε)
    # t = 2: B = 1/2 + (1/2·11/8 − 1/2·7/8)/(18/8 + ε) = 1/2 + 1/4/(9/4 + ε);  at ε = 1: 17/32 and 15/26
    close(
        credit(small, epsilon=1.0),
        [[1 - 17 / 32, 1 - 15 / 26], [-17 / 32, -15 / 26], [0.5 - 17 / 32, 0.0]],
    )


def test_the_default_epsilon_is_out_of_sight(small, close):
    close(OptimalTokenBaseline()(small).values, BY_HAND, tolerance=1e-7)


TAIL = [[1, 1], [1, 0], [1, 0]]


def test_behind_the_second_longest_completion_the_reward_stays_as_it_is(batch_of, close):
    # t = 2 has o_0 only: no baseline, A = R = 3; t = 1 as above with R = 3, 0, 1/2: B = (3/2 + 1/16)/1
    batch = batch_of([3.0, 0.0, 0.5], 3, mask=TAIL, logps=P.log(), sum_sq_probs=SQUARES)
    close(credit(batch), [[3 - 25 / 16, 3.0], [-25 / 16, 0.0], [0.5 - 25 / 16, 0.0]])


def test_or_its_baseline_is_its_own_reward(batch_of, close):
    batch = batch_of([3.0, 0.0, 0.5], 3, mask=TAIL, logps=P.log(), sum_sq_probs=SQUARES)
    for epsilon in (0.0, 1.0):
        assert credit(batch, handle_zero_tail=False, epsilon=epsilon)[0, 1] == 0
    close(credit(batch, handle_zero_tail=False)[:, 0], [3 - 25 / 16, -25 / 16, 0.5 - 25 / 16])


def test_two_that_end_together_leave_no_tail(small):
    assert torch.equal(credit(small), credit(small, handle_zero_tail=False))


def test_places_are_counted_in_the_completion_s_own_tokens(batch_of, close):
    # a foreign token in the middle of o_0 and padding before o_1 shift nothing
    mask = [[1, 0, 1, 0], [0, 0, 1, 1], [1, 0, 0, 0]]
    p, squares = torch.full((2, 3, 4), nan, dtype=torch.float64)
    p[torch.tensor(mask).bool()] = P[torch.tensor(MASK).bool()]
    squares[torch.tensor(mask).bool()] = SQUARES[torch.tensor(MASK).bool()]
    values = credit(batch_of(REWARDS, 3, mask=mask, logps=p.log(), sum_sq_probs=squares))
    close(values[0], [7 / 16, 0.0, 7 / 18, 0.0])
    close(values[1], [0.0, 0.0, -9 / 16, -11 / 18])
    close(values[2], [-1 / 16, 0.0, 0.0, 0.0])


def test_unscorable_rows_have_no_say_and_no_length(batch_of, close):
    # between the rows of the example an unscorable one, twice as long, and a group with one valid row
    rewards = [1.0, nan, 0.0, 0.5, nan, 2.0, nan, nan]
    mask = torch.zeros(8, 4).bool()
    mask[[0, 2, 3], :2] = torch.tensor(MASK).bool()
    mask[1], mask[4:] = True, True
    p, squares = torch.full((2, 8, 4), 0.5, dtype=torch.float64)
    p[[0, 2, 3], :2], squares[[0, 2, 3], :2] = P, SQUARES
    values = credit(batch_of(rewards, 4, mask=mask, logps=p.log(), sum_sq_probs=squares))
    close(values[[0, 2, 3], :2], BY_HAND)
    assert (values[1] == 0).all() and (values[4:] == 0).all()
    # only scorable rows keep a token from being the last one's alone
    batch = batch_of(
        [1.0, nan, 0.0], 3, mask=[[1, 1], [1, 1], [1, 0]], logps=P.nan_to_num(0.5).log(), sum_sq_probs=SQUARES
    )
    assert credit(batch)[0, 1] == 1.0


def test_groups_are_apart(batch_of, close):
    batch = batch_of(
        [5.0, 9.0, 6.0, *REWARDS],
        3,
        mask=MASK + MASK,
        logps=torch.cat([P.flip(0).nan_to_num(0.5), P]).log(),
        sum_sq_probs=torch.cat([SQUARES.flip(0).nan_to_num(0.5), SQUARES]),
    )
    close(credit(batch)[3:], BY_HAND)


def test_credit_sums_to_zero_under_its_weights(batch_of, close):
    """Σ_i W_it·A_it = 0 at every place: what makes B the least-squares baseline under W."""
    generator = torch.Generator().manual_seed(0)
    probs = torch.rand(6, 5, 7, generator=generator, dtype=torch.float64).softmax(-1)
    p, squares = probs[..., 0], probs.square().sum(-1)
    batch = batch_of(torch.rand(6, generator=generator), 6, length=5, logps=p.log(), sum_sq_probs=squares)
    W = ((1 - p).square() + squares - p.square()).cumsum(1)
    close((W * credit(batch)).sum(0), [0.0] * 5)


def test_equal_energy_is_the_group_mean(batch_of, close):
    even = {"logps": torch.full((4, 3), math.log(0.5)), "sum_sq_probs": torch.full((4, 3), 0.5)}
    batch = batch_of([1.0, 0.0, 0.0, 0.0], 4, length=3, **even)
    rloo = LeaveOneOut()(batch).values
    close(credit(batch), 3 / 4 * rloo, tolerance=1e-7)


def test_certain_tokens_have_no_energy_and_the_group_mean_serves(batch_of, close):
    sure = {"logps": torch.zeros(2, 2), "sum_sq_probs": torch.ones(2, 2)}
    batch = batch_of([1.0, 0.0], 2, **sure)
    for epsilon in (1e-8, 0.0):
        close(credit(batch, epsilon=epsilon), [[0.5, 0.5], [-0.5, -0.5]])


def test_rounding_does_not_make_energy_negative(batch_of):
    # 1 − p = 1e-6, and Σπ² below p² by float32 rounding: w = 1e-12, where 1 − 2p + Σπ² would be negative
    p = 1 - 1e-6
    logps = torch.tensor([[math.log(p)], [math.log(p)]], dtype=torch.float64)
    squares = torch.tensor([[p * p - 6e-8], [p * p]], dtype=torch.float64)
    values = credit(batch_of([1.0, 0.0], 2, length=1, logps=logps, sum_sq_probs=squares))
    assert 1 - 2 * p + p * p - 6e-8 < 0
    assert values[0, 0] == pytest.approx(0.5, abs=1e-9) and values[1, 0] == pytest.approx(-0.5, abs=1e-9)


@pytest.mark.parametrize("reward", [0.1, 1 / 3, 1e6 + 0.1])
def test_equal_rewards_are_exactly_zero_but_on_the_tail(batch_of, reward):
    signals = {"logps": P.log(), "sum_sq_probs": SQUARES}
    assert (credit(batch_of([reward] * 3, 3, mask=MASK, **signals)) == 0).all()
    tail = credit(batch_of([reward] * 3, 3, mask=TAIL, **signals))
    assert tail.tolist() == [[0.0, reward], [0.0, 0.0], [0.0, 0.0]]


def test_small_differences_on_large_rewards(batch_of, close):
    step = 2.0**-20
    batch = batch_of([1e6 + 2 * step, 1e6, 1e6 + step], 3, mask=MASK, logps=P.log(), sum_sq_probs=SQUARES)
    close(credit(batch) / step, 2 * torch.tensor(BY_HAND, dtype=torch.float64))


def test_rows_permute_along(small, batch_of, close):
    order = [2, 0, 1]
    batch = batch_of(
        [REWARDS[i] for i in order],
        3,
        mask=[MASK[i] for i in order],
        logps=P[order].log(),
        sum_sq_probs=SQUARES[order],
    )
    close(credit(batch), credit(small)[order])


def test_metrics_by_hand(batch_of, small, close):
    metrics = OptimalTokenBaseline(epsilon=0.0)(small).metrics
    assert metrics["otb_tail_share"] == 0.0
    # B − R̄ = 1/16 on three tokens, 1/9 on two
    close(metrics["otb_shift"], math.sqrt((3 / 16**2 + 2 / 81) / 5))
    tail = batch_of([3.0, 0.0, 0.5], 3, mask=TAIL, logps=P.log(), sum_sq_probs=SQUARES)
    metrics = OptimalTokenBaseline(epsilon=0.0)(tail).metrics
    assert metrics["otb_tail_share"] == 1 / 4
    close(metrics["otb_shift"], 25 / 16 - 3.5 / 3)  # of the tokens that have a baseline
    mute = batch_of(
        [3.0, 0.0, 0.5, nan],
        4,
        mask=[*TAIL, [1, 1]],
        logps=torch.cat([P, P[:1]]).log(),
        sum_sq_probs=torch.cat([SQUARES, SQUARES[:1]]),
    )
    assert OptimalTokenBaseline(epsilon=0.0)(mute).metrics == metrics  # an unscorable row is in neither
    nothing = batch_of([nan, 1.0], 2, logps=P[:2].log(), sum_sq_probs=SQUARES[:2])
    assert OptimalTokenBaseline()(nothing).metrics == {"otb_shift": 0.0, "otb_tail_share": 0.0}


def test_completions_without_tokens(batch_of):
    values = credit(
        batch_of([1.0, 0.0, 0.5], 3, mask=[[1, 1], [0, 0], [1, 0]], logps=P.log(), sum_sq_probs=SQUARES)
    )
    assert values.isfinite().all() and (values[1] == 0).all() and values[0, 1] == 1.0
    empty = RolloutBatch.from_tensors(
        torch.zeros(2, 0, dtype=torch.int64),
        torch.zeros(2, 0).bool(),
        [1.0, 0.0],
        2,
        logps=torch.zeros(2, 0),
        sum_sq_probs=torch.zeros(2, 0),
    )
    assert OptimalTokenBaseline()(empty).values.shape == (2, 0)


def test_a_broken_signal_is_not_smoothed_over(batch_of):
    logps = P.nan_to_num(0.5).log()
    logps[1, 0] = nan
    values = credit(batch_of(REWARDS, 3, mask=MASK, logps=logps, sum_sq_probs=SQUARES))
    assert values[:, 0].isnan().all()


def test_signals_are_named(batch_of):
    assert OptimalTokenBaseline.needs == {"logps", "sum_sq_probs"}
    with pytest.raises(MissingSignal, match="sum_sq_probs"):
        OptimalTokenBaseline()(batch_of([1.0, 0.0], 2, logps=torch.zeros(2, 2)))


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"epsilon": -1e-8}, "OptimalTokenBaseline.epsilon must not be negative"),
        ({"epsilon": nan}, "OptimalTokenBaseline.epsilon must not be negative"),
        ({"handle_zero_tail": 1}, "OptimalTokenBaseline.handle_zero_tail.*bool"),
    ],
)
def test_wrong_options_are_refused(options, message):
    with pytest.raises(ValueError, match=message):
        OptimalTokenBaseline(**options)

"""PRIME: process rewards, their leave-one-out returns and the reward model's step by hand."""

import copy
import io
import math

import pytest
import torch
from torch import nn

from methods import MissingSignal, RolloutBatch
from methods.advantages.implicit_prm import ImplicitPrm
from methods.advantages.leave_one_out import LeaveOneOut

nan = math.nan


class Words(nn.Module):
    """log π_φ(o_t) = w[o_t], one number a word: q = w − ref and ∂q_t/∂w[o_t] = 1."""

    def __init__(self, weights, dtype=torch.float64):
        super().__init__()
        self.w = nn.Parameter(torch.tensor(weights, dtype=dtype))


class Seen:
    """The module through one batch, as the trainer hands it out: a new object every time."""

    def __init__(self, module, batch, asked):
        self.module, self.batch, self.asked = module, batch, asked

    def parameters(self):
        return self.module.parameters()

    def logps(self, rows):
        self.asked.append(list(rows))
        return self.module.w[self.batch.completion_ids[rows]].where(self.batch.mask[rows], 0.0)


class Provider:
    def __init__(self, module):
        self.module, self.asked = module, []

    def auxiliary(self, batch):
        return Seen(self.module, batch, self.asked)


def make(module, ids, rewards, *, mask=None, ref=None, group_size=2):
    ids = torch.tensor(ids)
    mask = torch.ones(ids.shape) if mask is None else torch.as_tensor(mask)
    ref = torch.zeros(ids.shape) if ref is None else torch.as_tensor(ref)
    return RolloutBatch.from_tensors(ids, mask, rewards, group_size, provider=Provider(module), ref_logps=ref)


# words 0 and 1 in the right completion, 2 and 3 in the wrong one: q = (.2, .4) and (−.2, 0)
WEIGHTS, IDS, REWARDS = [0.2, 0.4, -0.2, 0.0], [[0, 1], [2, 3]], [1.0, 0.0]
# β = 1/2: z = .3 and −.1
S0, S1 = 1 / (1 + math.exp(-0.3)), 1 / (1 + math.exp(0.1))


def plain(**options):
    """Coefficients of 1, nothing whitened, and a floor that makes r = q on the example: .6 + .4 = 1."""
    options = {
        "process_coef": 1.0,
        "outcome_coef": 1.0,
        "whiten": False,
        "norm_floor": 0.4,
        "beta": 0.5,
    } | options
    return ImplicitPrm(**options)


def test_credit_by_hand(close):
    # r̄ = .3 and −.1, sum .2; n = 2: 2r − .2 = (.2, .6) and (−.6, −.2), to the end (.8, .6) and (−.8, −.2)
    # outcome: 1 − 0 and 0 − 1
    credit = plain()(make(Words(WEIGHTS), IDS, REWARDS))
    close(credit.values, [[1.8, 1.6], [-1.8, -1.2]])
    # σ(β·Σ_{s<t} q_s), β = 1/2: of nothing, then of q_1 = .2 and −.2
    close(credit.state_values, [[0.5, 1 / (1 + math.exp(-0.1))], [0.5, 1 / (1 + math.exp(0.1))]])


def test_coefficients_by_hand(close):
    batch = make(Words(WEIGHTS), IDS, REWARDS)
    close(plain(process_coef=2.0, outcome_coef=0.0)(batch).values, [[1.6, 1.2], [-1.6, -0.4]])
    batch = make(Words(WEIGHTS), IDS, REWARDS)
    close(plain(process_coef=0.0, outcome_coef=3.0)(batch).values, [[3.0, 3.0], [-3.0, -3.0]])


def test_without_norm_by_hand(close):
    # r = q/2: half the process part
    close(plain(norm="none")(make(Words(WEIGHTS), IDS, REWARDS)).values, [[1.4, 1.3], [-1.4, -1.1]])


def test_norm_is_the_largest_return_of_the_batch_by_hand(close):
    # a second group with q = (.2, .2), (−3, 1): its returns .4, .2, −2, 1: the largest is |−2|, in the middle of none
    module = Words([*WEIGHTS, -3.0, 1.0])
    batch = make(module, [[0, 1], [2, 3], [0, 0], [4, 5]], [*REWARDS, 1.0, 1.0])
    values = plain(norm_floor=0.5, outcome_coef=0.0)(batch).values
    close(values[:2], [[0.8 / 2.5, 0.6 / 2.5], [-0.8 / 2.5, -0.2 / 2.5]])
    # r̄ = .2 and −1, sum −.8: 2r + .8 = (1.2, 1.2) and (−5.2, 2.8), to the end (2.4, 1.2) and (−2.4, 2.8)
    close(values[2:], [[2.4 / 2.5, 1.2 / 2.5], [-2.4 / 2.5, 2.8 / 2.5]])


def test_leave_one_out_of_unequal_lengths_by_hand(close):
    # three completions, q = (.1, .2, .3), (.4) and (−.2, 0): r̄ = .2, .4, −.1, sum .5, largest return .6, r = q
    # (3r − .5)/2 = (−.1, .05, .2), (.35), (−.55, −.25); to the end (.15, .25, .2), (.35), (−.8, −.25)
    # R = 1, 1, 0: (3R − 2)/2 = ½, ½, −1
    module = Words([0.1, 0.2, 0.3, 0.4, -0.2, 0.0])
    ids, mask = [[0, 1, 2], [3, 3, 3], [4, 5, 5]], [[1, 1, 1], [1, 0, 0], [1, 1, 0]]
    values = plain()(make(module, ids, [1.0, 1.0, 0.0], mask=mask, group_size=3)).values
    close(values, [[0.65, 0.75, 0.7], [0.85, 0.0, 0.0], [-1.8, -1.25, 0.0]])


def test_whitened_by_hand(close):
    # (1.8, 1.6, −1.8, −1.2): mean .1, deviations 1.7, 1.5, −1.9, −1.3, unbiased variance 10.44/3
    s = math.sqrt(10.44 / 3 + 1e-8)
    values = plain(whiten=True)(make(Words(WEIGHTS), IDS, REWARDS)).values
    close(values, [[1.7 / s, 1.5 / s], [-1.9 / s, -1.3 / s]])


def test_reference_is_subtracted(close):
    ref = [[-1.0, 0.5], [2.0, 0.25]]
    module = Words([0.2, 0.4, -0.2, 0.0, -0.8, 0.9, 1.8, 0.25])
    values = plain()(make(module, [[4, 5], [6, 7]], REWARDS, ref=torch.tensor(ref).double())).values
    close(values, [[1.8, 1.6], [-1.8, -1.2]], tolerance=1e-9)


def test_metrics_by_hand(close):
    metrics = plain()(make(Words(WEIGHTS), IDS, REWARDS)).metrics
    close(metrics["prm_loss"], -(math.log(S0) + math.log(1 - S1)) / 2)
    assert metrics["prm_accuracy"] == 1.0


def test_accuracy_counts_pairs_by_hand():
    # scores .2, .4 (right) and .4, 0 (wrong): .2 < .4 lost, .2 > 0 won, .4 = .4 tied, .4 > 0 won: 2.5 of 4
    # and a group of right answers only, which has no pair
    module = Words([0.2, 0.4, 0.4, 0.0])
    batch = make(
        module, [[0], [1], [2], [3], [0], [1], [2], [3]], [1.0, 1.0, 0.0, 0.0] + [1.0] * 4, group_size=4
    )
    assert plain()(batch).metrics["prm_accuracy"] == 2.5 / 4
    equal = make(module, [[0], [1]], [1.0, 1.0])
    assert plain()(equal).metrics["prm_accuracy"] == 0.5


def test_accuracy_leaves_out_what_has_no_vote_by_hand():
    # right −.5 > wrong −1, beside an unscorable row; right .5 > wrong .2, beside an empty right one: 2 of 2 pairs
    module = Words([-0.5, -1.0, 0.5, 0.2])
    mask = [[1], [1], [1], [1], [1], [0]]
    batch = make(
        module, [[0], [1], [1], [2], [3], [3]], [1.0, 0.0, nan, 1.0, 0.0, 1.0], mask=mask, group_size=3
    )
    assert plain()(batch).metrics["prm_accuracy"] == 1.0


def test_unscorable_rows_do_not_count_in_whitening(close):
    module = Words([*WEIGHTS, 50.0])
    batch = make(module, [*IDS, [4, 4], [4, 4]], [*REWARDS, nan, nan])
    s = math.sqrt(10.44 / 3 + 1e-8)  # as without them, above
    close(plain(whiten=True)(batch).values[:2], [[1.7 / s, 1.5 / s], [-1.9 / s, -1.3 / s]])


def test_step_by_hand(close):
    # ∂/∂z = (σ − 1)/2 and σ/2, ∂/∂w = β times that; AdamW's first step is lr·g/(|g| + 1e-8)
    module = Words(WEIGHTS)
    plain(learning_rate=0.1)(make(module, IDS, REWARDS))
    g0, g1 = 0.5 * (S0 - 1) / 2, 0.5 * S1 / 2
    up, down = 0.1 * -g0 / (-g0 + 1e-8), 0.1 * g1 / (g1 + 1e-8)
    close(module.w.detach(), [0.2 + up, 0.4 + up, -0.2 - down, 0.0 - down])
    assert module.w.grad is None


def test_second_step_by_hand(close):
    # z moves to β·(.6 + .2) = .4 and β·(−.2 − .2) = −.2 (to 1e-7); Adam's means over both gradients
    module, method = Words(WEIGHTS), plain(learning_rate=0.1)
    for _ in range(2):
        method(make(module, IDS, REWARDS))
    first = [0.5 * (S0 - 1) / 2, 0.5 * S1 / 2]
    second = [0.5 * (1 / (1 + math.exp(-0.4)) - 1) / 2, 0.5 / (1 + math.exp(0.2)) / 2]
    moves = []
    for a, b in zip(first, second, strict=True):
        m, v = (0.09 * a + 0.1 * b) / 0.19, (0.999e-3 * a**2 + 1e-3 * b**2) / (1 - 0.999**2)
        moves.append(-math.copysign(0.1, a) - 0.1 * m / math.sqrt(v))
    close(module.w.detach(), [0.2 + moves[0], 0.4 + moves[0], -0.2 + moves[1], moves[1]], tolerance=1e-6)


def test_gradient_is_clipped_by_hand(close):
    # to the norm 1e-8, the size of Adam's ε: ĝ = 1e-8·g/(‖g‖ + 1e-6), a step of lr·ĝ/(|ĝ| + 1e-8)
    module = Words(WEIGHTS)
    plain(learning_rate=0.1, grad_clip=1e-8)(make(module, IDS, REWARDS))
    g0, g1 = 0.5 * (S0 - 1) / 2, 0.5 * S1 / 2
    norm = math.sqrt(2 * g0**2 + 2 * g1**2) + 1e-6
    step = [0.1 * g / norm / (abs(g) / norm + 1) for g in (g0, g1)]
    close(module.w.detach(), [0.2 - step[0], 0.4 - step[0], -0.2 - step[1], -step[1]], tolerance=1e-9)


def test_no_weight_decays(close):
    module = Words([*WEIGHTS, 5.0])  # a word that does not occur
    plain(learning_rate=0.1)(make(module, IDS, REWARDS))
    close(module.w.detach()[4], 5.0)


def test_before_gives_the_rewards_of_the_updated_model_by_hand(close):
    # after the step q = (.3, .5), (−.3, −.1) to 1e-7: the largest return .8, with floor .2 r = q
    # r̄ = .4 and −.2, sum .2: 2r − .2 = (.4, .8), (−.8, −.4), to the end (1.2, .8), (−1.2, −.4)
    options = {"learning_rate": 0.1, "norm_floor": 0.2}
    credit = plain(update="before", **options)(make(Words(WEIGHTS), IDS, REWARDS))
    close(credit.values, [[2.2, 1.8], [-2.2, -1.4]], tolerance=1e-6)
    after = plain(update="after", **options)(make(Words(WEIGHTS), IDS, REWARDS))
    assert credit.metrics == after.metrics  # both of the model before the step


def test_one_pass_after_and_two_before():
    for update, passes in (("after", 1), ("before", 2)):
        batch = make(Words(WEIGHTS), IDS, REWARDS)
        plain(update=update)(batch)
        assert batch.provider.asked == [[0, 1]] * passes


def test_correctness_is_a_threshold_by_hand(close):
    # with 0.5 enough both are right: σ grows for both
    module = Words(WEIGHTS)
    plain(learning_rate=0.1, correct_reward=0.5)(make(module, IDS, [1.0, 0.5]))
    close(module.w.detach(), [0.3, 0.5, -0.1, 0.1], tolerance=1e-6)
    module = Words(WEIGHTS)
    plain(learning_rate=0.1)(make(module, IDS, [1.0, 0.5]))
    close(module.w.detach(), [0.3, 0.5, -0.3, -0.1], tolerance=1e-6)


def test_an_untrained_model_leaves_leave_one_out(close):
    batch = make(Words([0.0] * 4), [[0, 1], [2, 3], [1, 1], [0, 2]], [1.0, 0.0, 0.5, 0.0], group_size=4)
    close(plain()(batch).values, LeaveOneOut()(batch).values)
    equal = make(Words([0.0] * 4), IDS, [0.1, 0.1])
    assert (ImplicitPrm()(equal).values == 0).all()


def test_rounding_between_two_passes_is_no_reward():
    module = Words([1e-6, -1e-6, 1e-6, -2e-6])
    credit = ImplicitPrm(whiten=False, process_coef=1.0, outcome_coef=1.0)(make(module, IDS, REWARDS))
    assert (credit.values - torch.tensor([[1.0, 1.0], [-1.0, -1.0]])).abs().max() < 0.01


def test_unscorable_rows_and_empty_ones(close):
    # an unscorable row between those of the example, an empty completion behind them: the process rewards are the
    # example's; the outcome has three votes, R = 1, 0, 0: (3R − 1)/2 = 1, −½
    module = Words([*WEIGHTS, 50.0])
    ids, mask = [[0, 1], [4, 4], [2, 3], [4, 4]], [[1, 1], [1, 1], [1, 1], [0, 0]]
    ref = torch.tensor([[0.0, 0.0], [nan, nan], [0.0, 0.0], [nan, nan]])
    batch = make(module, ids, [1.0, nan, 0.0, 0.0], mask=mask, ref=ref, group_size=4)
    credit = plain(learning_rate=0.1)(batch)
    close(credit.values, [[1.8, 1.6], [0.0, 0.0], [-0.8 - 0.5, -0.2 - 0.5], [0.0, 0.0]])
    assert batch.provider.asked == [[0, 2]]
    alone = Words([*WEIGHTS, 50.0])
    expected = plain(learning_rate=0.1)(make(alone, IDS, REWARDS)).metrics
    close(credit.metrics["prm_loss"], expected["prm_loss"])
    assert torch.equal(module.w, alone.w)


def test_a_group_with_one_scorable_row_gets_nothing():
    batch = make(Words(WEIGHTS), [*IDS, *IDS], [*REWARDS, 1.0, nan])
    credit = plain()(batch)
    assert (credit.values[2:] == 0).all() and (credit.values[:2] != 0).all()
    assert batch.provider.asked == [[0, 1, 2]]  # it teaches φ all the same


def test_nothing_scorable_leaves_the_model_alone():
    module, method = Words(WEIGHTS), plain()
    batch = make(module, IDS, [nan, nan])
    credit = method(batch)
    assert (credit.values == 0).all() and batch.provider.asked == []
    assert credit.metrics == {"prm_loss": 0.0, "prm_accuracy": 0.5}
    assert module.w.tolist() == WEIGHTS


def random_batch(module, seed, pad=0):
    generator = torch.Generator().manual_seed(seed)
    ids = torch.randint(6, (8, 5), generator=generator)
    lengths = torch.randint(1, 6, (8,), generator=generator)
    mask = torch.arange(5 + pad)[None] < lengths[:, None]
    ids = torch.cat([ids, torch.zeros(8, pad).long()], 1)
    ref = torch.full((8, 5 + pad), nan).double()
    ref[mask] = torch.randn(int(mask.sum()), generator=generator, dtype=torch.float64)
    rewards = torch.randint(2, (8,), generator=generator).double()
    return make(module, ids.tolist(), rewards, mask=mask, ref=ref, group_size=4)


@pytest.mark.parametrize("update", ["after", "before"])
def test_rows_of_a_pass_do_not_change_the_result(close, update):
    found = []
    for pass_rows in (1, 3, 8, 100):
        module = Words([0.1, 0.2, -0.3, 0.4, 0.0, -0.1])
        method = ImplicitPrm(pass_rows=pass_rows, update=update, learning_rate=0.05)
        credits = [method(random_batch(module, seed)) for seed in range(3)]
        found.append((torch.stack([c.values for c in credits]), module.w.detach(), credits[-1].metrics))
    for values, weights, metrics in found[1:]:
        close(values, found[0][0], tolerance=1e-10)
        close(weights, found[0][1], tolerance=1e-10)
        close(metrics["prm_loss"], found[0][2]["prm_loss"])


def test_padding_and_row_order_do_not_matter(close):
    start = [0.1, 0.2, -0.3, 0.4, 0.0, -0.1]
    expected = ImplicitPrm()(random_batch(Words(start), 0)).values
    padded = ImplicitPrm()(random_batch(Words(start), 0, pad=3)).values
    close(padded, torch.cat([expected, torch.zeros(8, 3).double()], 1))
    plain_batch, order = random_batch(Words(start), 0), [2, 0, 3, 1, 4, 7, 6, 5]
    swapped = make(
        Words(start),
        plain_batch.completion_ids[order].tolist(),
        plain_batch.rewards[order],
        mask=plain_batch.mask[order],
        ref=plain_batch.ref_logps[order],
        group_size=4,
    )
    close(ImplicitPrm()(swapped).values, expected[order], tolerance=1e-10)


def test_learns_to_tell_right_from_wrong():
    # word 0 stands only in right completions, word 1 only in wrong ones
    module, method = Words([0.0] * 4), ImplicitPrm(beta=0.5, learning_rate=0.1)
    ids, rewards = [[0, 2, 3], [1, 2, 3], [2, 0, 2], [3, 3, 1]], [1.0, 0.0, 1.0, 0.0]
    found = [method(make(module, ids, rewards, group_size=4)) for _ in range(40)]
    assert found[0].metrics["prm_loss"] == pytest.approx(math.log(2))
    assert found[-1].metrics["prm_loss"] < 0.3 and found[-1].metrics["prm_accuracy"] == 1.0
    A = found[-1].values  # A_t − A_{t+1} is the process reward of token t, but for the scale
    assert A[0, 0] - A[0, 1] > 0 > A[1, 0] - A[1, 1]
    assert A[2, 1] - A[2, 2] > A[2, 0] - A[2, 1]


def test_a_run_taken_up_again_gives_the_same_credit():
    start = [0.1, 0.2, -0.3, 0.4, 0.0, -0.1]
    module, straight = Words(start), ImplicitPrm(learning_rate=0.05)
    expected = [straight(random_batch(module, seed)) for seed in range(5)]
    weights = module.w.detach().clone()

    module, before, after = Words(start), ImplicitPrm(learning_rate=0.05), ImplicitPrm(learning_rate=0.05)
    for seed in range(2):
        before(random_batch(module, seed))
    restored, file = (
        copy.deepcopy(module),
        io.BytesIO(),
    )  # the trainer saves the parameters, the part the rest
    state = before.state_dict()
    before(random_batch(module, 9))  # what follows does not reach the saved state
    torch.save(state, file)
    file.seek(0)
    after.load_state_dict(torch.load(file, weights_only=True))
    assert str(after.state_dict()) == str(state)  # also before its first batch
    for seed in range(2, 5):
        again = after(random_batch(restored, seed))
        assert torch.equal(again.values, expected[seed].values) and again.metrics == expected[seed].metrics
    assert torch.equal(restored.w, weights)
    assert ImplicitPrm().state_dict() == {}


def test_a_run_taken_back_gives_the_same_credit():
    module, method = Words([0.1, 0.2, -0.3, 0.4, 0.0, -0.1]), ImplicitPrm(learning_rate=0.05)
    method(random_batch(module, 0))
    weights, state = module.w.detach().clone(), method.state_dict()
    first = method(random_batch(module, 1)).values
    module.w.data.copy_(weights)
    method.load_state_dict(state)
    method(random_batch(module, 1))
    end = module.w.detach().clone()
    module.w.data.copy_(weights)
    method.load_state_dict(state)
    assert torch.equal(method(random_batch(module, 1)).values, first)
    assert torch.equal(module.w, end)
    once = module.w.detach().clone()
    module.w.data.copy_(weights)
    method(random_batch(module, 1))  # without the state of then, the step is another
    assert not torch.equal(module.w, once)


def test_works_where_gradients_are_off_and_leaves_global_randomness_alone():
    module = Words(WEIGHTS)
    state = torch.get_rng_state()
    with torch.no_grad():
        credit = plain()(make(module, IDS, REWARDS))
    assert not credit.values.requires_grad and module.w.tolist() != WEIGHTS
    assert torch.equal(torch.get_rng_state(), state)


def test_gradients_left_by_others_do_not_count():
    module, other = Words(WEIGHTS), Words(WEIGHTS)
    module.w.grad = torch.full((4,), 100.0).double()
    for one in (module, other):
        plain(learning_rate=0.1)(make(one, IDS, REWARDS))
    assert torch.equal(module.w, other.w)


def test_half_and_single_precision_models_count_in_float64(close):
    values = plain()(make(Words(WEIGHTS, torch.float32), IDS, REWARDS)).values
    assert values.dtype == torch.float64
    close(values, [[1.8, 1.6], [-1.8, -1.2]], tolerance=1e-6)


def test_frozen_parameters_are_left_out():
    module = Words(WEIGHTS)
    module.frozen = nn.Parameter(torch.ones(2), requires_grad=False)
    plain()(make(module, IDS, REWARDS))
    assert module.frozen.tolist() == [1.0, 1.0]


def test_another_model_is_refused():
    method = plain()
    method(make(Words(WEIGHTS), IDS, REWARDS))
    with pytest.raises(ValueError, match="auxiliary: not the model"):
        method(make(Words(WEIGHTS), IDS, REWARDS))


def test_work_it_needs_is_named(batch_of):
    assert ImplicitPrm.needs == {"auxiliary", "ref_logps"} and ImplicitPrm.scope == "batch"
    with pytest.raises(MissingSignal, match="auxiliary"):
        ImplicitPrm()(batch_of([1.0, 0.0], 2))


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"beta": 0.0}, "only the coefficients may be 0.*beta=0.0"),
        ({"update": "never"}, "update.*after, before"),
        ({"learning_rate": -1.0}, "no number negative"),
        ({"grad_clip": 0.0}, "only the coefficients"),
        ({"process_coef": -1.0}, "no number negative.*process_coef=-1.0"),
        ({"outcome_coef": -1.0}, "no number negative"),
        ({"outcome_coef": nan}, "no number negative"),
        ({"norm": "group"}, "norm.*batch, none"),
        ({"norm_floor": 0.0}, "only the coefficients"),
        ({"whiten": "no"}, "whiten.*bool"),
        ({"correct_reward": "all"}, "correct_reward.*float"),
        ({"pass_rows": 0}, "only the coefficients"),
    ],
)
def test_wrong_options_are_refused(options, message):
    with pytest.raises(ValueError, match=message):
        ImplicitPrm(**options)

"""PPO's critic: advantages by hand, then what the fit learns and how it is taken up again."""

import io
import math

import pytest
import torch

from methods import MissingSignal, RolloutBatch
from methods.advantages.gae import Gae

nan = math.nan


def learner(**options):
    """One Adam step a batch, large, nothing whitened or clipped."""
    return Gae(
        **{"whiten": False, "epochs": 1, "minibatches": 1, "learning_rate": 0.25, "value_clip": 0.0} | options
    )


@pytest.fixture
def first(batch_of):
    """After it a `learner` has V(h) = (h − 1)/4, to 1e-7.

    Two completions of one token, h = 3 and 1, R = 1 and 0: x = h − 2 = ±1, errors −1 and 0, both gradients −1/2,
    and Adam's first step is the learning rate: w = b = 1/4.
    """
    return batch_of([1.0, 0.0], 2, length=1, hidden=torch.tensor([[[3.0]], [[1.0]]]))


def test_first_batch_has_value_0_by_hand(batch_of, close):
    # δ = 0, 0, 2 and A = λ²·2, λ·2, 2; the second completion has two tokens and R = −1
    batch = batch_of([2.0, -1.0], 2, mask=[[1, 1, 1], [1, 1, 0]], hidden=torch.randn(2, 3, 4))
    close(learner(lam=0.5)(batch).values, [[0.5, 1.0, 2.0], [-0.5, -1.0, 0.0]])


def test_later_batches_by_hand(first, batch_of, close):
    method = learner(lam=0.25, gamma=0.5)
    method(first)
    # V = 1, 1/2, 1/4 and R = 2:  δ_3 = 2 − 1/4, δ_2 = 1/2·1/4 − 1/2 = −3/8, δ_1 = 1/2·1/2 − 1 = −3/4
    # A_3 = 7/4, A_2 = −3/8 + 1/8·7/4 = −5/32, A_1 = −3/4 − 1/8·5/32 = −197/256
    # the other completion: V = 0 and R = 0
    hidden = torch.tensor([[[5.0], [3.0], [2.0]], [[1.0], [1.0], [1.0]]])
    result = method(batch_of([2.0, 0.0], 2, length=3, hidden=hidden))
    close(result.values, [[-197 / 256, -5 / 32, 7 / 4], [0.0, 0.0, 0.0]], tolerance=1e-6)
    close(result.state_values, [[1.0, 0.5, 0.25], [0.0, 0.0, 0.0]], tolerance=1e-6)


def test_fit_is_clipped_by_hand(first, close):
    # after the first step V = 1/2 where G = 1: beyond 0 ± 0.2, (0.2 − 1)² > (1/2 − 1)², so no gradient is left
    # Adam goes on by m = −0.9·0.05 of 0.19 and v = 0.999·0.00025 of 1 − 0.999²
    method = learner(epochs=2, value_clip=0.2)
    method(first)
    move = 0.25 + 0.25 * (0.045 / 0.19) / math.sqrt(0.999 * 0.00025 / (1 - 0.999**2))
    close(method.learner.theta, [move, move], tolerance=1e-6)


def test_metrics_by_hand(first, batch_of, close):
    method = learner(lam=1.0)
    metrics = method(first).metrics
    # before the fit V = 0, G = 1 and 0: ½·(1 + 0)/2 = 1/4 of loss and nothing explained
    close(metrics["value_loss"], 0.25)
    close(metrics["explained_variance"], 0.0)
    # now V = 1/2 and 0: errors 1/2 and 0, ½·(1/4)/2 = 1/16; Var(G − V)/Var(G) = (1/8)/(1/2) = 1/4
    metrics = method(first).metrics
    close(metrics["value_loss"], 1 / 16, tolerance=1e-6)
    close(metrics["explained_variance"], 0.75, tolerance=1e-6)


def test_credit_is_of_the_critic_before_the_batch(first):
    method = learner(lam=1.0)
    assert method(first).values.tolist() == [[1.0], [0.0]]
    assert method(first).values[0, 0].item() == pytest.approx(
        0.5, abs=1e-6
    )  # 1 − V, V = 1/2 from the first batch


def test_whitened_by_hand(first, close):
    # A = 1 and 0: deviations ±1/2, unbiased variance 1/2
    s = math.sqrt(0.5 + 1e-8)
    close(learner(whiten=True)(first).values, [[0.5 / s], [-0.5 / s]])


def test_returns_are_not_whitened(first, close):
    method = learner(whiten=True)
    method(first)
    close(
        method.learner.theta, [0.25, 0.25], tolerance=1e-7
    )  # as without whitening, whose errors would be ±0.71


def test_minibatches_deal_out_prompts_in_turn(batch_of, monkeypatch):
    method = Gae(minibatches=2, epochs=2)
    taken = []
    monkeypatch.setattr(
        "methods.advantages.value_head.ValueHead.step", lambda self, hidden, places, *_: taken.append(places)
    )
    method(batch_of([1.0, 0.0] * 3, 2, length=2, hidden=torch.randn(6, 2, 3)))
    even, odd = [(i, 0, 2) for i in (0, 1, 4, 5)], [(i, 0, 2) for i in (2, 3)]
    assert taken == [even, odd, even, odd]


def test_more_minibatches_than_prompts_are_no_error(batch_of):
    method = learner(minibatches=5)
    method(batch_of([1.0, 0.0], 2, hidden=torch.randn(2, 2, 3)))
    assert method.learner.optimizer.state_dict()["state"][0]["step"] == 1


def planted(generator, count=32, length=6, width=8):
    """Completions whose reward is a linear function of what every one of their states shows, and of no other state."""
    direction = torch.linspace(-1, 1, width)
    seen = torch.randn(count, width, generator=generator)
    hidden = 30 * seen[:, None] + torch.randn(count, length, width, generator=generator) + 50
    rewards = (seen @ direction).double()
    return RolloutBatch.from_tensors(
        torch.zeros(count, length).long(), torch.ones(count, length), rewards, 4, hidden=hidden
    )


def test_learns_a_planted_value():
    generator = torch.Generator().manual_seed(0)
    method = Gae()
    found = [method(planted(generator)).metrics for _ in range(60)]
    assert found[0]["explained_variance"] == pytest.approx(0.0, abs=0.3)
    assert found[-1]["explained_variance"] > 0.95
    assert found[-1]["value_loss"] < 0.05 * found[0]["value_loss"]


def test_a_run_taken_up_again_gives_the_same_credit():
    def batches():
        generator = torch.Generator().manual_seed(1)
        return [planted(generator) for _ in range(6)]

    straight = Gae()
    expected = [straight(batch) for batch in batches()]
    before, after = Gae(), Gae()
    for batch in batches()[:3]:
        before(batch)
    file = io.BytesIO()
    torch.save(before.state_dict(), file)
    before(batches()[0])  # what follows does not reach the saved state
    file.seek(0)
    after.load_state_dict(torch.load(file, weights_only=True))
    for batch, credit in list(zip(batches(), expected, strict=True))[3:]:
        again = after(batch)
        assert torch.equal(again.values, credit.values) and again.metrics == credit.metrics
    assert Gae().state_dict() == {}


def test_unscorable_rows_and_garbage_outside_the_mask_teach_nothing(batch_of, close):
    torch.manual_seed(0)
    hidden = torch.randn(4, 3, 2)
    mask = torch.tensor([[1, 1, 1], [1, 1, 0], [1, 1, 1], [1, 0, 0]])
    clean = batch_of([1.0, 0.0, 0.5, 2.0], 2, mask=mask, hidden=hidden)
    dirty = batch_of(
        [1.0, 0.0, 0.5, 2.0, nan, nan],
        2,
        mask=torch.cat([mask, torch.ones(2, 3).int()]),
        hidden=torch.cat([hidden.masked_fill(mask[..., None] == 0, nan), torch.full((2, 3, 2), nan)]),
    )
    one, other = Gae(), Gae()
    for _ in range(3):
        expected, found = one(clean), other(dirty)
        close(found.values[:4], expected.values)
        assert (found.values[4:] == 0).all()
        close(found.metrics["value_loss"], expected.metrics["value_loss"])
    close(other.learner.theta, one.learner.theta)


def test_nothing_scorable_waits_for_the_next_batch(batch_of):
    method = Gae()
    credit = method(batch_of([nan, nan], 2, hidden=torch.full((2, 2, 3), 9.0)))
    assert (credit.values == 0).all() and credit.metrics == {"value_loss": 0.0, "explained_variance": 0.0}
    assert method.state_dict() == {}
    method(batch_of([1.0, 0.0], 2, hidden=torch.randn(2, 2, 3)))
    assert method.learner.mean.abs().max() < 3


def test_equal_returns_explain_nothing(batch_of):
    metrics = Gae(lam=1.0)(batch_of([0.1, 0.1], 2, hidden=torch.randn(2, 2, 3))).metrics
    assert metrics["explained_variance"] == 0.0


def test_padding_row_order_and_global_randomness_do_not_matter(batch_of, close):
    torch.manual_seed(0)
    hidden, rewards = torch.randn(4, 3, 2).double(), [1.0, 0.0, 0.5, 2.0]
    order = [1, 0, 3, 2]
    plain, padded, permuted = Gae(), Gae(), Gae()
    for _ in range(3):
        torch.rand(1)
        state = torch.get_rng_state()
        expected = plain(batch_of(rewards, 2, length=3, hidden=hidden)).values
        assert torch.equal(torch.get_rng_state(), state)
        wide = batch_of(
            rewards,
            2,
            mask=torch.cat([torch.ones(4, 3), torch.zeros(4, 2)], 1),
            hidden=torch.cat([hidden, torch.full((4, 2, 2), nan).double()], 1),
        )
        close(padded(wide).values, torch.cat([expected, torch.zeros(4, 2)], 1))
        swapped = batch_of([rewards[i] for i in order], 2, length=3, hidden=hidden[order])
        close(permuted(swapped).values, expected[order], tolerance=1e-10)


def test_signal_it_needs_is_named(batch_of):
    assert Gae.needs == {"hidden"} and Gae.scope == "batch"
    with pytest.raises(MissingSignal, match="hidden"):
        Gae()(batch_of([1.0, 0.0], 2))


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"lam": -0.1}, "lam"),
        ({"lam": 1.1}, "lam and gamma must lie between 0 and 1.*lam=1.1"),
        ({"gamma": 2.0}, "gamma"),
        ({"whiten": "off"}, "whiten.*bool"),
        ({"epochs": 0}, "only value_clip.*may be 0.*epochs=0"),
        ({"minibatches": 0}, "only value_clip"),
        ({"minibatches": 1.5}, "minibatches.*int"),
        ({"learning_rate": 0.0}, "only value_clip"),
        ({"value_clip": -0.2}, "none negative.*value_clip=-0.2"),
        ({"value_clip": nan}, "none negative"),
    ],
)
def test_wrong_options_are_refused(options, message):
    with pytest.raises(ValueError, match=message):
        Gae(**options)

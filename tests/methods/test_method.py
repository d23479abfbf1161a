import math
from dataclasses import replace
from functools import partial

import pytest
import torch

from methods import Credit, LiveBatch, Method, MissingSignal, RolloutBatch, Surrogate
from methods.advantages.group_mean import GroupMean
from methods.advantages.pairwise import Pairwise
from methods.shaping.none import NoShaping
from methods.shaping.rouge_l import RougeL
from methods.weightings.delta import Delta
from methods.weightings.oracle import Oracle
from methods.weightings.uniform import Uniform

nan = math.nan


def method(**parts):
    usual = {"name": "m", "shaping": None, "advantage": GroupMean(scale="none"), "weighting": Uniform()}
    return Method(**{**usual, "surrogate": Surrogate(), **parts})


def test_shaping_then_advantage_then_weighting(batch_of, close):
    def double_rewards(batch):
        return batch.with_rewards(batch.rewards * 2)

    def later_tokens(batch, credit):
        return replace(
            credit, values=credit.values * torch.tensor([0.0, 3.0]).double(), metrics={"kept": 0.5}
        )

    credit = method(shaping=double_rewards, weighting=later_tokens).credit(batch_of([1.0, 0.0, 0.0, nan], 2))
    close(credit.values, [[0.0, 3.0], [0.0, -3.0], [0.0, 0.0], [0.0, 0.0]])
    # advantages 1, 1, -1, -1 and 0, 0 over the six scorable tokens; final credits ±3 on two of them
    assert credit.metrics == {
        "advantage_rms": pytest.approx(math.sqrt(4 / 6)),
        "credit_rms": pytest.approx(math.sqrt(18 / 6)),
        "zero_variance_share": 0.5,
        "unscorable": 1.0,
        "shaping_mean": pytest.approx(1 / 3),
        "kept": 0.5,
    }
    assert all(type(value) is float for value in credit.metrics.values())


@pytest.mark.parametrize(
    ("rewards", "share", "unscorable"),
    [
        ([1.0, 0.0, 1.0, 1.0], 0.5, 0.0),
        ([0.1, 0.1, 0.1, 0.1], 1.0, 0.0),
        ([1.0, nan, 1.0, 0.0], 0.5, 1.0),  # one valid row has no variance
        ([nan, nan, nan, nan], 1.0, 4.0),
    ],
)
def test_counts_always_reported(batch_of, rewards, share, unscorable):
    metrics = method().credit(batch_of(rewards, 2)).metrics
    assert metrics["zero_variance_share"] == share and metrics["unscorable"] == unscorable
    assert metrics["shaping_mean"] == 0.0


def test_a_row_at_the_mean_is_no_group_without_variance(batch_of):
    assert method().credit(batch_of([1.0, 0.5, 0.0], 3)).metrics["zero_variance_share"] == 0.0


def test_parts_can_be_plain_functions_and_partials(batch_of):
    def constant(batch, value):
        return Credit.broadcast(torch.full((4,), value), batch.mask)

    assert (
        method(advantage=partial(constant, value=2.0)).credit(batch_of([1.0, 0.0, 1.0, 0.0], 2)).values.sum()
        == 16.0
    )


def test_metrics_of_advantage_and_weighting_are_merged(batch_of):
    logps = torch.tensor([[-1.0, -1.0], [-2.0, -2.0]])
    batch = batch_of([1.0, 0.0], 2, logps=logps, hidden=torch.randn(2, 2, 3))
    metrics = method(advantage=Pairwise(), weighting=Delta()).credit(batch).metrics
    assert {"pair_weight_sd", "pair_weight_saturated", "weight_mass", "advantage_rms"} <= set(metrics)


def test_needs_is_the_union(batch_of):
    assert method(shaping=RougeL(), advantage=Pairwise(), weighting=Delta()).needs == {
        "completions", "references", "logps", "hidden",
    }  # fmt: skip
    assert method(shaping=NoShaping(), weighting=Oracle()).needs == {"decisive"}
    assert method().needs == frozenset()

    def live(batch, credit, gain):
        return credit

    live.needs = frozenset({"entropies"})
    assert method(weighting=partial(live, gain=1.0)).needs == {"entropies"}


def test_a_missing_signal_says_who_wanted_it(batch_of):
    batch = batch_of([1.0, 0.0], 2)
    with pytest.raises(MissingSignal, match="'logps'.*method 'm', advantage Pairwise") as error:
        method(advantage=Pairwise()).credit(batch)
    assert error.value.name == "logps"
    with pytest.raises(MissingSignal, match="'hidden'.*method 'm', weighting Delta"):
        method(weighting=Delta()).credit(batch)
    with pytest.raises(MissingSignal, match="'completions'.*method 'm', shaping RougeL"):
        method(shaping=RougeL()).credit(batch)


def spoil(values):
    return lambda batch: Credit(values(batch))


def at(batch, row, column, value):
    values = torch.zeros(batch.mask.shape, dtype=torch.float64)
    values[row, column] = value
    return values


@pytest.mark.parametrize(
    ("values", "message"),
    [
        (lambda b: torch.zeros(2, 3).double(), r"method 'm', advantage .*values.*\(4, 2\).*\(2, 3\)"),
        (lambda b: torch.zeros(4, 2), "method 'm', advantage .*values.*float64.*float32"),
        (lambda b: at(b, 2, 1, nan), "method 'm', advantage .*values.*not finite.*row 2, token 1"),
        (lambda b: at(b, 0, 0, math.inf), "method 'm', advantage .*values.*not finite.*row 0, token 0"),
        (lambda b: at(b, 1, 1, 0.5), "method 'm', advantage .*values.*outside the mask.*row 1, token 1"),
        (lambda b: at(b, 1, 1, nan), "method 'm', advantage .*values.*not finite.*row 1, token 1"),
        (lambda b: at(b, 3, 0, 0.5), "method 'm', advantage .*values.*unscorable.*row 3, token 0"),
        (lambda b: [0.0] * 4, "method 'm', advantage .*values.*Tensor"),
    ],
)
def test_wrong_credit_is_refused_naming_method_part_and_field(batch_of, values, message):
    batch = batch_of([1.0, 0.0, 1.0, nan], 2, mask=[[1, 1], [1, 0], [1, 1], [1, 1]])
    with pytest.raises((ValueError, TypeError), match=message):
        method(advantage=spoil(values)).credit(batch)


def test_weighting_is_checked_too(batch_of):
    def broken(batch, credit):
        return Credit(credit.values * nan)

    with pytest.raises(ValueError, match="method 'm', weighting broken.*values"):
        method(weighting=broken).credit(batch_of([1.0, 0.0], 2))
    with pytest.raises(TypeError, match="method 'm', weighting <lambda>.*Credit.*Tensor"):
        method(weighting=lambda batch, credit: credit.values).credit(batch_of([1.0, 0.0], 2))


def test_shaping_is_checked(batch_of):
    def forgets(batch):
        return batch.with_rewards(torch.tensor([1.0, nan]).double())

    with pytest.raises(ValueError, match="method 'm', shaping forgets.*rewards.*row 1"):
        method(shaping=forgets).credit(batch_of([1.0, 0.0], 2))
    with pytest.raises(TypeError, match="method 'm', shaping <lambda>.*RolloutBatch.*Tensor"):
        method(shaping=lambda batch: batch.rewards).credit(batch_of([1.0, 0.0], 2))
    with pytest.raises(ValueError, match="rewards"):
        method(shaping=lambda batch: batch.with_rewards(torch.zeros(3).double())).credit(
            batch_of([1.0, 0.0], 2)
        )


def test_shaping_may_not_swap_the_batch(batch_of):
    other = batch_of([1.0, 0.0, 1.0, 0.0], 2)
    with pytest.raises(ValueError, match="method 'm', shaping <lambda>.*completion_ids"):
        method(shaping=lambda batch: other).credit(batch_of([1.0, 0.0], 2))


def test_sequence_level_ratio_is_refused_with_token_weights():
    gspo = Surrogate(importance_sampling_level="sequence", epsilon=3e-4, epsilon_high=4e-4)
    method(surrogate=gspo)
    with pytest.raises(ValueError, match="method 'm'.*sequence.*mean credit.*Delta.*uniform"):
        method(surrogate=gspo, weighting=Delta())


@pytest.mark.parametrize(
    ("parts", "message"),
    [
        ({"advantage": "pairwise"}, "method 'm', advantage.*callable.*'pairwise'"),
        ({"weighting": None}, "method 'm', weighting.*callable.*None"),
        ({"shaping": {"weight": 1}}, "method 'm', shaping.*callable"),
        ({"surrogate": "dapo"}, "method 'm', surrogate.*Surrogate.*'dapo'"),
    ],
)
def test_parts_of_the_wrong_kind_are_refused(parts, message):
    with pytest.raises(TypeError, match=message):
        method(**parts)


def test_completions_without_tokens(batch_of):
    empty = RolloutBatch.from_tensors(
        torch.zeros(2, 0, dtype=torch.int64), torch.zeros(2, 0).bool(), [1.0, 0.0], 2
    )
    credit = method().credit(empty)
    assert credit.values.shape == (2, 0) and credit.metrics["advantage_rms"] == 0.0


@pytest.mark.parametrize(
    "advantage", [GroupMean(), Pairwise(), Pairwise(score="zscore", pair_norm="weights", center=True)]
)
@pytest.mark.parametrize("weighting", [Uniform(), Delta(), Delta(proxy="head"), Oracle()])
def test_hard_batches_pass_every_part(batch_of, advantage, weighting):
    """NaN outside the mask, empty rows, single tokens, p = 1, NaN and huge rewards: finite, 0 where due."""
    torch.manual_seed(0)
    mask = torch.tensor(
        [[1, 1, 1], [1, 0, 0], [0, 0, 0], [1, 1, 0], [1, 0, 1], [1, 0, 0], [1, 1, 1], [0, 0, 0]]
    ).bool()
    logps = (-torch.rand(8, 3)).masked_fill(~mask, nan)
    logps[0, 0] = 0.0
    hidden = torch.randn(8, 3, 4).masked_fill(~mask[..., None], nan)
    probs = torch.randn(8, 3, 24).softmax(-1).masked_fill(~mask[..., None], nan)
    decisive = torch.randint(-1, 2, (8, 3)).to(torch.int8)
    step = 2.0**-20
    rewards = [1e6, 1e6 + step, 1e6 + 2 * step, nan, nan, 1.0, nan, nan]
    batch = batch_of(rewards, 4, mask=mask, logps=logps, hidden=hidden, probs=probs, decisive=decisive)
    values = method(advantage=advantage, weighting=weighting).credit(batch).values
    assert values.isfinite().all()
    assert (values[2:] == 0).all() and (values[~mask] == 0).all()
    if not isinstance(weighting, Oracle):
        assert (values[0, :3] != 0).all()


# Control, scale, live parts, what parts have learnt


def later(batch, credit):
    """Only the second of two tokens keeps its credit, doubled."""
    return Credit(credit.values * torch.tensor([0.0, 2.0]).double(), {"later": 1.0})


def test_control_acts_on_what_the_weighting_gave(batch_of, close):
    def swapped(batch, credit):
        return Credit(credit.values.flip(1), {"swapped": 1.0})

    credit = method(weighting=later, control=swapped).credit(batch_of([1.0, 0.0], 2))
    close(credit.values, [[1.0, 0.0], [-1.0, 0.0]])
    assert credit.metrics["later"] == credit.metrics["swapped"] == 1.0


def test_matched_scale_by_hand(batch_of, close):
    # rewards 1, 0, 0, 0: mean 1/4, s = 1/2, so GRPO's advantages are (3, -1, -1, -1)·¼/(½ + 1e-4), RMS √3·¼/(½ + 1e-4);
    # weights 0 and 2 on raw deviations (3, -1, -1, -1)/4 have RMS √(12/16·4/2)/2 = √6/4
    batch = batch_of([1.0, 0.0, 0.0, 0.0], 4)
    credit = method(weighting=later, scale="matched").credit(batch)
    goal = math.sqrt(3) * 0.25 / 0.5001
    factor = goal / (math.sqrt(6) / 4)
    close(credit.values, [[0, 1.5 * factor], [0, -0.5 * factor], [0, -0.5 * factor], [0, -0.5 * factor]])
    assert credit.metrics["scale_factor"] == pytest.approx(factor)
    assert credit.metrics["credit_rms"] == pytest.approx(goal)
    assert credit.metrics["advantage_rms"] == pytest.approx(math.sqrt(3) / 4)


def test_matched_scale_leaves_grpo_and_zeros_alone(batch_of, close):
    batch = batch_of([1.0, 0.0, 0.5, 0.5], 2)
    own = method(advantage=GroupMean()).credit(batch)
    close(method(advantage=GroupMean(), scale="matched").credit(batch).values, own.values)
    zeros = method(scale="matched").credit(batch_of([1.0, 1.0], 2))
    assert (zeros.values == 0).all() and zeros.metrics["scale_factor"] == 1.0


@pytest.mark.parametrize(
    ("parts", "message"),
    [
        ({"scale": "match"}, "method 'm', scale: 'match' is not valid, did you mean 'matched'"),
        ({"dynamic_sampling": -1}, "method 'm', dynamic_sampling: expected a number of rounds, got -1"),
        ({"dynamic_sampling": True}, "method 'm', dynamic_sampling: expected a number of rounds, got True"),
    ],
)
def test_scale_and_sampling_are_checked(parts, message):
    with pytest.raises(ValueError, match=message):
        method(**parts)


class Doubling:
    """A live weighting: nothing when frozen, twice the credit times the ratio at each step."""

    def __call__(self, batch, credit):
        return credit

    def live(self, now, credit):
        return Credit(2 * now.log_ratio.exp() * credit.values, {"doubled": 1.0})


@pytest.fixture
def now():
    mask = torch.tensor([[True, True], [True, False]])
    old, current = torch.full((2, 2), -1.0).double(), torch.tensor([[-1.0, 0.0], [-2.0, nan]]).double()
    return LiveBatch(torch.zeros(2, 2, dtype=torch.int64), mask, old, current, torch.ones(2, 2).double())


def test_live_weighting_and_control(batch_of, now, close):
    live = method(weighting=Doubling())
    assert live.is_live and not method().is_live
    assert live.credit(batch_of([1.0, 0.0], 2)).values.abs().max() == 0.5  # nothing happens while frozen
    frozen = torch.tensor([[1.0, 1.0], [-1.0, 0.0]]).double()
    credit = live.live(now, frozen)
    close(credit.values, [[2.0, 2 * math.e], [-2 / math.e, 0.0]])
    assert credit.metrics == {"doubled": 1.0}

    controlled = method(weighting=Doubling(), control=later)
    assert controlled.credit(batch_of([1.0, 0.0], 2)).values[0, 0] == 0.5  # the control waits for the step
    close(controlled.live(now, frozen).values, [[0.0, 4 * math.e], [0.0, 0.0]])
    assert controlled.live(now, frozen).metrics == {"doubled": 1.0, "later": 1.0}


def test_live_credit_is_checked(now):
    class Outside(Doubling):
        def live(self, now, credit):
            return Credit(torch.ones(2, 2).double())

    with pytest.raises(
        ValueError, match="method 'm', weighting Outside.*not 0 outside the mask at row 1, token 1"
    ):
        method(weighting=Outside()).live(now, torch.zeros(2, 2).double())


def test_what_parts_have_learnt_goes_with_the_method(batch_of):
    class Learns:
        seen = 0

        def __call__(self, batch):
            self.seen += 1
            return GroupMean()(batch)

        def state_dict(self):
            return {"seen": self.seen}

        def load_state_dict(self, state):
            self.seen = state["seen"]

    first, second = method(advantage=Learns()), method(advantage=Learns())
    assert method().state_dict() == {}
    first.credit(batch_of([1.0, 0.0], 2))
    assert first.state_dict() == {"advantage": {"seen": 1}}
    second.load_state_dict(first.state_dict())
    assert second.advantage.seen == 1


def test_the_surrogate_bounds_the_map(batch_of, now, close):
    class Floored(Surrogate):
        def bounded(self, credit):
            return credit.clamp(min=-0.1)

    close(method(surrogate=Floored()).credit(batch_of([1.0, 0.0], 2)).values, [[0.5, 0.5], [-0.1, -0.1]])
    live = method(surrogate=Floored(), weighting=Doubling())
    frozen = torch.tensor([[1.0, 1.0], [-0.1, 0.0]], dtype=torch.float64)
    close(live.live(now, frozen).values, [[2, 2 * math.e], [-0.2 / math.e, 0]])


def test_sequence_level_ratio_is_refused_with_token_advantages_and_controls(batch_of):
    gspo = Surrogate(importance_sampling_level="sequence", epsilon=3e-4, epsilon_high=4e-4)
    with pytest.raises(ValueError, match="token weights of later would vanish"):
        method(surrogate=gspo, control=later)
    method(surrogate=gspo, control=Uniform())

    def by_token(batch):
        return Credit(torch.tensor([[1.0, 0.5], [-1.0, -1.0]]).double())

    with pytest.raises(
        ValueError, match="between the tokens of a completion that by_token makes would vanish"
    ):
        method(surrogate=gspo, advantage=by_token).credit(batch_of([1.0, 0.0], 2))
    method(surrogate=gspo).credit(batch_of([1.0, 0.0], 2, mask=[[1, 0], [1, 1]]))


# Work that takes the policy


class Worker:
    """Log-prob −k for the k-th token of a request; two continuations' rewards; a gradient everywhere."""

    def signal(self, name):
        raise MissingSignal(name)

    def score(self, requests):
        self.asked = requests
        return [torch.arange(1.0, len(r.target) + 1).neg() for r in requests]

    def continuations(self, rows, lengths, count):
        return torch.ones(len(rows), count)

    def input_gradients(self, targets):
        return torch.full(targets.shape, nan)


def test_other_prompts_are_scored_up_to_each_rows_last_token(batch_of, close):
    worker = Worker()
    batch = batch_of([1.0, 0.0, 1.0, 0.0], 2, mask=[[1, 1], [1, 0], [0, 1], [0, 0]], provider=worker)
    close(batch.logps_given(["a", "b", "c", "d"]), [[-1, -2], [-1, 0], [0, -2], [0, 0]])
    assert [(r.row, r.target, r.prompt) for r in worker.asked] == [
        (0, [0, 1], "a"), (1, [2], "b"), (2, [4, 5], "c"),
    ]  # fmt: skip
    with pytest.raises(ValueError, match="expected 4 prompts, got 1"):
        batch.logps_given(["a"])


def test_answers_of_a_worker_are_checked(batch_of):
    batch = batch_of([1.0, 0.0], 2, mask=[[1, 0], [1, 0]], provider=Worker())
    assert batch.continuations([0], [1], 3).shape == (1, 3)
    with pytest.raises(ValueError, match="input_gradients: expected targets"):
        batch.input_gradients(torch.ones(2, 2))
    assert (batch.input_gradients(batch.mask)[:, 1] == 0).all()

    class Wrong(Worker):
        def continuations(self, rows, lengths, count):
            return torch.ones(count)

        def score(self, requests):
            return []

    batch = batch_of([1.0, 0.0], 2, provider=Wrong())
    with pytest.raises(ValueError, match=r"continuations: expected \(1, 3\), got \(3,\)"):
        batch.continuations([0], [1], 3)
    with pytest.raises(ValueError, match="score: expected 2 vectors"):
        batch.logps_given(["a", "b"])


def test_work_without_a_policy_says_so(batch_of):
    def asks(batch):
        return Credit.broadcast(batch.continuations([0], [1], 1)[0], batch.mask)

    with pytest.raises(
        MissingSignal, match="continuations needs the policy itself.*method 'm', advantage asks.*engine"
    ):
        method(advantage=asks).credit(batch_of([1.0, 0.0], 2))

"""The hook for what acts at every optimisation step: live weightings, and surrogates with a ratio of their own."""

from dataclasses import dataclass, field, replace

import pytest
import torch

from methods import Credit, Method, Surrogate
from methods.advantages.group_mean import GroupMean
from methods.weightings.uniform import Uniform
from tests.harness.conftest import make_policy
from tests.harness.test_trainer import gradient, grpo, make_trainer, relative, rollout_inputs


@dataclass
class Live:
    """A live weighting that multiplies credit by `factor` and keeps what it saw."""

    factor: float = 1.0
    seen: list = field(default_factory=list)

    def __call__(self, batch, credit):
        return credit

    def live(self, now, credit):
        self.seen.append((now, credit))
        return Credit(credit.values * self.factor, {"seen": float(len(self.seen))})


def prepared(tmp_path, weighting, surrogate=None, **options):
    method = Method("live", None, GroupMean(), weighting, surrogate or Surrogate(loss_type="dapo"))
    trainer = make_trainer(tmp_path, make_policy(dtype=torch.float64), method, **options)
    trainer.model.train()
    return trainer, trainer._generate_and_score_completions(rollout_inputs())


def moves(trainer):
    generator = torch.Generator().manual_seed(1)
    shapes = [p.shape for p in trainer.model.parameters()]
    return [torch.randn(shape, generator=generator, dtype=torch.float64) * 0.01 for shape in shapes]


def test_a_live_weighting_that_changes_nothing_gives_the_frozen_gradient(tmp_path):
    live, batch = prepared(tmp_path / "live", Live())
    frozen, same = prepared(tmp_path / "frozen", Uniform())
    found = gradient(live, batch, moves(live))
    assert relative(gradient(frozen, same, moves(frozen)), found) < 1e-9
    assert found.norm() > 0


def test_credit_given_at_the_step_is_what_the_loss_reads(tmp_path):
    once, batch = prepared(tmp_path / "once", Live())
    thrice, same = prepared(tmp_path / "thrice", Live(3.0))
    first = gradient(once, batch, moves(once))
    assert relative(3 * first, gradient(thrice, same, moves(thrice))) < 1e-6
    assert thrice._metrics["train"]["live/seen"] == [1.0]


def test_the_batch_keeps_its_frozen_credit(tmp_path):
    trainer, batch = prepared(tmp_path, Live(3.0))  # TRL reads it again with num_iterations > 1
    kept = batch["advantages"].clone()
    trainer.current_gradient_accumulation_steps = 1
    trainer._compute_loss(trainer.model, batch)
    assert torch.equal(batch["advantages"], kept)


def test_it_sees_current_and_old_log_probs_of_every_row(tmp_path):
    part = Live()
    trainer, batch = prepared(tmp_path, part)
    trainer.current_gradient_accumulation_steps = 1
    trainer._compute_loss(trainer.model, batch)
    now, credit = part.seen[0]
    mask = batch["completion_mask"].bool()
    assert (
        len(now.mask) == len(mask) and (credit.values == 0).all(1).any()
    )  # rows without credit are there too
    assert torch.equal(now.mask, mask) and torch.equal(credit.values, batch["advantages"].double())
    torch.testing.assert_close(now.logps_now[mask], now.logps[mask], atol=2e-6, rtol=0)
    torch.testing.assert_close(
        now.entropies_now[mask], trainer.rollouts.entropies[mask].double(), atol=2e-6, rtol=0
    )
    assert (now.epsilon, now.epsilon_high, now.beta, now.ref_logps) == (0.2, 0.2, 0.0, None)

    with torch.no_grad():
        for parameter in trainer.model.parameters():
            parameter += 0.02
    trainer._compute_loss(trainer.model, batch)
    moved, _ = part.seen[1]
    assert torch.equal(moved.logps, now.logps) and (moved.log_ratio[mask].abs() > 1e-3).any()
    assert not moved.logps_now.requires_grad


def test_a_control_acts_on_the_live_weights(tmp_path):
    def halved(batch, credit):
        return Credit(credit.values / 2)

    plain, batch = prepared(tmp_path / "plain", Live())
    trainer, same = prepared(tmp_path / "controlled", Live())
    trainer.method = replace(trainer.method, control=halved)
    first = gradient(plain, batch, moves(plain))
    assert relative(first / 2, gradient(trainer, same, moves(trainer))) < 1e-9


@dataclass(frozen=True)
class Doubled(Surrogate):
    """A surrogate whose ratio is the square of π_θ/π_old."""

    @property
    def changes_ratio(self):
        return True

    def log_ratio(self, log_ratio, mask):
        return 2 * log_ratio


def test_a_surrogate_may_change_the_ratio(tmp_path):
    wide = {"epsilon": 0.99, "epsilon_high": 9.0, "loss_type": "dapo"}
    trainer, batch = prepared(tmp_path, Uniform(), Doubled(**wide))
    move = moves(trainer)
    found = gradient(trainer, batch, move)
    half = len(batch["completion_ids"]) // 2
    names = ("prompt_ids", "completion_ids", "prompt_mask", "completion_mask")
    prompt, completion, prompt_mask, mask = (batch[name][half:] for name in names)
    old, credit = batch["old_per_token_logps"][half:].double(), batch["advantages"][half:].double()
    with torch.no_grad():
        for parameter, delta in zip(trainer.model.parameters(), move, strict=True):
            parameter += delta
    trainer.model.zero_grad()
    attention = torch.cat([prompt_mask, mask], 1)
    positions = (attention.cumsum(1) - 1).clamp(min=0)
    logits = trainer.model(torch.cat([prompt, completion], 1), attention, position_ids=positions).logits
    width = completion.shape[1]
    logps = logits[:, -width - 1 : -1].log_softmax(-1).gather(2, completion[..., None]).squeeze(2)
    ratio = (2 * (logps - old)).exp()
    objective = torch.min(ratio * credit, ratio.clamp(0.01, 10.0) * credit)
    # dapo: tokens of the whole generation batch, in two mini-batches
    (-(objective * mask).sum() * 2 / batch["num_items_in_batch"]).backward()
    expected = torch.cat([p.grad.flatten() for p in trainer.model.parameters()])
    assert relative(expected, found) < 1e-5  # TRL's log-probs are float32


def test_a_changed_ratio_and_a_kl_term_exclude_each_other(tmp_path):
    method = replace(grpo(), surrogate=Doubled())
    with pytest.raises(ValueError, match="its surrogate changes the ratio.*beta=0.1.*set beta=0"):
        make_trainer(tmp_path, make_policy(), method, beta=0.1)

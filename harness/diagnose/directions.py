"""Gradients of a look: every method's on the valued batches, REINFORCE's on fresh ones, and a step along each."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np
import torch
from omegaconf import DictConfig
from torch import Tensor

from harness.diagnose.gradient import REINFORCE, TRUE, gradients, leave_one_out
from harness.diagnose.scoring import Batch
from harness.diagnose.step import step_gains
from harness.policy import Policy
from harness.suites import Problem, Suite

if TYPE_CHECKING:
    from harness.diagnose.look import Look


def directions(look: Look, policy: Policy, suite: Suite, held_out: Sequence[Problem], length: float) -> None:
    """Fill in the look's `gradients`, `fresh` and `gains`."""
    cfg = next(iter(look.cfgs.values()))
    lines = [line for completions in look.truth for line in completions]
    true = [
        np.zeros(len(line["ids"])) if line["reward"] is None else np.diff(np.mean(line["values"], axis=0))
        for line in lines
    ]
    every = {name: given.credit for name, given in look.given.items()} | {TRUE: true}
    look.gradients = {name: [] for name in every}
    start = 0
    for batch in look.batches:
        rows = slice(start, start := start + len(batch.inputs))
        own = _gradients(cfg, policy, batch, {name: credit[rows] for name, credit in every.items()})
        for name, gradient in own.items():
            look.gradients[name].append(gradient)
    look.fresh = []
    for batch in look.further:
        ids = batch.rollouts.ids()
        texts = policy.tokenizer.batch_decode(ids, skip_special_tokens=True)
        rewards = np.array(look.judge.reward(texts, [row["problem"] for row in batch.inputs]))
        groups = rewards.reshape(-1, cfg.trainer.completions_per_prompt)
        advantages = np.concatenate([leave_one_out(group) for group in groups])
        credit = [np.full(len(row), advantage) for row, advantage in zip(ids, advantages, strict=True)]
        look.fresh.append(_gradients(cfg, policy, batch, {REINFORCE: credit})[REINFORCE])
    means = {name: torch.stack(own).mean(dim=0) for name, own in look.gradients.items()}
    look.gains = step_gains(cfg, policy, suite, held_out, means, length)


def _gradients(
    cfg: DictConfig, policy: Policy, batch: Batch, credit: dict[str, list[np.ndarray]]
) -> dict[str, Tensor]:
    return gradients(policy.model, batch.prompts, batch.rollouts, credit, cfg.trainer.temperature)

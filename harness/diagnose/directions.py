"""Gradients of a diagnosis: every method's on the valued batches, REINFORCE's on fresh ones, and a step along each."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import pandas as pd
import torch
from omegaconf import DictConfig
from torch import Tensor

from harness.diagnose.gradient import REINFORCE, TRUE, gradient_fidelity, gradients, leave_one_out
from harness.diagnose.scoring import Batch
from harness.diagnose.step import step_gains
from harness.judge import Judge
from harness.policy import Policy
from harness.suites import Problem, Suite


def directions(
    cfg: DictConfig,
    policy: Policy,
    suite: Suite,
    judge: Judge,
    batches: Sequence[Batch],
    fresh: Sequence[Batch],
    truth: Sequence[Sequence[dict[str, Any]]],
    given: dict[str, list[np.ndarray]],
    held_out: Sequence[Problem],
    length: float,
) -> list[pd.DataFrame]:
    """Gradient fidelity, and what one step along each method's mean gradient gains."""
    lines = [line for completions in truth for line in completions]
    judged = [line["reward"] is not None for line in lines]
    true = [
        np.diff(np.mean(line["values"], axis=0)) if ok else np.zeros(len(line["ids"]))
        for line, ok in zip(lines, judged, strict=True)
    ]
    every = {**given, TRUE: true}
    found: dict[str, list[Tensor]] = {name: [] for name in every}
    start = 0
    for batch in batches:
        rows = slice(start, start := start + len(batch.inputs))
        own = _gradients(cfg, policy, batch, {name: credit[rows] for name, credit in every.items()})
        for name, gradient in own.items():
            found[name].append(gradient)
    far = []
    for batch in fresh:
        ids = batch.rollouts.ids()
        texts = policy.tokenizer.batch_decode(ids, skip_special_tokens=True)
        verdicts = judge.verdicts([row["problem"] for row in batch.inputs], texts)
        group = cfg.trainer.completions_per_prompt
        rewards = np.array([verdict.reward for verdict in verdicts]).reshape(-1, group)
        advantages = np.concatenate([leave_one_out(own) for own in rewards])
        credit = [np.full(len(row), advantage) for row, advantage in zip(ids, advantages, strict=True)]
        far.append(_gradients(cfg, policy, batch, {REINFORCE: credit})[REINFORCE])
    means = {name: torch.stack(own).mean(dim=0) for name, own in found.items()}
    gains = step_gains(cfg, policy, suite, held_out, means, length)
    return [gradient_fidelity(found, found[TRUE], far), gains]


def _gradients(
    cfg: DictConfig, policy: Policy, batch: Batch, credit: dict[str, list[np.ndarray]]
) -> dict[str, Tensor]:
    return gradients(policy.model, batch.prompts, batch.rollouts, credit, cfg.trainer.temperature)

"""The credit that a method gives to rollouts at hand, through the adapter that trains: the same signals and work.

Each method is loaded anew and sees the batches in turn; nothing updates the policy. A live weighting acts as at the
first optimisation step, with current log-probs equal to the old ones. A method that learns (a critic, PRIME's reward
model) first sees the batches of a warm-up, on this same policy; from there it meets each batch anew, so that its credit
for one does not depend on the others.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import torch
from datasets import Dataset
from hydra.utils import instantiate
from omegaconf import DictConfig

from harness.judge import Judge
from harness.policy import Policy, twin
from harness.rollouts import RolloutEngine, Rollouts
from harness.run import trainer_args
from harness.trainer import CreditGRPOTrainer
from methods import LiveBatch, Method


@dataclass(frozen=True)
class Batch:
    """Rollouts of some prompts, a group of rows each, with their LM-head inputs. Of each row: inputs, as the trainer
    reads it (prompt, reference, problem), and prompts, its token ids.
    """

    inputs: list[dict]
    prompts: list[list[int]]
    rollouts: Rollouts


@dataclass(frozen=True)
class Given:
    """What a method said of every completion: credit (T,), and its estimates (T,) of the states' values where it has
    any (`Credit.state_values`), else None.
    """

    credit: list[np.ndarray]
    state_values: list[np.ndarray] | None


def learns(cfg: DictConfig) -> bool:
    """Whether the method of `cfg` learns along with the policy."""
    method: Method = instantiate(cfg.method, _convert_="all")
    return "auxiliary" in method.needs or bool(method.state_dict())


def credits(
    cfg: DictConfig, policy: Policy, judge: Judge, warm: Sequence[Batch], batches: Sequence[Batch], scratch: Path
) -> Given:
    """What the method of `cfg`, which samples no fresh prompts, says of all completions of the batches in turn.

    warm: batches to learn from first. scratch: where the trainer believes that it may write.
    """
    method: Method = instantiate(cfg.method, _convert_="all")
    policy = replace(policy, model=twin(policy.model))  # the trainer patches its model's forward
    engine = RolloutEngine(policy.model, policy.tokenizer, seed=cfg.seed, autocast=policy.autocast)
    trainer = CreditGRPOTrainer(
        policy.model,
        judge.reward,
        method=method,
        engine=engine,
        signal_funcs={"decisive": judge.decisive},
        args=trainer_args(cfg, SimpleNamespace(directory=scratch), policy),
        train_dataset=Dataset.from_list(batches[0].inputs),
        processing_class=policy.tokenizer,
    )
    trainer.model.train()
    learnt = None
    credit: list[np.ndarray] = []
    state_values: list[np.ndarray] = []
    for number, batch in enumerate([*warm, *batches]):
        if number == len(warm):
            learnt = trainer.learnt()
        if learnt is not None:
            trainer.put_back(learnt)
        trainer.state.global_step = number
        trainer._sampled = batch.rollouts
        trainer._generate_and_score_completions([dict(row) for row in batch.inputs])
        if number < len(warm):
            continue
        own = trainer.credited[1]
        values = _live(method, batch.rollouts, own.values.cpu()) if method.is_live else own.values.cpu()
        credit += _rows(values, batch.rollouts)
        if own.state_values is not None:
            state_values += _rows(own.state_values.cpu(), batch.rollouts)
    return Given(credit, state_values or None)


def _rows(values: torch.Tensor, rollouts: Rollouts) -> list[np.ndarray]:
    return [row[: int(keep.sum())].numpy() for row, keep in zip(values, rollouts.mask, strict=True)]


def _live(method: Method, rollouts: Rollouts, values: torch.Tensor) -> torch.Tensor:
    surrogate, logps = method.surrogate, rollouts.logps
    now = LiveBatch(
        rollouts.completion_ids, rollouts.mask, logps, logps, rollouts.entropies, None, surrogate.epsilon,
        surrogate.epsilon_high, 0.0,
    )  # fmt: skip
    return method.live(now, values[:, : logps.shape[1]]).values

"""The credit that a method gives to rollouts at hand, through the adapter that trains: the same signals and work.

Each method is loaded anew and sees the batches in turn; nothing updates the policy. A live weighting acts as at the
first optimisation step, with current log-probs equal to the old ones. A method that learns (a critic, PRIME's reward
model) has learnt from the batches before only: it is diagnosed as at the start of a run.
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


def credits(
    cfg: DictConfig, policy: Policy, judge: Judge, batches: Sequence[Batch], scratch: Path
) -> list[np.ndarray]:
    """Credit (T,) of every completion, batch by batch, by the method of `cfg`, which samples no fresh prompts.

    scratch: where the trainer believes that it may write.
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
    found = []
    for number, batch in enumerate(batches):
        trainer.state.global_step = number
        trainer._sampled = batch.rollouts
        trainer._generate_and_score_completions([dict(row) for row in batch.inputs])
        _, values = trainer.credited
        values = values.cpu()
        if method.is_live:
            values = _live(method, batch.rollouts, values)
        found += [row[: int(keep.sum())].numpy() for row, keep in zip(values, batch.rollouts.mask, strict=True)]
    return found


def _live(method: Method, rollouts: Rollouts, values: torch.Tensor) -> torch.Tensor:
    surrogate, logps = method.surrogate, rollouts.logps
    now = LiveBatch(
        rollouts.completion_ids, rollouts.mask, logps, logps, rollouts.entropies, None, surrogate.epsilon,
        surrogate.epsilon_high, 0.0,
    )  # fmt: skip
    return method.live(now, values[:, : logps.shape[1]]).values

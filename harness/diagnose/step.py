"""What one small step in the direction of a method's gradient changes of the expected reward on held-out problems."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
import torch
from omegaconf import DictConfig
from torch import Tensor

from harness.policy import Policy, twin
from harness.rollouts import Key, RolloutEngine
from harness.suites import Problem, Suite

STEP = -2  # sets this noise apart from that of training (0, 1, …) and evaluation
SAMPLES = 16  # completions of each held-out problem


def step_gains(
    cfg: DictConfig,
    policy: Policy,
    suite: Suite,
    problems: Sequence[Problem],
    directions: Mapping[str, Tensor],
    length: float,
) -> dict[str, np.ndarray]:
    """Of each direction g (P,): reward after θ + length·g/|g| minus before, (problems,), NaN where not to be judged.

    All steps are of one length, so that it is the direction that is compared. Both policies draw the same uniforms
    (common random numbers). A gradient of 0 makes no step.
    """
    before = _rewards(cfg, policy, suite, problems, None)
    gains = {}
    for name, direction in directions.items():
        norm = direction.norm()
        if not norm.isfinite():
            raise FloatingPointError(f"the gradient of {name} is not finite")
        step = direction * (length / norm) if norm > 0 else None
        gains[name] = before * 0 if step is None else _rewards(cfg, policy, suite, problems, step) - before
    return gains


@torch.no_grad()
def _rewards(
    cfg: DictConfig, policy: Policy, suite: Suite, problems: Sequence[Problem], change: Tensor | None
) -> np.ndarray:
    """Mean reward (problems,) of the policy with `change` (P,) added to its trainable parameters."""
    model = twin(policy.model)
    if change is not None:
        parameters = [p for p in model.parameters() if p.requires_grad]
        for parameter, part in zip(parameters, change.split([p.numel() for p in parameters]), strict=True):
            parameter += part.view_as(parameter).to(parameter)
    engine = RolloutEngine(model, policy.tokenizer, seed=cfg.seed, autocast=policy.autocast)
    keys = [Key(problem.hash, sample, STEP) for problem in problems for sample in range(SAMPLES)]
    prompts = [ids for ids in policy.encode([p.prompt for p in problems]) for _ in range(SAMPLES)]
    limit, temperature = cfg.trainer.max_completion_tokens, cfg.trainer.temperature
    rollouts = engine.generate(prompts, keys, max_tokens=limit, temperature=temperature)
    each = [problem for problem in problems for _ in range(SAMPLES)]
    verdicts = suite.judge(each, rollouts.texts(policy.tokenizer))
    rewards = np.array([verdict.reward for verdict in verdicts]).reshape(len(problems), SAMPLES)
    return np.nanmean(rewards, axis=1)

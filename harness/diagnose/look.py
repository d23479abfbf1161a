"""One look at a frozen policy under one seed: its problems, rollouts, and what was measured on them."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np
from omegaconf import DictConfig
from torch import Tensor

from harness.diagnose import drawing
from harness.diagnose.directions import directions
from harness.diagnose.scoring import Batch, Given, credits, learns
from harness.errors import ConfigError
from harness.judge import Judge
from harness.policy import Policy
from harness.rollouts import RolloutEngine
from harness.run import seed_everything
from harness.suites import Problem, Suite

REPEATS = 10_000  # draws without a new problem before a suite counts as used up


@dataclass(frozen=True)
class Sizes:
    """How much is looked at, as `python -m harness.diagnose --help` explains."""

    prompts: int
    completions: int
    continuations: int
    prompts_per_batch: int
    reinforce: int
    warm_up: int
    held_out: int
    step_length: float


@dataclass
class Look:
    """What one seed drew, and then what was measured: truth (completions of each problem, as in truth.jsonl), given (of
    each method), gradients (a batch each, of each method and the true credit), fresh (REINFORCE's), gains (of each
    method's step, by held-out problem).
    """

    seed: int
    cfgs: Mapping[str, DictConfig]
    engine: RolloutEngine
    judge: Judge
    problems: list[Problem]
    batches: list[Batch]
    warm: list[Batch]
    further: list[Batch]
    truth: list[list[dict[str, Any]]] = field(default_factory=list)
    given: dict[str, Given] = field(default_factory=dict)
    gradients: dict[str, list[Tensor]] = field(default_factory=dict)
    fresh: list[Tensor] = field(default_factory=list)
    gains: dict[str, np.ndarray] = field(default_factory=dict)

    @property
    def tokens(self) -> int:
        return sum(batch.rollouts.tokens for batch in self.batches)


def begin(seed: int, cfgs: Mapping[str, DictConfig], policy: Policy, suite: Suite, sizes: Sizes) -> Look:
    """Draw a seed's rollouts. reinforce and warm_up of `sizes` count problems beside those that are valued; the latter
    are drawn where a method learns.
    """
    own = {name: _seeded(cfg, seed) for name, cfg in cfgs.items()}
    cfg = next(iter(own.values()))
    seed_everything(seed)
    warm_up = sizes.warm_up if any(map(learns, own.values())) else 0
    problems = distinct(suite.training(seed), sizes.prompts + sizes.reinforce + warm_up)
    judge = Judge(suite, problems, policy)
    engine = RolloutEngine(policy.model, policy.tokenizer, seed=seed, autocast=policy.autocast)

    def drawn(first: int, count: int) -> list[Batch]:
        own = problems[first : first + count]
        return drawing.draw(cfg, policy, engine, own, sizes.completions, sizes.prompts_per_batch, first)

    valued, further, warm = (
        drawn(first, count)
        for first, count in (
            (0, sizes.prompts), (sizes.prompts, sizes.reinforce), (sizes.prompts + sizes.reinforce, warm_up)
        )
    )  # fmt: skip
    return Look(seed, own, engine, judge, problems[: sizes.prompts], valued, warm, further)


def measure(look: Look, policy: Policy, suite: Suite, sizes: Sizes, folder: Path, tell) -> None:
    """Value the rollouts, let every method give its credit, and take gradients if there are batches for REINFORCE.

    folder: where the truth is kept, and taken up again.
    """
    cfg = next(iter(look.cfgs.values()))
    folder.mkdir(parents=True, exist_ok=True)
    look.truth = drawing.value(
        cfg, policy, look.engine, look.judge, look.problems, look.batches, sizes.continuations, folder, tell
    )
    for name, own in look.cfgs.items():
        tell(f"credit of {name}")
        seed_everything(look.seed)
        warm = look.warm if learns(own) else []
        look.given[name] = credits(own, policy, look.judge, warm, look.batches, folder / "scratch")
    if look.further:
        tell("gradients")
        held_out = suite.evaluation("curve", sizes.held_out)
        directions(look, policy, suite, held_out, sizes.step_length)


def distinct(stream: Iterator[Problem], count: int) -> list[Problem]:
    """The first `count` different problems: one that comes again would bring the same completions."""
    found: dict[str, Problem] = {}
    for problem in islice(stream, count + REPEATS):
        found.setdefault(problem.hash, problem)
        if len(found) == count:
            return list(found.values())
    raise ConfigError(f"the suite has {len(found)} different training problems, {count} are asked for")


def valuing(look: Look) -> list[str]:
    """Methods that estimate the values of states."""
    return [name for name, given in look.given.items() if given.state_values is not None]


def states(look: Look, method: str) -> list[dict[tuple[int, ...], tuple[float, float, float]]]:
    """Of each problem: beginning -> the method's value of it, one of `valuing`, and V̂ by both halves."""
    rows = iter(look.given[method].state_values)
    found = []
    for completions in look.truth:
        found.append({})
        for line, own in zip(completions, rows, strict=False):
            if line["reward"] is None:
                continue
            halves = np.array(line["values"])[:, :-1]
            for t in np.flatnonzero(np.isfinite(own)):
                found[-1][tuple(line["ids"][:t])] = (own[t], *halves[:, t])
    return found


def _seeded(cfg: DictConfig, seed: int) -> DictConfig:
    own = cfg.copy()
    own.seed = seed
    return own

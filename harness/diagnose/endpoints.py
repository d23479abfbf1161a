"""The accuracy of points of a trajectory: each is set into the policy and evaluated as in training."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd
import torch
from hydra.utils import instantiate
from torch import Tensor

from harness.compare.statistics import t_interval
from harness.evaluation import sample_problems
from harness.policy import Policy
from harness.rollouts import RolloutEngine

if TYPE_CHECKING:
    from harness.diagnose.geometry import Geometry

MEAN = "all"  # unweighted over domains, as in the records
COLUMNS = ["run", "point", "domain", "problems", "accuracy", "low", "high", "difference", "diff_low", "diff_high"]


def evaluated(
    own: Geometry, policy: Policy, split: str, update: int | None, tell: Callable[[str], None]
) -> pd.DataFrame:
    """Rows of COLUMNS: accuracy of each point by domain with Student's t over problems, and its paired difference to
    the trained policy. `policy` is the base policy, and is so again afterwards; update: to extrapolate to, None: the
    last.

    All points answer the same problems with the same uniforms. The mean over domains weights every domain alike.
    """
    cfg, e = own.run.cfg, own.run.cfg.evaluation
    suite = instantiate(cfg.suite, _convert_="all")
    problems = suite.evaluation(split, e[f"{split}_problems"])
    engine = RolloutEngine(policy.model, policy.tokenizer, seed=cfg.seed, autocast=policy.autocast)
    trained = {name: p for name, p in policy.model.named_parameters() if name in own.run.shapes}
    base = {name: p.detach().clone() for name, p in trained.items()}
    right = {}
    for name, weights in own.points(own.run.updates[-1] if update is None else update).items():
        tell(f"{own.name}: {name}")
        move(trained, base, own.run.combined(weights))
        samples = sample_problems(
            engine,
            policy,
            suite,
            problems,
            samples=e.test_samples if split == "test" else e.curve_samples,
            temperature=e.temperature,
            max_tokens=e.max_tokens or cfg.trainer.max_completion_tokens,
            seed=e.seed,
        )
        judged = [(s.problem.hash, float(s.verdict.correct)) for s in samples if s.verdict.error is None]
        right[name] = pd.DataFrame(judged).groupby(0)[1].mean().reindex([p.hash for p in problems]).to_numpy()
    move(trained, base, None)
    domains = np.array([problem.domain for problem in problems])
    last = list(right)[-1]
    rows = [
        (own.name, name, domain, *_cells(values, right[last], domains, domain))
        for name, values in right.items()
        for domain in (MEAN, *dict.fromkeys(domains.tolist()))
    ]
    return pd.DataFrame(rows, columns=COLUMNS)


@torch.no_grad()
def move(trained: Mapping[str, Tensor], base: Mapping[str, Tensor], change: Mapping[str, Tensor] | None) -> None:
    """Set the parameters to base + change, or to base."""
    for name, parameter in trained.items():
        value = base[name] if change is None else base[name].double() + change[name].to(base[name].device)
        parameter.copy_(value)


def _cells(values: np.ndarray, end: np.ndarray, domains: np.ndarray, domain: str) -> tuple[float, ...]:
    own, paired = (_weighted(v, domains, domain) for v in (values, values - end))
    a, b = t_interval(own), t_interval(paired)
    return len(own), a.mean, a.low, a.high, b.mean, b.low, b.high


def _weighted(values: np.ndarray, domains: np.ndarray, domain: str) -> np.ndarray:
    """One domain's values, or all of them so weighted that their mean is the mean of the domains' means."""
    known = np.isfinite(values)
    if domain != MEAN:
        return values[known & (domains == domain)]
    values, domains = values[known], domains[known]
    each, place, counts = np.unique(domains, return_inverse=True, return_counts=True)
    return values * len(values) / (len(each) * counts[place])

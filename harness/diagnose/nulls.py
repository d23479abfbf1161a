"""What trajectory geometry looks like where nothing is learnt.

**Gaussian walk**: independent N(0, I) steps in d dimensions. Its Gram matrix is L·W·Lᵀ with W = ZZᵀ that of the n
steps, a Wishart matrix, and L the lower triangle of ones. For d ≥ n, W is drawn by Bartlett's decomposition, which is
exact and costs nothing in d. With n and d large, MMᵀ/d → min(i, j), EV_k → 8/(π²(2k−1)²), so EV₁ → 0.811, and the first
coefficient is a quarter of a sine, whose straight line has R² = 0.958.

**Adam on noise**: the run's own AdamW (learning rate and schedule, β₁, β₂, ε, weight decay from the base policy's own
weights, number of updates) on gradients N(0, 1), each independent of all others, kept at the same updates. Momentum
makes its steps resemble their neighbours, so that one direction takes more of it than of the walk. Clipping is left
out: it scales all gradients of an update alike, and Adam divides such a scale out but for its change between updates.
Coordinates do not touch each other: of a large tensor `COORDINATES` are simulated, which leaves the mean as it is and
makes the range wider.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from tempfile import TemporaryDirectory

import numpy as np
import torch
from omegaconf import DictConfig
from torch import Tensor
from transformers import Trainer, get_scheduler
from trl import GRPOConfig

from harness.diagnose.kept import KeptRun
from harness.diagnose.trajectory import gram, measures
from harness.errors import ConfigError
from harness.policy import Policy
from harness.run import trainer_settings

COORDINATES = 2**13
OPTIMIZER = (  # fields of the training arguments that Adam on noise depends on
    "optim", "learning_rate", "adam_beta1", "adam_beta2", "adam_epsilon", "weight_decay", "max_steps",
    "lr_scheduler_type", "lr_scheduler_kwargs", "warmup_steps",
)  # fmt: skip
NULLS = ("walk", "adam")
Ranges = dict[str, tuple[float, float, float]]  # measure -> mean, 2.5 % and 97.5 % points


def walk_gram(rng: np.random.Generator, n: int, d: int) -> np.ndarray:
    """MMᵀ (n, n) of a Gaussian walk of n unit steps in d dimensions from 0, its start left out."""
    if d < n:
        steps = rng.standard_normal((n, d))
    else:  # Bartlett (1933): ZZᵀ = AAᵀ, A lower triangular
        steps = np.tril(rng.standard_normal((n, n)), -1)
        steps[np.diag_indices(n)] = np.sqrt(rng.chisquare(d - np.arange(n)))
    return gram(steps.cumsum(axis=0))


def adam_gram(args: GRPOConfig, every: int, weights: Tensor, decayed: Tensor, noise: torch.Generator) -> np.ndarray:
    """MMᵀ (n, n) of AdamW on N(0, 1) gradients, kept after every `every`-th of `args.max_steps` updates.

    weights (d,): where it starts; decayed (d,): which of them weight decay acts on. Raises ConfigError for a run that
    was trained with another optimizer.
    """
    name = getattr(args.optim, "value", args.optim)
    if not name.startswith("adamw_torch"):
        raise ConfigError(f"the null of Adam is one of adamw_torch, not of optim={name}: leave it out with nulls=0")
    parts = [weights[decayed].clone(), weights[~decayed].clone()]
    groups = [
        {"params": [part], "weight_decay": decay} for part, decay in zip(parts, (args.weight_decay, 0.0), strict=True)
    ]
    optimizer = torch.optim.AdamW(
        groups, lr=args.learning_rate, betas=(args.adam_beta1, args.adam_beta2), eps=args.adam_epsilon
    )
    total = args.max_steps
    schedule = get_scheduler(
        args.lr_scheduler_type, optimizer, args.get_warmup_steps(total), total, args.lr_scheduler_kwargs
    )
    start = torch.cat(parts).double()
    rows = []
    for update in range(1, total + 1):
        for part in parts:
            part.grad = torch.randn(part.shape, generator=noise, dtype=part.dtype)
        optimizer.step()
        schedule.step()
        if update % every == 0:
            rows.append(torch.cat(parts).double() - start)
    return gram(torch.stack(rows).numpy())


def ranges(grams: Iterable[np.ndarray], updates: Sequence[int], window: int) -> Ranges:
    """measure -> mean, 2.5 % and 97.5 % points over simulated Gram matrices (n, n)."""
    drawn = [measures(own, updates, window) for own in grams]
    values = {name: np.array([own[name] for own in drawn]) for name in drawn[0]}
    return {name: (own.mean(), *np.quantile(own, [0.025, 0.975])) for name, own in values.items()}


class Nulls:
    """Both nulls for runs from one base policy, each simulated `count` times and once for what is alike.

    Without weight decay Adam on noise depends on the number of weights alone, and so does the walk.
    """

    def __init__(self, count: int, policy: Policy, tell: Callable[[str], None]) -> None:
        self.count, self.model, self.tell = count, policy.model, tell
        self.decays = set(Trainer.get_decay_parameter_names(None, policy.model))
        self.drawn: dict[tuple, list[np.ndarray]] = {}
        self.found: dict[tuple, Ranges] = {}

    def of(self, run: KeptRun, window: int, tensor: str | None = None) -> dict[str, Ranges]:
        """Ranges of the measures by null, for one tensor, None: for all of the run's parameters together."""
        if not self.count:
            names = measures(np.eye(len(run.updates)), run.updates, window)
            return {null: dict.fromkeys(names, (float("nan"),) * 3) for null in NULLS}
        ranges_of = {}
        for null, (key, draw) in self._simulations(run, tensor).items():
            if (key, window) not in self.found:
                self.found[key, window] = ranges(self._grams(key, draw), run.updates, window)
            ranges_of[null] = self.found[key, window]
        return ranges_of

    def simulated(self, run: KeptRun) -> dict[str, list[np.ndarray]]:
        """Gram matrices (n, n) by null of all parameters together, none where count is 0."""
        return {null: self._grams(*own) for null, own in self._simulations(run, None).items()} if self.count else {}

    def _simulations(self, run: KeptRun, tensor: str | None) -> dict[str, tuple[tuple, Callable[[int], np.ndarray]]]:
        """By null, what it depends on, and the function that simulates it for the number of a draw."""
        n, size = len(run.updates), run.sizes[tensor] if tensor else sum(run.sizes.values())
        args, every = training_arguments(run.cfg), run.cfg.trainer.deltas_every
        count, decay = min(size, COORDINATES), args.weight_decay != 0
        optimizer = str([getattr(args, name) for name in OPTIMIZER])

        def walk(draw: int) -> np.ndarray:
            return walk_gram(np.random.Generator(np.random.Philox([draw, size])), n, size)

        def adam(draw: int) -> np.ndarray:
            noise = torch.Generator().manual_seed(draw * 2 * COORDINATES + count)  # of which 32 bits count
            return adam_gram(args, every, *self._weights(run, tensor, count, decay), noise)

        return {
            "walk": (("a random walk", size, n, every), walk),
            "adam": (("AdamW on noise", count, n, every, tensor if decay else None, optimizer), adam),
        }

    def _grams(self, key: tuple, draw: Callable[[int], np.ndarray]) -> list[np.ndarray]:
        if key not in self.drawn:
            self.tell(f"{self.count} simulations of {key[0]}, {key[1]} weights")
            self.drawn[key] = [draw(number) for number in range(self.count)]
        return self.drawn[key]

    def _weights(self, run: KeptRun, tensor: str | None, count: int, matter: bool) -> tuple[Tensor, Tensor]:
        """Evenly spaced weights (count,) of the base policy, and which decay; zeros where they do not matter."""
        if not matter:
            return torch.zeros(count), torch.zeros(count, dtype=torch.bool)
        own = [name for name in run.shapes if tensor in (None, name)]
        parameters = dict(self.model.named_parameters())
        flat = torch.cat([parameters[name].detach().cpu().float().flatten() for name in own])
        decays = torch.cat([torch.full((parameters[name].numel(),), name in self.decays) for name in own])
        kept = torch.linspace(0, len(flat) - 1, count).round().long()
        return flat[kept], decays[kept]


def training_arguments(cfg: DictConfig) -> GRPOConfig:
    """What the run's optimizer was made of."""
    with TemporaryDirectory() as folder:
        return GRPOConfig(**trainer_settings(cfg) | {"output_dir": folder, "bf16": False, "use_cpu": True})

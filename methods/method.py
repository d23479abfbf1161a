"""Method: shaping → advantage → weighting → surrogate, each replaceable alone."""

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial

import torch
from torch import Tensor

from methods.batch import MissingSignal, RolloutBatch
from methods.credit import Credit
from methods.groups import deviations
from methods.surrogates import Surrogate
from methods.weightings.uniform import Uniform


@dataclass(frozen=True)
class Method:
    """A credit-assignment method in four parts, each a dataclass with ``__call__`` or a plain function.

    shaping      batch → batch with other rewards (None: as they are)
    advantage    batch → Credit
    weighting    (batch, Credit) → Credit
    surrogate    the objective that the credit map enters

    A part may have ``needs``, the names of the signals it reads, as a hint to whoever provides them.
    """

    name: str
    shaping: Callable[[RolloutBatch], RolloutBatch] | None
    advantage: Callable[[RolloutBatch], Credit]
    weighting: Callable[[RolloutBatch, Credit], Credit]
    surrogate: Surrogate

    def __post_init__(self) -> None:
        for field in ("shaping", "advantage", "weighting"):
            part = getattr(self, field)
            if not callable(part) and not (field == "shaping" and part is None):
                raise TypeError(f"method {self.name!r}, {field}: expected a callable, got {part!r}")
        if not isinstance(self.surrogate, Surrogate):
            raise TypeError(f"method {self.name!r}, surrogate: expected a Surrogate, got {self.surrogate!r}")
        if self.surrogate.importance_sampling_level == "sequence" and not isinstance(self.weighting, Uniform):
            raise ValueError(
                f"method {self.name!r}: a sequence-level ratio sees only a completion's mean credit, "
                f"so the token weights of {_label(self.weighting)} would vanish: use weighting uniform"
            )

    @property
    def needs(self) -> frozenset[str]:
        """Names of the signals that the parts say they read."""
        parts = (_unwrapped(part) for part in (self.shaping, self.advantage, self.weighting))
        return frozenset().union(*(getattr(part, "needs", ()) for part in parts))

    def credit(self, batch: RolloutBatch) -> Credit:
        """The credit map (N, T) of a batch and its metrics.

        Always reported: ``advantage_rms`` and ``credit_rms``, root mean square over the tokens of scorable
        rows before and after weighting; ``zero_variance_share`` of groups whose scorable rewards, as shaped,
        do not differ; ``unscorable``, a number of rows; ``shaping_mean``, what shaping added to a reward.
        What the parts report is merged in.

        Raises MissingSignal, or an error naming method, part and field when a part breaks its contract.
        """
        shaped = batch if self.shaping is None else self._shaped(batch)
        advantage = self._part("advantage", self.advantage, shaped)
        credit = self._part("weighting", self.weighting, shaped, advantage)

        spread, _ = deviations(shaped.grouped(shaped.rewards), shaped.grouped(shaped.valid))
        tokens = shaped.mask & shaped.valid[:, None]
        added = (shaped.rewards - batch.rewards)[batch.valid]
        metrics = {
            "advantage_rms": _mean(advantage.values[tokens].square()) ** 0.5,
            "credit_rms": _mean(credit.values[tokens].square()) ** 0.5,
            "zero_variance_share": _mean((spread == 0).all(1).double()),
            "unscorable": (~batch.valid).sum(),
            "shaping_mean": _mean(added),
            **advantage.metrics,
            **credit.metrics,
        }
        return Credit(credit.values, {name: float(value) for name, value in metrics.items()})

    def _called(self, field: str, part: Callable, *args):
        try:
            return part(*args)
        except MissingSignal as missing:
            who = f"method {self.name!r}, {field} {_label(part)}"
            raise MissingSignal(missing.name, wanted_by=who) from missing
        except Exception as error:
            error.add_note(f"(in method {self.name!r}, {field} {_label(part)})")
            raise

    def _shaped(self, batch: RolloutBatch) -> RolloutBatch:
        shaped = self._called("shaping", self.shaping, batch)
        who = f"method {self.name!r}, shaping {_label(self.shaping)}"
        if not isinstance(shaped, RolloutBatch):
            raise TypeError(f"{who}: expected a RolloutBatch, got {type(shaped).__name__}")
        if shaped.completion_ids is not batch.completion_ids or shaped.mask is not batch.mask:
            raise ValueError(
                f"{who}: completion_ids or mask changed; shaping may replace rewards only (with_rewards)"
            )
        changed = (shaped.valid != batch.valid).nonzero()
        if len(changed):
            raise ValueError(f"{who}: rewards became or stopped being NaN in row {int(changed[0])}")
        return shaped

    def _part(self, field: str, part: Callable, batch: RolloutBatch, *args) -> Credit:
        credit = self._called(field, part, batch, *args)
        who = f"method {self.name!r}, {field} {_label(part)}"
        if not isinstance(credit, Credit):
            raise TypeError(f"{who}: expected a Credit, got {type(credit).__name__}")
        values = credit.values
        if not isinstance(values, Tensor):
            raise TypeError(f"{who}: values: expected a torch.Tensor, got {type(values).__name__}")
        if values.shape != batch.mask.shape or values.dtype != torch.float64:
            expected, got = f"{tuple(batch.mask.shape)} float64", f"{tuple(values.shape)} {values.dtype}"
            raise ValueError(f"{who}: values: expected {expected}, got {got}")
        if values.requires_grad:
            raise ValueError(
                f"{who}: values: carry a gradient; credit is a constant to the loss, so detach them"
            )
        faults = {
            "not finite": ~values.isfinite(),
            "not 0 outside the mask": (values != 0) & ~batch.mask,
            "not 0 in an unscorable row": (values != 0) & ~batch.valid[:, None],
        }
        for fault, where in faults.items():
            if where.any():
                row, token = where.nonzero()[0].tolist()
                raise ValueError(
                    f"{who}: values: {fault} at row {row}, token {token}: {values[row, token].item()}"
                )
        return credit


def _mean(x: Tensor) -> float:
    return x.mean().item() if x.numel() else 0.0


def _unwrapped(part: Callable | None) -> Callable | None:
    return _unwrapped(part.func) if isinstance(part, partial) else part


def _label(part: Callable) -> str:
    part = _unwrapped(part)
    return getattr(part, "__name__", type(part).__name__)

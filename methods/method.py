"""Method: shaping → advantage → weighting → surrogate, each replaceable alone."""

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial

import torch
from torch import Tensor

from methods.advantages.group_mean import GroupMean
from methods.batch import MissingSignal, RolloutBatch
from methods.credit import Credit
from methods.groups import deviations
from methods.live import LiveBatch
from methods.options import check_choice
from methods.surrogates import Surrogate
from methods.weightings.uniform import Uniform

PARTS = ("shaping", "advantage", "weighting", "control")
ROWS = 16  # of a map that are looked at together, for memory


@dataclass(frozen=True)
class Method:
    """A credit-assignment method in four parts, each a dataclass with ``__call__`` or a plain function.

    shaping      batch → batch with other rewards (None: as they are)
    advantage    batch → Credit
    weighting    (batch, Credit) → Credit
    surrogate    the objective that the credit map enters

    and what may be done to any of them for a comparison:

    control           (batch, Credit) → Credit after the weighting, to see what in it mattered; None: nothing
    scale             own: as the parts give it · matched: credit rescaled so that its root mean square over the
                      batch is that of the group-mean baseline's advantage: step size is not credit
    dynamic_sampling  rounds of fresh prompts, at most, that replace groups without variance (DAPO,
                      arXiv:2503.14476); the trainer samples and counts them

    A part may have ``needs``, the names of the signals and the work it asks for; a weighting ``live(LiveBatch,
    credit) → Credit``, called at every optimisation step with current log-probs, and then the control on what it
    gave; and a part that learns ``state_dict`` (empty until it has) and ``load_state_dict``, which the trainer keeps
    with its checkpoints.
    """

    name: str
    shaping: Callable[[RolloutBatch], RolloutBatch] | None
    advantage: Callable[[RolloutBatch], Credit]
    weighting: Callable[[RolloutBatch, Credit], Credit]
    surrogate: Surrogate
    control: Callable[[RolloutBatch, Credit], Credit] | None = None
    scale: str = "own"
    dynamic_sampling: int = 0

    def __post_init__(self) -> None:
        for field in PARTS:
            part = getattr(self, field)
            if not callable(part) and not (field in ("shaping", "control") and part is None):
                raise TypeError(f"method {self.name!r}, {field}: expected a callable, got {part!r}")
        if not isinstance(self.surrogate, Surrogate):
            raise TypeError(f"method {self.name!r}, surrogate: expected a Surrogate, got {self.surrogate!r}")
        check_choice(f"method {self.name!r}, scale", self.scale, ("own", "matched"))
        if type(self.dynamic_sampling) is not int or self.dynamic_sampling < 0:
            raise ValueError(
                f"method {self.name!r}, dynamic_sampling: expected a number of rounds, got {self.dynamic_sampling!r}"
            )
        if self._sequence_level:
            for part in (self.weighting, self.control):
                if part is not None and not isinstance(part, Uniform):
                    raise ValueError(
                        self._vanishing(f"token weights of {_label(part)}", "use weighting uniform")
                    )

    @property
    def needs(self) -> frozenset[str]:
        """Names of the signals and the work that the parts say they ask for."""
        parts = (_unwrapped(getattr(self, field)) for field in PARTS)
        return frozenset().union(*(getattr(part, "needs", ()) for part in parts))

    @property
    def is_live(self) -> bool:
        """Whether a part acts at every optimisation step."""
        return hasattr(_unwrapped(self.weighting), "live")

    def credit(self, batch: RolloutBatch) -> Credit:
        """The credit map (N, T) of a batch and its metrics.

        Always reported: ``advantage_rms`` and ``credit_rms``, root mean square over the tokens of scorable
        rows before weighting and at the end; ``zero_variance_share`` of groups whose scorable rewards, as
        shaped, do not differ; ``unscorable``, a number of rows; ``shaping_mean``, what shaping added to a
        reward; with ``scale`` matched the factor, ``scale_factor``. What the parts report is merged in.

        Raises MissingSignal, or an error naming method, part and field when a part breaks its contract.
        """
        shaped = batch if self.shaping is None else self._shaped(batch)
        credit = self._part("advantage", self.advantage, shaped)
        state_values = credit.state_values
        count = int((shaped.mask & shaped.valid[:, None]).count_nonzero())  # a sum would hold integers
        spread, _ = deviations(shaped.grouped(shaped.rewards), shaped.grouped(shaped.valid))
        metrics = {
            "advantage_rms": _rms(credit.values, count),
            "zero_variance_share": _mean((spread == 0).all(1).double()),
            "unscorable": (~batch.valid).sum(),
            "shaping_mean": _mean((shaped.rewards - batch.rewards)[batch.valid]),
            **credit.metrics,
        }
        # each part's map is let go once the next has read it: at 1024 × 2048 tokens one is 16 MB
        for field in ("weighting", "control"):
            if not (self.is_live and field == "control") and getattr(self, field) is not None:
                credit = self._part(field, getattr(self, field), shaped, credit)
                metrics |= credit.metrics
        values = credit.values
        if self.scale == "matched":
            rms, goal = _rms(values, count), _rms(GroupMean()(shaped).values, count)
            metrics["scale_factor"] = goal / rms if rms > 0 else 1.0
            values = values * metrics["scale_factor"]
        if not self.is_live:  # else when the live weighting has acted
            values = self.surrogate.bounded(values)
        if self._sequence_level:
            self._check_constant_rows(values, shaped.mask)
        metrics["credit_rms"] = _rms(values, count)
        return Credit(values, {name: float(value) for name, value in metrics.items()}, state_values)

    def live(self, now: LiveBatch, values: Tensor) -> Credit:
        """The credit map of a micro-batch (B, T) float64 under current log-probs, from the frozen one.

        ``scale`` has acted on the frozen one.
        """
        credit = self._live("weighting", now, Credit(values))
        metrics = credit.metrics
        if self.control is not None:
            credit = self._live("control", now, credit)
            metrics = {**metrics, **credit.metrics}
        return Credit(self.surrogate.bounded(credit.values), metrics)

    def _live(self, field: str, now: LiveBatch, credit: Credit) -> Credit:
        part = getattr(self, field)
        part = getattr(_unwrapped(part), "live", part)
        return self._checked(field, self._called(field, part, now, credit), now.mask, now.mask.any(1))

    def state_dict(self) -> dict[str, dict]:
        """What the parts have learnt, by part; empty if none learns."""
        parts = {field: getattr(self, field) for field in PARTS}
        return {field: part.state_dict() for field, part in parts.items() if hasattr(part, "state_dict")}

    def load_state_dict(self, state: dict[str, dict]) -> None:
        """Put back what ``state_dict`` gave."""
        for field, learnt in state.items():
            getattr(self, field).load_state_dict(learnt)

    @property
    def _sequence_level(self) -> bool:
        return self.surrogate.importance_sampling_level == "sequence"

    def _vanishing(self, what: str, remedy: str) -> str:
        return (
            f"method {self.name!r}: a sequence-level ratio sees only a completion's mean credit, "
            f"so the {what} would vanish: {remedy}"
        )

    def _check_constant_rows(self, values: Tensor, mask: Tensor) -> None:
        rows = zip(values.split(ROWS), mask.split(ROWS), strict=True)  # in blocks, as above
        spread = [
            some.masked_fill(~inside, torch.inf).amin(1) < some.masked_fill(~inside, -torch.inf).amax(1)
            for some, inside in rows
        ]
        if torch.cat(spread).any():
            what = f"differences between the tokens of a completion that {_label(self.advantage)} makes"
            raise ValueError(self._vanishing(what, "choose a token-level surrogate"))

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
        return self._checked(field, credit, batch.mask, batch.valid)

    def _checked(self, field: str, credit: Credit, mask: Tensor, valid: Tensor) -> Credit:
        who = f"method {self.name!r}, {field} {_label(getattr(self, field))}"
        if not isinstance(credit, Credit):
            raise TypeError(f"{who}: expected a Credit, got {type(credit).__name__}")
        values = credit.values
        if not isinstance(values, Tensor):
            raise TypeError(f"{who}: values: expected a torch.Tensor, got {type(values).__name__}")
        if values.shape != mask.shape or values.dtype != torch.float64:
            expected, got = f"{tuple(mask.shape)} float64", f"{tuple(values.shape)} {values.dtype}"
            raise ValueError(f"{who}: values: expected {expected}, got {got}")
        if credit.state_values is not None and (got := tuple(credit.state_values.shape)) != tuple(mask.shape):
            raise ValueError(f"{who}: state_values: expected {tuple(mask.shape)}, got {got}")
        if values.requires_grad:
            raise ValueError(
                f"{who}: values: carry a gradient; credit is a constant to the loss, so detach them"
            )
        for first in range(0, len(values), ROWS):  # in blocks: the checks cost no second map
            some, inside = values[first : first + ROWS], mask[first : first + ROWS]
            faults = {
                "not finite": ~some.isfinite(),
                "not 0 outside the mask": (some != 0) & ~inside,
                "not 0 in an unscorable row": (some != 0) & ~valid[first : first + ROWS, None],
            }
            for fault, where in faults.items():
                if where.any():
                    row, token = where.nonzero()[0].tolist()
                    value = some[row, token].item()
                    raise ValueError(f"{who}: values: {fault} at row {first + row}, token {token}: {value}")
        return credit


def _rms(values: Tensor, count: int) -> float:
    """Root mean square over the ``count`` places that may differ from 0."""
    return torch.linalg.vector_norm(values).item() / max(count, 1) ** 0.5


def _mean(x: Tensor) -> float:
    return x.mean().item() if x.numel() else 0.0


def _unwrapped(part: Callable | None) -> Callable | None:
    return _unwrapped(part.func) if isinstance(part, partial) else part


def _label(part: Callable) -> str:
    part = _unwrapped(part)
    return getattr(part, "__name__", type(part).__name__)

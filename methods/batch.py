"""RolloutBatch: all that a credit-assignment method sees of one batch of rollouts."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Protocol

import torch
from torch import Tensor

from methods.options import check_choice


class MissingSignal(LookupError):
    """A signal neither given nor computable; ``wanted_by`` says which method and part asked for it."""

    def __init__(self, name: str, wanted_by: str | None = None):
        super().__init__(name, wanted_by)
        self.name, self.wanted_by = name, wanted_by

    def __str__(self) -> str:
        who = f" (wanted by {self.wanted_by})" if self.wanted_by else ""
        return (
            f"signal {self.name!r} is neither given nor computable{who}: pass {self.name}=… to "
            "RolloutBatch.from_tensors, or a provider that computes it"
        )


class SignalProvider(Protocol):
    """Computes signals on demand, for instance a rollout engine that kept what it saw."""

    def signal(self, name: str) -> Tensor | Sequence:
        """Return the signal ``name``, shaped as ``RolloutBatch`` declares it, or raise MissingSignal."""


class Signal:
    """Declares one signal: an attribute read on first use, checked, detached and kept.

    ``axes``: "NT", "NTd" or "NTV" for tensors, "N" for texts; ``kind``: float, integer, text, "text or None".
    """

    def __init__(self, axes: str, kind: str):
        self.axes, self.kind = axes, kind

    def __set_name__(self, owner: type, name: str) -> None:
        self.name = name

    def __get__(self, batch: "RolloutBatch | None", owner: type):
        if batch is None:
            return self
        if self.name not in batch.cache:
            if batch.provider is None:
                raise MissingSignal(self.name)
            batch.cache[self.name] = self.checked(batch.provider.signal(self.name), batch)
        return batch.cache[self.name]

    def checked(self, value: Tensor | Sequence, batch: "RolloutBatch") -> Tensor | list:
        return self._texts(value, batch) if self.axes == "N" else self._tensor(value, batch)

    def _texts(self, value: Sequence, batch: "RolloutBatch") -> list:
        if isinstance(value, str) or not isinstance(value, Sequence):
            raise TypeError(f"signal {self.name!r}: expected a sequence of texts, got {type(value).__name__}")
        if len(value) != len(batch.rewards):
            raise ValueError(f"signal {self.name!r}: expected {len(batch.rewards)} texts, got {len(value)}")
        allowed = (str, type(None)) if "None" in self.kind else str
        for row, text in enumerate(value):
            if not isinstance(text, allowed):
                raise TypeError(f"signal {self.name!r}, row {row}: expected {self.kind}, got {text!r}")
        return list(value)

    def _tensor(self, value: Tensor, batch: "RolloutBatch") -> Tensor:
        if not isinstance(value, Tensor):
            raise TypeError(f"signal {self.name!r}: expected a torch.Tensor, got {type(value).__name__}")
        expected, axes = tuple(batch.mask.shape), ", ".join(self.axes)
        if value.ndim != len(self.axes) or tuple(value.shape[:2]) != expected:
            sizes = ", ".join(map(str, (*expected, *self.axes[2:])))
            raise ValueError(
                f"signal {self.name!r}: expected shape ({axes}) = ({sizes}), got {tuple(value.shape)}"
            )
        whole = not value.is_floating_point() and not value.is_complex() and value.dtype != torch.bool
        if not (value.is_floating_point() if self.kind == "float" else whole):
            raise TypeError(f"signal {self.name!r}: expected a {self.kind} tensor, got {value.dtype}")
        _check_device(f"signal {self.name!r}", value, batch)
        return value.detach()


def _check_device(what: str, value: Tensor, batch: "RolloutBatch") -> None:
    if value.device != batch.completion_ids.device:
        raise ValueError(f"{what} is on {value.device}, completion_ids are on {batch.completion_ids.device}")


@dataclass(frozen=True, eq=False)
class RolloutBatch:
    """N completions of at most T tokens; the G completions of one prompt are neighbours.

    completion_ids  (N, T) int64
    mask            (N, T) bool     completion tokens that the policy wrote itself (completion × tool mask)
    rewards         (N,) float64    NaN = unscorable (the verifier failed): no vote and no credit
    group_size      G ≥ 2, N a multiple of it
    reward_terms    name → (N,) float64; a NaN in any term makes its row unscorable
    provider        computes the signals that were not given

    Outside the mask anything may stand, NaN included. Raises ValueError or TypeError naming the field.
    """

    completion_ids: Tensor
    mask: Tensor
    rewards: Tensor
    group_size: int
    reward_terms: Mapping[str, Tensor] = field(default_factory=dict)
    provider: SignalProvider | None = None
    cache: dict = field(default_factory=dict, repr=False)

    logps = Signal("NT", "float")  # log π_old(o_t) at the sampling temperature
    entropies = Signal("NT", "float")  # entropy of the distribution each token was drawn from, nats
    sum_sq_probs = Signal("NT", "float")  # Σ_v π_old(v)²
    probs = Signal("NTV", "float")  # the whole distribution π_old; large, few providers have it
    hidden = Signal("NTd", "float")  # what the LM head read to predict the token
    ref_logps = Signal("NT", "float")  # log-probabilities under the reference policy
    decisive = Signal("NT", "integer")  # +1 a right decision taken, -1 where a decision or step went wrong
    prompts = Signal("N", "text")
    completions = Signal("N", "text")
    references = Signal("N", "text or None")  # a reference solution where the suite has one

    def __post_init__(self) -> None:
        ids, count = self.completion_ids, len(self.completion_ids)
        if ids.ndim != 2 or ids.dtype != torch.int64:
            raise ValueError(
                f"completion_ids: expected (N, T) integers (int64), got {tuple(ids.shape)} {ids.dtype}"
            )
        if count == 0:
            raise ValueError("completion_ids: the batch has no completions")
        if self.mask.shape != ids.shape or self.mask.dtype != torch.bool:
            got = f"{tuple(self.mask.shape)} {self.mask.dtype}"
            raise ValueError(f"mask: expected {tuple(ids.shape)} bool as completion_ids, got {got}")
        self._check_groups(count)
        for name, value in {"rewards": self.rewards, **self._named_terms()}.items():
            if value.shape != (count,) or value.dtype != torch.float64:
                raise ValueError(
                    f"{name}: expected ({count},) float64, got {tuple(value.shape)} {value.dtype}"
                )
            _check_device(name, value, self)
            if value.isinf().any():
                raise ValueError(
                    f"{name}: inf in row {int(value.isinf().nonzero()[0])}; give NaN if unscorable"
                )
        _check_device("mask", self.mask, self)
        for value in self.reward_terms.values():
            object.__setattr__(self, "rewards", self.rewards.masked_fill(value.isnan(), torch.nan))

    def _named_terms(self) -> dict[str, Tensor]:
        return {f"reward_terms[{name!r}]": value for name, value in self.reward_terms.items()}

    def _check_groups(self, count: int) -> None:
        size = self.group_size
        if type(size) is not int:
            raise TypeError(f"group_size: expected an int, got {size!r}")
        if size < 2:
            raise ValueError(
                f"group_size: {size}, but a completion is compared with others of its prompt: sample at "
                "least 2 completions per prompt (num_generations)"
            )
        if count % size:
            raise ValueError(
                f"group_size: {size}, but {count} rows are no multiple of it: give whole groups only"
            )

    @classmethod
    def from_tensors(
        cls, completion_ids, mask, rewards, group_size: int, *, reward_terms=None, provider=None, **signals
    ) -> "RolloutBatch":
        """Build a batch from tensors, arrays or lists; any signal may be given by name.

        completion_ids (N, T) integers, mask (N, T) bool or 0/1, rewards and reward terms (N,) numbers.
        Raises ValueError or TypeError naming the field or signal that is wrong.
        """
        ids, mask = torch.as_tensor(completion_ids), torch.as_tensor(mask)
        if ids.is_floating_point() or ids.dtype == torch.bool:
            raise TypeError(f"completion_ids: expected integers, got {ids.dtype}")
        if not ((mask == 0) | (mask == 1)).all():
            raise ValueError("mask: expected bool, or 0 and 1 only")

        def double(value) -> Tensor:
            # a list goes where the tokens are; a tensor elsewhere is the caller's mistake and is refused
            device = value.device if isinstance(value, Tensor) else ids.device
            return torch.as_tensor(value, dtype=torch.float64, device=device).detach()

        terms = {name: double(value) for name, value in (reward_terms or {}).items()}
        # Copies: what the caller does to its tensors afterwards, or a part to the batch's, must not reach the other.
        batch = cls(
            ids.long().clone(), mask.bool().clone(), double(rewards).clone(), group_size, terms, provider
        )
        for name, value in signals.items():
            check_choice("signal", name, SIGNALS)
            batch.cache[name] = SIGNALS[name].checked(value, batch)
        return batch

    @property
    def valid(self) -> Tensor:
        """(N,) bool: rows with a reward."""
        return ~self.rewards.isnan()

    @property
    def lengths(self) -> Tensor:
        """(N,) int64: tokens inside the mask."""
        return self.mask.sum(1)

    def grouped(self, x: Tensor) -> Tensor:
        """(N, …) → (N/G, G, …)."""
        return x.unflatten(0, (-1, self.group_size))

    def with_rewards(self, rewards: Tensor, terms: Mapping[str, Tensor] | None = None) -> "RolloutBatch":
        """The same rollouts with other rewards (N,) float64 and further reward terms; signals stay shared."""
        return replace(self, rewards=rewards, reward_terms={**self.reward_terms, **(terms or {})})


SIGNALS: dict[str, Signal] = {
    name: value for name, value in vars(RolloutBatch).items() if isinstance(value, Signal)
}

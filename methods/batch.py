"""RolloutBatch: all that a credit-assignment method sees of one batch of rollouts."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Protocol

import torch
from torch import Tensor

from methods.options import check_choice
from methods.work import Auxiliary, ScoreRequest


class MissingSignal(LookupError):
    """A signal or work neither given nor computable; ``wanted_by`` says which method and part asked for it."""

    def __init__(self, name: str, wanted_by: str | None = None):
        super().__init__(name, wanted_by)
        self.name, self.wanted_by = name, wanted_by

    def __str__(self) -> str:
        who = f" (wanted by {self.wanted_by})" if self.wanted_by else ""
        if self.name not in SIGNALS:
            return (
                f"{self.name} needs the policy itself and cannot be had here{who}: train with the harness's "
                "rollout engine, or give RolloutBatch.from_tensors a provider that has this method"
            )
        return (
            f"signal {self.name!r} is neither given nor computable{who}: pass {self.name}=… to "
            "RolloutBatch.from_tensors, or a provider that computes it"
        )


class SignalProvider(Protocol):
    """Computes signals on demand, for instance a rollout engine that kept what it saw.

    One that has the policy at hand also has the methods of ``methods.work.Worker``.
    """

    def signal(self, name: str) -> Tensor | Sequence:
        """Return the signal ``name``, shaped as ``RolloutBatch`` declares it, or raise MissingSignal."""


class Signal:
    """Declares one signal: an attribute read on first use, checked, detached and kept.

    ``axes``: "NT", "NTd" or "NTV" for tensors, "N" for one entry a row; ``kind``: float, integer, text,
    "text or None", texts (a list of them).
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
        for row, text in enumerate(value):
            if self.kind == "texts":
                right = isinstance(text, list | tuple) and all(isinstance(piece, str) for piece in text)
            else:
                right = isinstance(text, str) or (text is None and "None" in self.kind)
            if not right:
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
    token_texts = Signal("N", "texts")  # the text of every token of a row that is in the mask

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
        return torch.cat([rows.sum(1) for rows in self.mask.split(64)])  # in blocks: a sum holds integers

    def grouped(self, x: Tensor) -> Tensor:
        """(N, …) → (N/G, G, …)."""
        return x.unflatten(0, (-1, self.group_size))

    # Work that takes the policy itself; MissingSignal where there is none. The trainer counts its cost.

    def score(self, requests: Sequence[ScoreRequest]) -> list[Tensor]:
        """log π_old of every token of each request's target: (its tokens,) float64 each."""
        found = [x.detach().double() for x in self._worker("score")(list(requests))]
        if len(found) != len(requests) or any(x.ndim != 1 for x in found):
            raise ValueError(
                f"score: expected {len(requests)} vectors, got {[tuple(x.shape) for x in found]}"
            )
        return found

    def logps_given(self, prompts: Sequence[str]) -> Tensor:
        """log π_old(o_it | prompts_i, o_i,<t), (N, T) float64: the completions after N other prompts.

        0 outside the mask.
        """
        if len(prompts) != len(self.mask):
            raise ValueError(f"logps_given: expected {len(self.mask)} prompts, got {len(prompts)}")
        rows = self.mask.any(1).nonzero()[:, 0].tolist()
        ends = (self.mask.shape[1] - self.mask.flip(1).int().argmax(1)).tolist()  # behind the last true place
        scored = self.score(
            [ScoreRequest(i, self.completion_ids[i, : ends[i]].tolist(), prompt=prompts[i]) for i in rows]
        )
        logps = torch.zeros(self.mask.shape, dtype=torch.float64, device=self.mask.device)
        for i, values in zip(rows, scored, strict=True):
            logps[i, : ends[i]] = values
        return logps.where(self.mask, 0.0)

    def continuations(self, rows: Sequence[int], lengths: Sequence[int], count: int) -> Tensor:
        """Rewards (n, count) float64 of ``count`` completions sampled on from the first ``lengths[k]`` tokens of
        each ``rows[k]``; NaN where one could not be judged.
        """
        rewards = self._worker("continuations")(list(rows), list(lengths), count)
        if rewards.shape != (len(rows), count):
            raise ValueError(f"continuations: expected {(len(rows), count)}, got {tuple(rewards.shape)}")
        return rewards.detach().double()

    def input_gradients(self, targets: Tensor) -> Tensor:
        """⟨e_it, ∂J_i/∂e_it⟩, (N, T) float64, e the input embedding of o_it, J_i = Σ_{targets} log π_old(o_iu).

        targets (N, T) bool. 0 outside the mask.
        """
        if targets.shape != self.mask.shape or targets.dtype != torch.bool:
            raise ValueError(f"input_gradients: expected targets {tuple(self.mask.shape)} bool")
        found = self._worker("input_gradients")(targets)
        return found.detach().double().masked_fill_(~self.mask, 0.0)

    def auxiliary(self) -> Auxiliary:
        """A second, trainable model that started as a copy of the base policy; the same one in every batch."""
        return self._worker("auxiliary")(self)

    def _worker(self, name: str) -> Callable:
        if not hasattr(self.provider, name):
            raise MissingSignal(name)
        return getattr(self.provider, name)

    def with_rewards(self, rewards: Tensor, terms: Mapping[str, Tensor] | None = None) -> "RolloutBatch":
        """The same rollouts with other rewards (N,) float64 and further reward terms; signals stay shared."""
        return replace(self, rewards=rewards, reward_terms={**self.reward_terms, **(terms or {})})


SIGNALS: dict[str, Signal] = {
    name: value for name, value in vars(RolloutBatch).items() if isinstance(value, Signal)
}

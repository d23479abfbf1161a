"""Work beyond reading signals: what a method may ask of whoever has the policy, and what that costs."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol

from torch import Tensor, nn

if TYPE_CHECKING:
    from methods.batch import RolloutBatch


@dataclass(frozen=True)
class ScoreRequest:
    """log π_old of ``target`` after a prompt and ``given``, the beginning of an answer.

    row     the completion whose prompt is meant
    target  token ids, or a text to tokenise
    prompt  a text in place of the row's prompt (of a conversation: of all its messages); None: its own
    given   text between prompt and target
    """

    row: int
    target: Sequence[int] | str
    prompt: str | None = None
    given: str = ""


class Auxiliary(Protocol):
    """A trainable causal language model beside the policy."""

    def parameters(self) -> Iterable[nn.Parameter]: ...

    def logps(self, rows: Sequence[int]) -> Tensor:
        """log π_φ(o_it) of ``rows`` of the batch, (n, T), with a gradient to the parameters; 0 outside the mask."""


class Worker(Protocol):
    """What a provider that has the policy offers beside signals; RolloutBatch has the same calls, and says more."""

    def score(self, requests: list[ScoreRequest]) -> list[Tensor]: ...

    def continuations(self, rows: list[int], lengths: list[int], count: int) -> Tensor: ...

    def input_gradients(self, targets: Tensor) -> Tensor: ...

    def auxiliary(self, batch: "RolloutBatch") -> Auxiliary: ...

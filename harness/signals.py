"""Signals for methods, computed from the policy when the rollout engine has not kept them."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import torch
from torch import Tensor, nn

from methods import MissingSignal

FORWARD = ("logps", "entropies", "sum_sq_probs", "hidden")


class PolicySignals:
    """Signal provider of one rollout batch: what is known already, else what can be computed.

    `known` maps names to tensors or lists; `computable` maps names to functions without arguments.
    The four signals of a forward pass come together, from the first one that is asked for.
    """

    def __init__(
        self,
        known: dict[str, Tensor | Sequence],
        computable: dict[str, Callable[[], Tensor | Sequence]],
        forward: Callable[[], dict[str, Tensor]],
    ) -> None:
        self._known = dict(known)
        self._computable = computable
        self._forward = forward

    def signal(self, name: str) -> Tensor | Sequence:
        """The signal called `name`; raises `MissingSignal` if there is no way to have it."""
        if name not in self._known:
            if name in self._computable:
                self._known[name] = self._computable[name]()
            elif name in FORWARD:
                self._known = self._forward() | self._known
            else:
                raise MissingSignal(name)
        return self._known[name]


@torch.no_grad()
def forward_signals(
    model: nn.Module,
    prompt_ids: Tensor,
    prompt_mask: Tensor,
    completion_ids: Tensor,
    completion_mask: Tensor,
    temperature: float,
    rows: int,
) -> dict[str, Tensor]:
    """One forward pass over prompts (N, P) and completions (N, T), `rows` at a time.

    Returns logps, entropies (nats), sum_sq_probs (N, T) float64 at `temperature`, and hidden (N, T, d),
    the LM-head inputs; 0 outside the mask.
    """
    width = completion_ids.shape[1]
    head_inputs: list[Tensor] = []
    hook = model.get_output_embeddings().register_forward_pre_hook(
        lambda _, arguments: head_inputs.append(arguments[0][:, -width - 1 : -1])
    )
    parts: dict[str, list[Tensor]] = {name: [] for name in FORWARD}
    try:
        for i in range(0, len(completion_ids), rows):
            here = slice(i, i + rows)
            ids = torch.cat([prompt_ids[here], completion_ids[here]], dim=1)
            mask = torch.cat([prompt_mask[here], completion_mask[here]], dim=1)
            positions = (mask.cumsum(1) - 1).clamp(min=0)
            output = model(
                input_ids=ids, attention_mask=mask, position_ids=positions, logits_to_keep=width + 1
            )
            logits = output.logits[:, :-1]
            log_probs = (logits.double() / temperature).log_softmax(-1)
            probs = log_probs.exp()
            parts["logps"].append(log_probs.gather(2, completion_ids[here, :, None]).squeeze(2))
            parts["entropies"].append(-(probs * log_probs).sum(-1))
            parts["sum_sq_probs"].append(probs.square().sum(-1))
            parts["hidden"].append(head_inputs.pop())
    finally:
        hook.remove()
    signals = {name: torch.cat(pieces) for name, pieces in parts.items()}
    inside = completion_mask.bool()
    return {
        name: value * (inside[..., None] if value.dim() == 3 else inside) for name, value in signals.items()
    }

"""Signals for methods, computed from the policy when the rollout engine has not kept them."""

from __future__ import annotations

from collections.abc import Callable, Collection, Sequence

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
    names: Collection[str] = FORWARD,
) -> dict[str, Tensor]:
    """One forward pass over prompts (N, P) and completions (N, T), `rows` at a time.

    Returns those of `names`: logps, entropies (nats), sum_sq_probs (N, T) float64 at `temperature`, and
    hidden (N, T, d), the LM-head inputs; 0 outside the mask.
    """
    width = completion_ids.shape[1]
    head_inputs: list[Tensor] = []
    hook = model.get_output_embeddings().register_forward_pre_hook(
        lambda _, arguments: head_inputs.append(arguments[0][:, -width - 1 : -1])
    )
    parts: dict[str, list[Tensor]] = {name: [] for name in names}
    training = model.training
    model.eval()
    try:
        for i in range(0, len(completion_ids), rows):
            here = slice(i, i + rows)
            log_probs = completion_log_probs(
                model,
                prompt_ids[here],
                prompt_mask[here],
                completion_ids[here],
                completion_mask[here],
                temperature,
            )
            of_batch = {"hidden": head_inputs.pop()}
            of_batch["logps"] = log_probs.gather(2, completion_ids[here, :, None]).squeeze(2)
            if not {"entropies", "sum_sq_probs"}.isdisjoint(names):
                probs = log_probs.exp()
                of_batch["entropies"] = -(probs * log_probs).sum(-1)
                of_batch["sum_sq_probs"] = probs.square().sum(-1)
            for name in names:
                parts[name].append(of_batch[name])
    finally:
        hook.remove()
        model.train(training)
    signals = {name: torch.cat(pieces) for name, pieces in parts.items()}
    inside = completion_mask.bool()
    return {
        name: value * (inside[..., None] if value.dim() == 3 else inside) for name, value in signals.items()
    }


def completion_log_probs(
    model: nn.Module,
    prompt_ids: Tensor,
    prompt_mask: Tensor,
    completion_ids: Tensor,
    completion_mask: Tensor,
    temperature: float,
    embeddings: Tensor | None = None,
) -> Tensor:
    """Log-probs (B, T, V) float64 of the distributions that completions (B, T) after prompts (B, P) were drawn from.

    `embeddings` (B, P + T, d) takes the place of the input embeddings of both.
    """
    mask = torch.cat([prompt_mask, completion_mask], dim=1)
    ids = {"input_ids": torch.cat([prompt_ids, completion_ids], dim=1)}
    output = model(
        **(ids if embeddings is None else {"inputs_embeds": embeddings}),
        attention_mask=mask,
        position_ids=(mask.cumsum(1) - 1).clamp(min=0),
        logits_to_keep=completion_ids.shape[1] + 1,
        use_cache=False,
    )
    return (output.logits[:, :-1].double() / temperature).log_softmax(-1)

"""The loss's pass through the policy, without doing twice what is the same and without padding that can be spared.

- A prompt is forwarded once for all of its completions in the pass: its keys and values, gradient included, serve each
  of them.
- Completions are forwarded in parts of similar length, each trimmed to its own longest.

Log-probs, entropies and gradients are those of the plain pass up to rounding; where a model or its attention cannot do
this, the plain pass is taken (`can_share`).
"""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from transformers import DynamicCache
from transformers.cache_utils import DynamicLayer

# What one more part costs, in tokens of a pass: launching kernels, and smaller matrices. A part must save more.
PART = 256
SHARING = ("sdpa", "eager")  # attention that takes any mask over keys of the past


def can_share(model: nn.Module, processes: int) -> bool:
    """Whether the pass of this model, unwrapped, may be shared: its attention goes on from keys of the past, a token's
    keys do not depend on what else is in the pass, and one process trains (several would have to agree on each call).
    """
    config = model.config.get_text_config()
    kinds = set(getattr(config, "layer_types", None) or ["full_attention"])
    adapters = getattr(model, "peft_config", {}).values()
    return (
        processes == 1
        and getattr(config, "_attn_implementation", None) in SHARING
        and kinds == {"full_attention"}
        and (hasattr(config, "layer_types") or not getattr(config, "sliding_window", None))
        and not getattr(model, "is_activation_checkpointing", False)
        and not any(getattr(adapter, "is_prompt_learning", False) for adapter in adapters)  # its tokens precede a pass
        and not _rope_types(config) & {"dynamic", "longrope"}  # whose frequencies follow the longest row of a pass
        and not (model.training and _drops(model, config))
        and not hasattr(model, "_orig_mod")  # torch.compile: every part would be compiled anew
    )


def _rope_types(config: Any) -> set[str]:
    """Kinds of rotary position that a configuration names, for all layers or by the type of layer."""
    found, open_ = set(), [getattr(config, name, None) for name in ("rope_parameters", "rope_scaling")]
    while open_:
        if isinstance(own := open_.pop(), dict):
            found |= {own.get("rope_type"), own.get("type")} - {None}
            open_ += own.values()
    return {kind for kind in found if isinstance(kind, str)}


def _drops(model: nn.Module, config: Any) -> bool:
    rates = [value for name, value in config.to_dict().items() if name.endswith(("dropout", "pdrop"))]
    rates += [module.p for module in model.modules() if isinstance(module, nn.Dropout)]
    return any(rate for rate in rates if isinstance(rate, float))


def parts(lengths: np.ndarray, overhead: int = PART) -> list[np.ndarray]:
    """Rows (B,) in parts of similar length, the longest last: parted where that spares more than `overhead` tokens."""
    order = np.argsort(lengths, kind="stable")
    return [order[first:last] for first, last in _split(lengths[order], 0, len(order), overhead)]


def _split(lengths: np.ndarray, first: int, last: int, overhead: int) -> list[tuple[int, int]]:
    """Of sorted lengths: the ends of the parts of [first, last)."""
    cuts = np.arange(first + 1, last)
    spared = (cuts - first) * (lengths[last - 1] - lengths[cuts - 1])
    if not len(cuts) or spared.max() <= overhead:
        return [(first, last)]
    cut = int(cuts[spared.argmax()])
    return _split(lengths, first, cut, overhead) + _split(lengths, cut, last, overhead)


class Positioned:
    """A model that has learnt absolute positions, which count from each row's first token, as in the rollout engine.

    TRL's loss leaves them to the model, which counts the padding on the left too.
    """

    def __init__(self, model: nn.Module) -> None:
        self.model = model

    def __call__(self, input_ids: Tensor, attention_mask: Tensor, **named: Any) -> Any:
        positions = (attention_mask.cumsum(1) - 1).clamp(min=0)[:, -input_ids.shape[1] :]
        return self.model(input_ids=input_ids, attention_mask=attention_mask, position_ids=positions, **named)


def has_learnt_positions(model: nn.Module) -> bool:
    """Whether an embedding other than that of tokens has a row for each position (GPT-2, or OPT's with two more)."""
    length = getattr(model.config.get_text_config(), "max_position_embeddings", None)
    tokens = model.get_input_embeddings()
    return length is not None and any(
        isinstance(module, nn.Embedding) and module is not tokens and 0 <= module.num_embeddings - length <= 2
        for module in model.modules()
    )


class SharedPrompts:
    """A model with TRL's fused head as TRL's loss calls it, for rows of `kept` completion tokens after a prompt."""

    def __init__(self, model: nn.Module, kept: int) -> None:
        self.model, self.kept = model, kept

    def __call__(
        self, input_ids: Tensor, attention_mask: Tensor, labels: Tensor, fused_lm_head: bool, **more: Any
    ) -> Any:
        """log_probs and entropy (B, kept), 0 beyond each completion. Ids, mask and labels are (B, prompt + kept)."""
        width = input_ids.shape[1] - self.kept

        def plain() -> Any:
            return self.model(
                input_ids=input_ids, attention_mask=attention_mask, labels=labels, fused_lm_head=fused_lm_head, **more
            )

        if more or width < 2:
            return plain()
        # the last token of a prompt predicts the first of the completion: it is forwarded with the completion
        before, seen = input_ids[:, : width - 1], attention_mask[:, : width - 1]
        distinct, source = torch.unique(before.masked_fill(seen == 0, -1), dim=0, return_inverse=True)
        if 2 * len(distinct) > len(source):
            return plain()  # hardly any prompt has a second completion in this pass: sharing would cost more
        first = source.new_zeros(len(distinct)).scatter_(0, source, torch.arange(len(source), device=source.device))
        output = self.model(input_ids=before[first], attention_mask=seen[first], use_cache=True, logits_to_keep=1)
        past = getattr(output, "past_key_values", None)
        if any(type(layer) is not DynamicLayer for layer in getattr(past, "layers", [None])):
            return plain()  # it keeps something else of the past, or nothing
        lengths = attention_mask[:, width:].sum(1)
        outputs, rows = [], []
        for part in parts(lengths.cpu().numpy()):
            some = torch.as_tensor(part, device=input_ids.device)
            end = width + max(1, int(lengths[some].max()))
            outputs.append(
                self.model(
                    input_ids=input_ids[some, width - 1 : end],
                    attention_mask=attention_mask[some, :end],
                    past_key_values=_of_rows(past, source[some]),
                    labels=labels[some, width - 1 : end],
                    fused_lm_head=fused_lm_head,
                )
            )
            rows.append(some)
        back = torch.cat(rows).argsort()

        def joined(name: str) -> Tensor | None:
            values = [getattr(output, name) for output in outputs]
            if values[0] is None:
                return None
            padded = [nn.functional.pad(value, (0, self.kept - value.shape[1])) for value in values]
            return torch.cat(padded)[back]

        return SimpleNamespace(log_probs=joined("log_probs"), entropy=joined("entropy"))


def _of_rows(past: DynamicCache, source: Tensor) -> DynamicCache:
    """The keys and values of each row's prompt, with their gradient; the next pass grows a copy of its own."""
    return DynamicCache([(layer.keys[source], layer.values[source]) for layer in past.layers])

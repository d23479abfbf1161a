"""The rollout engine: one way to sample, for training, evaluation and diagnosis.

Each distinct prompt is prefilled once and its cache expanded to the rows that share it; rows that
have finished leave the batch; log-probs, entropies and, when asked, LM-head inputs are kept as they
are computed. The noise is common to all methods (`harness.noise`), so a completion depends on its
own key and the policy only. Works for any Hugging Face causal LM.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, fields

import numpy as np
import torch
from torch import Tensor
from transformers import Cache, PreTrainedModel, PreTrainedTokenizerBase

from harness.cache import roomy
from harness.noise import uniforms

# Finished rows are taken out of the cache once they are this share of it: copying it costs time too.
LEAVE_AT = 0.2


@dataclass(frozen=True)
class Key:
    """Names a completion's noise: problem, index in the group, and rollout batch (or evaluation).

    first: how far into the stream its first token stands, for one that goes on from a prefix.
    """

    problem: str
    sample: int
    step: int
    first: int = 0


@dataclass(frozen=True)
class Rollouts:
    """Completions of N requests, right-padded to the longest, T tokens.

    completion_ids (N, T) int64; mask (N, T) bool, end-of-sequence token included; logps, entropies
    (nats) and sum_sq_probs (N, T) float64 at the sampling temperature, 0 outside the mask; hidden
    (N, T, d) LM-head inputs or None; truncated (N,) bool: stopped by the length limit.
    """

    completion_ids: Tensor
    mask: Tensor
    logps: Tensor
    entropies: Tensor
    sum_sq_probs: Tensor
    hidden: Tensor | None
    truncated: Tensor

    @property
    def tokens(self) -> int:
        """Generated tokens, end-of-sequence included."""
        return int(self.mask.sum())

    def ids(self) -> list[list[int]]:
        """Completion token ids without padding, row by row."""
        return [row[keep].tolist() for row, keep in zip(self.completion_ids, self.mask, strict=True)]

    def texts(self, tokenizer: PreTrainedTokenizerBase) -> list[str]:
        """Completions as text without special tokens."""
        return tokenizer.batch_decode(self.ids(), skip_special_tokens=True)


class RolloutEngine:
    """Samples completions from `model` with common random numbers under `seed`.

    `eos_token_ids` end a completion (default: the tokenizer's and the model's own); `max_rows` bounds
    how many are decoded at once. With `autocast` forwards compute in bfloat16.
    """

    def __init__(
        self,
        model: PreTrainedModel,
        tokenizer: PreTrainedTokenizerBase,
        *,
        seed: int,
        eos_token_ids: Sequence[int] | None = None,
        max_rows: int = 512,
        autocast: bool = False,
    ) -> None:
        self.model = model
        self.tokenizer = tokenizer
        self.seed = seed
        self.max_rows = max_rows
        self.autocast = autocast
        if eos_token_ids is None:
            declared = model.generation_config.eos_token_id
            declared = declared if isinstance(declared, list) else [declared]
            eos_token_ids = {tokenizer.eos_token_id, *declared} - {None}
        self.eos = torch.tensor(sorted(eos_token_ids))
        self.context = getattr(model.config.get_text_config(), "max_position_embeddings", None)

    def generate(
        self,
        prompts: Sequence[Sequence[int]],
        keys: Sequence[Key],
        *,
        max_tokens: int | Sequence[int],
        temperature: float = 1.0,
        keep_hidden: bool = False,
        seed: int | None = None,
    ) -> Rollouts:
        """Complete every prompt (token ids) under its key, to `max_tokens` at most, one number or one for each
        prompt; temperature 0 is greedy.

        Raises ValueError for an empty prompt, or one that does not leave its `max_tokens` in the context.
        """
        if len(prompts) != len(keys) or not prompts:
            raise ValueError(
                f"{len(prompts)} prompts and {len(keys)} keys: give one key for each, at least one"
            )
        limits = [max_tokens] * len(prompts) if isinstance(max_tokens, int) else list(max_tokens)
        for prompt, key, limit in zip(prompts, keys, limits, strict=True):
            if not prompt:
                raise ValueError(f"problem {key.problem}: its prompt has no tokens")
            if self.context is not None and len(prompt) + limit > self.context:
                raise ValueError(
                    f"problem {key.problem}: a prompt of {len(prompt)} tokens and {limit} for the completion "
                    f"exceed the policy's context of {self.context}; shorten one of them"
                )
        # Rows of similar prompt length share a chunk only by chance: results do not depend on it.
        chunks = [
            self._decode(
                prompts[i : i + self.max_rows],
                self._noise(keys[i : i + self.max_rows], max(limits), self.seed if seed is None else seed),
                torch.tensor(limits[i : i + self.max_rows]),
                temperature,
                keep_hidden,
            )
            for i in range(0, len(prompts), self.max_rows)
        ]
        return chunks[0] if len(chunks) == 1 else _join(chunks)

    @staticmethod
    def _noise(keys: Sequence[Key], count: int, seed: int) -> Tensor:
        streams = [uniforms(seed, k.problem, k.sample, k.step, k.first + count)[k.first :] for k in keys]
        return torch.from_numpy(np.stack(streams))

    @torch.no_grad()
    def _decode(
        self,
        prompts: Sequence[Sequence[int]],
        noise: Tensor,
        limits: Tensor,
        temperature: float,
        keep_hidden: bool,
    ) -> Rollouts:
        device, rows, limit = self.model.device, len(prompts), int(limits.max())
        # the model may have moved since
        noise, eos, limits = noise.to(device), self.eos.to(device), limits.to(device)
        ids = torch.full((rows, limit), self.tokenizer.pad_token_id, device=device)
        logps, entropies, sum_sq = (
            torch.zeros(rows, limit, dtype=torch.float64, device=device) for _ in range(3)
        )
        lengths = limits.clone()
        hidden: list[tuple[Tensor, Tensor]] = []  # (rows, their LM-head inputs) for each position

        # One context for all tokens: weights are cast once, not once a token.
        precision = torch.autocast(device.type, torch.bfloat16, enabled=self.autocast)
        with _inference(self.model) as head_inputs, precision:
            logits, inputs, cache, mask = self._prefill(prompts, head_inputs)
            row_of = torch.arange(rows, device=device)  # which completion each cache row holds
            alive = torch.ones(rows, dtype=torch.bool, device=device)
            for t in range(limit):
                token, logp, entropy, squares = sample(logits, noise[row_of, t], temperature)
                here = row_of[alive]
                ids[here, t], logps[here, t] = token[alive], logp[alive]
                entropies[here, t], sum_sq[here, t] = entropy[alive], squares[alive]
                if keep_hidden:
                    hidden.append((here, inputs[alive]))
                ended = alive & (torch.isin(token, eos) | (limits[row_of] == t + 1))
                lengths[row_of[ended]] = t + 1
                alive = alive & ~ended
                count = int(alive.sum())  # the one host-device synchronisation of a token
                if count == 0:
                    break
                if count <= (1 - LEAVE_AT) * len(alive):
                    stay = alive.nonzero().squeeze(1)
                    cache.batch_select_indices(stay)
                    token, mask, row_of, alive = token[stay], mask[stay], row_of[stay], alive[stay]
                mask = torch.cat([mask, mask.new_ones(len(mask), 1)], dim=1)
                output = self.model(
                    input_ids=token[:, None],
                    attention_mask=mask,
                    position_ids=mask.sum(1, keepdim=True) - 1,
                    past_key_values=cache,
                    use_cache=True,
                )
                logits, inputs = output.logits[:, -1], head_inputs[-1]

        width = int(lengths.max())
        keep = torch.arange(width, device=device) < lengths[:, None]
        last = ids.gather(1, lengths[:, None] - 1).squeeze(1)
        return Rollouts(
            ids[:, :width],
            keep,
            logps[:, :width],
            entropies[:, :width],
            sum_sq[:, :width],
            _scatter(hidden, rows, width) if keep_hidden else None,
            ~torch.isin(last, eos),
        )

    def _prefill(
        self, prompts: Sequence[Sequence[int]], head_inputs: list[Tensor]
    ) -> tuple[Tensor, Tensor, Cache, Tensor]:
        """Forward each distinct prompt once, left-padded; expand logits, LM-head inputs, cache and mask to all rows."""
        distinct = {tuple(prompt): i for i, prompt in enumerate(dict.fromkeys(map(tuple, prompts)))}
        width = max(map(len, distinct))
        device = self.model.device
        ids = torch.full((len(distinct), width), self.tokenizer.pad_token_id)
        mask = torch.zeros(len(distinct), width, dtype=torch.long)
        for prompt, i in distinct.items():
            ids[i, width - len(prompt) :] = torch.tensor(prompt)
            mask[i, width - len(prompt) :] = 1
        output = self.model(
            input_ids=ids.to(device),
            attention_mask=mask.to(device),
            position_ids=(mask.cumsum(1) - 1).clamp(min=0).to(device),
            use_cache=True,
            logits_to_keep=1,
        )
        source = torch.tensor([distinct[tuple(prompt)] for prompt in prompts], device=device)
        roomy(output.past_key_values, source)
        return (
            output.logits[source, -1],
            head_inputs[-1][source],
            output.past_key_values,
            mask.to(device)[source],
        )


def sample(logits: Tensor, u: Tensor, temperature: float) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """One token per row by the inverse CDF at `u`; greedy at temperature 0.

    logits (B, V), u (B,) in [0, 1). Returns token ids, log-probs, entropies (nats) and Σ_v p_v²,
    each (B,), of the distribution at `temperature` (at 1 for greedy). Computed in float64, so that
    rounding moves a token only where `u` lies at a boundary of the distribution.
    """
    log_probs = (logits.double() / (temperature or 1.0)).log_softmax(-1)
    if log_probs.isnan().any():
        raise FloatingPointError("the policy's logits are not finite: training has diverged")
    probs = log_probs.exp()
    if temperature == 0:
        token = logits.argmax(-1)
    else:
        cdf = probs.cumsum(-1)
        # Scaled by the last value, which is 1 but for rounding, so that no u falls beyond it.
        token = torch.searchsorted(cdf, (u * cdf[:, -1])[:, None], right=True).squeeze(1)
        token = token.clamp(max=logits.shape[-1] - 1)
    logp = log_probs.gather(1, token[:, None]).squeeze(1)
    return token, logp, -(probs * log_probs).nan_to_num(0.0).sum(-1), probs.square().sum(-1)


@contextmanager
def _inference(model: PreTrainedModel) -> Iterator[deque[Tensor]]:
    """Evaluation mode, and a look at what enters the LM head: yields a queue whose last entry is `(B, d)`."""
    seen: deque[Tensor] = deque(maxlen=1)
    hook = model.get_output_embeddings().register_forward_pre_hook(
        lambda _, arguments: seen.append(arguments[0][:, -1])
    )
    training = model.training
    model.eval()
    try:
        yield seen
    finally:
        hook.remove()
        model.train(training)


def _scatter(pieces: list[tuple[Tensor, Tensor]], rows: int, width: int) -> Tensor:
    """Per-position `(rows, values)` pieces to one `(N, T, d)` tensor, 0 where there was no token."""
    first = pieces[0][1]
    out = first.new_zeros(rows, width, first.shape[-1])
    for t, (here, values) in enumerate(pieces):
        out[here, t] = values
    return out


def rows_of(chunks: Sequence[Rollouts], rows: Sequence[int]) -> Rollouts:
    """Some rows of several rollouts, numbered through, as one."""
    whole = _join(chunks)
    width = int(whole.mask[list(rows)].sum(1).max())

    def chosen(value: Tensor | None) -> Tensor | None:
        some = None if value is None else value[list(rows)]
        return some if some is None or some.dim() == 1 else some[:, :width]

    return Rollouts(**{f.name: chosen(getattr(whole, f.name)) for f in fields(Rollouts)})


def _join(chunks: Sequence[Rollouts]) -> Rollouts:
    """Stack chunks of rows, padded to the longest."""
    width = max(chunk.mask.shape[1] for chunk in chunks)

    def stack(name: str) -> Tensor | None:
        parts = [getattr(chunk, name) for chunk in chunks]
        if parts[0] is None:
            return None
        if name == "truncated":
            return torch.cat(parts)
        padding = [(0, 0) * (part.dim() - 2) + (0, width - part.shape[1]) for part in parts]
        return torch.cat([torch.nn.functional.pad(p, pad) for p, pad in zip(parts, padding, strict=True)])

    return Rollouts(**{f.name: stack(f.name) for f in fields(Rollouts)})

"""Small pure functions on the rows of a batch, for the adapter to TRL."""

from __future__ import annotations

import hashlib
import math
import numbers
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from trl.trainer.utils import is_async_callable


def trimmed(inputs: dict[str, Any], keep: Tensor) -> dict[str, Any]:
    """The rows `keep` (B,) of a micro-batch, without columns that are padding in all of them."""
    width = inputs["completion_mask"].shape[1]
    start = int(inputs["prompt_mask"][keep].any(0).int().argmax())
    end = max(1, int(inputs["completion_mask"][keep].sum(1).max()))
    rows = {k: v[keep] if isinstance(v, Tensor) and v.dim() > 0 else v for k, v in inputs.items()}
    for name, value in rows.items():
        if name in ("prompt_ids", "prompt_mask"):
            rows[name] = value[:, start:]
        elif isinstance(value, Tensor) and value.dim() > 1 and value.shape[1] == width:
            rows[name] = value[:, :end]
    return rows


def count_all_rows(
    metrics: dict[str, list[float]], keep: Tensor, mask: Tensor, entropies: Tensor, sequences: bool
) -> tuple[float, float]:
    """Make the last entries of TRL's metrics of the rows `keep` (B,) those of all rows of a micro-batch, of which the
    others have no credit and so are never clipped.

    `mask` and `entropies` (B, T) of all rows; `sequences`: one ratio a completion. Returns the share of rows kept, and
    of tokens.
    """
    tokens = max(1, int(mask.sum()))  # none where all completions are cut off and masked
    kept, left_out = int(mask[keep].sum()), float((entropies * mask)[~keep].sum())
    shares = int(keep.sum()) / len(keep), kept / tokens
    metrics["entropy"][-1] = (metrics["entropy"][-1] * kept + left_out) / tokens
    for name in ("clip_ratio/low_mean", "clip_ratio/high_mean", "clip_ratio/region_mean", "cispo_clip_ratio"):
        if values := metrics.get(name):
            values[-1] *= shares[0 if sequences else 1]
    if (values := metrics.get("clip_ratio/low_min")) and not keep.all():
        values[-1] = 0.0
    return shares


def right_padded(rows: Sequence[Sequence[int]], flip: bool = False) -> tuple[Tensor, Tensor]:
    """Token ids (B, T) and their mask (B, T), rows padded on the right with 0, or with `flip` on the left."""
    width = max(1, *map(len, rows))
    ids = [[0] * (width - len(r)) * flip + list(r) + [0] * (width - len(r)) * (not flip) for r in rows]
    mask = [[0] * (width - len(r)) * flip + [1] * len(r) + [0] * (width - len(r)) * (not flip) for r in rows]
    return torch.tensor(ids), torch.tensor(mask)


def as_text(message: Any) -> str:
    """A prompt or completion as text: the contents of its messages if it is a conversation."""
    if isinstance(message, str):
        return message
    return "\n".join(part["content"] for part in message if isinstance(part.get("content"), str))


def prompt_key(prompt_ids: Sequence[int]) -> str:
    """Names a problem by its prompt's token ids, for the noise of its completions."""
    return hashlib.sha256(" ".join(map(str, prompt_ids)).encode()).hexdigest()[:16]


def checked_reward(value: Any, name: str, row: int) -> float | None:
    if isinstance(value, Tensor | np.generic):
        value = value.item()
    if value is not None and (not isinstance(value, numbers.Real) or math.isinf(value)):
        raise ValueError(
            f"reward function {name!r} returned {value!r} for completion {row}: give a finite number, "
            "NaN if it could not be judged, or None if the reward does not apply"
        )
    return None if value is None else float(value)


def finite(value: Any, name: str, scaler: Any = None) -> Any:
    """The number itself; FloatingPointError if it is not finite, unless a gradient scaler passes over such steps."""
    if scaler is None and value is not None and not math.isfinite(float(value)):
        raise FloatingPointError(f"the {name} is {float(value)}")
    return value


def recorded(func: Callable, name: str, index: int, raw: dict[int, list[float | None]]) -> Callable:
    """The reward function with its values kept in `raw[index]` as Python floats; reward models stay as they are."""
    if isinstance(func, nn.Module):
        return func

    def keep(values: Sequence[Any]) -> list[float | None]:
        raw[index] = [checked_reward(value, name, i) for i, value in enumerate(values)]
        return raw[index]

    if is_async_callable(func):

        async def wrapped(**named):
            return keep(await func(**named))
    else:

        def wrapped(**named):
            return keep(func(**named))

    return wrapped

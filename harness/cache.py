"""Keys and values of the past with room for the tokens to come: a token is written, not the whole past copied."""

from __future__ import annotations

from torch import Tensor
from transformers import Cache
from transformers.cache_utils import DynamicLayer

ROOM = 64  # tokens by which a layer grows when it is full


class RoomyLayer(DynamicLayer):
    """A layer (B, heads, T, d) that begins with given keys and values, in tensors longer than T."""

    def __init__(self, keys: Tensor, values: Tensor) -> None:
        super().__init__()
        self.lazy_initialization(keys, values)
        self.length = 0
        self.update(keys, values)

    def update(self, keys: Tensor, values: Tensor, *_, **__) -> tuple[Tensor, Tensor]:
        """Write the tokens' keys and values; returns those of the whole past, views that the next call extends."""
        end = self.length + keys.shape[2]
        if self.length == 0 or end > self._all.shape[3]:
            size = (2, *keys.shape[:2], end + ROOM, keys.shape[3])
            grown = keys.new_empty(size)
            if self.length:
                grown[:, :, :, : self.length] = self._all[:, :, :, : self.length]
            self._all = grown
        self._all[0, :, :, self.length : end], self._all[1, :, :, self.length : end] = keys, values
        return self._seen(end)

    def batch_select_indices(self, indices: Tensor) -> None:
        self._all = self._all[:, indices]
        self._seen(self.length)

    def _unused(self, *_, **__):
        raise NotImplementedError("the rollout engine's cache is written to and parted by rows, nothing else")

    crop = reset = reorder_cache = batch_repeat_interleave = offload = prefetch = _unused

    def _seen(self, end: int) -> tuple[Tensor, Tensor]:
        self.length = end
        self.keys, self.values = self._all[0, :, :, :end], self._all[1, :, :, :end]
        return self.keys, self.values


def roomy(cache: Cache, rows: Tensor) -> None:
    """Make a prefilled cache that of `rows` (B,), indices of its own rows, with room where its layers are plain ones.

    A layer whose keys and values differ in shape or precision, or that is not used, stays as it is, too.
    """
    cache.batch_select_indices(rows)
    layers = getattr(cache, "layers", [])
    for i, layer in enumerate(layers):
        if type(layer) is DynamicLayer and layer.is_initialized:
            keys, values = layer.keys, layer.values
            if (keys.shape, keys.dtype) == (values.shape, values.dtype):
                layers[i] = RoomyLayer(keys, values)

"""Hidden states of a batch's tokens a few at a time, in float64."""

from collections.abc import Iterator, Sequence

import torch
from torch import Tensor

BLOCK = 1 << 18  # numbers at a time, 2 MB: what is read twice stays in the cache

Run = tuple[int, int, int]  # row, first column, column behind the last


def runs(mask: Tensor) -> list[Run]:
    """The stretches of true places in the rows of mask (N, T), in order."""
    edge = mask.new_zeros(len(mask), 1)
    change = torch.cat([edge, mask, edge], 1).to(torch.int8).diff(dim=1)
    starts, stops = (change == 1).nonzero().tolist(), (change == -1).nonzero().tolist()
    return [(row, start, stop) for (row, start), (_, stop) in zip(starts, stops, strict=True)]


def tokens(places: Sequence[Run]) -> int:
    """How many tokens stand in the runs."""
    return sum(stop - start for _, start, stop in places)


def blocks(hidden: Tensor, places: Sequence[Run]) -> Iterator[tuple[Run, Tensor]]:
    """Parts of the runs and their h (n, d) of hidden (N, T, d), in one buffer that serves all of them in turn."""
    size = max(1, BLOCK // hidden.shape[2])
    buffer = torch.empty(size, hidden.shape[2], dtype=torch.float64, device=hidden.device)
    for row, first, last in places:
        for start in range(first, last, size):
            stop = min(start + size, last)
            yield (row, start, stop), buffer[: stop - start].copy_(hidden[row, start:stop])

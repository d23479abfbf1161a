"""Steps of a completion, and names for the states between them."""

import re
from bisect import bisect_left
from collections.abc import Iterator
from hashlib import blake2b
from itertools import accumulate, pairwise

from methods.batch import RolloutBatch


def step_ends(batch: RolloutBatch, row: int, separator: str) -> list[int]:
    """Lengths of a completion, counted in columns, at which its steps end: from 0, where none has begun, to the whole.

    A step ends with the token in which ``separator`` ends; several in a row are one, and at the start they end nothing.
    """
    texts, columns = batch.token_texts[row], batch.mask[row].nonzero()[:, 0].tolist()
    if len(texts) != len(columns):
        raise ValueError(
            f"signal 'token_texts', row {row}: {len(texts)} texts for {len(columns)} tokens in the mask"
        )
    reach = list(accumulate(map(len, texts)))  # characters up to and with each token
    found = re.finditer(f"(?:{re.escape(separator)})+", "".join(texts))
    last = {bisect_left(reach, match.end()) for match in found if match.start() > 0} | {len(columns) - 1}
    return [0] + [columns[token] + 1 for token in sorted(last)]


def states(batch: RolloutBatch, row: int, lengths: list[int]) -> Iterator[tuple[bytes, int]]:
    """For each of ``lengths``, rising: a name of the tokens before it, one for equal ones in a group, and itself."""
    ids = batch.completion_ids[row].cpu().numpy()
    name = blake2b(str(row // batch.group_size).encode(), digest_size=16)
    for start, end in pairwise([0, *lengths]):
        name.update(ids[start:end].tobytes())
        yield name.copy().digest(), end

"""Common random numbers: the noise of a completion depends on its own key and on nothing else.

Every completion draws its uniforms from NumPy's counter-based Philox generator, keyed by (seed,
problem, sample, step). So it does not matter in which batch, in which order or for which method a
completion is sampled: two methods on one seed see the same noise.
"""

from __future__ import annotations

import hashlib

import numpy as np


def uniforms(seed: int, problem: str, sample: int, step: int, count: int) -> np.ndarray:
    """`count` uniforms in [0, 1), one for each token of a completion; float64, shape `(count,)`.

    `problem` is any string that identifies the problem, `sample` the completion's index in its
    group, `step` the rollout batch (use a value of its own for evaluations).
    """
    digest = hashlib.blake2b(f"{seed}/{problem}/{sample}/{step}".encode(), digest_size=16).digest()
    key = np.frombuffer(digest, dtype=np.uint64)
    return np.random.Generator(np.random.Philox(key=key)).random(count)

"""DAPO's soft overlong punishment."""

import math
from dataclasses import dataclass

from methods.batch import RolloutBatch
from methods.options import check_options


@dataclass(frozen=True)
class Overlong:
    """DAPO (arXiv:2503.14476, eq. 13):  R_i ← R_i + min(max((L_max − L_cache − |o_i|)/L_cache, −1), 0)

    max_tokens      L_max, the longest completion that is sampled; |o_i| counts the policy's own tokens
    cache_share     L_cache/L_max: the punishment grows over the last of them, from 0 to −1
    penalty_factor  what the punishment is multiplied with; 1 in the paper, where a right answer is 2 above a
                    wrong one (rewards ±1): with rewards 0 and 1 its proportion is 0.5

    Unscorable rows stay unscorable. The punishment becomes the reward term ``overlong``.
    """

    max_tokens: int
    cache_share: float = 0.2
    penalty_factor: float = 1.0

    def __post_init__(self) -> None:
        check_options(self)
        if not self.max_tokens > 0:
            raise ValueError(f"Overlong.max_tokens must be positive, got {self.max_tokens}")
        if not 0 < self.cache_share <= 1:
            raise ValueError(
                f"Overlong.cache_share must lie above 0 and at most at 1, got {self.cache_share}"
            )
        if not (self.penalty_factor > 0 and math.isfinite(self.penalty_factor)):
            raise ValueError(
                f"Overlong.penalty_factor must be positive and finite, got {self.penalty_factor}"
            )

    def __call__(self, batch: RolloutBatch) -> RolloutBatch:
        if (longest := int(batch.lengths.max())) > self.max_tokens:
            raise ValueError(
                f"Overlong: a completion has {longest} tokens, max_tokens is {self.max_tokens}: set "
                "shaping.max_tokens to the limit they were sampled with"
            )
        cache = self.cache_share * self.max_tokens
        punishment = ((self.max_tokens - cache - batch.lengths.double()) / cache).clamp(-1.0, 0.0)
        punishment = self.penalty_factor * punishment
        return batch.with_rewards(batch.rewards + punishment, {"overlong": punishment})

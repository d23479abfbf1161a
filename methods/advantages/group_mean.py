"""GRPO's group-relative advantage."""

from dataclasses import dataclass
from typing import Literal

from methods.batch import RolloutBatch
from methods.credit import Credit
from methods.groups import deviations, sample_std
from methods.options import check_options


@dataclass(frozen=True)
class GroupMean:
    """GRPO (arXiv:2402.03300, outcome supervision):  A_i = (R_i − R̄) / (s + ε)

    R̄ is the mean reward of the group; s, unbiased (n − 1) as in TRL, is taken over

    scale = group   the group: GRPO
            batch   all scorable rewards of the batch, the mean staying the group's
            none    nothing, A_i = R_i − R̄: Dr. GRPO (arXiv:2503.20783)

    epsilon: added to s, 1e-4 as in TRL; unread with scale none.
    Unscorable rows do not vote and get 0; a group of equal rewards, or of fewer than two scorable ones, gets
    exactly 0.
    """

    scale: Literal["group", "batch", "none"] = "group"
    epsilon: float = 1e-4

    def __post_init__(self) -> None:
        check_options(self)
        if not self.epsilon >= 0:
            raise ValueError(f"GroupMean.epsilon must not be negative, got {self.epsilon}")

    @property
    def scope(self) -> str:
        return "batch" if self.scale == "batch" else "group"

    def __call__(self, batch: RolloutBatch) -> Credit:
        rewards, votes = batch.grouped(batch.rewards), batch.grouped(batch.valid)
        assert rewards.shape == votes.shape == (len(batch.rewards) // batch.group_size, batch.group_size)

        deviation, n = deviations(rewards, votes)  # R_i − R̄, (P, G)
        if self.scale == "group":
            scale = sample_std(deviation, n) + self.epsilon
        elif self.scale == "batch":
            scale = sample_std(*deviations(batch.rewards[None], batch.valid[None])) + self.epsilon
        else:
            scale = deviation.new_ones(())
        # with epsilon 0 a group of equal rewards would be 0/0; it is 0
        advantages = (deviation / scale).where(deviation != 0, 0.0)
        return Credit.broadcast(advantages.flatten(), batch.mask)

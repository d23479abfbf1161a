"""RLOO's leave-one-out advantage."""

from dataclasses import dataclass

from methods.batch import RolloutBatch
from methods.credit import Credit
from methods.groups import deviations


@dataclass(frozen=True)
class LeaveOneOut:
    """RLOO (arXiv:2402.14740):  A_i = R_i − 1/(n−1)·Σ_{j≠i} R_j = n/(n−1)·(R_i − R̄)

    The mean of the other n − 1 scorable completions is an unbiased baseline: it does not depend on o_i.
    Unscorable rows do not vote and get 0; a group of equal rewards, or of fewer than two scorable ones, gets
    exactly 0.
    """

    def __call__(self, batch: RolloutBatch) -> Credit:
        rewards, votes = batch.grouped(batch.rewards), batch.grouped(batch.valid)
        assert rewards.shape == votes.shape == (len(batch.rewards) // batch.group_size, batch.group_size)

        deviation, n = deviations(rewards, votes)  # R_i − R̄, (P, G)
        advantages = n / (n - 1).clamp(min=1) * deviation
        return Credit.broadcast(advantages.flatten(), batch.mask)

"""Every token of a completion weighs the same."""

from dataclasses import dataclass

from methods.batch import RolloutBatch
from methods.credit import Credit


@dataclass(frozen=True)
class Uniform:
    """w_it = 1: credit stays as the advantage gave it."""

    def __call__(self, batch: RolloutBatch, credit: Credit) -> Credit:
        return credit

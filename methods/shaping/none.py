"""No shaping."""

from dataclasses import dataclass

from methods.batch import RolloutBatch


@dataclass(frozen=True)
class NoShaping:
    """R_i stays as the verifier gave it."""

    def __call__(self, batch: RolloutBatch) -> RolloutBatch:
        return batch

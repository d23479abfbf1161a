"""Reward shaping, before groups are compared: `shaping(batch) -> RolloutBatch` with other rewards."""

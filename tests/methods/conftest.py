"""Small batches for tests. No ``__init__.py`` in this folder: it would shadow the package under test."""

import pytest
import torch

from methods import RolloutBatch


@pytest.fixture
def batch_of():
    """Build a batch from rewards alone: ``length`` tokens a row, all in the mask unless it is given."""

    def make(rewards, group_size, *, length=2, mask=None, provider=None, reward_terms=None, **signals):
        count = len(rewards)
        mask = torch.ones(count, length, dtype=torch.bool) if mask is None else torch.as_tensor(mask).bool()
        ids = torch.arange(mask.numel()).reshape(mask.shape)
        return RolloutBatch.from_tensors(
            ids, mask, rewards, group_size, provider=provider, reward_terms=reward_terms, **signals
        )

    return make


@pytest.fixture
def close():
    """Assert that a tensor equals plain numbers to float64 accuracy."""

    def check(actual, expected, tolerance=1e-12):
        torch.testing.assert_close(
            torch.as_tensor(actual, dtype=torch.float64),
            torch.as_tensor(expected, dtype=torch.float64),
            rtol=tolerance,
            atol=tolerance,
        )

    return check

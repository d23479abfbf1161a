"""The same rows as a rollout batch and as a micro-batch of an optimisation step."""

import pytest
import torch

from methods import RolloutBatch
from methods.live import LiveBatch


@pytest.fixture(params=["rollouts", "live"])
def rows_of(request):
    """Build a batch of either kind from a mask and log-probs; token ids are all different."""

    def make(mask, logps=None, ids=None):
        mask = torch.as_tensor(mask).bool()
        ids = torch.arange(mask.numel()).reshape(mask.shape) if ids is None else torch.as_tensor(ids)
        logps = None if logps is None else torch.as_tensor(logps, dtype=torch.float64)
        if request.param == "live":
            zeros = torch.zeros(mask.shape, dtype=torch.float64)
            return LiveBatch(ids, mask, zeros if logps is None else logps, zeros, zeros)
        signals = {} if logps is None else {"logps": logps}
        return RolloutBatch.from_tensors(ids, mask, [1.0] * len(mask), len(mask), **signals)

    return make


@pytest.fixture
def draw(monkeypatch):
    """Replace the uniforms of a control by plain numbers."""

    def fix(module, numbers):
        import numpy as np

        monkeypatch.setattr(module, "token_uniforms", lambda ids, salt: np.array(numbers[: len(ids)]))

    return fix

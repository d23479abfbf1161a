"""The reward model's own step; what credit makes of it is in test_implicit_prm.py."""

import math

import pytest
import torch

from methods import RolloutBatch
from methods.advantages.implicit_reward import ImplicitReward

nan = math.nan


class Words:
    """log π_φ(o_t) = w[o_t], one parameter a word."""

    def __init__(self, weights, ids, mask):
        self.w = torch.tensor(weights, dtype=torch.float64, requires_grad=True)
        self.ids, self.mask = torch.tensor(ids), torch.tensor(mask).bool()

    def parameters(self):
        return iter([self.w])

    def logps(self, rows):
        return self.w[self.ids[rows]].where(self.mask[rows], 0.0)


# three completions; q = w − ref: (.5, −.1), (.2) and one that is left out
IDS, MASK = [[0, 1], [2, 2], [1, 1]], [[1, 1], [1, 0], [1, 1]]
WEIGHTS, REF = [0.4, 0.1, 0.3], [[-0.1, 0.2], [0.1, nan], [0.0, 0.0]]
ROWS, CORRECT = [0, 1], torch.tensor([1.0, 0.0, 1.0]).double()


@pytest.fixture
def case():
    batch = RolloutBatch.from_tensors(IDS, MASK, [1.0, 0.0, nan], 3, ref_logps=torch.tensor(REF).double())
    return Words(WEIGHTS, IDS, MASK), batch


@pytest.mark.parametrize("pass_rows", [1, 2, 5])
def test_step_by_hand(case, close, pass_rows):
    # β = 2: z = .8 and .4; the loss is the mean of log(1 + e^−.8) and log(1 + e^.4)
    # ∂/∂w = β·(σ(.8) − 1)/2 for words 0 and 1, β·σ(.4)/2 for word 2: AdamW's first step is against the sign
    model, batch = case
    reward = ImplicitReward(beta=2.0, learning_rate=0.1, grad_clip=10.0, pass_rows=pass_rows)
    q, loss = reward.step(model, batch, ROWS, CORRECT)
    close(q, [[0.5, -0.1], [0.2, 0.0], [0.0, 0.0]], tolerance=1e-7)
    close(loss, (math.log(1 + math.exp(-0.8)) + math.log(1 + math.exp(0.4))) / 2, tolerance=1e-7)
    close(model.w.detach(), [0.5, 0.2, 0.2], tolerance=1e-7)
    reward.rescore_(q, model, batch, ROWS)
    close(q, [[0.6, 0.0], [0.1, 0.0], [0.0, 0.0]], tolerance=1e-7)
    assert model.w.grad is None and not q.requires_grad


def test_every_row_pulls_with_the_share_it_has_in_the_mean_by_hand(case, close):
    # β·(σ(.8) − 1) for row 0 alone, half of it and β·σ(.4)/2 for row 1 with both
    model, batch = case
    seen = []
    model.w.register_hook(lambda g: seen.append(g.clone()))
    reward = ImplicitReward(beta=2.0, learning_rate=0.1, grad_clip=10.0, pass_rows=1)
    reward.step(model, batch, [0], CORRECT)
    model.w.data.copy_(torch.tensor(WEIGHTS).double())
    reward.step(model, batch, ROWS, CORRECT)
    first, second = -2 / (1 + math.exp(0.8)), 2 / (1 + math.exp(-0.4))
    close(seen[0], [first, first, 0.0], tolerance=1e-7)
    close(seen[1], [first / 2, first / 2, 0.0], tolerance=1e-7)
    close(seen[2], [0.0, 0.0, second / 2], tolerance=1e-7)


def test_no_rows_no_step(case):
    model, batch = case
    reward = ImplicitReward(beta=2.0, learning_rate=0.1, grad_clip=10.0, pass_rows=1)
    q, loss = reward.step(model, batch, [], CORRECT)
    assert (q == 0).all() and loss == 0.0 and model.w.tolist() == WEIGHTS
    assert reward.state_dict()["state"] == {}

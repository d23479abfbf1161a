import math

import pytest
import torch

from methods.weightings import token_vectors
from methods.weightings.token_vectors import HeadVectors, HiddenVectors


@pytest.fixture(params=["one block", "many blocks"])
def blocks(request, monkeypatch):
    if request.param == "many blocks":
        monkeypatch.setattr(token_vectors, "BLOCK", 3)  # one token a block


def test_hidden_vectors_by_hand(blocks, batch_of, close):
    # v = (1 - p)·h: (1, 0), (0, 2), (-3, 3)
    hidden = torch.tensor([[[2.0, 0.0], [0.0, 8.0]], [[-4.0, 4.0], [torch.nan, 1.0]]]).double()
    p = torch.tensor([[0.5, 0.75], [0.25, 0.5]]).double()
    batch = batch_of([1.0, 0.0], 2, hidden=hidden, logps=p.log())
    v = HiddenVectors(batch, torch.tensor([[True, True], [True, False]]))
    weights = torch.tensor([[1.0, 3.0, 0.0], [1.0, 0.0, 1.0]]).double()
    close(v.means(weights), [[0.25, 1.5], [-1.0, 1.5]])
    close(v.dot(torch.tensor([2.0, -1.0]).double()), [2.0, -2.0, -9.0])


def test_float32_signals_count_in_float64(batch_of, close):
    p = 0.3
    logps = torch.full((2, 1), math.log(p), dtype=torch.float32)
    batch = batch_of([1.0, 0.0], 2, length=1, hidden=torch.ones(2, 1, 1), logps=logps)
    exact = 1 - math.exp(logps[0, 0].item())  # of the number that float32 kept, not of log 0.3
    close(HiddenVectors(batch, batch.mask).dot(torch.ones(1).double()), [exact, exact], tolerance=1e-15)


def test_head_vectors_by_hand(blocks, batch_of, close):
    # V = 2, d = 2, tokens y = 0 and 1: (e_y - p)hᵀ = (.25, -.25)ᵀ(4, 8) and (-.5, .5)ᵀ(2, 0)
    probs = torch.tensor([[[0.75, 0.25]], [[0.5, 0.5]]]).double()
    batch = batch_of(
        [1.0, 0.0], 2, length=1, hidden=torch.tensor([[[4.0, 8.0]], [[2.0, 0.0]]]).double(), probs=probs
    )
    v = HeadVectors(batch, torch.ones(2, 1).bool())
    first, second = [[1.0, 2.0], [-1.0, -2.0]], [[-1.0, 0.0], [1.0, 0.0]]
    close(
        v.means(torch.tensor([[1.0, 0.0], [0.0, 2.0], [1.0, 1.0]]).double()),
        [first, second, [[0.0, 1.0], [0.0, -1.0]]],
    )
    close(v.dot(torch.tensor([[1.0, 10.0], [100.0, 1000.0]]).double()), [1 + 20 - 100 - 2000, -1 + 100])


def test_head_vectors_refuse_probs_of_too_few_words(batch_of):
    batch = batch_of([1.0, 0.0], 2, hidden=torch.zeros(2, 2, 3), probs=torch.full((2, 2, 2), 0.5))
    with pytest.raises(ValueError, match="probs.*2 words.*token id 3"):
        HeadVectors(batch, batch.mask)  # ids run to 3

import math

import torch

from methods.advantages import token_blocks
from methods.advantages.token_blocks import blocks, runs, tokens

MASK = torch.tensor([[1, 1, 0, 1], [0, 0, 0, 0], [0, 1, 1, 1], [1, 1, 1, 1]]).bool()
RUNS = [(0, 0, 2), (0, 3, 4), (2, 1, 4), (3, 0, 4)]


def test_runs_are_the_stretches_inside_the_mask():
    assert runs(MASK) == RUNS
    assert tokens(RUNS) == 10
    assert runs(torch.zeros(2, 3).bool()) == [] and tokens([]) == 0


def test_blocks_give_every_token_once_in_order(monkeypatch):
    monkeypatch.setattr(token_blocks, "BLOCK", 5)  # two tokens of two features, and one number to spare
    hidden = torch.arange(32.0).reshape(4, 4, 2).masked_fill(~MASK[..., None], math.nan)
    found = [(place, h.clone()) for place, h in blocks(hidden, RUNS)]
    assert [place for place, _ in found] == [(0, 0, 2), (0, 3, 4), (2, 1, 3), (2, 3, 4), (3, 0, 2), (3, 2, 4)]
    assert torch.equal(torch.cat([h for _, h in found]), hidden[MASK].double())


def test_a_token_wider_than_a_block_is_one(monkeypatch):
    monkeypatch.setattr(token_blocks, "BLOCK", 1)
    assert len(list(blocks(torch.zeros(4, 4, 3), RUNS))) == 10

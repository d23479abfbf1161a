"""Draws depend on what was sampled and on nothing else."""

import numpy as np
import torch

from methods import RolloutBatch
from methods.draws import row_uniforms, token_uniforms

# two groups of three, with an empty row, equal rows, and a row that is the beginning of another
IDS = [[5, 6, 7], [5, 6, 0], [0, 0, 0], [8, 9, 0], [8, 9, 0], [1, 2, 3]]
MASK = [[1, 1, 1], [1, 1, 0], [0, 0, 0], [1, 1, 0], [1, 1, 0], [1, 1, 1]]

# of rows 0 and 4 and of row 0's tokens under salt "a"
PINNED = (
    [0.3702718567335299, 0.5923833313627574],
    [0.6837873063780129, 0.20472219776176104, 0.4262225761144155],
)


def batch(ids=IDS, mask=MASK, group_size=3):
    return RolloutBatch.from_tensors(ids, mask, [0.0] * len(ids), group_size)


def draws(ids=IDS, mask=MASK, salt="a", group_size=3):
    return row_uniforms(batch(ids, mask, group_size), salt).tolist()


def test_one_double_for_every_row():
    found = row_uniforms(batch(), "a")
    assert found.shape == (6,) and found.dtype == torch.float64
    assert len(set(found.tolist())) == 6  # equal rows too


def test_row_draws_are_uniform():
    ids = torch.arange(8000).reshape(4000, 2)
    u = row_uniforms(batch(ids, torch.ones(4000, 2), 8), "a").numpy()
    assert u.min() >= 0 and u.max() < 1
    # four standard errors: mean √(1/12/4000), variance √(1/180/4000), each tenth √(.09/4000)
    assert abs(u.mean() - 1 / 2) < 0.0183 and abs(u.var() - 1 / 12) < 0.0048
    assert np.abs(np.histogram(u, bins=10, range=(0, 1))[0] / 4000 - 0.1).max() < 0.019
    # neighbours in a group, and a row under two salts, know nothing of each other
    assert abs(np.corrcoef(u[:-1], u[1:])[0, 1]) < 0.064
    other = row_uniforms(batch(ids, torch.ones(4000, 2), 8), "b").numpy()
    assert abs(np.corrcoef(u, other)[0, 1]) < 0.064


def test_token_draws_are_uniform():
    u = token_uniforms(torch.arange(4000), "a")
    assert u.shape == (4000,) and u.dtype == np.float64 and u.min() >= 0 and u.max() < 1
    assert abs(u.mean() - 1 / 2) < 0.0183 and abs(u.var() - 1 / 12) < 0.0048
    assert abs(np.corrcoef(u[:-1], u[1:])[0, 1]) < 0.064
    first = [token_uniforms(torch.tensor([i, 7]), "a")[0] for i in range(1000)]
    assert abs(np.mean(first) - 1 / 2) < 0.037


def test_the_same_again_whoever_else_draws():
    first, tokens = draws(), token_uniforms(torch.tensor(IDS[0]), "a")
    torch.rand(3), np.random.rand(3)
    assert draws() == first and (token_uniforms(torch.tensor(IDS[0]), "a") == tokens).all()


def test_draws_stay_what_they_were():
    """A run resumed under a later version repeats its draws only as long as neither key nor generator changes."""
    rows, tokens = PINNED
    assert [draws()[0], draws()[4]] == rows
    assert token_uniforms(torch.tensor([5, 6, 7]), "a").tolist() == tokens


def test_global_generators_are_left_alone():
    torch_state, numpy_state = torch.get_rng_state(), np.random.get_state()
    draws(), token_uniforms(torch.tensor([1, 2]), "a")
    assert torch.equal(torch.get_rng_state(), torch_state)
    assert all(np.array_equal(a, b) for a, b in zip(np.random.get_state(), numpy_state, strict=True))


def test_salt_changes_every_draw():
    assert not set(draws()) & set(draws(salt="b"))
    ids = torch.tensor(IDS[0])
    assert not set(token_uniforms(ids, "a")) & set(token_uniforms(ids, "b"))


def test_a_row_s_own_tokens_change_its_draw_and_a_peer_s_all_of_the_group():
    ids = [row[:] for row in IDS]
    ids[0][2] = 99
    before, after = draws(), draws(ids)
    assert not set(before[:3]) & set(after[:3])
    assert before[3:] == after[3:]  # the other group is not concerned


def test_neither_padding_nor_what_stands_outside_the_mask_changes_a_draw():
    wide = [[0, *row, 44, 44] for row in IDS]
    assert draws(wide, [[0, *row, 0, 0] for row in MASK]) == draws()
    holes = [[a, 77, b, c] for a, b, c in IDS]
    assert draws(holes, [[a, 0, b, c] for a, b, c in MASK]) == draws()
    garbage = [[t if m else 1234 for t, m in zip(*row, strict=True)] for row in zip(IDS, MASK, strict=True)]
    assert draws(garbage) == draws()


def test_the_rest_of_the_batch_changes_nothing():
    whole = draws()
    assert draws(IDS[3:], MASK[3:]) == whole[3:]
    assert draws(IDS[3:] + IDS[:3], MASK[3:] + MASK[:3]) == whole[3:] + whole[:3]


def test_the_order_of_rows_permutes_the_draws():
    order = [2, 0, 1]
    whole = draws()
    assert draws([IDS[i] for i in order] + IDS[3:], [MASK[i] for i in order] + MASK[3:])[:3] == [
        whole[i] for i in order
    ]
    # of equal rows the first gets the first draw, wherever they stand
    moved = draws([IDS[5], IDS[3], IDS[4]], [MASK[5], MASK[3], MASK[4]])
    assert moved == [whole[5], whole[3], whole[4]]


def test_a_completion_that_continues_another_draws_its_own():
    a, b = (token_uniforms(torch.tensor(ids), "a") for ids in ([5, 6, 7], [5, 6]))
    assert len(a) == 3 and len(b) == 2 and not set(a) & set(b)


def test_completions_without_tokens():
    assert token_uniforms(torch.tensor([], dtype=torch.int64), "a").shape == (0,)
    empty = draws([[1, 1]] * 2, [[0, 0]] * 2, group_size=2)
    assert empty[0] != empty[1]


def test_rows_and_tokens_under_one_salt_do_not_share_a_stream():
    ids = [[1, 2], [1, 2]]
    assert not set(draws(ids, [[1, 1]] * 2, group_size=2)) & set(token_uniforms(torch.tensor([1, 2]), "a"))

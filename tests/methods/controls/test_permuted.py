import torch

from methods import Credit
from methods.controls import permuted
from methods.controls.permuted import Permuted

MASK = [[1, 1, 1, 0], [1, 0, 1, 1]]
CREDIT = torch.tensor([[1.0, 2.0, 4.0, 0.0], [-1.0, 0.0, 0.0, -6.0]]).double()


def test_by_hand(rows_of, draw):
    # uniforms .9, .1, .5 in ascending order are those of tokens 1, 2, 0: their credit comes first
    draw(permuted, [0.9, 0.1, 0.5])
    result = Permuted()(rows_of(MASK), Credit(CREDIT))
    # the tokens of the second row are at 0, 2, 3
    assert result.values.tolist() == [[2.0, 4.0, 1.0, 0.0], [0.0, 0.0, -6.0, -1.0]]
    # moved: (1 + 2 + 3)/2 = 3 and (1 + 6 + 5)/2 = 6 of 7 + 7
    assert result.metrics == {"control_moved": 9 / 14}


def test_other_draws_by_hand(rows_of, draw):
    draw(permuted, [0.2, 0.4, 0.3])
    result = Permuted()(rows_of(MASK), Credit(CREDIT))
    assert result.values.tolist() == [[1.0, 4.0, 2.0, 0.0], [-1.0, 0.0, -6.0, 0.0]]


def test_each_row_keeps_its_values_and_rows_are_shuffled_apart(rows_of):
    torch.manual_seed(0)
    batch, values = rows_of(torch.ones(6, 20)), torch.rand(1, 20).double().expand(6, 20).clone()
    result = Permuted()(batch, Credit(values)).values
    assert torch.equal(result.sort(1).values, values.sort(1).values)
    assert len({tuple(row.tolist()) for row in result}) == 6  # different tokens, different draws


def test_the_same_tokens_are_shuffled_alike_whatever_the_padding_and_the_generator(rows_of):
    torch.manual_seed(0)
    ids, values = torch.randint(9, (2, 8)), torch.rand(2, 8).double()
    state = torch.get_rng_state()
    first = Permuted()(rows_of(torch.ones(2, 8), ids=ids), Credit(values)).values
    assert torch.equal(torch.get_rng_state(), state)
    mask, wide = torch.zeros(2, 11), torch.full((2, 11), 7)
    mask[:, 1:9], wide[:, 1:9] = 1, ids
    spread = torch.zeros(2, 11, dtype=torch.float64)
    spread[:, 1:9] = values
    torch.rand(3)
    assert torch.equal(Permuted()(rows_of(mask, ids=wide), Credit(spread)).values[:, 1:9], first)
    swapped = Permuted()(rows_of(torch.ones(2, 8), ids=ids.flip(0)), Credit(values.flip(0))).values
    assert torch.equal(swapped, first.flip(0))


def test_constant_empty_and_uncredited_rows_stay(rows_of):
    values = torch.tensor([[0.1, 0.1, 0.1], [0.0, 0.0, 0.0], [0.0, 0.0, 0.0]]).double()
    result = Permuted()(rows_of([[1, 1, 1], [1, 1, 1], [0, 0, 0]]), Credit(values))
    assert torch.equal(result.values, values) and result.metrics == {"control_moved": 0.0}


def test_without_any_credit(rows_of):
    result = Permuted()(rows_of([[1], [1]]), Credit(torch.zeros(2, 1, dtype=torch.float64)))
    assert result.values.sum() == 0 and result.metrics == {"control_moved": 0.0}

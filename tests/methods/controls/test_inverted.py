import pytest
import torch

from methods import Credit
from methods.controls.inverted import Inverted


def inverted(rows_of, rows, mask=None):
    values = torch.tensor(rows, dtype=torch.float64)
    return Inverted()(rows_of(torch.ones(values.shape) if mask is None else mask), Credit(values))


def test_rows_of_one_sign_by_hand(rows_of, close):
    # 1 2 5: 5 + 1 − C is 5 4 1, sum 10, total 8: × 0.8
    # −1 −3 0: −3 + 0 − C is −2 0 −3, sum −5, total −4: × 0.8
    # 0 0 6: 6 6 0, sum 12, total 6: × 1/2
    result = inverted(rows_of, [[1.0, 2.0, 5.0], [-1.0, -3.0, 0.0], [0.0, 0.0, 6.0]])
    close(result.values, [[4.0, 3.2, 0.8], [-1.6, 0.0, -2.4], [3.0, 3.0, 0.0]])
    # moved (3 + 1.2 + 4.2)/2 and (.6 + 3 + 2.4)/2 and (3 + 3 + 6)/2 of 8 + 4 + 6
    close(result.metrics["control_moved"], (4.2 + 3.0 + 6.0) / 18)


def test_rows_of_both_signs_by_hand(rows_of, close):
    # mean 1: 2 − C;  mean 0: −C
    close(
        inverted(rows_of, [[3.0, -1.0, 1.0], [2.0, -1.5, -0.5]]).values, [[-1.0, 3.0, 1.0], [-2.0, 1.5, 0.5]]
    )


def test_only_tokens_in_the_mask_count(rows_of, close):
    # the 0 outside the mask is no minimum: 5 + 1 − C of 1 and 5
    close(inverted(rows_of, [[1.0, 0.0, 5.0]] * 2, [[1, 0, 1]] * 2).values, [[5.0, 0.0, 1.0]] * 2)


@pytest.mark.parametrize("value", [0.1, -0.1, 1 / 3, -7.0, 0.0])
def test_a_constant_row_is_unchanged_to_the_bit(rows_of, value):
    result = inverted(rows_of, [[value] * 7, [2.0 * value] * 7])
    assert result.values.tolist() == [[value] * 7, [2.0 * value] * 7]
    assert result.metrics == {"control_moved": 0.0}


def test_totals_are_kept_and_order_is_reversed(rows_of, close):
    torch.manual_seed(0)
    values = torch.randn(8, 9).double()
    values[:3], values[3:6] = values[:3].abs(), -values[3:6].abs()
    mask = torch.rand(8, 9) < 0.8
    values = values.where(mask, 0.0)
    result = Inverted()(rows_of(mask), Credit(values)).values
    close(result.sum(1), values.sum(1))
    for before, after, keep in zip(values, result, mask, strict=True):
        assert before[keep].argsort().tolist() == after[keep].argsort().flip(0).tolist()
    assert (result[~mask] == 0).all()

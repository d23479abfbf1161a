import math

import pytest
import torch

from methods import Credit
from methods.controls import random_topk
from methods.controls.random_topk import RandomTopk

nan = math.nan


def test_as_many_tokens_as_the_weighting_kept_by_hand(rows_of, draw, close):
    # two of four kept credit, 8 in all; the smallest uniforms are those of tokens 2 and 0
    draw(random_topk, [0.2, 0.9, 0.1, 0.5])
    values = torch.tensor([[0.0, 3.0, 0.0, 5.0], [-6.0, 0.0, 0.0, 0.0]]).double()
    result = RandomTopk()(rows_of(torch.ones(2, 4)), Credit(values))
    close(result.values, [[4.0, 0.0, 4.0, 0.0], [0.0, 0.0, -6.0, 0.0]])
    close(result.metrics["control_moved"], 1.0)


def test_a_share_where_every_token_kept_credit_by_hand(rows_of, draw, close):
    # ⌈0.2·6⌉ = 2 tokens share 21; ⌈0.5·6⌉ = 3
    draw(random_topk, [0.6, 0.5, 0.4, 0.3, 0.2, 0.1])
    credit = Credit(torch.tensor([[1.0, 2.0, 3.0, 4.0, 5.0, 6.0]]).double().repeat(2, 1))
    batch = rows_of(torch.ones(2, 6))
    close(RandomTopk()(batch, credit).values[0], [0.0, 0.0, 0.0, 0.0, 10.5, 10.5])
    close(RandomTopk(share=0.5)(batch, credit).values[0], [0.0, 0.0, 0.0, 7.0, 7.0, 7.0])
    close(RandomTopk(share=1.0)(batch, credit).values[0], [3.5] * 6)


def test_only_tokens_in_the_mask_are_drawn_and_counted(rows_of, draw, close):
    # five tokens, none at 0: ⌈0.2·5⌉ = 1; the place outside the mask is no zero of the weighting
    draw(random_topk, [0.5, 0.4, 0.3, 0.2, 0.1])
    values = torch.tensor([[1.0, 0.0, 1.0, 1.0, 1.0, 1.0]]).double().repeat(2, 1)
    batch = rows_of([[1, 0, 1, 1, 1, 1]] * 2)
    close(RandomTopk()(batch, Credit(values)).values[0], [0.0, 0.0, 0.0, 0.0, 0.0, 5.0])


def test_rounding_does_not_add_a_token(rows_of):
    values = torch.ones(2, 100, dtype=torch.float64)
    assert (RandomTopk(share=0.07)(rows_of(values), Credit(values)).values != 0).sum() == 14


def test_totals_are_kept_and_draws_follow_the_tokens(rows_of, close):
    torch.manual_seed(0)
    values = torch.randn(6, 30).double()
    values[values.abs() < 0.5] = 0.0
    result = RandomTopk()(rows_of(torch.ones(6, 30)), Credit(values)).values
    close(result.sum(1), values.sum(1))
    assert ((result != 0).sum(1) == (values != 0).sum(1)).all()
    assert len({tuple((row != 0).tolist()) for row in result}) == 6
    same = torch.arange(30).repeat(6, 1)
    result = RandomTopk()(rows_of(torch.ones(6, 30), ids=same), Credit(torch.ones(6, 30).double())).values
    assert (result == result[0]).all()


def test_rows_without_credit_or_with_credit_that_cancels_get_nothing(rows_of):
    values = torch.tensor([[0.0, 0.0, 0.0], [1.0, -1.0, 0.0], [0.0, 0.0, 0.0]]).double()
    result = RandomTopk()(rows_of([[1, 1, 1], [1, 1, 1], [0, 0, 0]]), Credit(values))
    assert result.values.abs().sum() == 0


@pytest.mark.parametrize("share", [0.0, -0.1, 1.1, nan, "half"])
def test_wrong_options_are_refused(share):
    with pytest.raises(ValueError, match="RandomTopk.share"):
        RandomTopk(share=share)

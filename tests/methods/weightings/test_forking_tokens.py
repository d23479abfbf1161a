"""80/20: ten tokens by hand, ties at the threshold, and what does not count."""

import math

import pytest
import torch

from methods import Credit, MissingSignal
from methods.weightings.forking_tokens import ForkingTokens

nan, inf = math.nan, math.inf

# ten tokens of scorable rows, entropies 0.1 … 1.0; two places outside the mask; an unscorable row
MASK = [[1, 1, 1], [1, 1, 0], [1, 1, 1], [1, 1, 0], [1, 1, 1], [1, 1, 1]]
ENTROPIES = [
    [0.1, 1.0, 0.3], [0.2, 0.5, inf], [0.9, 0.4, 0.6], [0.7, 0.8, nan], [5.0, 6.0, 7.0], [nan, nan, nan],
]  # fmt: skip
REWARDS = [1.0, 0.0, 1.0, 1.0, nan, nan]
CREDIT = [[2.0, 2.0, 2.0], [-2.0, -2.0, 0.0], [1.0, 3.0, 5.0], [0.5, 4.0, 0.0], [0.0] * 3, [0.0] * 3]


@pytest.fixture
def example(batch_of):
    batch = batch_of(REWARDS, 2, mask=MASK, entropies=torch.tensor(ENTROPIES))
    return batch, Credit(torch.tensor(CREDIT, dtype=torch.float64))


def test_kept_tokens_are_averaged_over_by_hand(example, close):
    # k = ⌈0.2·10⌉ = 2: 0.9 and 1.0 stay, each weighs 10/2 = 5
    result = ForkingTokens()(*example)
    expected = torch.zeros(6, 3, dtype=torch.float64)
    expected[0, 1], expected[2, 0] = 5 * 2.0, 5 * 1.0
    close(result.values, expected)
    assert result.metrics == {"forking_threshold": pytest.approx(0.9), "forking_kept_share": 0.2}


def test_all_tokens_divide_by_hand(example, close):
    # k = ⌈0.35·10⌉ = 4: 0.7, 0.8, 0.9, 1.0, each weighs 1
    result = ForkingTokens(share=0.35, denominator="all")(*example)
    expected = [[0.0, 2.0, 0.0], [0.0] * 3, [1.0, 0.0, 0.0], [0.5, 4.0, 0.0], [0.0] * 3, [0.0] * 3]
    close(result.values, expected)
    assert result.metrics["forking_kept_share"] == 0.4


def test_the_default_is_the_published_setting(example):
    assert torch.equal(ForkingTokens()(*example).values, ForkingTokens(0.2, "kept")(*example).values)


def test_mean_weight_is_one_over_all_scorable_tokens(batch_of, close):
    torch.manual_seed(0)
    batch = batch_of([1.0, 0.0] * 4, 2, length=9, entropies=torch.rand(8, 9))
    credit = Credit(torch.ones(8, 9, dtype=torch.float64))
    for share in (0.01, 0.2, 0.5, 0.9):
        close(ForkingTokens(share=share)(batch, credit).values.mean(), 1.0)


@pytest.mark.parametrize("share", [0.001, 0.2, 0.37, 0.999])
def test_many_tokens_against_a_sort(batch_of, share):
    torch.manual_seed(0)
    entropies = torch.rand(40, 250).double()
    batch = batch_of([1.0, 0.0] * 20, 2, length=250, entropies=entropies)
    result = ForkingTokens(share, "all")(batch, Credit(torch.ones(40, 250, dtype=torch.float64)))
    k = math.ceil(share * 10_000)
    tau = entropies.flatten().sort(descending=True).values[k - 1]
    assert torch.equal(result.values, (entropies >= tau).double()) and result.values.sum() == k


def test_ties_at_the_threshold_are_all_kept(batch_of, close):
    entropies = torch.tensor([[0.1, 0.9, 0.9], [0.9, 0.1, 0.1]])
    batch = batch_of([1.0, 0.0], 2, length=3, entropies=entropies)
    credit = Credit.broadcast(torch.tensor([1.0, -1.0]), batch.mask)
    # k = ⌈0.2·6⌉ = 2, but three tokens have the second largest entropy: weight 6/3
    close(ForkingTokens()(batch, credit).values, [[0.0, 2.0, 2.0], [-2.0, 0.0, 0.0]])
    same = batch_of([1.0, 0.0], 2, length=3, entropies=torch.full((2, 3), 0.4))
    assert torch.equal(ForkingTokens()(same, credit).values, credit.values)


def test_rounding_does_not_add_a_token(batch_of):
    # 0.07·100 is 7.000000000000001 to the computer; it means 7
    batch = batch_of([1.0, 0.0], 2, length=50, entropies=torch.rand(2, 50).double())
    credit = Credit(torch.ones(2, 50, dtype=torch.float64))
    result = ForkingTokens(share=0.07, denominator="all")(batch, credit)
    assert result.values.sum() == 7


def test_share_one_keeps_all_and_a_tiny_share_one_token(example, close):
    batch, credit = example
    assert torch.equal(ForkingTokens(share=1.0)(batch, credit).values, credit.values)
    tiny = ForkingTokens(share=1e-6)(batch, credit).values
    assert tiny.count_nonzero() == 1 and tiny[0, 1] == 10 * 2.0


def test_tokens_without_credit_count(batch_of, close):
    # the highest entropies lie in a group without credit: nothing with credit is left
    entropies = torch.tensor([[0.1], [0.2], [0.9], [0.8]])
    batch = batch_of([1.0, 0.0, 1.0, 1.0], 2, length=1, entropies=entropies)
    credit = Credit(torch.tensor([[1.0], [-1.0], [0.0], [0.0]]).double())
    assert ForkingTokens(share=0.5)(batch, credit).values.abs().sum() == 0


def test_no_scorable_token_is_no_error(batch_of):
    batch = batch_of([nan, nan], 2, mask=[[1, 1], [0, 0]], entropies=torch.ones(2, 2))
    result = ForkingTokens()(batch, Credit(torch.zeros(2, 2, dtype=torch.float64)))
    assert result.values.abs().sum() == 0
    assert result.metrics == {"forking_threshold": 0.0, "forking_kept_share": 0.0}


def test_padding_and_order_of_rows_do_not_matter(example, batch_of):
    batch, credit = example
    wider = batch_of(
        REWARDS, 2,
        mask=[row + [0, 0] for row in MASK],
        entropies=torch.cat([batch.entropies, torch.full((6, 2), 9.0)], 1),
    )  # fmt: skip
    padded = Credit(torch.cat([credit.values, torch.zeros(6, 2).double()], 1))
    assert torch.equal(ForkingTokens()(wider, padded).values[:, :3], ForkingTokens()(batch, credit).values)
    order = [1, 0, 3, 2, 5, 4]
    swapped = batch_of(
        [REWARDS[i] for i in order], 2, mask=[MASK[i] for i in order], entropies=batch.entropies[order]
    )
    result = ForkingTokens()(swapped, Credit(credit.values[order]))
    assert torch.equal(result.values, ForkingTokens()(batch, credit).values[order])


def test_an_entropy_that_is_no_number_is_refused(batch_of):
    batch = batch_of([1.0, 0.0], 2, entropies=torch.tensor([[0.1, 0.2], [nan, 0.3]]))
    with pytest.raises(ValueError, match="entropies.*not finite.*row 1, token 0"):
        ForkingTokens()(batch, Credit(torch.ones(2, 2, dtype=torch.float64)))


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16, torch.float64])
def test_any_float_precision(batch_of, dtype):
    batch = batch_of([1.0, 0.0], 2, length=5, entropies=torch.linspace(0.05, 2.0, 10).reshape(2, 5).to(dtype))
    result = ForkingTokens()(batch, Credit(torch.ones(2, 5, dtype=torch.float64)))
    assert result.values.tolist() == [[0.0] * 5, [0.0, 0.0, 0.0, 5.0, 5.0]]


def test_signals_it_needs_and_its_scope(batch_of):
    assert ForkingTokens.needs == {"entropies"} and ForkingTokens.scope == "batch"
    with pytest.raises(MissingSignal, match="entropies"):
        ForkingTokens()(batch_of([1.0, 0.0], 2), Credit(torch.ones(2, 2, dtype=torch.float64)))


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"share": 0.0}, "share"),
        ({"share": 1.2}, "share"),
        ({"share": nan}, "share"),
        ({"share": "0.2"}, "share.*float"),
        ({"denominator": "keep"}, "denominator.*did you mean 'kept'"),
    ],
)
def test_wrong_options_are_refused(options, message):
    with pytest.raises(ValueError, match=f"ForkingTokens.{message}"):
        ForkingTokens(**options)

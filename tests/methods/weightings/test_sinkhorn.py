import math

import pytest
import torch
from scipy.optimize import linear_sum_assignment

from methods.weightings import sinkhorn as module
from methods.weightings.sinkhorn import sinkhorn, span_distances
from methods.weightings.spans import Spans


def uniform(n, m=1):
    return torch.full((n, m), 1.0 / n, dtype=torch.float64)


def cost(rows):
    return torch.tensor(rows, dtype=torch.float64)[:, :, None]


def test_two_points_each_by_hand(close):
    # the plan is [[x, ½−x], [½−x, x]]; its entropy is best where x/(½−x) = e^{(c₁₂ + c₂₁ − c₁₁ − c₂₂)/2ε}
    # costs 0 3 | 1 2 and ε = ½·3: e^{(4 − 2)/3}
    ratio = math.exp(2.0 / 3.0)
    x = 0.5 * ratio / (1 + ratio)
    expected = x * (0.0 + 2.0) + (0.5 - x) * (3.0 + 1.0)
    close(sinkhorn(cost([[0.0, 3.0], [1.0, 2.0]]), uniform(2), uniform(2), 0.5, 200), [expected])


def test_one_point_against_any_is_the_mean_cost(close):
    # all mass has one way to go
    close(sinkhorn(cost([[1.0, 2.0, 6.0]]), uniform(1), uniform(3), 0.05, 1), [3.0])
    close(sinkhorn(cost([[7.0]]), uniform(1), uniform(1), 0.05, 1), [7.0])


def test_one_round_by_hand(close):
    # costs 0 1 | 1 0 and ε = 1: kernel 1, 1/e
    # v = ½: u = ½/(½(1 + 1/e)) = 1/(1 + 1/e); v = ½/(u(1 + 1/e)) = ½: plan ½·u, ½·u/e
    e = 1 / math.e
    u = 1 / (1 + e)
    close(sinkhorn(cost([[0.0, 1.0], [1.0, 0.0]]), uniform(2), uniform(2), 1.0, 1), [u * e])


def test_a_round_ends_with_the_columns_by_hand(close):
    # masses ½ ½ against ¼ ¾, costs 0 1 | 1 1, ε = 1, kernel 1 e | e e with e = e^{−1}
    e = 1 / math.e
    u1, u2 = 0.5 / (0.25 + 0.75 * e), 0.5 / (0.25 * e + 0.75 * e)
    v1, v2 = 0.25 / (u1 + e * u2), 0.75 / (e * u1 + e * u2)
    masses = torch.tensor([[0.25], [0.75]]).double()
    expected = u1 * e * v2 + u2 * e * v1 + u2 * e * v2
    close(sinkhorn(cost([[0.0, 1.0], [1.0, 1.0]]), uniform(2), masses, 1.0, 1), [expected])


def test_points_without_mass_do_not_matter(close):
    torch.manual_seed(0)
    some = torch.rand(3, 4, 5).double()
    padded = torch.cat([some, some[:1]], 0)  # as spans pad: a point of the cloud again
    padded = torch.cat([padded, padded[:, :1]], 1)
    rows = torch.cat([uniform(3, 5), torch.zeros(1, 5).double()])
    columns = torch.cat([uniform(4, 5), torch.zeros(1, 5).double()])
    close(sinkhorn(padded, rows, columns, 0.1, 30), sinkhorn(some, uniform(3, 5), uniform(4, 5), 0.1, 30))


def test_small_epsilon_is_the_best_assignment():
    torch.manual_seed(0)
    some = torch.rand(6, 6, 4).double() + 0.1
    found = sinkhorn(some, uniform(6, 4), uniform(6, 4), 0.005, 3000)
    for k in range(4):
        chosen = linear_sum_assignment(some[:, :, k].numpy())
        best = some[:, :, k][chosen].mean().item()
        assert best - 1e-9 <= found[k] <= 1.01 * best


def test_has_no_unit_and_pairs_are_apart(close):
    torch.manual_seed(0)
    some = torch.rand(4, 4, 3).double()
    whole = sinkhorn(some, uniform(4, 3), uniform(4, 3), 0.05, 20)
    close(sinkhorn(1e6 * some, uniform(4, 3), uniform(4, 3), 0.05, 20), 1e6 * whole)
    for k in range(3):
        close(sinkhorn(some[:, :, k : k + 1], uniform(4), uniform(4), 0.05, 20), whole[k : k + 1])


def test_clouds_in_one_place_cost_nothing():
    assert not sinkhorn(torch.zeros(3, 3, 2).double(), uniform(3, 2), uniform(3, 2), 0.05, 20).any()


def test_the_smallest_epsilon_is_finite():
    torch.manual_seed(0)
    some = torch.rand(8, 8, 50).double() ** 8
    assert sinkhorn(some, uniform(8, 50), uniform(8, 50), 0.002, 20).isfinite().all()


def test_spans_of_single_tokens_by_hand(close):
    # one token a span: plain distances between all tokens
    x, y = torch.tensor([[0.0, 0.0], [3.0, 4.0]]).double(), torch.tensor([[0.0, 1.0]]).double()
    found = span_distances(x, y, Spans.of(2, 1, 1, 1), Spans.of(1, 1, 1, 1), 0.05, 20)
    close(found, [[1.0], [math.sqrt(9.0 + 9.0)]])


@pytest.mark.parametrize("block", [1, 1 << 8, 1 << 17])
def test_span_distances_are_sinkhorn_of_each_pair_whatever_the_block(close, monkeypatch, block):
    monkeypatch.setattr(module, "BLOCK", block)
    torch.manual_seed(0)
    first, second = Spans.of(11, 4, 3, 3), Spans.of(8, 4, 3, 3)  # both end in a shorter span
    h, g = torch.randn(11, 5).double(), torch.randn(8, 5).double()
    found = span_distances(h[first.tokens], g[second.tokens], first, second, 0.1, 15)
    assert found.shape == (4, 3)
    for k in range(4):
        for r in range(3):
            a = h[first.tokens[first.index[first.mass[:, k] > 0, k]]]
            b = g[second.tokens[second.index[second.mass[:, r] > 0, r]]]
            apart = (a[:, None] - b).square().sum(-1).sqrt()
            single = sinkhorn(apart[:, :, None], uniform(len(a)), uniform(len(b)), 0.1, 15)
            close(found[k, r], single[0], tolerance=1e-9)


def test_shapes_are_checked():
    with pytest.raises(AssertionError):
        sinkhorn(cost([[1.0, 2.0]]), uniform(2), uniform(2), 0.05, 1)

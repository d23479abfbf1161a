"""Distances between small clouds of points: optimal transport smoothed until it is cheap."""

import torch
from torch import Tensor

from methods.weightings.spans import Spans

BLOCK = 1 << 17  # costs in float64 at a time: 1 MB, so that the scalings run in the cache


def sinkhorn(cost: Tensor, rows: Tensor, columns: Tensor, epsilon: float, iterations: int) -> Tensor:
    """⟨P, C⟩ of the plan P that minimises ⟨P, C⟩ + ε·KL(P ‖ rows ⊗ columns), for each of m pairs → (m,).

    cost (p, q, m) ≥ 0, rows (p, m) and columns (q, m) the masses, each summing to 1; float64. ε is ``epsilon``
    times the pair's largest cost: no unit, and the kernel never falls below e^{−1/epsilon}, so that no
    logarithms are needed. ``iterations`` alternating scalings, the columns' last (Cuturi, arXiv:1306.0895).
    Between single points it is their cost; as ε → 0 the Wasserstein distance; from a cloud to itself > 0.
    """
    p, q, m = cost.shape
    assert rows.shape == (p, m) and columns.shape == (q, m) and cost.dtype == torch.float64
    unit = epsilon * cost.amax((0, 1))
    kernel = torch.exp(-cost / unit.where(unit > 0, 1.0))
    v = columns
    for _ in range(iterations):
        u = rows / (kernel * v).sum(1)
        v = columns / (kernel * u[:, None]).sum(0)
    return (kernel * cost * u[:, None] * v).sum((0, 1))


def span_distances(x: Tensor, y: Tensor, one: Spans, other: Spans, epsilon: float, iterations: int) -> Tensor:
    """W_ε between all spans of two completions, (S₁, S₂), Euclidean costs.

    x (U₁, d), y (U₂, d) float64: vectors of the ``tokens`` of ``one`` and ``other``.
    """
    apart = torch.cdist(x, y)
    index, mass = (torch.from_numpy(part).to(x.device) for part in (one.index, one.mass))
    others, their_mass = (torch.from_numpy(part).to(x.device) for part in (other.index, other.mass))
    (P, S), (Q, R) = index.shape, others.shape
    found = torch.empty(S, R, dtype=torch.float64, device=x.device)
    for some in torch.arange(S).split(max(1, BLOCK // (P * Q * R))):
        k = len(some)
        cost = apart[index[:, None, some, None], others[None, :, None, :]].view(P, Q, k * R)
        rows = mass[:, some, None].expand(P, k, R).reshape(P, k * R)
        columns = their_mass[:, None].expand(Q, k, R).reshape(Q, k * R)
        found[some] = sinkhorn(cost, rows, columns, epsilon, iterations).view(k, R)
    return found

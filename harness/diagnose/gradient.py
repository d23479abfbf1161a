"""Gradient fidelity: where a method's policy gradient points, and how much of it is noise.

    g_b = (1/N) Σ_{i,t in batch b} C_it ∇ log π(o_it),   g*_b the same with the true credit Δ̂ in place of C

at the first optimisation step (ratio 1, nothing clipped, all methods aggregated alike). All figures come from inner
products of gradients of *different* batches, whose noise is independent, so that no gradient agrees with itself:

cosine_true       ⟨E g, E g*⟩ / (|E g|·|E g*|), every product and square from pairs b ≠ b'; may exceed 1 by noise
cosine_reinforce  the same against REINFORCE with a leave-one-out baseline on fresh problems
cosine_one_batch  mean over b of the plain cosine between g_b and the mean of g* over the other batches: what one
                  batch's step has of the right direction
snr               |E g|² / tr Cov(g) of one batch

Intervals: jackknife (`harness.diagnose.jackknife`) over batches, a share of REINFORCE's leaving with each, or over
seeds. cosine_one_batch is damped by the noise of g*, alike for all. Methods whose gradient has no resolvable direction
have NaN cosines.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
import torch
from torch import Tensor, nn

from harness.diagnose.jackknife import Estimate
from harness.rollouts import Rollouts
from harness.rows import right_padded
from harness.signals import completion_log_probs

TRUE, REINFORCE = "true credit", "reinforce"
MEASURES = ("cosine_true", "cosine_reinforce", "cosine_one_batch", "snr")


def gradients(
    model: nn.Module,
    prompts: Sequence[Sequence[int]],
    rollouts: Rollouts,
    credit: Mapping[str, Sequence[np.ndarray]],
    temperature: float,
) -> dict[str, Tensor]:
    """Name -> flat gradient (P,) float32 of Σ C log π / N over the N rows, by one forward and a backward a name.

    prompts: token ids of each row; credit: (T,) of each row.
    """
    device = model.device
    ids, mask = (place.to(device) for place in right_padded([list(prompt) for prompt in prompts], flip=True))
    completion_ids, inside = rollouts.completion_ids.to(device), rollouts.mask.to(device)
    log_probs = completion_log_probs(model, ids, mask, completion_ids, inside.long(), temperature)
    logps = log_probs.gather(2, completion_ids[..., None]).squeeze(2).where(inside, 0.0)
    parameters = [p for p in model.parameters() if p.requires_grad]
    found = {}
    for name, rows in credit.items():
        values = torch.zeros_like(logps)
        for i, row in enumerate(rows):
            values[i, : len(row)] = torch.from_numpy(np.asarray(row, dtype=np.float64))
        objective = (values * logps).sum() / len(rows)
        parts = torch.autograd.grad(objective, parameters, retain_graph=True, allow_unused=True)
        flat = [torch.zeros_like(p) if part is None else part for p, part in zip(parameters, parts, strict=True)]
        found[name] = torch.cat([part.reshape(-1) for part in flat]).float().cpu()
    return found


def products(one: Sequence[Tensor], other: Sequence[Tensor]) -> np.ndarray:
    """Inner products (B, B') of two lists of flat gradients."""
    return (torch.stack(list(one)).double() @ torch.stack(list(other)).double().T).numpy()


def measures(own: np.ndarray, cross: np.ndarray, true: np.ndarray, far: np.ndarray, fresh: np.ndarray) -> np.ndarray:
    """The MEASURES from inner products. own (B, B) of the method's gradients, cross (B, B) of them with the true
    credit's on the same batches, true (B, B) of those; far (B, R) with REINFORCE's on fresh batches, fresh (R, R) of
    those.
    """
    batches = len(own)
    square, right, there = (_off_diagonal(one) for one in (own, true, fresh))
    with np.errstate(divide="ignore", invalid="ignore"):
        length = np.sqrt(np.where(square > 0, square, np.nan))
        noise = own.trace() / batches - square
        others = cross.sum(axis=1) - np.diag(cross)  # with the sum of the other batches' true gradients
        rest = true.sum() - 2 * true.sum(axis=1) + np.diag(true)  # squared length of that sum
        sizes = np.sqrt(np.diag(own) * np.where(rest > 0, rest, np.nan))
        return np.array([
            _off_diagonal(cross) / (length * np.sqrt(right if right > 0 else np.nan)),
            far.mean() / (length * np.sqrt(there if there > 0 else np.nan)),
            np.mean(np.where(np.diag(own) > 0, others / sizes, 0.0)),
            square / noise if noise > 0 else np.nan,
        ])  # fmt: skip


def _off_diagonal(products: np.ndarray) -> float:
    count = len(products)
    return float((products.sum() - products.trace()) / (count * (count - 1)))


def gradient_fidelity(
    by_name: Mapping[str, Sequence[Tensor]],
    true: Sequence[Tensor],
    fresh: Sequence[Tensor],
    units: np.ndarray,
    fresh_units: np.ndarray,
) -> dict[str, Estimate]:
    """MEASURES of each method. by_name, true: a gradient a batch, the same batches, at least three; fresh: REINFORCE's,
    on others; units, fresh_units: what each of the batches, and of the fresh ones, belongs to.
    """
    squares, away = products(true, true), products(fresh, fresh)
    found = {}
    for name, own in by_name.items():
        given = products(own, own), products(own, true), squares, products(own, fresh), away
        left = [measures(*_some(units != unit, fresh_units != unit, *given)) for unit in np.unique(units)]
        found[name] = Estimate(MEASURES, measures(*given), np.array(left))
    return found


def _some(
    keep: np.ndarray, fresh_keep: np.ndarray, own: np.ndarray, cross: np.ndarray, true: np.ndarray, far: np.ndarray,
    fresh: np.ndarray,
) -> tuple[np.ndarray, ...]:  # fmt: skip
    here, there = np.ix_(keep, keep), np.ix_(fresh_keep, fresh_keep)
    return own[here], cross[here], true[here], far[np.ix_(keep, fresh_keep)], fresh[there]


def leave_one_out(rewards: np.ndarray) -> np.ndarray:
    """R_i − mean_{j≠i} R_j of one group (G,), 0 where a reward is NaN or stands alone."""
    valid = np.isfinite(rewards)
    count = int(valid.sum())
    if count < 2:
        return np.zeros(len(rewards))
    return np.where(valid, (rewards - rewards[valid].mean()) * count / (count - 1), 0.0)

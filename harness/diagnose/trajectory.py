"""Geometry of a training trajectory: how much of it is one direction, and how straight (RELEX, arXiv:2605.21468).

M has one row for each kept update t, vec(θ_t − θ_0), not centred. From the Gram matrix MMᵀ = Σ_k σ_k² u_k u_kᵀ:

    EV_k = σ_k² / Σ_j σ_j²,    v₁ = Mᵀu₁ / σ₁,    c_t = σ₁ u₁t = ⟨θ_t − θ_0, v₁⟩

The line c_t ≈ a·t + b is fitted by least squares, and R² is its share of the variance of c_t. Rank 1 reconstructs
θ_t as θ_0 + c_t·v₁ and extrapolates to update K by θ_0 + (aK + b)·v₁. All of these are combinations of rows of M, so
that they are given here as weights of the rows, and a trajectory need never be in memory as a whole: the Gram matrix of
all parameters together is the sum of those of the tensors.

v₁ is oriented so that c > 0 at the last kept update: along the way that training went.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

COMPONENTS = 5
NOTHING = 1e-12  # of the largest eigenvalue: below it, rounding


@dataclass(frozen=True)
class Shape:
    """Of a trajectory of n kept updates.

    explained (5,): EV_1 … EV_5, NaN beyond n; coefficients (n,): c_t; direction (n,): weights of the rows whose sum is
    v₁; slope, intercept, r2: of the line through c_t. Without any movement EV and R² are NaN and the rest is 0.
    """

    explained: np.ndarray
    coefficients: np.ndarray
    direction: np.ndarray
    slope: float
    intercept: float
    r2: float


def gram(rows: np.ndarray) -> np.ndarray:
    """MMᵀ (n, n) in float64 of rows (n, d)."""
    rows = np.asarray(rows, dtype=np.float64)
    return rows @ rows.T


def shape(gram: np.ndarray, updates: Sequence[int]) -> Shape:
    """`Shape` from MMᵀ (n, n) and the n updates t, increasing, at which the rows were kept."""
    gram, t = np.asarray(gram, dtype=np.float64), np.asarray(updates, dtype=np.float64)
    if gram.ndim != 2 or gram.shape[0] != gram.shape[1] or not np.isfinite(gram).all():
        raise ValueError(f"expected a square Gram matrix of finite numbers, got shape {gram.shape}")
    if t.shape != gram.shape[:1] or (np.diff(t) <= 0).any():
        raise ValueError(f"expected {len(gram)} increasing updates, got {updates}")
    explained = np.full(COMPONENTS, np.nan)
    squares, vectors = np.linalg.eigh(gram)
    squares, first = squares.clip(min=0)[::-1], vectors[:, -1]
    if squares[0] <= 0:
        none = np.zeros(len(t))
        return Shape(explained, none, none, 0.0, 0.0, float("nan"))
    shown = squares[:COMPONENTS]
    explained[: len(shown)] = shown / squares.sum()
    first = first * (1 if first[-1] >= 0 else -1)
    sigma = np.sqrt(squares[0])
    coefficients = sigma * first
    slope, intercept, r2 = line(t, coefficients)
    return Shape(explained, coefficients, first / sigma, slope, intercept, r2)


def line(t: np.ndarray, values: np.ndarray) -> tuple[float, float, float]:
    """Slope, intercept and R² of the least-squares line through values (n,) at t (n,); R² of a constant is NaN."""
    if len(t) < 2:
        return 0.0, float(values[0]), float("nan")
    centred, moved = t - t.mean(), values - values.mean()
    slope = float(centred @ moved / (centred @ centred))
    variance = float(moved @ moved)
    r2 = slope * float(centred @ moved) / variance if variance > NOTHING * float(values @ values) else float("nan")
    return slope, float(values.mean() - slope * t.mean()), r2


def reconstruction(own: Shape, place: int) -> np.ndarray:
    """Weights (n,) of the rows for c_t·v₁ at the kept update in this place."""
    return own.coefficients[place] * own.direction


def extrapolation(own: Shape, update: int) -> np.ndarray:
    """Weights (n,) of the rows for (aK + b)·v₁ at update K."""
    return (own.slope * update + own.intercept) * own.direction


def measures(gram: np.ndarray, updates: Sequence[int], window: int) -> dict[str, float]:
    """ev1 … ev5 and r2 of the whole trajectory; window_ev1 and window_r2 of its first `window` kept updates."""
    whole, first = shape(gram, updates), shape(gram[:window, :window], updates[:window])
    own = {f"ev{k}": float(value) for k, value in enumerate(whole.explained, start=1)}
    return {**own, "r2": whole.r2, "window_ev1": float(first.explained[0]), "window_r2": first.r2}

"""How well a method that values states does so: VinePPO's continuations, PRIME's reward model, PPO's critic.

v_t is the method's own estimate of the reward expected at s_t, before token t is drawn; V̂ the one by continuations,
with halves a and b of independent noise. Over all states where every method that values states at all has an estimate,
so that methods are compared on the same ones (`MEASURES`):

value_error   root of mean (v − V^a)(v − V^b): the root mean square error, V̂'s own noise taken out; 0 where noise makes
              the mean negative
value_r2      1 − (value_error)² / Var V, the variance over these states too by cov(V^a, V^b): 1 is perfect, 0 as good
              as their mean, negative worse
value_correlation  cov(v, V) / (sd v · sd V), V̂'s noise taken out of sd V: what is left when level and scale are free,
              as in credit, where only differences count
value_pairs   chance that v puts two states of one problem in the right order, ties half; pairs that both halves order
              alike count, states that are the same beginning once
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np

from harness.diagnose.jackknife import Estimate, of_sums

MEASURES = ("value_error", "value_r2", "value_correlation", "value_pairs")
SUMS = ("states", "errors", "a", "b", "ab", "ordered", "pairs", "v", "vv", "vab")


def prompt_sums(problems: Sequence[Mapping[tuple[int, ...], tuple[float, float, float]]]) -> np.ndarray:
    """(problems, len(SUMS)). Of each problem: beginning (token ids) -> v, V^a, V^b."""
    return np.array([_sums(np.array(list(states.values()), dtype=float).reshape(-1, 3)) for states in problems])


def value_quality(sums: np.ndarray, units: np.ndarray) -> Estimate:
    """MEASURES of sums (n, len(SUMS)) of problems; units (n,): problems, or the seeds that they belong to."""
    return of_sums(MEASURES, measures, sums, units)


def measures(sums: np.ndarray) -> np.ndarray:
    """(…, len(SUMS)) added over problems -> (…, len(MEASURES))."""
    s = dict(zip(SUMS, np.moveaxis(np.asarray(sums, dtype=np.float64), -1, 0), strict=True))
    with np.errstate(divide="ignore", invalid="ignore"):
        square = s["errors"] / s["states"]
        variance = s["ab"] / s["states"] - s["a"] * s["b"] / s["states"] ** 2
        own = s["vv"] / s["states"] - (s["v"] / s["states"]) ** 2
        shared = s["vab"] / s["states"] - s["v"] * (s["a"] + s["b"]) / 2 / s["states"] ** 2
        length = np.sqrt(np.where((variance > 0) & (own > 1e-18), variance * own, np.nan))
        found = (
            np.sqrt(np.maximum(square, 0)),
            1 - square / np.where(variance > 0, variance, np.nan),
            shared / length,
            s["ordered"] / s["pairs"],
        )
    return np.stack(found, axis=-1)


def _sums(states: np.ndarray) -> np.ndarray:
    v, a, b = states.T
    upper = np.triu_indices(len(v), 1)
    ours, one, other = ((x[:, None] - x[None, :])[upper] for x in (v, a, b))
    counted = one * other > 0
    right = np.sign(ours[counted]) == np.sign(one[counted])
    ordered = right.sum() + (ours[counted] == 0).sum() / 2
    products = [((v - a) * (v - b)).sum(), a.sum(), b.sum(), a @ b]
    return np.array([len(v), *products, ordered, counted.sum(), v.sum(), v @ v, v @ (a + b) / 2])

"""Geometry of a trajectory and its nulls, by hand."""

import numpy as np
import pytest
import torch
from trl import GRPOConfig

from harness.diagnose.nulls import adam_gram, ranges, walk_gram
from harness.diagnose.trajectory import extrapolation, gram, measures, reconstruction, shape
from harness.errors import ConfigError

PHI = (1 + 5**0.5) / 2


def random_rows(n=7, d=11):
    return np.random.default_rng(0).normal(size=(n, d)).cumsum(0)


def brownian(n):
    t = np.arange(1, n + 1)
    return np.minimum.outer(t, t).astype(float)


def test_a_straight_line_is_one_direction_and_linear():
    step = np.array([3.0, 4.0])
    found = shape(gram(np.outer([1, 2, 3, 4], step)), [1, 2, 3, 4])
    assert found.explained == pytest.approx([1, 0, 0, 0, np.nan], nan_ok=True, abs=1e-12)
    assert found.coefficients == pytest.approx([5, 10, 15, 20])
    assert (found.slope, found.intercept, found.r2) == pytest.approx((5, 0, 1))


def test_two_orthogonal_steps():
    # M Mᵀ = [[1, 1], [1, 2]] has eigenvalues φ² and φ⁻², u₁ along (1, φ)
    rows = np.array([[1.0, 0], [1, 1]])
    found = shape(gram(rows), [1, 2])
    assert found.explained[:2] == pytest.approx([PHI**2 / 3, PHI**-2 / 3])
    assert found.coefficients == pytest.approx(PHI * np.array([1, PHI]) / np.sqrt(1 + PHI**2))
    v = found.direction @ rows
    assert v == pytest.approx(np.array([PHI, 1]) / np.sqrt(1 + PHI**2))  # unit, Mᵀu₁/σ₁


def test_the_line_is_least_squares_on_the_updates_given():
    # c = 1, 2, 2, 3 at updates 2, 4, 6, 8: slope 3/10, intercept 1/2, R² 0.9
    found = shape(gram(np.array([[1.0], [2], [2], [3]])), [2, 4, 6, 8])
    assert (found.slope, found.intercept, found.r2) == pytest.approx((0.3, 0.5, 0.9))


def test_the_direction_points_where_training_ends():
    for sign in (+1, -1):
        rows = sign * random_rows()
        found = shape(gram(rows), np.arange(1, 8))
        assert found.coefficients[-1] > 0
        v = found.direction @ rows
        assert np.linalg.norm(v) == pytest.approx(1)
        assert rows @ v == pytest.approx(found.coefficients)


def test_the_whole_is_the_sum_of_its_tensors():
    rows = random_rows()
    assert gram(rows) == pytest.approx(gram(rows[:, :4]) + gram(rows[:, 4:]))
    _, sigma, right = np.linalg.svd(rows, full_matrices=False)
    found = shape(gram(rows), np.arange(1, 8))
    assert found.explained == pytest.approx((sigma**2 / (sigma**2).sum())[:5])
    assert abs(found.direction @ rows @ right[0]) == pytest.approx(1)


def test_no_movement_has_no_shape():
    found = shape(np.zeros((3, 3)), [1, 2, 3])
    assert np.isnan(found.explained).all() and np.isnan(found.r2)
    assert not found.coefficients.any() and not found.direction.any()


@pytest.mark.parametrize("bad", [np.ones((2, 3)), np.ones(4), np.full((3, 3), np.nan)], ids=["oblong", "flat", "nan"])
def test_what_is_no_gram_is_refused(bad):
    with pytest.raises(ValueError, match="Gram"):
        shape(bad, [1, 2, 3])
    with pytest.raises(ValueError, match="updates"):
        shape(np.eye(3), [1, 3, 2])


# Reconstruction and extrapolation


def test_a_trajectory_of_rank_one_is_reconstructed_exactly():
    rows = np.outer([1.0, 3, 2, 5], [1, -2, 2])
    found = shape(gram(rows), [1, 2, 3, 4])
    for place in range(4):
        assert reconstruction(found, place) @ rows == pytest.approx(rows[place])


def test_a_straight_line_is_extrapolated_to_its_points():
    step = np.array([0.5, -1, 2])
    rows = np.outer([2, 4, 6], step)  # θ_t − θ_0 = t·step
    assert extrapolation(shape(gram(rows), [2, 4, 6]), 40) @ rows == pytest.approx(40 * step)


def test_the_best_rank_one_point_of_two_orthogonal_steps():
    rows = np.array([[1.0, 0], [1, 1]])
    v = np.array([PHI, 1]) / np.sqrt(1 + PHI**2)
    found = shape(gram(rows), [1, 2])
    assert reconstruction(found, 1) @ rows == pytest.approx((PHI + 1) / np.sqrt(1 + PHI**2) * v)
    c = PHI * np.array([1, PHI]) / np.sqrt(1 + PHI**2)
    assert extrapolation(found, 4) @ rows == pytest.approx((c[1] + 2 * (c[1] - c[0])) * v)


# Random walk


def test_a_long_random_walk_looks_like_one_linear_direction():
    own = measures(brownian(500), np.arange(1, 501), 100)
    assert own["ev1"] == pytest.approx(8 / np.pi**2, abs=0.01)
    assert own["ev2"] == pytest.approx(8 / np.pi**2 / 9, abs=0.01)
    # R² of sin(πt/2) on [0, 1]: (4/π² − 1/π)² · 12 / (1/2 − 4/π²)
    exact = (4 / np.pi**2 - 1 / np.pi) ** 2 * 12 / (0.5 - 4 / np.pi**2)
    assert exact == pytest.approx(0.958, abs=0.001)
    assert own["r2"] == pytest.approx(exact, abs=0.01)
    assert own["window_ev1"] == measures(brownian(100), np.arange(1, 101), 50)["ev1"]


@pytest.mark.parametrize("d", [1, 3, 4, 400])
def test_moments_of_a_walk_in_d_dimensions(d):
    # increments N(0, I_d): E G = d·min(i, j); Var G_ii = 2·d·i², on both sides of d = n = 4
    rng = np.random.default_rng(0)
    draws = np.array([walk_gram(rng, 4, d) for _ in range(4000)])
    assert draws.mean(0) == pytest.approx(d * brownian(4), rel=0.1)
    assert draws.var(0).diagonal() == pytest.approx(2 * d * np.arange(1, 5) ** 2, rel=0.15)
    assert np.linalg.matrix_rank(draws[0], tol=1e-8 * d) == min(4, d)


def test_a_walk_in_many_dimensions_is_the_brownian_limit():
    own = walk_gram(np.random.default_rng(1), 200, 10**8) / 10**8
    assert own == pytest.approx(brownian(200), rel=0.01)


# Adam on noise


def settings(**more):
    fixed = {"output_dir": "unused", "learning_rate": 0.01, "max_steps": 6, "bf16": False, "use_cpu": True}
    return GRPOConfig(**{"lr_scheduler_type": "constant", **fixed, **more})


def adam(every=1, weights=None, decayed=None, seed=0, **more):
    weights = torch.zeros(5000) if weights is None else weights
    decayed = torch.ones(len(weights), dtype=torch.bool) if decayed is None else decayed
    return adam_gram(settings(**more), every, weights, decayed, torch.Generator().manual_seed(seed))


def test_adam_moves_every_weight_by_the_learning_rate_first():
    own = adam()
    assert own.shape == (6, 6)
    assert own[0, 0] == pytest.approx(5000 * 0.01**2, rel=1e-4)  # m̂/√v̂ = ±1
    # second step: (.9g₁ + g₂)/1.9 / √((g₁² + g₂²)/2) = √2(.9 cos φ + sin φ)/1.9 with φ uniform, first: sign(cos φ);
    # E(first + second)² = 1 + 1.81/3.61 + 2·√2·.9·(2/π)/1.9 = 2.354
    assert own[1, 1] / own[0, 0] == pytest.approx(2.354, rel=0.02)


def test_kept_updates_are_every_so_many_th():
    assert adam(every=2) == pytest.approx(adam()[1::2, 1::2])


def test_momentum_and_schedule_are_the_runs_own():
    assert adam(adam_beta1=0.0)[1, 1] < adam()[1, 1]
    warming = adam(lr_scheduler_type="constant_with_warmup", warmup_steps=4).diagonal()
    # a quarter of the rate after a first update of none
    assert warming[0] == 0 and warming[1] == pytest.approx(5000 * (0.01 / 4) ** 2 * 1.81 / 3.61, rel=0.02)


def test_weight_decay_pulls_the_weights_that_decay():
    weights = torch.full((4000,), 2.0)
    decayed = torch.arange(4000) < 1000
    with_it = adam(weights=weights, decayed=decayed, weight_decay=0.5)
    # after one update 1000 weights moved by ±lr − lr·0.5·2 (mean square lr²·(1 + 1)), the others by ±lr
    assert with_it[0, 0] == pytest.approx(0.01**2 * (1000 * 2 + 3000), rel=0.05)
    assert adam(weights=weights, decayed=decayed)[0, 0] == pytest.approx(4000 * 0.01**2, rel=1e-4)


def test_an_optimizer_that_is_not_adam_has_no_such_null():
    with pytest.raises(ConfigError, match="optim=.*sgd"):
        adam(optim="sgd")


def test_nulls_give_mean_and_range_of_every_measure():
    own = ranges([brownian(30)] * 3, np.arange(1, 31), 10)
    exact = measures(brownian(30), np.arange(1, 31), 10)
    assert own.keys() == exact.keys()
    assert own["ev1"] == pytest.approx([exact["ev1"]] * 3)
    rng = np.random.default_rng(0)
    spread = ranges([walk_gram(rng, 30, 2) for _ in range(40)], np.arange(1, 31), 10)
    assert spread["ev1"][1] < spread["ev1"][0] < spread["ev1"][2]

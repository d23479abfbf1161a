import math

import numpy as np
import pandas as pd
import pytest

from harness.compare.filters import UsageError
from harness.compare.interaction import COLUMNS, CONTRASTS, interaction, sentences, two_by_twos
from harness.compare.load import load
from harness.compare.scores import Findings, scores
from harness.compare.statistics import t_interval

T_4 = 2.7764451051977987  # 97.5 % quantile of Student's t with 4 degrees of freedom
WIGGLE = np.array([0.01, -0.01, 0.02, -0.02, 0.0])  # mean 0, variance 0.001 / 4
BASE = np.array([0.40, 0.42, 0.44, 0.46, 0.48])
OTHER = np.array([0.0, 0.01, -0.01, 0.01, -0.01])
SPREAD = np.array([0.01, 0.01, -0.02, 0.02, -0.02])  # of the interaction: half width t · sqrt(.0014 / 20) = .0232
FACTOR_PAIR = ("method.advantage", "method.weighting")


def cells(a, b, ab, noise=1.0):
    return BASE, BASE + a + noise * WIGGLE, BASE + b + noise * OTHER, BASE + ab + noise * (WIGGLE + OTHER + SPREAD)


def test_contrasts_by_hand():
    # one seed's worth at a time: a - base .1 .2 .1 .2 .1; b - base .1 .1 .2 .2 .1; ab - base .3 .2 .2 .5 .1
    base = np.zeros(5)
    a, b, ab = np.array([1, 2, 1, 2, 1]) / 10, np.array([1, 1, 2, 2, 1]) / 10, np.array([3, 2, 2, 5, 1]) / 10
    found = interaction(base, a, b, ab)
    assert found.n == 5
    assert (found.gain_a.mean, found.gain_b.mean) == (pytest.approx(0.14), pytest.approx(0.14))
    assert found.gain_ab.mean == pytest.approx(0.26)
    assert found.main_a.mean == pytest.approx((0.14 + 0.12) / 2)  # ab - b: .2 .1 .0 .3 .0
    # ab - a: .2 .0 .1 .3 .0, so I: .1 -.1 -.1 .1 -.1, mean -.02, sum of squared deviations .05 - 5 · .0004 = .048
    error = math.sqrt(0.048 / 4 / 5)
    assert found.interaction.mean == pytest.approx(-0.02)
    assert found.interaction.low == pytest.approx(-0.02 - T_4 * error)
    assert found.interaction.high == pytest.approx(-0.02 + T_4 * error)
    # gain a has the values .1 three times and .2 twice, as gain b: equal p, smallest of the three, so 3 · p and 3 · p
    assert found.gain_a.p_holm == pytest.approx(3 * found.gain_a.p) == found.gain_b.p_holm
    assert found.interaction.p_holm == pytest.approx(found.interaction.p)
    assert math.isnan(found.gain_ab.p_holm) and math.isnan(found.main_a.p_holm)


def test_main_effects_tell_the_factors_apart():
    found = interaction(*cells(0.2, 0.1, 0.4))
    assert found.main_a.mean == pytest.approx((0.2 + 0.3) / 2)
    assert found.main_b.mean == pytest.approx((0.1 + 0.2) / 2)


def test_additive():
    # I: 0 ± .0232; I ± gain / 2 lie ± .05 and ± .1 from 0 with about that spread: all four resolved
    found = interaction(*cells(0.2, 0.1, 0.3))
    assert (found.verdict, found.reason) == ("additive", "")
    assert found.interaction.mean == pytest.approx(0)


def test_a_wide_interaction_is_not_additive_although_not_significant():
    base, a, b, ab = cells(0.1, 0.1, 0.2)
    ab = ab + np.array([0.06, -0.06, 0.05, -0.05, 0.0])
    found = interaction(base, a, b, ab)
    assert found.interaction.p > 0.9 and found.verdict == "not resolved"
    # I: .07 -.05 .03 -.03 -.02, sum of squares .0096, half width t · sqrt(.0096 / 20) = .0608
    assert "reaches from -6.1 to +6.1 points" in found.reason


def test_equivalence_is_within_half_of_each_gain():
    # I: mean -.03, negligible spread, so beyond half of gain b (.025) and well within half of gain a; but Holm on I is
    # resolved then, so the noise of I is set to keep it open: SD .04, error .0179
    base, a, b, ab = cells(0.4, 0.05, 0.45 - 0.03, noise=0.3)
    spread = np.array([0.04, -0.04, 0.05, -0.03, -0.02])
    found = interaction(base, a, b, ab + spread)
    assert found.gain_b.p_holm < 0.05 and found.gain_a.p_holm < 0.05 and found.interaction.p > 0.05
    assert found.verdict == "not resolved"
    wider = interaction(base, a, b + 0.35, ab + 0.35 + spread)  # the same I beside two gains of .4
    assert wider.interaction.mean == pytest.approx(found.interaction.mean) and wider.verdict == "additive"


def test_redundant():
    # ab = max(a, b): I = -.1 ± .0232; ab - a has mean 0 and ab - b .1: no loss
    found = interaction(*cells(0.2, 0.1, 0.2))
    assert found.interaction.p_holm < 0.05 and found.interaction.mean == pytest.approx(-0.1)
    assert found.verdict == "redundant"


def test_antagonistic():
    # ab - a = -.1 + OTHER + SPREAD: a resolved loss
    assert interaction(*cells(0.2, 0.1, 0.1)).verdict == "antagonistic"
    # worse than b alone, although no single gain of a is there
    assert interaction(*cells(0.0, 0.2, 0.0)).verdict == "antagonistic"


def test_antagonism_is_corrected_over_two_losses():
    # ab - a: mean -.0292, sum of squared deviations .00194, so t = -.0292 / sqrt(.00194 / 20) = -2.96, p = .04 alone
    loss = np.array([-0.014, -0.054, 0.0, -0.044, -0.034])
    assert 0.025 < t_interval(loss).p < 0.05
    a = BASE + 0.3 + WIGGLE
    assert interaction(BASE, a, BASE + 0.25 + OTHER, a + loss).verdict == "redundant"
    assert interaction(BASE, a, BASE + 0.25 + OTHER, a + loss - 0.02).verdict == "antagonistic"


def test_negative_of_an_open_kind():
    # b gains nothing, ab - a = -.05 with a spread that leaves it open, I = the same less gain b: hand-made numbers
    base = BASE
    a, b = BASE + 0.1 + WIGGLE, BASE + np.array([0.05, 0.03, 0.07, 0.02, -0.06])
    ab = a + np.array([-0.01, -0.03, 0.012, -0.04, -0.12])
    found = interaction(base, a, b, ab)
    assert found.interaction.p_holm < 0.05 and found.interaction.mean < 0 and found.gain_b.p > 0.05
    assert found.verdict == "not resolved" and "which kind is open" in found.reason


def test_two_harms_that_do_not_add_are_no_synergy():
    own = interaction(*cells(-0.05, -0.05, -0.05))  # I = +.05, but both together are .05 below the base
    assert own.verdict == "not resolved" and "not resolved above the base" in own.reason


def test_a_change_that_harms_by_itself_is_no_antagonism():
    own = interaction(*cells(0.10, -0.05, 0.0))  # I = -.05, ab is worse than a, as b is by itself
    assert own.verdict == "not resolved" and "the second change harms by itself" in own.reason


def test_synergistic():
    assert interaction(*cells(0.05, 0.05, 0.2)).verdict == "synergistic"  # I = .1 ± .0232
    assert interaction(*cells(0.0, 0.0, 0.1)).verdict == "synergistic"  # neither alone does anything


def test_equal_interactions_are_weak_evidence():
    base, a, b, _ = cells(0.05, 0.05, 0.2)
    found = interaction(base, a, b, a + b - base + 0.1)  # I = .1 five times: the sign test's p of 1/16
    assert found.interaction.p == pytest.approx(0.0625) and found.verdict == "not resolved"


def test_nothing_to_add():
    found = interaction(*cells(0.0, 0.0, 0.0))
    assert (found.verdict, found.reason) == ("not resolved", "no resolved gain to add")
    one = interaction(*cells(0.2, 0.0, 0.2))
    assert one.verdict == "not resolved" and one.reason.startswith("only one of the two")


def test_losses_do_not_count_as_gains():
    assert interaction(*cells(-0.2, -0.1, -0.3)).reason == "no two gains to add: both changes harm by themselves"


def test_few_seeds():
    found = interaction(*(cell[:4] for cell in cells(0.2, 0.1, 0.2)))
    assert found.verdict == "not resolved (n<5)" and math.isnan(found.interaction.p_holm)
    assert math.isfinite(found.interaction.low)
    assert interaction([], [], [], []).n == 0


def test_alpha_and_shapes():
    values = cells(0.2, 0.1, 0.2)
    assert interaction(*values, alpha=1e-6).verdict == "not resolved"
    with pytest.raises(ValueError, match="match"):
        interaction(values[0], values[1], values[2], values[3][:4])
    with pytest.raises(ValueError, match="finite"):
        interaction(values[0], values[1], values[2], values[3] * np.nan)


def test_swapping_the_factors_swaps_nothing_but_names():
    values = cells(0.2, 0.1, 0.2)
    one, two = interaction(*values), interaction(values[0], values[2], values[1], values[3])
    assert one.verdict == two.verdict and one.gain_a == two.gain_b and one.main_a == two.main_b


# --- on runs ---------------------------------------------------------------------------------------------------------

UNIFORM, DELTA = "methods.weightings.uniform.Uniform", "methods.weightings.delta.Delta"
MEAN, PAIRWISE = "methods.advantages.GroupMean", "methods.advantages.Pairwise"


def settings(advantage=MEAN, weighting=UNIFORM, **more):
    return {"method.advantage._target_": advantage, "method.weighting._target_": weighting} | more


FOUR = {
    "grpo": settings(),
    "lampo": settings(PAIRWISE, **{"method.advantage.weight": "self"}),
    "delta": settings(weighting=DELTA),
    "both": settings(PAIRWISE, DELTA, **{"method.advantage.weight": "self"}),
}


def write(tree, methods=tuple(FOUR), seeds=5, **options):
    for method, values in zip(FOUR, cells(0.2, 0.1, 0.2), strict=True):
        if method in methods:
            for seed in range(seeds):
                end = float(values[seed])
                given = {"end": end, "curve": (0.1, end, end), "label": method} | options
                tree.run(method, seed, config=FOUR[method], **given)


def squares(tree, factors=FACTOR_PAIR):
    records = load(tree.root)
    found = Findings(records, "grpo", scores(records), pd.DataFrame(), pd.DataFrame(), {}, {}, 0.05)
    return two_by_twos(found, factors)


def test_the_two_by_two_of_a_sweep(tree):
    write(tree)
    found = squares(tree)
    assert found.base == ("group mean", "uniform") and found.left_out == {}
    assert [(one.name, one.labels) for one in found.squares] == [
        ("pairwise × delta", ("grpo", "lampo", "delta", "both"))
    ]
    rows = found.rows
    assert list(rows.columns) == COLUMNS and len(rows) == 3 * 2 * len(CONTRASTS)
    whole = rows[(rows["domain"] == "all") & (rows["metric"] == "end_point")].set_index("contrast")
    assert whole.loc["gain_a", "mean"] == pytest.approx(0.2)  # a is the advantage, not the weighting
    assert whole.loc["gain_b", "mean"] == pytest.approx(0.1)
    assert whole.loc["interaction", "mean"] == pytest.approx(-0.1)
    assert set(whole["verdict"]) == {"redundant"} and set(whole["n"]) == {5}
    text = sentences(found)
    # the area: 0.1 in common, then end twice: (0.1 + end) / 2 · 10 and end · 10, so three quarters of the difference
    assert text.startswith("- **pairwise × delta**: end point **redundant**: interaction -10.0 [")
    assert "; area under the learning curve **redundant**: interaction -7.5 [" in text
    assert text.endswith("points, n=5")


def test_only_shared_seeds_count(tree):
    write(tree)
    (tree.root / "both" / "seed-2" / "STATUS").write_text("running\n")
    found = squares(tree)
    assert set(found.rows["n"]) == {4}
    assert "**not resolved (n<5)**: interaction -" in sentences(found)
    assert "n=4 (4 seeds have all four cells)" in sentences(found)


def test_a_missing_cell_makes_no_square(tree):
    write(tree, ("grpo", "lampo", "delta"))
    found = squares(tree)
    assert found.squares == [] and found.rows.empty and sentences(found).startswith("- No 2×2")


def test_levels_of_one_target_are_told_apart(tree):
    write(tree)
    constant = settings(PAIRWISE, **{"method.advantage.weight": "constant"})
    for seed in range(5):
        tree.run("constant", seed, label="constant", config=constant)
    found = squares(tree)
    assert [one.name for one in found.squares] == ["pairwise (weight=self) × delta"]


def test_what_differs_elsewhere_is_left_out_by_name(tree):
    write(tree)
    tree.run("shaped", 0, label="shaped", config=settings(**{"method.shaping._target_": "methods.shaping.Rouge"}))
    found = squares(tree)
    assert found.left_out == {"shaped": "differs from the baseline in method.shaping._target_"}
    assert len(found.squares) == 1


def test_two_labels_in_one_cell_are_refused(tree):
    write(tree)
    tree.run("twin", 0, label="twin", config=FOUR["lampo"])
    with pytest.raises(UsageError, match="lampo and twin are in one cell .* names only"):
        squares(tree)


def test_a_leaf_may_be_a_factor(tree):
    write(tree, ("grpo",))
    extra = {"trainer.learning_rate": 0.5}
    for seed in range(5):
        tree.run("fast", seed, label="fast", config=FOUR["grpo"] | extra)
        tree.run("lampo", seed, label="lampo", config=FOUR["lampo"])
        tree.run("both", seed, label="both", config=FOUR["lampo"] | extra)
    found = squares(tree, ("trainer.learning_rate", "method.advantage"))
    assert [one.name for one in found.squares] == ["0.5 × pairwise"] and found.base == ("0.0001", "group mean")
    assert found.squares[0].labels == ("grpo", "fast", "lampo", "both")


@pytest.mark.parametrize(
    ("factors", "message"),
    [
        (("method.advantage",), "two separate keys"),
        (("method.advantage", "method"), "two separate keys"),
        (("method.advantage", "method.advantage"), "two separate keys"),
        (("method.advantage", "method.weihting"), "did you mean method.weighting"),
    ],
)
def test_wrong_factors(tree, factors, message):
    write(tree)
    with pytest.raises(UsageError, match=message):
        squares(tree, factors)


def test_a_resolved_loss_is_not_called_an_unresolved_gain():
    noise = np.array([0.0, 0.01, -0.01, 0.005, -0.005])
    base = np.full(5, 0.5)
    found = interaction(base, base + 0.1 + noise, base - 0.1 + noise, base + noise[::-1])
    assert (found.verdict, found.reason) == ("not resolved", "no two gains to add: the second change harms by itself")

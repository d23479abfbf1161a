import numpy as np
import pandas as pd
import pytest

from harness.compare import plots
from harness.compare.plots.improvement import improvement, improvement_numbers
from harness.compare.plots.pass_at_k import pass_at_k, pass_numbers
from harness.compare.plots.profile import performance_profile
from harness.compare.plots.stability import stability
from harness.compare.plots.threshold import tokens_to_threshold

GRPO, LAMPO, DELTA = "grpo-aaaaaaaa", "lampo-bbbbbbbb", "delta-cccccccc"
STEMS = [
    "learning_curves", "learning_curves_steps", "learning_curves_tokens", "learning_curves_seconds", "endpoint",
    "improvement", "pass_at_k", "tokens_to_threshold", "stability", "performance_profile",
    "credit_heatmap",
]  # fmt: skip


def test_all_figures_in_order_each_with_its_numbers_and_a_caption(found, tmp_path):
    written = plots.draw_all(found, tmp_path)
    assert [path.name for path in written] == [
        f"{stem}.{end}" for stem in STEMS for end in ("png", "svg", "csv")
    ]
    assert list(plots.CAPTIONS) == STEMS
    assert all(path.stat().st_size > 0 for path in written)


def test_one_run_in_one_domain_can_be_drawn(tree, ask, tmp_path):
    tree.run("grpo", 0, domains=("math",))
    assert [path.stem for path in plots.draw_all(ask(), tmp_path)[::3]] == STEMS


def test_more_methods_than_fit_and_a_method_with_other_seeds_can_be_drawn(tree, ask, tmp_path):
    tree.run("grpo", 0)
    for place in range(13):
        tree.run("grpo", place, label=f"other{place:02d}-{place:08x}", config={"method.name": "other"})
    assert [path.stem for path in plots.draw_all(ask(), tmp_path)[::3]] == STEMS
    numbers = pd.read_csv(tmp_path / "improvement.csv")
    assert len(numbers) == 13  # against the baseline only
    assert set(numbers["column"]) == {GRPO}


def test_endpoint(found, tmp_path):
    written = plots.endpoint(found, tmp_path)
    assert [path.name for path in written] == ["endpoint.png", "endpoint.svg", "endpoint.csv"]
    numbers = pd.read_csv(tmp_path / "endpoint.csv").set_index(["label", "domain", "seed"])
    assert numbers.loc[(LAMPO, "all", "mean"), "accuracy"] == pytest.approx(0.81)
    assert numbers.loc[(LAMPO, "all", "2"), "accuracy"] == pytest.approx(0.82)
    assert len(numbers) == 2 * 3 * (1 + 3)


def test_improvement_counts_wins_and_half_the_ties(tree, ask, tmp_path):
    tree.sweep({"lampo": [0.01, 0.01, 0.01], "delta": [0.1, 0.1, 0.1]})
    found = ask()
    improvement(found, tmp_path)
    p = pd.read_csv(tmp_path / "improvement.csv").set_index(["row", "column"])
    # per domain 1 2 3 against 0 1 2: six wins and two ties of nine
    assert p.loc[(LAMPO, GRPO), "p"] == pytest.approx(7 / 9, abs=1e-6)
    assert p.loc[(GRPO, LAMPO), "p"] == pytest.approx(2 / 9, abs=1e-6)
    assert list(p.loc[(DELTA, GRPO), ["p", "low", "high"]]) == [1, 1, 1]
    assert list(p.loc[(GRPO, DELTA), ["p", "low", "high"]]) == [0, 0, 0]
    assert p.loc[(LAMPO, GRPO), "low"] == pytest.approx(1 - p.loc[(GRPO, LAMPO), "high"], abs=1e-6)
    assert len(p) == 6


def test_improvement_of_a_method_that_may_not_be_compared_is_blank(tree, ask, tmp_path):
    tree.sweep({"lampo": [0.01] * 3})
    for seed in range(3):
        tree.run("delta", seed, config={"trainer.learning_rate": 1.0})
    found = ask()
    p = improvement_numbers(found, found.labels).set_index(["row", "column"])["p"]
    assert np.isnan(p[DELTA, GRPO])
    assert np.isnan(p[LAMPO, DELTA])
    assert p[LAMPO, GRPO] == pytest.approx(7 / 9)
    improvement(found, tmp_path)


def test_pass_at_k(tree, ask, change, tmp_path):
    for seed in range(2):
        folder = tree.run("grpo", seed)
        more = {"1": 0.5 + 0.1 * seed, "2": 0.7, "10": 0.9}
        change(
            folder / "evals.jsonl",
            lambda line, own=more: line | ({"pass": own} if line["step"] == 20 else {}),
        )
    numbers = pass_numbers(ask()).set_index(["label", "domain", "k"])
    assert list(numbers.loc[(GRPO, "all")].index) == [1, 2, 10]  # numbers, not text: 10 comes last
    half = 12.706205 * 0.05  # t(0.975, 1); 0.5 and 0.6 have standard deviation 0.1/√2, over √2
    assert list(numbers.loc[(GRPO, "all", 1)]) == pytest.approx([2, 0.55, 0.55 - half, 0.55 + half])
    assert list(numbers.loc[(GRPO, "math", 10), ["n", "mean"]]) == [2, 0.9]
    base = numbers.loc[("base policy", "math", 1)]  # sampled; one policy though there are two runs
    assert list(base[["n", "mean"]]) == pytest.approx([1, 0.5])
    assert len(pass_at_k(ask(), tmp_path)) == 3


def test_pass_at_k_is_left_out_where_it_was_not_recorded(tree, ask, change, tmp_path):
    change(
        tree.run() / "evals.jsonl", lambda line: {key: value for key, value in line.items() if key != "pass"}
    )
    assert pass_at_k(ask(), tmp_path) == []


def test_tokens_to_threshold(tree, ask, tmp_path):
    tree.run("grpo", 0, curve=(0.4, 0.6, 0.8))
    tree.run("lampo", 0, curve=(0.4, 0.5, 0.7))
    tree.run("lampo", 1, curve=(0.4, 0.5, 0.55))
    written = tokens_to_threshold(ask(0.65), tmp_path)
    assert [path.stem for path in written] == ["tokens_to_threshold"] * 3
    numbers = pd.read_csv(tmp_path / "tokens_to_threshold.csv").set_index(["label", "domain", "seed"])
    assert list(numbers.loc[(GRPO, "all", "0")]) == [1250, 1]
    assert list(numbers.loc[(LAMPO, "all", "0")]) == [1750, 1]
    assert list(numbers.loc[(LAMPO, "all", "1")]) == [np.inf, 0]
    assert list(numbers.loc[(LAMPO, "all", "median")]) == [np.inf, 1]


def test_no_threshold_no_figure(tree, ask, tmp_path):
    tree.run("grpo", 0, curve=(0.4, 0.4, 0.4))
    assert tokens_to_threshold(ask(), tmp_path) == []
    assert "tokens_to_threshold" not in {path.stem for path in plots.draw_all(ask(), tmp_path)}


def test_a_threshold_that_nobody_reaches_can_be_drawn(tree, ask, tmp_path):
    tree.run("grpo", 0)
    assert len(tokens_to_threshold(ask(0.99), tmp_path)) == 3


def test_stability_is_mean_and_range_over_the_seeds_that_recorded_a_step(tree, ask, change, tmp_path):
    for seed in range(2):
        folder = tree.run("grpo", seed)
        # seed 0: clip share recorded on even steps only; nobody has one on step 1
        change(
            folder / "metrics.jsonl",
            lambda line, seed=seed: (
                line
                | {
                    "entropy": 1.0 + seed,
                    "clip_share": None
                    if line["step"] == 1 or (line["step"] % 2 and not seed)
                    else 0.1 * (seed + 1),
                }
            ),
        )
    stability(ask(), tmp_path)
    numbers = pd.read_csv(tmp_path / "stability.csv").set_index(["metric", "label", "step"])
    assert list(numbers.loc[("entropy", GRPO, 7)]) == [2, 1.5, 1, 2]
    assert list(numbers.loc[("clip_share", GRPO, 3)]) == pytest.approx([1, 0.2, 0.2, 0.2])
    assert list(numbers.loc[("clip_share", GRPO, 4)]) == pytest.approx([2, 0.15, 0.1, 0.2])
    assert ("clip_share", GRPO, 1) not in numbers.index
    assert "kl" not in numbers.index.get_level_values("metric")  # null on every step


def test_performance_profile(found, tmp_path):
    performance_profile(found, tmp_path)
    numbers = pd.read_csv(tmp_path / "performance_profile.csv").set_index(["label", "tau"])
    # grpo ends at 0.60 0.61 0.62 in code and 0.80 0.81 0.82 in math
    shares = {0.0: 1, 0.605: 5 / 6, 0.7: 0.5, 0.81: 1 / 6, 0.9: 0}
    for tau, share in shares.items():
        assert numbers.loc[(GRPO, tau), "share"] == pytest.approx(share, abs=1e-6)
    assert numbers.loc[(GRPO, 0.605), "low"] < 5 / 6 < numbers.loc[(GRPO, 0.605), "high"]

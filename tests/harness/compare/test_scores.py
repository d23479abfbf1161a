import json
import math

import pytest

from harness.compare import fairness
from harness.compare.load import load
from harness.compare.scores import (
    AULC,
    END,
    GAIN,
    GREEDY,
    TOKENS,
    base_rows,
    comparison,
    cost_and_stability,
    scores,
    thresholds,
    tokens_to_threshold,
)
from tests.harness.compare.test_load import cut_to_step

GRPO, LAMPO = "grpo-aaaaaaaa", "lampo-bbbbbbbb"
SHIFTS = [0.02, 0.05, 0.00, 0.08, 0.05]  # test_statistics has their interval by hand


def compare(tree, refusals=None, threshold=None, alpha=0.05):
    records = load(tree.root)
    allowed = dict.fromkeys(records.labels, "") | (refusals or {})
    levels = thresholds(records, GRPO, threshold)
    rows = comparison(records, scores(records), GRPO, allowed, levels, alpha)
    return rows.set_index(["label", "domain", "metric"])


def test_scores_of_one_run(tree):
    tree.run(end=0.7, greedy=0.8, curve=(0.4, 0.5, 0.6))
    found = scores(load(tree.root)).set_index(["domain", "metric"])["value"]
    assert found["all", END] == pytest.approx(0.7)
    assert found["all", GREEDY] == pytest.approx(0.8)
    assert found["all", GAIN] == pytest.approx(0.7 - 0.55)  # best base: at the best temperature
    assert found["all", AULC] == pytest.approx((0.45 + 0.55) / 2)
    assert found["math", END] == pytest.approx(0.8) and found["code", AULC] == pytest.approx(0.4)


def test_paired_difference_of_the_table(tree):
    tree.sweep({"lampo": SHIFTS})
    row = compare(tree).loc[(LAMPO, "all", END)]
    half = 2.7764451051977987 * math.sqrt(0.0038 / 4 / 5)
    assert (row["n"], row["pairs"]) == (5, 5)
    assert row["diff"] == pytest.approx(0.04)
    assert row["diff_low"] == pytest.approx(0.04 - half) and row["diff_high"] == pytest.approx(0.04 + half)
    assert row["mean"] == pytest.approx(0.72 + 0.04)
    assert row["verdict"] == "better" and row["p_holm"] == row["p"] < 0.05


def test_pairs_are_matched_by_seed_not_by_place(tree):
    tree.sweep({"lampo": [0.03] * 5}, gap=0.0)
    tree.folder("grpo", 2).joinpath("STATUS").write_text("running")
    row = compare(tree).loc[(LAMPO, "all", END)]
    assert (row["n"], row["pairs"]) == (5, 4)
    assert row["diff"] == row["diff_low"] == row["diff_high"] == pytest.approx(0.03)
    assert row["verdict"] == "not resolved (n<5)"


def test_holm_runs_over_the_methods_of_a_domain_and_measure(tree):
    tree.sweep(
        {"lampo": SHIFTS, "delta": [0.1, 0.11, 0.12, 0.13, 0.14], "oracle": [0.02, -0.02, 0.02, -0.02, 0.01]}
    )
    rows = compare(tree)
    p = {name: rows.loc[(label, "all", END), "p"] for name, label in [("l", LAMPO), ("d", "delta-cccccccc")]}
    assert rows.loc[("delta-cccccccc", "all", END), "p_holm"] == pytest.approx(3 * p["d"])
    assert rows.loc[(LAMPO, "all", END), "p_holm"] == pytest.approx(2 * p["l"])
    # p = 0.044 alone would be a verdict; two other methods in the table make it none
    assert p["l"] < 0.05 and rows.loc[(LAMPO, "all", END), "verdict"] == "not resolved"
    assert rows.loc[("delta-cccccccc", "all", END), "verdict"] == "better"
    assert rows.loc[("delta-cccccccc", "all", AULC), "verdict"] == "better"


def test_methods_with_too_few_pairs_do_not_widen_the_family(tree):
    tree.sweep({"lampo": SHIFTS, "delta": [0.1, 0.11, 0.12, 0.13, 0.14]})
    tree.folder("delta", 0).joinpath("STATUS").write_text("running")
    rows = compare(tree)
    assert rows.loc[(LAMPO, "all", END), "verdict"] == "better"
    few = rows.loc[("delta-cccccccc", "all", END)]
    assert few["verdict"] == "not resolved (n<5)" and few["p"] < 0.05 and math.isnan(few["p_holm"])


def test_refused_methods_do_not_widen_the_family(tree):
    tree.sweep({"lampo": SHIFTS, "delta": [0.1] * 5})
    rows = compare(tree, {"delta-cccccccc": "not compared: differs in x"})
    assert rows.loc[(LAMPO, "all", END), "verdict"] == "better"
    refused = rows.loc[("delta-cccccccc", "all", END)]
    assert refused["verdict"] == "not compared: differs in x"
    assert math.isnan(refused["diff"]) and refused["mean"] == pytest.approx(0.82)


def test_worse_equal_and_constant_differences(tree):
    tree.sweep({"lampo": [-0.1, -0.11, -0.12, -0.13, -0.14], "delta": [0.0] * 5, "oracle": [0.125] * 5})
    rows = compare(tree)
    assert rows.loc[(LAMPO, "all", END), "verdict"] == "worse"
    equal = rows.loc[("delta-cccccccc", "all", END)]
    assert (equal["diff_low"], equal["diff_high"], equal["verdict"]) == (0, 0, "not resolved")
    constant = rows.loc[("oracle-dddddddd", "all", END)]
    assert constant["diff_low"] == pytest.approx(0.125) and constant["p"] == 2 / 32
    assert constant["verdict"] == "not resolved"


def test_threshold_is_halfway_unless_given(tree):
    tree.run("grpo", 0, curve=(0.4, 0.5, 0.6))
    tree.run("grpo", 1, curve=(0.4, 0.5, 0.7))
    records = load(tree.root)
    assert thresholds(records, GRPO, None)["all"] == pytest.approx((0.4 + 0.65) / 2)
    assert thresholds(records, GRPO, None)["math"] == pytest.approx((0.5 + 0.75) / 2)
    assert thresholds(records, GRPO, 0.7) == {"all": 0.7, "math": 0.7, "code": 0.7}


def test_no_threshold_without_a_rise(tree):
    tree.run("grpo", 0, curve=(0.4, 0.5, 0.4))
    records = load(tree.root)
    levels = thresholds(records, GRPO, None)
    assert math.isnan(levels["all"]) and tokens_to_threshold(records, levels).empty
    assert (GRPO, "all", TOKENS) not in compare(tree).index


def test_tokens_to_threshold_with_censoring(tree):
    ends = {"grpo": [0.6, 0.6, 0.5], "lampo": [0.5, 0.6, 0.5]}
    for method, values in ends.items():
        for seed, value in enumerate(values):
            tree.run(method, seed, curve=(0.4, 0.5, value), tokens=100 + seed)
    rows = compare(tree, threshold=0.55)
    # 0.5 at step 10, 0.6 at step 20: crossed at step 15, with 100 or 101 tokens a step; the third never
    assert rows.loc[(GRPO, "all", TOKENS), "mean"] == pytest.approx(15 * 101)
    assert rows.loc[(GRPO, "all", TOKENS), "verdict"] == "2 of 3 reached"
    assert math.isnan(rows.loc[(LAMPO, "all", TOKENS), "mean"])
    assert rows.loc[(LAMPO, "all", TOKENS), "verdict"] == "1 of 3 reached"


def test_a_domain_that_only_one_method_has(tree):
    for seed in range(5):
        tree.run("grpo", seed, domains=("math",))
        tree.run("lampo", seed, domains=("math", "code"))
    rows = compare(tree)
    assert rows.loc[(LAMPO, "code", END), "pairs"] == 0
    assert rows.loc[(LAMPO, "code", END), "verdict"] == "not resolved (n<5)"
    assert rows.loc[(GRPO, "all", END), "verdict"] == "baseline"


def test_cost_and_stability(tree):
    tree.run("grpo", 0, tokens=100, seconds=2, end=0.7)
    tree.run("grpo", 1, tokens=300, seconds=4, end=0.6)
    records = load(tree.root)
    (row,) = cost_and_stability(records, scores(records), GRPO).to_dict("records")
    assert (row["tokens"], row["seconds"]) == (pytest.approx(200 * 20), pytest.approx(3 * 20))
    assert row["share rollout"] == pytest.approx(0.75) and row["share update"] == pytest.approx(0.25)
    assert row["entropy"] == pytest.approx((1 / 19 + 1 / 20) / 2)  # the last two of 20 steps
    assert row["grad_norm"] == 2.0
    assert row["worst_seed"] == pytest.approx(0.6)


def test_work_beside_the_batches_is_summed_over_steps_and_averaged_over_seeds(tree):
    for seed, extra in ((0, 10), (1, 30)):
        folder = tree.run("grpo", seed)
        lines = [json.loads(line) for line in (folder / "metrics.jsonl").read_text().splitlines()]
        lines = [line | {"extra_tokens": extra, "pass_tokens": 5} for line in lines]
        (folder / "metrics.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))
    records = load(tree.root)
    (row,) = cost_and_stability(records, scores(records), GRPO).to_dict("records")
    assert (row["extra_tokens"], row["pass_tokens"]) == (20 * 20, 5 * 20)


def test_an_incomplete_run_counts_only_in_what_it_has(tree):
    for seed in range(2):
        tree.run("grpo", seed)
    folder = tree.run("grpo", 2, curve=(0.4, 0.5, 0.9), status="running")
    whole = load(tree.root, partial=True)  # stopped after its last evaluation, before it was done
    found = scores(whole).set_index(["seed", "domain", "metric"])["value"]
    assert (2, "all", END) not in found and (2, "all", GAIN) not in found
    assert found[2, "all", AULC] == pytest.approx((0.45 + 0.7) / 2)
    assert thresholds(whole, GRPO, None)["all"] == pytest.approx((0.4 + 0.7) / 2)
    cut_to_step(folder, 10)
    part = load(tree.root, partial=True)
    assert (2, "all", AULC) not in scores(part).set_index(["seed", "domain", "metric"]).index
    assert thresholds(part, GRPO, None)["all"] == pytest.approx((0.4 + 0.6) / 2)
    # stopped at half the steps: that it had not got there yet does not mean that it never would
    assert sorted(set(tokens_to_threshold(part, {"all": 0.55})["seed"])) == [0, 1]
    assert cost_and_stability(part, scores(part), GRPO)["n"].tolist() == [3]


def test_base_rows_fit_the_tidy_table(tree):
    tree.run()
    rows = base_rows(fairness.base_policy(load(tree.root), GRPO)).set_index(["domain", "metric"])
    assert rows.loc[("all", "best"), "mean"] == 0.55 and rows.loc[("all", "best"), "verdict"] == "T=0.3"


def test_holm_families_are_the_rows_over_all_domains_and_the_rows_of_single_ones(tree):
    tree.sweep({"lampo": SHIFTS, "delta": [0.01, 0.03, -0.01, 0.05, 0.04]}, gap=0.05)
    rows = compare(tree).xs(END, level="metric")
    alone, domains = rows.drop("grpo-aaaaaaaa").xs("all", level="domain"), rows.drop(GRPO).drop("all", level="domain")
    for own, size in ((alone, 2), (domains, 4)):  # two methods, and two methods in two domains
        first = own.sort_values("p").iloc[0]
        assert first["p_holm"] == pytest.approx(size * first["p"])

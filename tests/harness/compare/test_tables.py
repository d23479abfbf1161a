import json

import numpy as np
import pandas as pd
import pytest

from harness.compare.fairness import FACTORS, notes
from harness.compare.report import Question, find
from harness.compare.scores import END
from harness.compare.tables import (
    Table,
    aggregate_table,
    base_table,
    budget_table,
    cells_table,
    cost_tables,
    difference,
    differences_table,
    end_table,
    holes_table,
    hyperparameters_table,
    interval,
    items_table,
    markdown,
    percent,
    policies_table,
    power_table,
    speed_table,
    tokens,
)
from harness.compare.tables.evidence import counts, paired_items
from tests.harness.compare.conftest import recount


def found(tree, threshold=None):
    return find(tree.root, Question("grpo", FACTORS, threshold, 0.05, "command"))


def row(table: Table, name: str) -> list[str]:
    (line,) = [line for line in table.rows if line[0] == name]
    return list(line)


def test_markdown_aligns_numbers_right():
    assert markdown(("name", "x"), [("a", "1.0"), ("bc", "–")]) == (
        "| name |   x |\n|------|----:|\n| a    | 1.0 |\n| bc   |   – |"
    )
    assert "a\\|b" in markdown(("name",), [("a|b",)])


def test_numbers():
    assert percent(0.7126) == "71.3" and percent(np.nan) == "–"
    assert tokens(412_345) == "412.3 k" and tokens(4_123_456) == "4.12 M" and tokens(99) == "99"
    cell = pd.Series(
        {"mean": 0.713, "low": 0.69, "high": 0.736, "diff": 0.008, "diff_low": -0.012, "diff_high": 0.028}
    )
    assert interval(cell) == "71.3 [69.0, 73.6]"
    assert difference(cell) == "+0.8 [-1.2, +2.8]"
    assert difference(pd.Series({"diff": 0.01, "diff_low": np.nan, "diff_high": np.nan})) == "+1.0"
    assert difference(pd.Series({"diff": np.nan, "diff_low": np.nan, "diff_high": np.nan})) == "–"


def test_main_tables(tree):
    tree.sweep({"lampo": [0.02, 0.05, 0.0, 0.08, 0.05]})
    end = end_table(found(tree), "all")
    # hand-computed in test_statistics: 4 ± 2.776 · 1.378 points
    assert row(end, "lampo")[6:] == ["+4.0 [+0.2, +7.8]", "better"]
    assert row(end, "grpo") == [
        "grpo",
        "all",
        "5",
        "72.0 [70.0, 74.0]",
        "77.0",
        "+17.0 [+15.0, +19.0]",
        "–",
        "baseline",
    ]
    speed = speed_table(found(tree), "all")
    # halfway 0.5 on the curve 0.4, 0.5, 0.6 at 1000 tokens
    area = ["all", "5", "50.0 [50.0, 50.0]", "–", "baseline"]
    assert row(speed, "grpo")[1:] == [*area, "50.0", "1.0 k (5 of 5 reached)"]


def test_unreached_threshold_and_no_threshold(tree):
    tree.run("grpo", 0)
    assert "not reached (0 of 1 reached)" in speed_table(found(tree, 0.9), "all").rows[0][-1]
    tree.run("grpo", 1, curve=(0.4, 0.1, 0.1))
    assert "no threshold" in speed_table(found(tree), "all").rows[0][-1]


def test_base_cost_holes_and_differences(tree):
    tree.run("grpo", 0)
    tree.run("grpo", 1, status="failed: no memory")
    tree.run("lampo", 0, config={"trainer.learning_rate": 0.001})
    page = found(tree)
    assert row(base_table(page), "all") == ["all", "40.0", "50.0", "55.0 (T=0.3)", "1"]
    cost, stability = cost_tables(page)
    assert row(cost, "grpo") == ["grpo", "1", "2.0 k", "–", "–", "30.0", "–", "75.0", "25.0"]  # nothing counted
    assert row(stability, "grpo")[2:] == ["0.0513", "–", "2", "0.9", "25.0", "0.0", "70.0", "0 of 1"]
    assert row(holes_table(page.records.holes), "grpo-aaaaaaaa")[1:3] == ["1", "failed: no memory"]
    assert row(differences_table(page), "lampo") == ["lampo", "trainer.learning_rate", "0.001", "0.0001"]
    tree.run("delta", 0, config={"policy.path": "p" * 99})
    assert any("…" in line[2] for line in differences_table(found(tree)).rows)


def test_nothing_differs(tree):
    tree.run("grpo", 0)
    table = differences_table(found(tree))
    assert table.rows == [] and "Nothing but the declared factors" in table.note


def test_a_run_that_ends_below_the_base_policy_has_collapsed(tree):
    for seed, end in enumerate((0.7, 0.39, 0.41)):  # sampled, the base policy has 0.4
        tree.run("grpo", seed, end=end)
    assert row(cost_tables(found(tree))[1], "grpo")[-1] == "1 of 3"


def test_equal_budgets_by_hand(tree):
    tree.run("grpo", 0, curve=(0.4, 0.5, 0.6), tokens=100, seconds=1.0)
    tree.run("lampo", 0, curve=(0.4, 0.6, 0.8), tokens=200, seconds=2.2)
    own = budget_table(found(tree)).numbers.set_index(["label", "axis"])
    # 2,000 tokens: the end of grpo's curve, and half of lampo's; 20 s: 20 / 44 of lampo's
    assert own.loc[("lampo-bbbbbbbb", "steps")][["budget", "mean", "diff"]].tolist() == pytest.approx([20, 0.8, 0.2])
    assert own.loc[("lampo-bbbbbbbb", "tokens")][["budget", "mean", "diff"]].tolist() == pytest.approx([2000, 0.6, 0.0])
    assert own.loc[("lampo-bbbbbbbb", "seconds")][["budget", "mean", "diff"]].tolist() == pytest.approx(
        [20, 0.4 + 0.2 * 20 / 22, 0.4 + 0.2 * 20 / 22 - 0.6]
    )


def test_clocks_that_ran_unlike_are_not_compared(tree):
    tree.run("grpo", 0, tokens=100, seconds=1.0)
    tree.run("lampo", 0, tokens=100, seconds=1.3)  # the same tokens took 1.3 times as long
    own = budget_table(found(tree)).numbers.set_index(["label", "axis"])["diff"]
    assert np.isnan(own["lampo-bbbbbbbb", "seconds"]) and own["lampo-bbbbbbbb", "tokens"] == pytest.approx(0.0)
    assert any("SECONDS ARE NOT COMPARABLE" in note and "1.3 times" in note for note in notes(found(tree).records))


def test_a_run_that_is_not_compared_sets_no_budget(tree):
    tree.run("grpo", 0, curve=(0.4, 0.5, 0.6))
    tree.run("lampo", 0, curve=(0.4, 0.5), config={"trainer.learning_rate": 1.0})
    spent = budget_table(found(tree)).numbers
    assert set(spent[spent["axis"] == "steps"]["budget"]) == {20}


def test_hyperparameters_that_differ_have_a_row_each(tree):
    tree.run("grpo", 0)
    tree.run("lampo", 0, config={"method.advantage.temperature": 0.1})
    table = hyperparameters_table(found(tree))
    assert list(table.header) == ["key", "grpo", "lampo"]
    assert row(table, "method.advantage.temperature") == ["method.advantage.temperature", "–", "0.1"]
    assert {line[0] for line in table.rows} == {"method.advantage._target_", "method.advantage.temperature"}


def test_power_by_hand(tree):
    tree.sweep({"lampo": [0.02, 0.05, 0.0, 0.08, 0.05]})
    own = power_table(found(tree)).numbers.iloc[0]
    # differences 2, 5, 0, 8, 5 points: deviations -2, 1, -4, 4, 1, squares 38, SD sqrt(38 / 4)
    assert own["sd"] == pytest.approx(0.01 * 9.5**0.5) and own["n"] == 5
    assert own["seeds_for_5"] <= own["seeds_for_2"] <= own["seeds_for_1"]
    assert own["seeds_for_2_at_sd_upper"] > own["seeds_for_2"]


def test_aggregates_cells_and_items_of_a_sweep(tree):
    tree.sweep({"lampo": [0.02, 0.05, 0.0, 0.08, 0.05]})
    page = found(tree)
    # end points of code and math lie 0.1 below and above 0.70 … 0.74; the quarter at either end, 2 of 10, is left out
    middle = [0.62, 0.63, 0.64, 0.80, 0.81, 0.82]
    assert aggregate_table(page).numbers.iloc[0]["iqm"] == pytest.approx(sum(middle) / 6)
    assert {line[1] for line in cells_table(page).rows} == {"code", "math"}
    assert [line[0] for line in items_table(page).rows] == ["lampo"]


def test_items_by_hand(tree):
    for name, right in {"grpo": "0011", "lampo": "1110"}.items():
        folder = tree.run(name, 0, domains=("math",))
        lines = [
            {"step": 20, "split": "test", "mode": mode, "domain": "math", "problem": f"p{i}", "sample": 0,
             "text": "", "answer": "", "correct": char == "1"}
            for mode in ("sampled", "greedy") for i, char in enumerate(right)
        ]  # fmt: skip
        (folder / "samples.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))
        recount(folder)
    table = items_table(found(tree))
    mcnemar, permutation = (table.numbers[table.numbers["test"] == name].iloc[0] for name in ("mcnemar", "permutation"))
    # lampo alone is right on p0 and p1, grpo alone on p3: p = 2 · P(X <= 1 of 3) = 2 · 4/8
    assert (mcnemar["won"], mcnemar["lost"], mcnemar["p"]) == (2, 1, 1.0)
    # differences 1, 1, 0, -1: mean 1/4; of 8 sign flips all have |sum| >= 1
    assert permutation["diff"] == pytest.approx(0.25) and permutation["p"] == 1.0


def test_runs_with_other_problems_meet_on_those_they_share(tree):
    def record(name, seed, right):
        lines = [
            {"step": 20, "split": "test", "mode": mode, "domain": "math", "problem": problem, "sample": 0,
             "text": "", "answer": "", "correct": correct}
            for mode in ("sampled", "greedy") for problem, correct in right.items()
        ]  # fmt: skip
        path = tree.run(name, seed, domains=("math",)) / "samples.jsonl"
        path.write_text("".join(json.dumps(line) + "\n" for line in lines))
        recount(path.parent)

    record("grpo", 0, {"d": True, "b": False, "a": True})
    record("grpo", 1, {"b": True, "c": False, "d": None})
    record("lampo", 0, {"c": True, "b": True, "d": False})
    page = found(tree)
    correct, n = counts(page, page.baseline, "math")  # b and d, in this order
    assert (correct.tolist(), n.tolist()) == ([[0, 1], [1, 0]], [[1, 1], [1, 0]])
    pairs = paired_items(page, page.labels[1], 0, "greedy")
    assert pairs["problem"].tolist() == ["b", "d"]
    assert (pairs["ours"].tolist(), pairs["theirs"].tolist()) == ([1, 0], [0, 1])
    assert paired_items(page, page.labels[1], 0, "best")["ours"].size == 0


def test_base_policies_by_hand(tree):
    shifts = [0.02, 0.04, 0.06, 0.08, 0.10, 0.12]
    for seed, shift in enumerate(shifts):
        policy = {"policy_hash": "ab"[seed % 2]}
        tree.run("grpo", seed, end=0.5 + seed / 100, env=policy)
        tree.run("lampo", seed, end=0.5 + seed / 100 + shift, env=policy)
    table = policies_table(found(tree))
    own = table.numbers[table.numbers["metric"] == END]
    # policy a: 2, 6 and 10 points, mean 6; b: 4, 8 and 12, mean 8; their mean 7, SD √2, so 7 ± t(1 df)·1
    assert own["policy"].tolist() == ["a", "b"] and own["diff"].tolist() == pytest.approx([0.06, 0.08])
    assert own[["mean", "low", "high"]].iloc[0].tolist() == pytest.approx([0.07, 0.07 - 0.127062, 0.07 + 0.127062])
    assert [row[3] for row in table.rows if row[1] == "end point"] == ["+6.0, +8.0"]


def test_one_base_policy_makes_no_table_of_them(tree):
    tree.sweep({"lampo": [0.02, 0.05, 0.0]})
    assert policies_table(found(tree)).rows == [] and policies_table(found(tree)).note == ""


def test_a_table_in_three_forms(tmp_path):
    numbers = pd.DataFrame({"name": ["a_b"], "x": [1 / 3]})
    table = Table("t", "A title", ("name", "x %"), [("a_b", "33.3")], numbers, "A note.")
    assert [path.name for path in table.write(tmp_path)] == ["t.md", "t.csv", "t.tex"]
    assert (tmp_path / "t.md").read_text().startswith("# A title\n\nA note.\n\n| name |")
    assert (tmp_path / "t.csv").read_text() == "name,x\na_b,0.333333\n"
    small = Table("t", "T", ("v",), [("not resolved (n<5)",), ("a|b",)], numbers).latex()
    assert "n\\textless{}5" in small and "a\\textbar{}b" in small
    latex = (tmp_path / "t.tex").read_text()
    for part in ("\\toprule", "\\midrule", "\\bottomrule", "a\\_b & 33.3", "x \\%", "{lr}"):
        assert part in latex, part

import numpy as np
import pandas as pd

from harness.compare.fairness import FACTORS
from harness.compare.report import Question, find
from harness.compare.tables import (
    base_table,
    cost_tables,
    difference,
    differences_table,
    end_table,
    holes_table,
    interval,
    markdown,
    percent,
    speed_table,
    tokens,
)


def found(tree, threshold=None):
    return find(tree.root, Question("grpo", FACTORS, threshold, 0.05, "command"))


def row(table: str, name: str) -> list[str]:
    (line,) = [line for line in table.splitlines() if line.startswith(f"| {name} ")]
    return [cell.strip() for cell in line.strip("|").split("|")]


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
    assert row(end, "lampo")[5:] == ["+4.0 [+0.2, +7.8]", "better"]
    assert row(end, "grpo") == [
        "grpo",
        "5",
        "72.0 [70.0, 74.0]",
        "77.0",
        "+17.0 [+15.0, +19.0]",
        "–",
        "baseline",
    ]
    speed = speed_table(found(tree), "all")
    # halfway 0.5 on the curve 0.4, 0.5, 0.6 at 1000 tokens
    assert row(speed, "grpo") == ["grpo", "5", "50.0 [50.0, 50.0]", "–", "baseline", "1.0 k (5 of 5 reached)"]
    assert "tokens to 50.0 %" in speed


def test_unreached_threshold_and_no_threshold(tree):
    tree.run("grpo", 0)
    assert "not reached (0 of 1 reached)" in speed_table(found(tree, 0.9), "all")
    tree.run("grpo", 1, curve=(0.4, 0.1, 0.1))
    assert "no threshold" in speed_table(found(tree), "all")


def test_base_cost_holes_and_differences(tree):
    tree.run("grpo", 0)
    tree.run("grpo", 1, status="failed: no memory")
    tree.run("lampo", 0, config={"trainer.learning_rate": 0.001})
    page = found(tree)
    assert row(base_table(page), "all") == ["all", "40.0", "50.0", "55.0 (T=0.3)", "1"]
    cost, stability = cost_tables(page)
    assert row(cost, "grpo") == ["grpo", "1", "2.0 k", "–", "–", "30.0", "75.0", "25.0"]  # records without counted work
    assert row(stability, "grpo")[2:] == ["0.0513", "2", "0.9", "25.0", "0.0", "70.0"]
    assert row(holes_table(page.records.holes), "grpo-aaaaaaaa")[1:3] == ["1", "failed: no memory"]
    assert row(differences_table(page), "lampo") == ["lampo", "trainer.learning_rate", "0.001", "0.0001"]
    tree.run("delta", 0, problems_hash="p" * 99)
    assert "…" in differences_table(found(tree))


def test_nothing_differs(tree):
    tree.run("grpo", 0)
    assert "Nothing but the declared factors" in differences_table(found(tree))

import json

import pandas as pd

from harness.compare.plots.cells import LETTERS, shown
from harness.compare.plots.heatmap import TOKENS, choose, credit_heatmap, read_credit

GRPO, LAMPO = "grpo-aaaaaaaa", "lampo-bbbbbbbb"


def line(sample, correct, credit, problem="p1", step=1, tokens=("1", "+", "2")):
    return {
        "step": step, "domain": "math", "problem": problem, "sample": sample, "reward": float(bool(correct)),
        "correct": correct, "tokens": list(tokens), "credit": credit,
    }  # fmt: skip


def record(folder, *lines):
    (folder / "credit.jsonl").write_text("".join(json.dumps(own) + "\n" for own in lines))


def test_the_first_mixed_problem_of_step_1_with_credit_is_drawn(tree, ask, tmp_path):
    later = [line(0, True, [9.0] * 3, step=20), line(1, False, [-9.0] * 3, step=20)]
    solved = [line(0, True, [9.0] * 3, "p0"), line(1, True, [9.0] * 3, "p0")]
    idle = [line(0, True, [0.0] * 3, "p1"), line(1, False, [0.0] * 3, "p1")]
    for method, credit in {"grpo": [1.0] * 3, "lampo": [0.0, 0.5, -2.0]}.items():
        mixed = [line(0, False, [-1.0] * 3, "p2"), line(1, True, credit, "p2")]
        record(tree.run(method, 3), *later, *solved, *idle, *mixed)
        (tree.run(method, 2) / "credit.jsonl").unlink()  # a lower seed, but without credit
    found = ask()
    chosen = choose(found)
    assert (chosen.seed, chosen.line["problem"], chosen.line["sample"]) == (3, "p2", 1)
    assert {label: list(row) for label, row in chosen.rows.items()} == {
        GRPO: [1, 1, 1], LAMPO: [0, 0.5, -2]
    }  # fmt: skip
    written = credit_heatmap(found, tmp_path)
    assert [path.name for path in written] == [f"credit_heatmap.{end}" for end in ("png", "svg", "csv")]
    numbers = pd.read_csv(tmp_path / "credit_heatmap.csv", dtype={"token": str})
    assert list(numbers[numbers["label"] == LAMPO]["credit"]) == [0, 0.5, -2]
    assert list(numbers["token"]) == ["1", "+", "2"] * 2


def test_the_completion_that_most_methods_credit_is_preferred(tree, ask):
    for method, right in {"grpo": [1.0] * 3, "lampo": [0.0] * 3}.items():
        record(tree.run(method), line(0, True, right), line(1, False, [-1.0] * 3))
    assert choose(ask()).line["sample"] == 1


def test_a_method_with_another_completion_is_named_and_not_drawn(tree, ask, tmp_path):
    record(tree.run("grpo"), line(0, True, [1.0] * 3), line(1, False, [-1.0] * 3))
    record(tree.run("lampo"), line(0, True, [1.0] * 3, tokens="abc"), line(1, False, [0.0] * 3, tokens="abc"))
    chosen = choose(ask())
    assert list(chosen.rows) == [GRPO]
    assert chosen.others == [LAMPO]
    assert len(credit_heatmap(ask(), tmp_path)) == 3


def test_nothing_is_drawn_without_records_or_without_a_mixed_problem(tree, ask, tmp_path):
    folder = tree.run("grpo")
    (folder / "credit.jsonl").unlink(missing_ok=True)
    assert read_credit(folder) == []
    assert credit_heatmap(ask(), tmp_path) == []
    record(folder, line(0, True, [1.0] * 3), line(1, True, [1.0] * 3))
    assert credit_heatmap(ask(), tmp_path) == []


def test_long_completions_of_long_tokens_can_be_drawn(tree, ask, tmp_path):
    tokens = [" understanding"] * (2 * TOKENS)
    credit = [0.5] * len(tokens)
    record(tree.run(), line(0, True, credit, tokens=tokens), line(1, False, credit, tokens=tokens))
    assert len(credit_heatmap(ask(), tmp_path)) == 3
    assert len(pd.read_csv(tmp_path / "credit_heatmap.csv")) == 2 * TOKENS  # the numbers are whole


def test_tokens_are_shown_as_text_that_the_font_has():
    assert shown(" the\n") == "␣the⏎"
    assert shown("漢") == "□"
    assert shown("understanding") == "underst…"
    assert len(shown("understanding")) == LETTERS

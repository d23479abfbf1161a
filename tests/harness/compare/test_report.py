from dataclasses import replace

import pytest

from harness.compare.fairness import FACTORS
from harness.compare.load import UsageError
from harness.compare.plots.heatmap import read_credit
from harness.compare.report import Question, arrange, control, find, summary, tables_of, verdicts, write
from harness.compare.report import compose as composed

QUESTION = Question("grpo", FACTORS, None, 0.05, "python -m harness.compare runs=results/demo")
SHIFTS = [0.02, 0.05, 0.0, 0.08, 0.05]
CLEAR = [0.1, 0.11, 0.12, 0.13, 0.14]


def compose(found, question):
    return composed(found, question, arrange(tables_of(found, None), []), None)


def test_verdict_sentence(tree):
    tree.sweep({"lampo": SHIFTS, "delta": CLEAR}, curve=(0.4, 0.5, 0.6))
    lines = verdicts(find(tree.root, QUESTION)).splitlines()
    assert lines[1] == (
        "- **lampo vs grpo**: end point **better**: +4.0 [+0.2, +7.8] points, n=5, Holm p=0.044; "
        "area under the learning curve **not resolved**: +0.0 [+0.0, +0.0] points, n=5, Holm p=1"
    )
    assert lines[0].startswith(
        "- **delta vs grpo**: end point **better**: +12.0 [+10.0, +14.0] points, n=5, Holm p="
    )


def test_refused_comparison_is_said_once(tree):
    for seed in range(5):
        tree.run("grpo", seed)
        tree.run("lampo", seed, config={"trainer.learning_rate": 0.1})
    page = find(tree.root, QUESTION)
    assert verdicts(page) == "- **lampo vs grpo**: not compared: differs in trainer.learning_rate"
    assert "| trainer.learning_rate |" in compose(page, QUESTION)
    allowed = Question("grpo", (*FACTORS, "trainer.learning_rate"), None, 0.05, "command")
    assert "end point **not resolved**" in verdicts(find(tree.root, allowed))


def test_positive_control(tree):
    tree.sweep({"lampo": SHIFTS})
    assert "No positive control" in control(find(tree.root, QUESTION))
    for seed, shift in enumerate(CLEAR):
        tree.run("oracle", seed, curve=(0.4, 0.5 + shift, 0.6 + shift))
    assert "Positive control passed" in control(find(tree.root, QUESTION))
    tree.folder("oracle", 3).joinpath("STATUS").write_text("running")
    text = control(find(tree.root, QUESTION))
    assert "Positive control not tested yet" in text and "n=4" in text


def test_an_oracle_that_is_worse_fails_the_control(tree):
    tree.sweep({"oracle": [-shift for shift in CLEAR]})
    assert "POSITIVE CONTROL FAILED" in control(find(tree.root, QUESTION))


def test_the_control_looks_at_learning_speed_not_at_the_end_point(tree):
    tree.sweep({"oracle": CLEAR}, curve=(0.4, 0.5, 0.6))
    page = find(tree.root, QUESTION)
    assert "end point **better**" in verdicts(page) and "POSITIVE CONTROL FAILED" in control(page)


def test_an_oracle_that_was_not_compared_is_no_control(tree):
    tree.sweep({"lampo": SHIFTS})
    for seed in range(5):
        tree.run("oracle", seed, config={"suite.horizon": 1})
    text = control(find(tree.root, QUESTION))
    assert "not tested yet (not compared: differs in suite.horizon)" in text.replace("**", "")


def test_the_page(tree):
    tree.sweep({"lampo": SHIFTS})
    tree.folder("lampo", 4).joinpath("STATUS").write_text("failed: gradient is NaN")
    page = find(tree.root, QUESTION)
    text = compose(page, QUESTION)
    assert text.startswith("# demo: every method against grpo\n\n- **lampo vs grpo**")
    assert "HOLES: 1 run missing" in summary(page)
    for part in (
        "## Holes", "failed: gradient is NaN", "| code ", "| math ", "## Cost", "## Stability",
        "Holm-corrected", "method.name, method.shaping, method.advantage, method.weighting",
        "python -m harness method=grpo", "runs=results/demo",
    ):  # fmt: skip
        assert part in text, part
    assert "{" not in text


def test_commands_are_gathered_over_seeds(tree):
    for seed in range(3):
        tree.run("grpo", seed, env={"command": f"python -m harness method=grpo seed={seed} suite.seed=7"})
    for i in range(20):
        tree.run("lampo", i, env={"command": ["python", "-m", "harness", f"z={i:02d}", "b c"]})
    text = compose(find(tree.root, QUESTION), QUESTION)
    assert "\npython -m harness method=grpo suite.seed=7  # seed 0, 1, 2\n" in text
    assert "\npython -m harness z=19 'b c'  # seed 19\n" not in text and "# and 1 more" in text


def test_baseline_alone(tree):
    tree.run("grpo", 0)
    assert "No method other than the baseline" in verdicts(find(tree.root, QUESTION))


def test_baseline_without_a_finished_run(tree):
    tree.run("grpo", 0, status="running")
    tree.run("lampo", 0)
    with pytest.raises(UsageError, match="grpo-aaaaaaaa has no finished run .*seed 0: running"):
        find(tree.root, QUESTION)


def test_everything_is_reproducible_to_the_byte(tree, tmp_path):
    tree.sweep({"lampo": SHIFTS, "oracle": CLEAR})
    first, second = (write(tree.root, tmp_path / name, QUESTION) for name in ("a", "b"))
    assert {path.suffix for path in first.files} == {".md", ".html", ".csv", ".tex", ".png", ".svg"}
    for one, other in zip(first.files, second.files, strict=True):
        assert one.read_bytes() == other.read_bytes(), one.name
    header = (tmp_path / "a" / "comparison.csv").read_text().splitlines()[0]
    assert header == "label,domain,metric,n,mean,low,high,pairs,diff,diff_low,diff_high,p,p_holm,verdict"


def test_damaged_completions_are_a_hole_and_damaged_credit_or_none_is_not(tree):
    tree.sweep({"lampo": SHIFTS})
    tree.folder("lampo", 1).joinpath("samples.jsonl").write_text('{"step": 1')
    tree.folder("lampo", 2).joinpath("credit.jsonl").write_text('{"step": 1')
    tree.folder("lampo", 3).joinpath("samples.jsonl").unlink()
    found = find(tree.root, QUESTION)
    (hole,) = found.records.holes
    assert (hole.seed, hole.why) == (1, "samples.jsonl line 1 is not JSON (cut short?)")
    assert read_credit(tree.folder("lampo", 2)) == []
    tables = {table.stem: table for section in arrange(tables_of(found, None), []) for table in section.tables}
    assert [line[1] for line in tables["items"].rows if line[0] == "lampo"] == ["3"]  # of five seeds


def test_an_interrupted_run_that_is_let_in_has_no_items(tree):
    tree.sweep({"lampo": SHIFTS})
    folder = tree.folder("lampo", 4)
    folder.joinpath("STATUS").write_text("running")
    folder.joinpath("samples.jsonl").unlink()
    found = find(tree.root, replace(QUESTION, allow=("incomplete",)))
    assert not found.records.runs["lampo-bbbbbbbb", 4].items
    tables = {table.stem: table for section in arrange(tables_of(found, None), []) for table in section.tables}
    assert [line[2] for line in tables["cells"].rows if line[0] == "lampo"] == ["4", "4"]


def test_a_baseline_of_which_nothing_is_left_is_told(tree):
    for seed in range(2):
        tree.run("grpo", seed, status="running")
        tree.run("lampo", seed)
    with pytest.raises(UsageError, match="grpo-aaaaaaaa has no finished run left"):
        find(tree.root, replace(QUESTION, allow=("incomplete",)))


@pytest.mark.parametrize("key, value", [("versions", None), ("resumed", None), ("command", None), ("code", ["a"])])
def test_an_environment_of_another_type_is_a_hole(tree, key, value):
    tree.run("grpo", 0)
    tree.run("lampo", 0, env={key: value})
    (hole,) = find(tree.root, QUESTION).records.holes
    assert hole.label == "lampo-bbbbbbbb" and f"env.json: {key} is" in hole.why

import json

import pytest

from harness.compare.load import Hole, load
from harness.compare.read import RecordError, curve_steps, flatten, read_items, read_lines


def hole(tree, cell="grpo-aaaaaaaa") -> Hole:
    (found,) = [hole for hole in load(tree.root).holes if hole.label == cell]
    return found


def cut_last_line(path):
    path.write_text(path.read_text()[:-20])


def drop_field(path):
    lines = path.read_text().splitlines()
    broken = json.loads(lines[2])
    del broken["step"]
    path.write_text("\n".join([*lines[:2], json.dumps(broken), *lines[3:]]))


def not_a_number(path):
    path.write_text(path.read_text().replace('"tokens": 300.0', '"tokens": NaN'))


@pytest.mark.parametrize(
    ("name", "damage", "why"),
    [
        ("evals.jsonl", cut_last_line, "evals.jsonl line 30 is not JSON"),
        ("metrics.jsonl", cut_last_line, "metrics.jsonl line 20 is not JSON"),
        ("metrics.jsonl", drop_field, "metrics.jsonl line 3: step is None"),
        ("metrics.jsonl", not_a_number, "metrics.jsonl line 3: tokens is nan, expected a finite float"),
        ("evals.jsonl", lambda path: path.write_text(""), "evals.jsonl is empty"),
        ("evals.jsonl", lambda path: path.write_text("[1]\n"), "evals.jsonl line 1 is not a JSON object"),
        ("evals.jsonl", lambda path: path.write_bytes(b"\xff"), "evals.jsonl is not text"),
        ("env.json", lambda path: path.write_text('{\n"commit":'), "env.json line 2 is not JSON"),
        ("env.json", lambda path: path.write_text("{}"), "env.json has no command"),
        ("config.yaml", lambda path: path.write_text("a: 1\nb: [1\n"), "config.yaml line 3 is not YAML"),
        ("config.yaml", lambda path: path.write_text("seed: 0\n"), "config.yaml has no label"),
        ("config.yaml", lambda path: path.write_text("text"), "config.yaml holds no mapping"),
    ],
)
def test_damaged_files_are_named_with_their_line(tree, name, damage, why):
    damage(tree.run() / name)
    tree.run("lampo")
    found = hole(tree)
    assert why in found.why
    assert "seed-0" in found.todo and "delete" in found.todo
    assert list(load(tree.root).runs) == [("lampo-bbbbbbbb", 0)]


@pytest.mark.parametrize("name", ["config.yaml", "env.json", "evals.jsonl", "metrics.jsonl", "STATUS"])
def test_missing_files_are_named(tree, name):
    (tree.run() / name).unlink()
    assert hole(tree).why == f"{name} is missing"


def edit_lines(path, keep):
    lines = [json.loads(text) for text in path.read_text().splitlines()]
    path.write_text("".join(json.dumps(line) + "\n" for line in lines if keep(line)))


def test_a_finished_run_without_its_last_evaluation_is_a_hole(tree):
    edit_lines(
        tree.run() / "evals.jsonl", lambda x: (x["step"], x["mode"], x["domain"]) != (20, "greedy", "code")
    )
    assert "no test/greedy evaluation of domain code at step 20" in hole(tree).why


def test_a_finished_run_without_its_last_steps_is_a_hole(tree):
    edit_lines(tree.run() / "metrics.jsonl", lambda line: line["step"] < 15)
    assert "does not hold the steps 1 to 20" in hole(tree).why


def test_a_repeated_evaluation_is_a_hole(tree):
    path = tree.run() / "evals.jsonl"
    lines = path.read_text().splitlines()
    path.write_text("\n".join([*lines, lines[6]]))
    assert "line 31 repeats the evaluation of line 7" in hole(tree).why


def test_nonsense_number_of_steps_is_a_hole(tree):
    tree.run(config={"trainer.steps": 0})
    assert "trainer.steps is 0, expected a positive int" in hole(tree).why


def test_flatten():
    tree = {"a": {"b": 1, "c": [2], "d": {}}, "e": None}
    assert flatten(tree) == {"a.b": 1, "a.c": [2], "a.d": {}, "e": None}


def test_a_lost_point_of_the_curve_is_a_hole(tree):
    edit_lines(tree.run() / "evals.jsonl", lambda line: (line["step"], line["split"]) != (10, "curve"))
    assert "no curve/sampled evaluation of domain all at step 10" in hole(tree).why


@pytest.mark.parametrize(
    ("keep", "why"),
    [
        (lambda lines: [], "samples.jsonl is empty"),
        (lambda lines: lines[:-1], "3 greedy completions of 3 problems of domain code; evals.jsonl says 4 problems"),
        (lambda lines: lines[:-4], "0 greedy completions of 0 problems of domain code; evals.jsonl says 4 problems"),
        (lambda lines: lines[1:], "15 sampled completions of 4 problems of domain math; evals.jsonl says 4 problems"),
        (lambda lines: lines[4:], "12 sampled completions of 3 problems of domain math; evals.jsonl says 4 problems"),
        (lambda lines: [*lines, lines[-1]], "5 greedy completions of 4 problems of domain code"),
    ],
)
def test_completions_that_were_lost_are_a_hole(tree, keep, why):
    path = tree.run() / "samples.jsonl"
    path.write_text("".join(keep(path.read_text().splitlines(keepends=True))))
    assert why in hole(tree).why


@pytest.mark.parametrize(
    ("name", "line", "old", "new", "why"),
    [
        ("metrics", 5, '"reward"', '"rewart"', "metrics.jsonl line 5 and line 1 differ in having 'reward'"),
        ("evals", 30, '"maj"', '"may"', "evals.jsonl line 30 and line 1 differ in having 'maj'"),
        ("evals", 30, '"pass": {"1"', '"pass": {"a"', "evals.jsonl line 30: pass is {'a'"),
        ("evals", 2, '"validation"', '"salidation"', "no validation/sampled evaluation of domain code at step 0"),
        ("samples", 7, '"correct"', '"corrent"', "samples.jsonl line 7: correct is 'missing'"),
        ("samples", 17, "math-test-0", "math-tesu-0", "sampled problems of domain math are not those of other modes"),
    ],
)
def test_a_letter_of_a_name_that_was_changed_is_a_hole(tree, name, line, old, new, why):
    path = tree.run() / f"{name}.jsonl"
    lines = path.read_text().splitlines(keepends=True)
    assert old in lines[line - 1]
    lines[line - 1] = lines[line - 1].replace(old, new)
    path.write_text("".join(lines))
    assert why in hole(tree).why


def test_what_only_some_steps_record_is_no_damage(tree):
    path = tree.run() / "metrics.jsonl"
    lines = path.read_text().splitlines()
    lines[4] = json.dumps(json.loads(lines[4]) | {"verifier_errors": {"x": 1}, "grpo/own": 1.0})
    path.write_text("\n".join(lines) + "\n")
    assert load(tree.root).holes == []


def test_an_accuracy_above_one_is_a_hole(tree):
    path = tree.run() / "evals.jsonl"
    first, *rest = path.read_text().splitlines()
    path.write_text("\n".join([json.dumps(json.loads(first) | {"avg": 7.5}), *rest]))
    assert "line 1: avg is 7.5" in hole(tree).why


def test_counts_per_problem(tree):
    folder = tree.run(end=0.7, greedy=0.8, gap=0.1, problems=2, samples=5)
    items = read_items(folder)
    assert list(items) == [("code", "greedy"), ("code", "sampled"), ("math", "greedy"), ("math", "sampled")]
    # math: 0.8 of ten sampled completions are right, so both problems in four samples of five; greedily 0.9 of 2
    sampled = items["math", "sampled"]
    assert sampled.problems.tolist() == ["math-test-0", "math-test-1"]
    assert (sampled.n.tolist(), sampled.correct.tolist()) == ([5, 5], [4, 4])
    assert items["math", "greedy"].n.tolist() == [1, 1] and items["math", "greedy"].correct[1] == 1
    # code: 0.6 of ten: three right each
    assert sum(own.correct.sum() for own in items.values()) == 8 + 6 + 2 + 1
    read = load(tree.root).runs["grpo-aaaaaaaa", 0].items
    assert [own.correct.tolist() for own in read.values()] == [own.correct.tolist() for own in items.values()]


def test_problems_are_sorted_whatever_the_order_of_the_lines(tree):
    path = tree.run(problems=3, samples=2) / "samples.jsonl"
    before = read_items(path.parent)
    path.write_text("".join(reversed(path.read_text().splitlines(keepends=True))))
    for key, own in read_items(path.parent).items():
        assert own.problems.tolist() == before[key].problems.tolist() == sorted(own.problems)
        assert own.correct.tolist() == before[key].correct.tolist()


def test_completions_without_a_verdict_are_not_judged(tree):
    folder = tree.run(problems=1, samples=4, domains=("math", "code"))
    path = folder / "samples.jsonl"
    lines = [json.loads(text) for text in path.read_text().splitlines()]
    lines[0] |= {"correct": None, "error": "time-out"}
    path.write_text("".join(json.dumps(line) + "\n" for line in lines))
    first = read_items(folder)["math", "sampled"]
    assert (first.n.tolist(), first.correct.tolist()) == ([3], [2])
    path.write_text(json.dumps(lines[1] | {"correct": "yes"}) + "\n")
    with pytest.raises(RecordError, match="samples.jsonl line 1: correct is 'yes'"):
        read_items(folder)
    path.unlink()
    with pytest.raises(RecordError, match="samples.jsonl is missing"):
        read_items(folder)


@pytest.mark.parametrize("lines", ['{"a": 1}, {"a": 2}', '{"a": 1\n"b": 2}', '{"a": 1}\n2'])
def test_a_line_is_one_object(tmp_path, lines):
    path = tmp_path / "x.jsonl"
    path.write_text(lines + "\n")
    with pytest.raises(RecordError, match=r"x.jsonl line \d is not"):
        read_lines(path, {})


def test_steps_of_the_learning_curve():
    assert curve_steps({"trainer.steps": 25, "evaluation.every": 10}) == [0, 10, 20, 25]
    assert curve_steps({"trainer.steps": 20, "evaluation.every": 10}) == [0, 10, 20]

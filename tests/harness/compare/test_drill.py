import json

from harness.compare.fairness import FACTORS
from harness.compare.html import drill
from harness.compare.html.drill import gather
from harness.compare.report import Question, find
from tests.harness.compare.conftest import recount


def record(folder, *, answers, prompts=True, credit=None, text="text", tokens=("a", "b")):
    """answers: {problem: [correct, …]} in domain math; credit: {step: {problem: credit of its only completion}}."""
    samples = [
        {
            "step": 20, "split": "test", "mode": "sampled", "domain": "math", "problem": problem, "sample": i,
            "text": f"{text} {i}", "answer": "7", "correct": correct,
        }
        for problem, own in answers.items() for i, correct in enumerate(own)
    ]  # fmt: skip
    problems = [
        {"problem": problem, "split": "test", "domain": "math", "prompt": f"Prompt {problem}", "reference": "7"}
        for problem in (*answers, "t1", "t2") if prompts
    ]  # fmt: skip
    credited = [
        {
            "step": step, "domain": "math", "problem": problem, "sample": 0, "reward": 1.0, "correct": True,
            "tokens": list(tokens), "credit": values,
        }
        for step, own in (credit or {}).items() for problem, values in own.items()
    ]  # fmt: skip
    for name, lines in {"samples": samples, "problems": problems, "credit": credited}.items():
        (folder / f"{name}.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))
    recount(folder)
    if not samples:
        (folder / "samples.jsonl").unlink()


def found(tree):
    return find(tree.root, Question("grpo", FACTORS, None, 0.05, "command"))


def demo(tree, text="text"):
    """grpo and lampo with two seeds: on problem b they differ by 1, on c by 1/2, on a and d not at all."""
    for seed in range(2):
        for method, c in {"grpo": [True, True], "lampo": [True, False]}.items():
            wins = {"a": [True, True], "b": [method == "lampo"] * 2, "c": c, "d": [None, False]}
            sign = 1 if method == "grpo" else -2
            credit = {1: {"t1": [0.5 * sign, 0.25]}, 10: {"t2": [1, 1]}, 20: {"t2": [sign, 0]}}
            record(tree.run(method, seed), answers=wins, credit=credit, text=f"{text} {method} {seed}")
    return found(tree)


def test_problems_of_most_disagreement_come_first(tree):
    page_data = gather(demo(tree))
    assert page_data.methods == ["grpo", "lampo"] and page_data.seed == 0
    assert [(entry["problem"], entry["spread"]) for entry in page_data.test] == [
        ("b", 1.0), ("c", 0.5), ("a", 0.0), ("d", 0.0),
    ]  # fmt: skip
    b, _, _, d = page_data.test
    assert [(own["right"], own["judged"]) for own in b["methods"]] == [
        (0, 4),
        (4, 4),
    ]  # two seeds, two samples
    assert [(own["right"], own["judged"]) for own in d["methods"]] == [
        (0, 2),
        (0, 2),
    ]  # unjudged do not count
    assert [line["text"] for line in b["methods"][1]["completions"]] == ["text lampo 0 0", "text lampo 0 1"]
    assert b["prompt"] == "Prompt b" and b["reference"] == "7"


def test_at_most_so_many_problems_a_domain(tree, monkeypatch):
    monkeypatch.setattr(drill, "PROBLEMS", 3)
    assert [entry["problem"] for entry in gather(demo(tree)).test] == ["b", "c", "a"]


def test_greedy_completions_come_first(tree):
    folder = tree.run()
    record(folder, answers={"a": [True, False]})
    first = json.loads((folder / "samples.jsonl").read_text().splitlines()[0])
    with (folder / "samples.jsonl").open("a") as file:
        file.write(json.dumps(first | {"mode": "greedy", "text": "g"}) + "\n")
    recount(folder)
    (own,) = gather(found(tree)).test[0]["methods"]
    assert [line["mode"] for line in own["completions"]] == ["greedy", "sampled", "sampled"]
    assert (own["right"], own["judged"]) == (1, 2)  # the greedy one is no sample


def test_spread():
    assert drill.spread([(1, 4), (3, 4), (0, 0)]) == 0.5
    assert drill.spread([(0, 0)]) == 0.0


def test_credit_of_the_first_and_the_last_step(tree):
    entries = gather(demo(tree)).training
    assert [(entry["step"], entry["problem"]) for entry in entries] == [(1, "t1"), (20, "t2")]
    assert entries[0]["same"] is True
    grpo, lampo = entries[0]["methods"]
    assert (grpo["scale"], lampo["scale"]) == (0.5, 1.0)  # largest |credit|: 0.5 and |-1.0|
    assert grpo["completions"][0]["tokens"] == ["a", "b"] and lampo["completions"][0]["tokens"] is None
    assert lampo["completions"][0]["credit"] == [-1.0, 0.25]


def test_other_completions_are_not_called_the_same(tree):
    for method, tokens in {"grpo": ("a", "b"), "lampo": ("a", "c")}.items():
        record(tree.run(method), answers={}, credit={1: {"t1": [1, 2]}}, tokens=tokens)
    (entry,) = gather(found(tree)).training
    assert entry["same"] is False
    assert entry["methods"][1]["completions"][0]["tokens"] == ["a", "c"]


def test_long_completions_are_cut(tree, monkeypatch):
    monkeypatch.setattr(drill, "CHARACTERS", 5)
    record(
        tree.run(),
        answers={"a": [True]},
        text="12345678",
        credit={1: {"t1": [1, 2, 3]}},
        tokens=("ab", "cd", "ef"),
    )
    page_data = gather(found(tree))
    assert (
        page_data.test[0]["methods"][0]["completions"][0] | {"text": "12345", "cut": 5}
        == (page_data.test[0]["methods"][0]["completions"][0])
    )
    completion = page_data.training[0]["methods"][0]["completions"][0]
    assert (completion["tokens"], completion["credit"], completion["cut"]) == (["ab", "cd"], [1.0, 2.0], 1)
    assert page_data.training[0]["methods"][0]["scale"] == 3  # also where the largest is cut off
    assert page_data.test[0]["prompt"] == "Promp […] (3 characters more)"


def test_the_page_stays_small(tree, monkeypatch):
    whole = gather(demo(tree))
    size = len(json.dumps(whole.test[0], separators=(",", ":")))
    monkeypatch.setattr(drill, "TEST_BYTES", size)
    part = gather(found(tree))
    assert part.test == whole.test[:1] and part.training == whole.training
    assert "it holds 1 of the 4 test problems" in part.notes[0]


def test_methods_beyond_the_limit_are_named(tree, monkeypatch):
    monkeypatch.setattr(drill, "METHODS", 1)
    page_data = gather(demo(tree))
    assert page_data.methods == ["grpo"] and "not shown: lampo." in page_data.notes[0]


def test_the_seed_is_common_to_all(tree):
    for method, seeds in {"grpo": (0, 1, 2), "lampo": (1, 2)}.items():
        for seed in seeds:
            record(tree.run(method, seed), answers={"a": [True]})
    assert gather(found(tree)).seed == 1
    damaged = tree.folder("lampo", 1) / "problems.jsonl"
    damaged.write_text('{"problem": "a"')
    page_data = gather(found(tree))
    assert page_data.seed == 2
    assert page_data.notes[0] == "LEFT OUT HERE: lampo seed 1: problems.jsonl line 1 is not JSON (cut short?)."


def test_no_common_seed(tree):
    for method, seed in {"grpo": 0, "lampo": 1}.items():
        record(tree.run(method, seed), answers={"a": [True]})
    page_data = gather(found(tree))
    assert page_data.seed is None and "No seed" in page_data.notes[0]


def test_problems_without_any_credit_come_last(tree):
    record(tree.run(), answers={}, credit={1: {"t1": [0, 0], "t2": [0, 1]}})
    assert [entry["problem"] for entry in gather(found(tree)).training] == ["t2", "t1"]

import json
import zlib

import pytest

from harness.compare.fairness import FACTORS, notes
from harness.compare.load import UsageError, load
from harness.compare.report import Question, find
from harness.compare.select import choose, exclude

GRPO, LAMPO = "grpo-aaaaaaaa", "lampo-bbbbbbbb"
CODE = {"harness.run": "11111111", "methods.grpo": "22222222"}
RATE = "trainer.learning_rate"


def selected(tree, *allow, baseline=GRPO):
    return exclude(load(tree.root), baseline, allow)


def reasons(records):
    return {(hole.label, hole.seed): hole.why for hole in records.holes}


def test_nothing_is_excluded_from_an_even_sweep(tree):
    tree.sweep({"lampo": [0.0] * 3})
    records = selected(tree)
    assert len(records.runs) == 6 and records.holes == [] and records.remarks == ()


def test_other_problems_are_excluded_by_name(tree):
    for seed in range(3):
        tree.run("grpo", seed, problems_hash="p1" if seed == 0 else "p0")
        tree.run("lampo", seed, problems_hash="p1" if seed == 1 else "p0")
    records = selected(tree)
    # most of the baseline's runs, not the first
    assert reasons(records) == {
        (GRPO, 0): f"excluded: other problems than most of {GRPO}'s runs: test and curve and validation",
        (LAMPO, 1): f"excluded: other problems than most of {GRPO}'s runs: test and curve and validation",
    }
    assert "allow=[problems]" in records.holes[0].todo and "seed-0" in records.holes[0].todo
    assert records.seeds(GRPO) == [1, 2] and set(records.evals["seed"]) == {0, 1, 2}
    assert not ((records.evals["label"] == LAMPO) & (records.evals["seed"] == 1)).any()
    assert not ((records.metrics["label"] == LAMPO) & (records.metrics["seed"] == 1)).any()


def test_allowed_problems_enter_and_the_verdict_stays_refused(tree):
    for seed in range(5):
        tree.run("grpo", seed)
        tree.run("lampo", seed, problems_hash="p1")
    page = find(tree.root, Question("grpo", FACTORS, None, 0.05, "", allow=("problems",)))
    cell = page.cell(LAMPO, "all", "end_point")
    assert cell["n"] == 5 and cell["verdict"].startswith(
        "not compared: differs in problems_hash of split curve"
    )
    assert "OTHER PROBLEMS by allow=[problems]: lampo seed 0" in " ".join(notes(page.records))


def test_other_code_is_excluded_and_its_modules_named(tree):
    for seed in range(3):
        tree.run("grpo", seed, env={"code": CODE, "commit": f"c{seed}"})  # another commit of the same code
    tree.run("lampo", 0, env={"code": {"harness.run": "11111111", "methods.lampo": "3"}})
    tree.run("lampo", 1, env={"code": {"harness.run": "99999999", "methods.lampo": "3"}})
    assert reasons(selected(tree)) == {
        (LAMPO, 1): f"excluded: other code than most of {GRPO}'s runs: harness.run",
        (LAMPO, 2): "no such run, though other methods have this seed",
    }
    allowed = selected(tree, "code")
    assert allowed.seeds(LAMPO) == [0, 1]
    assert allowed.remarks == (
        f"MIXED CODE VERSIONS by allow=[code]: lampo seed 1 (other code than most of {GRPO}'s runs: harness.run).",
    )


def test_the_reference_is_what_most_of_the_baseline_has_then_the_lowest_seed(tree):
    other = {"harness.run": "99999999"}
    for seed, code in enumerate([other, CODE, CODE]):
        tree.run("grpo", seed, env={"code": code})
    assert list(reasons(selected(tree))) == [(GRPO, 0)]
    tree.run("grpo", 3, env={"code": other})
    assert list(reasons(selected(tree))) == [(GRPO, 1), (GRPO, 2)]


def test_a_method_is_held_to_its_own_module_too(tree):
    tree.run("grpo", 0, env={"code": CODE})
    for seed, own in enumerate(["4", "3", "3"]):
        tree.run("lampo", seed, env={"code": {"harness.run": "11111111", "methods.lampo": own}})
    found = {cell: why for cell, why in reasons(selected(tree)).items() if cell[0] == LAMPO}
    assert found == {(LAMPO, 0): f"excluded: other code than most of {GRPO}'s runs: methods.lampo"}


def test_commits_count_where_a_run_does_not_list_its_modules(tree):
    tree.run("grpo", 0, env={"code": CODE, "commit": "c0"})
    tree.run("lampo", 0, env={"commit": "c0"})
    tree.run("lampo", 1, env={"commit": "c1"})
    tree.run("grpo", 1, env={"commit": "c0"})
    assert reasons(selected(tree)) == {
        (LAMPO, 1): f"excluded: other code than most of {GRPO}'s runs: commit c1 instead of c0"
    }


def test_a_run_resumed_by_other_code_is_excluded(tree):
    again = {"code": CODE | {"harness.run": "99999999"}, "commit": "c0"}
    tree.run("grpo", 0, env={"code": CODE})
    tree.run("lampo", 0, env={"code": CODE, "resumed": [{"code": CODE, "commit": "c9"}, again]})
    tree.run("lampo", 1, env={"code": CODE, "resumed": [{"code": CODE, "commit": "c9"}]})
    tree.run("grpo", 1, env={"code": CODE})
    (why,) = reasons(selected(tree)).values()
    assert why.endswith("harness.run (resumed by other code)")


def test_problems_and_code_are_both_named_and_both_to_be_allowed(tree):
    tree.run("grpo", 0)
    tree.run("lampo", 0, problems_hash="p1", env={"commit": "c1"})
    (hole,) = selected(tree).holes
    assert "other problems" in hole.why and "commit c1" in hole.why and "allow=[problems,code]" in hole.todo
    (hole,) = selected(tree, "code").holes
    assert "commit c1" not in hole.why and "allow=[problems]" in hole.todo
    assert selected(tree, "code", "problems").holes == []


def test_an_unknown_allowance(tree):
    tree.run()
    with pytest.raises(UsageError, match="allow: no kind 'problem': did you mean problems"):
        selected(tree, "problem")


def grid(tree, accuracies, seeds=2, **options):
    """accuracies: method -> {learning rate: validation accuracy}; the label names a rate other than 0.0001."""
    for method, own in accuracies.items():
        for rate, accuracy in own.items():
            part = "" if rate == 1e-4 else f"+{RATE}-{rate:g}"
            label = f"{method}{part}-{zlib.crc32((method + part).encode()):08x}"
            for seed in range(seeds):
                shift = 0.02 * seed
                config = {RATE: rate, "tuned": [RATE], "evaluation.temperature": 1.0} | options.get(
                    "config", {}
                )
                tree.run(method, seed, label=label, validation=accuracy + shift, config=config)


def test_the_best_value_on_validation_is_chosen_per_method(tree):
    grid(tree, {"grpo": {1e-4: 0.6, 3e-4: 0.5}, "lampo": {1e-4: 0.4, 3e-4: 0.7}})
    records, frame = choose(load(tree.root))
    assert frame.columns.tolist() == ["cell", RATE, "validation", "n", "chosen"]
    assert frame.drop(columns="validation").values.tolist() == [
        ["grpo", 0.0001, 2, True], ["grpo", 0.0003, 2, False],
        ["lampo", 0.0001, 2, False], ["lampo", 0.0003, 2, True],
    ]  # fmt: skip
    assert frame["validation"].tolist() == pytest.approx([0.61, 0.51, 0.41, 0.71])  # means over two seeds
    assert sorted(records.names.values()) == ["grpo", "lampo"] and len(records.runs) == 4
    assert records.runs[records.resolve("lampo"), 0].config[RATE] == 3e-4
    assert records.holes == [] and records.tuned == (RATE,) and records.tuning.equals(frame)
    assert set(records.evals["label"]) == set(records.labels) == set(records.metrics["label"])
    assert "chosen for every method on validation problems" in records.remarks[0]
    page = find(tree.root, Question("grpo", FACTORS, None, 0.05, ""))
    assert page.differences[page.labels[1]] == {}  # the chosen rates differ, and may


def test_ties_go_to_the_first_value(tree):
    grid(tree, {"grpo": {1e-3: 0.5, 1e-4: 0.5, 3e-4: 0.5}})
    _, frame = choose(load(tree.root))
    assert frame[RATE].tolist() == [1e-4, 3e-4, 1e-3] and frame["chosen"].tolist() == [True, False, False]


def test_tuned_keys_may_be_named_on_the_command_line(tree):
    grid(tree, {"grpo": {1e-4: 0.4, 3e-4: 0.5}}, config={"tuned": []})
    assert choose(load(tree.root))[1].empty
    records, frame = choose(load(tree.root), [RATE])
    assert frame["chosen"].tolist() == [False, True] and len(records.runs) == 2
    with pytest.raises(UsageError, match="did you mean trainer.learning_rate"):
        choose(load(tree.root), ["trainer.learning_rte"])


def test_nothing_tuned_changes_nothing(tree):
    tree.run()
    records = load(tree.root)
    after, frame = choose(records)
    assert after is records and frame.empty


def test_an_unequal_grid_is_excluded(tree):
    grid(tree, {"grpo": {1e-4: 0.6, 3e-4: 0.5}, "lampo": {1e-4: 0.4, 3e-4: 0.7}, "delta": {1e-4: 0.9}})
    records, frame = choose(load(tree.root))
    why = "unequal budget: tried 0.0001, where most methods tried 0.0001, 0.0003"
    assert [(records.names[hole.label], hole.seed, hole.why) for hole in records.holes] == [
        ("delta", 0, why), ("delta", 1, why),
    ]  # fmt: skip
    assert len(records.runs) == 4 and not frame[frame["cell"] == "delta"]["chosen"].any()
    # of two grids that are equally frequent, the larger: more was tried there, not less
    grid(tree, {"rloo": {1e-4: 0.9}})
    records, _ = choose(load(tree.root))
    assert {records.names[hole.label] for hole in records.holes} == {"delta", "rloo"}


def test_a_value_that_lacks_a_seed_is_unequal_too(tree):
    grid(tree, {"grpo": {1e-4: 0.6, 3e-4: 0.5}, "lampo": {1e-4: 0.4, 3e-4: 0.7}})
    (folder,) = tree.root.glob(f"lampo+{RATE}-0.0003-*/seed-1")
    (folder / "STATUS").write_text("running")
    records, _ = choose(load(tree.root))
    assert {hole.why for hole in records.holes} == {"unequal budget: 0.0003 lacks seed 1"}
    assert {records.names[hole.label] for hole in records.holes} == {"lampo"} and len(records.runs) == 2
    # a value of which no run is finished
    (folder.parent / "seed-0" / "STATUS").write_text("failed: no memory")
    records, _ = choose(load(tree.root))
    assert all(
        "tried 0.0001, where" in hole.why or "has no finished run" in hole.why for hole in records.holes
    )
    assert len(records.labels) == 2 and sorted(records.names.values()) == ["grpo", "lampo"]
    with pytest.raises(UsageError, match="baseline lampo-.* has no finished run .*unequal budget"):
        find(tree.root, Question("lampo", FACTORS, None, 0.05, ""))


def test_runs_without_the_last_validation_cannot_be_chosen_among(tree):
    grid(tree, {"grpo": {1e-4: 0.6, 3e-4: 0.5}, "lampo": {1e-4: 0.4, 3e-4: 0.7}})
    (folder,) = tree.root.glob(f"lampo+{RATE}-0.0003-*/seed-1")
    lines = [json.loads(text) for text in (folder / "evals.jsonl").read_text().splitlines()]
    kept = [line for line in lines if line["split"] != "validation" or line["step"] == 0]
    (folder / "evals.jsonl").write_text("".join(json.dumps(line) + "\n" for line in kept))
    records, _ = choose(load(tree.root))
    assert {records.names[hole.label] for hole in records.holes} == {"lampo"}
    assert all(
        "seed 1 has no validation evaluation after the last step" in hole.why for hole in records.holes
    )


def test_what_turns_with_the_seed_does_not_part_a_method(tree):
    for rate in (1e-4, 3e-4):
        for seed in range(2):
            config = {
                RATE: rate,
                "tuned": [RATE],
                "evaluation.temperature": 1.0,
                "policy.path": f"base-{seed}",
            }
            label = f"grpo+{RATE}-{rate:g}-12345678"
            tree.run("grpo", seed, label=label, validation=1000 * rate, config=config)
    records, frame = choose(load(tree.root))
    assert frame["chosen"].tolist() == [False, True] and list(records.names.values()) == ["grpo"]


def test_other_settings_are_other_methods(tree):
    grid(tree, {"grpo": {1e-4: 0.6, 3e-4: 0.5}})
    for rate in (1e-4, 3e-4):
        for seed in range(2):
            label = f"grpo+beta-0.1+{RATE}-{rate:g}-12345678"
            config = {RATE: rate, "trainer.beta": 0.1, "tuned": [RATE], "evaluation.temperature": 1.0}
            tree.run("grpo", seed, label=label, validation=1000 * rate, config=config)
    records, _ = choose(load(tree.root))
    assert sorted(records.names.values()) == ["grpo", "grpo+beta-0.1"]

import json

import pandas as pd
import pytest

from harness.compare.load import Hole, UsageError, load, nearest, untuned, without_hash
from tests.harness.compare.conftest import Tree


def hole(tree, cell="grpo-aaaaaaaa") -> Hole:
    (found,) = [hole for hole in load(tree.root).holes if hole.label == cell]
    return found


def test_frames_hold_every_finished_run(tree):
    tree.run("grpo", 0)
    tree.run("lampo", 0)
    records = load(tree.root)
    assert sorted(records.runs) == [("grpo-aaaaaaaa", 0), ("lampo-bbbbbbbb", 0)]
    assert records.holes == []
    assert len(records.metrics) == 2 * 20 and set(records.metrics["seed"]) == {0}
    # per run and domain: 2 validation, 3 base, 3 curve, 2 final
    assert len(records.evals) == 2 * 3 * 10
    assert records.runs["grpo-aaaaaaaa", 0].config["trainer.learning_rate"] == 1e-4
    assert records.names == {"grpo-aaaaaaaa": "grpo", "lampo-bbbbbbbb": "lampo"}


def test_missing_cells_are_holes(tree):
    tree.run("grpo", 0)
    tree.run("grpo", 1)
    tree.run("lampo", 0)
    found = hole(tree, "lampo-bbbbbbbb")
    assert found.seed == 1 and "no such run" in found.why and "only this one is made" in found.todo


@pytest.mark.parametrize(
    ("status", "why", "todo"),
    [
        ("running", "running", "resumes from its last checkpoint"),
        ("failed: out of memory", "failed: out of memory", "mend the cause"),
        ("perhaps", "'perhaps'", "delete"),
    ],
)
def test_unfinished_runs_are_holes(tree, status, why, todo):
    tree.run(status=status)
    tree.run("lampo")
    found = hole(tree)
    assert why in found.why and todo in found.todo
    assert set(load(tree.root).evals["label"]) == {"lampo-bbbbbbbb"}


def test_duplicated_seeds_are_refused(tree):
    first = tree.run()
    second = tree.run(folder=tree.root / "copy of grpo" / "seed-0")
    with pytest.raises(UsageError, match="duplicated seed") as refused:
        load(tree.root)
    assert str(first) in str(refused.value) and str(second) in str(refused.value)


def other(tree, name="controls") -> Tree:
    return Tree(tree.root.parent / name)


def test_several_folders_are_one_comparison(tree):
    tree.run("grpo", 0)
    other(tree).run("lampo", 0)
    records = load([tree.root, other(tree).root])
    assert sorted(records.runs) == [("grpo-aaaaaaaa", 0), ("lampo-bbbbbbbb", 0)]
    assert records.name == "demo, controls" and load(tree.root).name == "demo"
    assert set(records.evals["label"]) == {"grpo-aaaaaaaa", "lampo-bbbbbbbb"}


def test_a_cell_of_two_folders_is_refused_unless_a_filter_leaves_one_out(tree):
    tree.run("grpo", 0)
    other(tree).run("grpo", 0)
    other(tree).run("grpo", 1)
    roots = [tree.root, other(tree).root]
    with pytest.raises(
        UsageError, match=r"results/demo/grpo.* and .*results/controls/grpo.* are both grpo.* seed 0"
    ):
        load(roots)
    assert load(roots, ["experiment_name!=demo"]).seeds("grpo-aaaaaaaa") == [0, 1]


def test_filtered_runs_are_no_holes(tree):
    tree.run("grpo", 0)
    tree.run("grpo", 1)
    tree.run("lampo", 0, config={"suite.horizon": 4})
    tree.run("delta", 0, status="failed: no memory")
    records = load(tree.root, ["method.name=grpo", "seed=0"])
    assert list(records.runs) == [("grpo-aaaaaaaa", 0)] and records.holes == []
    assert set(records.evals["label"]) == {"grpo-aaaaaaaa"} == set(records.labels)
    assert records.remarks == ("3 runs left out by where=[method.name=grpo,seed=0].",)


def test_many_runs_are_read_by_workers_to_the_same_records(tree, monkeypatch):
    for seed in range(5):
        tree.run("grpo", seed)
        tree.run("lampo", seed, curve=(0.4, 0.5) if seed else (0.4, 0.5, 0.6))
    (tree.folder("lampo", 2) / "evals.jsonl").write_text("{\n")
    alone = load(tree.root)
    monkeypatch.setattr("harness.compare.load.ALONE", 3)
    spread = load(tree.root)
    assert alone.holes == spread.holes and len(alone.holes) == 1
    assert "evals.jsonl line 1 is not JSON" in alone.holes[0].why
    pd.testing.assert_frame_equal(alone.metrics, spread.metrics)
    pd.testing.assert_frame_equal(alone.evals, spread.evals)
    assert list(alone.runs) == list(spread.runs)


def test_columns_that_a_run_lacks_are_empty(tree):
    tree.run("grpo", 0)
    folder = tree.run("lampo", 0)
    lines = [json.loads(text) for text in (folder / "metrics.jsonl").read_text().splitlines()]
    own = [line | {"lampo/mass": 0.5, "note": "x"} for line in lines]
    (folder / "metrics.jsonl").write_text("".join(json.dumps(line) + "\n" for line in own))
    metrics = load(tree.root).metrics
    grpo = metrics[metrics["label"] == "grpo-aaaaaaaa"]
    assert grpo["lampo/mass"].isna().all() and grpo["note"].isna().all() and len(grpo) == 20
    lampo = metrics[metrics["label"] == "lampo-bbbbbbbb"]
    assert (lampo["lampo/mass"] == 0.5).all() and (lampo["note"] == "x").all()
    assert metrics["lampo/mass"].dtype == "float32" and metrics["tokens"].dtype == "float64"
    assert metrics["step"].dtype == "int64" and metrics["kl"].isna().all()


@pytest.mark.parametrize("status", ["running", "failed: no memory"])
def test_incomplete_runs_enter_only_where_asked_for(tree, status):
    tree.run("grpo", 0)
    folder = tree.run("lampo", 0, status=status)
    cut_to_step(folder, 10)
    assert load(tree.root).runs.keys() == {("grpo-aaaaaaaa", 0)}
    assert "allow=[incomplete]" in hole(tree, "lampo-bbbbbbbb").todo
    records = load(tree.root, partial=True)
    run = records.runs["lampo-bbbbbbbb", 0]
    assert run.why.startswith(status.split(":")[0]) and records.holes == []
    assert records.runs["grpo-aaaaaaaa", 0].why == ""
    assert records.metrics[records.metrics["label"] == run.label]["step"].max() == 10
    curve = records.evals[(records.evals["label"] == run.label) & (records.evals["split"] == "curve")]
    assert set(curve["step"]) == {0, 10}


def test_an_incomplete_run_needs_its_base_policy(tree):
    tree.run("grpo", 0)
    folder = tree.run("lampo", 0, status="running")
    (folder / "evals.jsonl").write_text("".join((folder / "evals.jsonl").read_text().splitlines(True)[:9]))
    (found,) = load(tree.root, partial=True).holes
    assert found.why.startswith(
        "running, or interrupted; even as an incomplete run, evals.jsonl has no test/"
    )


def test_records_cut_short_enter_without_their_last_line(tree):
    path = tree.run() / "metrics.jsonl"
    path.write_text(path.read_text()[:-20])
    records = load(tree.root, partial=True)
    assert records.metrics["step"].max() == 19
    assert records.runs["grpo-aaaaaaaa", 0].why == "metrics.jsonl line 20 is not JSON (cut short?)"


def test_a_run_that_was_stopped_before_its_first_step_enters(tree):
    folder = tree.run(status="running")
    cut_to_step(folder, 0)
    (folder / "metrics.jsonl").unlink()
    assert load(tree.root, partial=True).metrics.empty
    tree.run("lampo")
    assert len(load(tree.root, partial=True).runs) == 2


def cut_to_step(folder, step):
    """What a run that stopped right after the evaluation of this step has left."""
    for name in ("evals", "metrics"):
        lines = [json.loads(text) for text in (folder / f"{name}.jsonl").read_text().splitlines()]
        kept = [
            line
            for line in lines
            if line["step"] <= step and (line["step"] == 0 or line.get("split") != "test")
        ]
        (folder / f"{name}.jsonl").write_text("".join(json.dumps(line) + "\n" for line in kept))


def test_folder_and_configuration_must_agree_on_the_seed(tree):
    tree.run(config={"seed": 4})
    assert "config.yaml says seed 4, the folder is seed-0" in hole(tree).why


def test_wrong_folders_are_answered_with_a_hint(tree):
    tree.run()
    with pytest.raises(UsageError, match="did you mean .*results/demo"):
        load(tree.root.parent / "dmeo")
    with pytest.raises(UsageError, match="did you mean runs=.*results/demo"):
        load(tree.root.parent)
    with pytest.raises(UsageError, match="give the folder above it"):
        load(tree.root / "grpo-aaaaaaaa")
    (tree.root.parent / "empty").mkdir()
    with pytest.raises(UsageError, match="start some with python -m harness"):
        load(tree.root.parent / "empty")


def test_names_leave_out_what_all_labels_share(tree):
    for label in ("grpo+scale-matched+trainer.steps-4", "lampo+trainer.steps-4"):
        tree.run(label, 0)
    records = load(tree.root)
    assert set(records.names.values()) == {"grpo+scale-matched", "lampo"}
    assert records.resolve("lampo").startswith("lampo+trainer.steps-4-")
    assert records.resolve("grpo+scale-matched").startswith("grpo+scale-matched+trainer.steps-4-")


def test_names_keep_the_hash_where_they_must(tree):
    tree.run("grpo", config={"label": "lampo-12345678"})
    tree.run("lampo")
    tree.run("delta")
    records = load(tree.root)
    assert set(records.names.values()) == {"lampo-12345678", "lampo-bbbbbbbb", "delta"}
    assert records.resolve("delta") == "delta-cccccccc" == records.resolve("delta-cccccccc")
    with pytest.raises(UsageError, match="could be lampo-12345678, lampo-bbbbbbbb"):
        records.resolve("lampo")
    with pytest.raises(UsageError, match="did you mean delta"):
        records.resolve("detla")


def test_small_parts():
    assert without_hash("lampo-temperature_0.1-1a2b3c4d") == "lampo-temperature_0.1"
    assert without_hash("lampo-winner") == "lampo-winner"
    label = "lampo+advantage.scale-batch+trainer.learning_rate-0.0003-1a2b3c4d"
    assert untuned(label, ["trainer.learning_rate"]) == "lampo+advantage.scale-batch"
    # labels leave `method.` out; a key that another begins with is another key
    assert untuned(label, ["method.advantage.scale"]) == "lampo+trainer.learning_rate-0.0003"
    assert untuned(label, ["trainer.learning"]) == without_hash(label)
    assert nearest("zzz", ["b", "a"]) == "there is a, b"

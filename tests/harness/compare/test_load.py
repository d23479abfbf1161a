import pytest

from harness.compare.load import Hole, UsageError, load, nearest, without_hash


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
    tree.run()
    tree.run(folder=tree.root / "copy of grpo" / "seed-0")
    found = hole(tree)
    assert "duplicated seed" in found.why and "copy of grpo" in found.why
    assert load(tree.root).runs == {}


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
    assert nearest("zzz", ["b", "a"]) == "there is a, b"

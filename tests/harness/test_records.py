import json

import pytest
from omegaconf import OmegaConf

from harness.records import ConfigurationDiffers, Records, differing_keys


def config(**changes):
    base = {"seed": 0, "results_dir": "r", "n_jobs": 1, "trainer": {"steps": 4, "report_to": []}}
    return OmegaConf.merge(base, changes)


@pytest.fixture
def records(tmp_path):
    found = Records(tmp_path / "run")
    found.begin(config(), {"python": "3"})
    return found


def test_begin_writes_configuration_environment_and_status(records):
    assert records.status == "running"
    assert OmegaConf.load(records.directory / "config.yaml") == config()
    assert json.loads((records.directory / "env.json").read_text()) == {"python": "3"}


def test_another_configuration_is_refused_with_its_keys(records):
    with pytest.raises(
        ConfigurationDiffers, match=r"run of another configuration, which differs in trainer.steps"
    ):
        records.begin(config(trainer={"steps": 5}), {})
    with pytest.raises(ConfigurationDiffers, match="seed"):
        records.begin(config(seed=1), {})
    records.begin(config(n_jobs=8, results_dir="elsewhere", trainer={"report_to": ["wandb"]}), {})


def test_differing_keys_include_added_and_removed_ones():
    old = OmegaConf.create({"a": 1, "b": {"c": 2, "d": [1]}})
    new = OmegaConf.create({"b": {"c": 3, "d": [1]}, "e": 4})
    assert differing_keys(old, new) == ["a", "b.c", "e"]


def test_lines_are_json_without_nan(records):
    records.append("metrics", [{"step": 1, "reward": float("nan"), "pass": {"1": float("inf")}}])
    assert records.read("metrics") == [{"step": 1, "reward": None, "pass": {"1": None}}]


def test_an_unfinished_last_line_is_not_read(records):
    records.append("metrics", [{"step": 1}])
    with open(records.directory / "metrics.jsonl", "a") as file:
        file.write('{"step": 2, "rew')
    assert records.read("metrics") == [{"step": 1}]
    records.rewind(1)
    assert (records.directory / "metrics.jsonl").read_text() == '{"step": 1}\n'


def test_rewinding_forgets_what_came_after_the_checkpoint(records):
    records.append("metrics", [{"step": s} for s in (1, 2, 3)])
    records.append("evals", [{"step": s, "split": "curve"} for s in (0, 2, 3)])
    records.append("evals", [{"step": s, "split": "test"} for s in (0, 2)])  # an end point at 2, half written
    records.append("samples", [{"step": 3}])
    records.rewind(2)
    assert [line["step"] for line in records.read("metrics")] == [1, 2]
    kept = [(line["step"], line["split"]) for line in records.read("evals")]
    assert kept == [(0, "curve"), (2, "curve"), (0, "test")]
    assert records.read("samples") == []
    records.rewind(0)
    assert records.read("evals") == records.read("metrics") == []


def test_only_complete_checkpoints_count(records):
    assert records.last_checkpoint() is None
    for updates, complete in ((8, True), (20, True), (100, False)):
        folder = records.directory / "checkpoint" / f"checkpoint-{updates}"
        folder.mkdir(parents=True)
        if complete:
            (folder / "trainer_state.json").write_text("{}")
    assert records.last_checkpoint() == (20, records.directory / "checkpoint" / "checkpoint-20")


def test_status_is_one_line(records):
    records.set_status("failed: two\nlines")
    assert records.status == "failed: two lines"

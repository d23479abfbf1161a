import json

import pytest
from omegaconf import OmegaConf

from harness.config import differing_keys, refuse_other, run_dir
from harness.errors import ConfigError, Unrecorded
from harness.records import Records


def config(**changes):
    base = {"seed": 0, "results_dir": "r", "n_jobs": 1, "trainer": {"steps": 4, "report_to": []}}
    return OmegaConf.merge(base, changes)


@pytest.fixture
def records(tmp_path):
    found = Records(tmp_path / "run")
    found.directory.mkdir()
    found.begin(config())
    return found


def environment(started="1", policy_hash="abc", commit="c1"):
    made = {"started": started, "command": "x", "commit": commit, "code": {}, "versions": {}}
    return made | {"policy_hash": policy_hash}


def checkpoint(records, updates, state="{}"):
    folder = records.directory / "checkpoint" / f"checkpoint-{updates}"
    folder.mkdir(parents=True)
    (folder / "trainer_state.json").write_text(state)


def test_begin_writes_configuration_and_status(records):
    assert records.status == "running"
    assert OmegaConf.load(records.directory / "config.yaml") == config()


def test_a_resumed_run_keeps_its_first_environment_and_lists_the_next(records):
    records.write_environment(environment())
    checkpoint(records, 8)
    records.write_environment(environment(started="2", commit="c2"))
    env = json.loads((records.directory / "env.json").read_text())
    assert (env["started"], env["commit"]) == ("1", "c1")
    assert [again["commit"] for again in env["resumed"]] == ["c2"]


def test_a_run_is_not_resumed_from_another_base_policy(records):
    records.write_environment(environment())
    checkpoint(records, 8)
    with pytest.raises(ValueError, match="began with base policy abc, which is now xyz"):
        records.write_environment(environment(policy_hash="xyz"))


def test_two_processes_never_share_a_run(records):
    with (
        records.locked(),
        pytest.raises(Unrecorded, match="another process"),
        Records(records.directory).locked(),
    ):
        pass
    with Records(records.directory).locked():
        pass


def test_another_configuration_is_refused_with_its_keys(tmp_path):
    def run(**changes):
        return config(results_dir=str(tmp_path), experiment_name="e", label="l", **changes)

    mine = Records(run_dir(run()))
    mine.directory.mkdir(parents=True)
    mine.begin(run())
    mine.set_status("done")
    refuse_other(run(n_jobs=8, trainer={"report_to": ["wandb"]}))
    with pytest.raises(ConfigError, match=r"run of another configuration, which differs in trainer.steps"):
        refuse_other(run(trainer={"steps": 5}))
    assert mine.status == "done"


def test_differing_keys_include_added_and_removed_ones():
    old = OmegaConf.create({"a": 1, "b": {"c": 2, "d": [1]}})
    new = OmegaConf.create({"b": {"c": 3, "d": [1]}, "e": 4})
    assert differing_keys(old, new) == ["a", "b.c", "e"]


def test_lines_are_json_without_nan(records):
    records.append("metrics", [{"step": 1, "reward": float("nan"), "pass": {"1": float("inf")}}])
    assert records.read("metrics") == [{"step": 1, "reward": None, "pass": {"1": None}}]


def test_an_unfinished_last_line_is_not_read(records):
    records.append("metrics", [{"step": 1}])
    records.append("evals", [{"step": 0, "split": "curve"}])
    with open(records.directory / "metrics.jsonl", "a") as file:
        file.write('{"step": 2, "rew')
    assert records.read("metrics") == [{"step": 1}]
    records.rewind(1)
    assert (records.directory / "metrics.jsonl").read_text() == '{"step": 1}\n'


def test_rewinding_forgets_what_came_after_the_checkpoint(records):
    records.append("metrics", [{"step": s} for s in (1, 2, 3)])
    records.append("evals", [{"step": s, "split": "curve"} for s in (0, 2, 3)])
    records.append("evals", [{"step": s, "split": "test"} for s in (0, 2)])  # an end point at 2, half written
    records.append("evals", [{"step": 2, "split": "validation"}])
    records.append("samples", [{"step": 3}])
    records.append("credit", [{"step": s, "problem": p} for s, p in ((1, "a"), (3, "b"))])
    records.append("problems", [{"split": s, "problem": p} for s, p in (("train", "a"), ("train", "b"), ("test", "a"))])
    records.rewind(2)
    assert [line["step"] for line in records.read("metrics")] == [1, 2]
    kept = [(line["step"], line["split"]) for line in records.read("evals")]
    assert kept == [(0, "curve"), (2, "curve"), (0, "test")]
    assert records.read("samples") == []
    assert records.read("credit") == [{"step": 1, "problem": "a"}]
    assert records.read("problems") == [{"split": "train", "problem": "a"}]
    records.rewind(0)
    assert records.read("evals") == records.read("metrics") == []


@pytest.mark.parametrize("steps", [(), (1, 3), (1, 2)])
def test_metrics_with_a_gap_are_not_resumed(records, steps):
    records.append("metrics", [{"step": s} for s in steps])
    with pytest.raises(ValueError, match=r"metrics.jsonl does not hold steps 1 to 3.*delete"):
        records.rewind(3)


def test_evaluations_without_the_base_policy_are_not_resumed(records):
    records.append("metrics", [{"step": 1}])
    with pytest.raises(ValueError, match=r"evals.jsonl does not hold the base policy.*delete"):
        records.rewind(1)


def test_a_damaged_configuration_is_named(tmp_path):
    cfg = config(results_dir=str(tmp_path), experiment_name="e", label="l")
    run_dir(cfg).mkdir(parents=True)
    for text in ("a: [", "", "- 1"):
        (run_dir(cfg) / "config.yaml").write_text(text)
        with pytest.raises(ConfigError, match="config.yaml is damaged: delete"):
            refuse_other(cfg)


def test_a_garbled_line_is_named(records):
    (records.directory / "metrics.jsonl").write_text('{"step": 1}\n{"st\n{"step": 3}\n')
    with pytest.raises(ValueError, match="metrics.jsonl, line 2 is not JSON: delete"):
        records.rewind(3)


def test_only_whole_checkpoints_count(records):
    assert records.last_checkpoint() is None
    checkpoint(records, 8)
    checkpoint(records, 20)
    checkpoint(records, 30, state='{"epo')  # cut off while it was written
    (records.directory / "checkpoint" / "checkpoint-100").mkdir()
    assert records.last_checkpoint() == (20, records.directory / "checkpoint" / "checkpoint-20")


def test_status_is_one_line(records):
    records.set_status("failed: two\nlines")
    assert records.status == "failed: two lines"

"""The command, from end to end on the embedded policy."""

import json

import numpy as np
import pandas as pd
import pytest

from harness.diagnose.__main__ import distinct, main, parse
from harness.diagnose.heatmap import TRUE
from harness.errors import ConfigError
from harness.suites import Problem

SMALL = (
    "prompts=6", "prompts_per_batch=2", "completions=4", "continuations=4", "suite.horizon=1", "reinforce=6",
    "held_out=2",
)  # fmt: skip


def run(capsys, *arguments):
    code = main([*SMALL, *arguments])
    return code, *capsys.readouterr()


@pytest.fixture(scope="module")
def diagnosed(tmp_path_factory):
    out = tmp_path_factory.mktemp("diagnosis") / "small"
    assert main([*SMALL, "methods=[grpo,oracle,zero,fipo,vine_ppo,prime]", f"out={out}"]) == 0
    return out


def lines(path):
    return [json.loads(text) for text in path.read_text().splitlines()]


def test_what_is_written(diagnosed):
    truth = lines(diagnosed / "truth.jsonl")
    assert len(truth) == 6 and all(len(line["completions"]) == 4 for line in truth)
    for line in truth:
        for own in line["completions"]:
            count = len(own["ids"])
            assert np.array(own["values"]).shape == (2, count + 1) and len(own["errors"]) == count
            assert own["continuations"] == 4 * count >= own["sampled"]
            assert own["values"][0][-1] == own["reward"]
    page = (diagnosed / "diagnosis.md").read_text()
    parts = ("| grpo ", "| oracle ", "heatmap_1.png", "python -m harness.diagnose prompts=6", "continuations, of which")
    for part in parts:
        assert part in page, part


def test_every_method_was_scored_on_the_same_completions(diagnosed):
    truth, credit = lines(diagnosed / "truth.jsonl"), lines(diagnosed / "credit.jsonl")
    rows = [own for line in truth for own in line["completions"]]
    for own, given in zip(rows, credit, strict=True):
        assert {len(values) for values in given["credit"].values()} == {len(own["ids"])}
        assert set(given["credit"]["zero"]) == {0.0}
        assert len(set(given["credit"]["grpo"])) == 1
        marked = {i for i, mark in enumerate(own["marks"]) if mark}
        assert {i for i, value in enumerate(given["credit"]["oracle"]) if value} <= marked
    moved = [line["credit"] for line in credit if any(line["credit"]["grpo"])]
    assert moved and all(line["fipo"] == pytest.approx(line["grpo"], rel=1e-6) for line in moved)  # ratio 1: weight 1


def test_the_measures_know_their_controls(diagnosed):
    cells = pd.read_csv(diagnosed / "fidelity.csv").set_index(["method", "measure"])["value"]
    assert cells["grpo", "cosine_within"] == cells["zero", "cosine_within"] == 0
    assert cells["grpo", "auc_planted"] == 0.5 and cells["oracle", "auc_planted"] > 0.75
    assert cells["oracle", "cosine_within"] > 0.5


def test_gradients_of_every_method_and_of_the_true_credit(diagnosed):
    cells = pd.read_csv(diagnosed / "fidelity.csv").set_index(["method", "measure"])
    assert cells.loc[("zero", "step_gain"), ["value", "low", "high"]].tolist() == [0, 0, 0]
    for method in ("grpo", "oracle", "true credit"):
        assert np.isfinite(cells.loc[(method, "step_gain"), "value"])
    # ratio 1: FIPO's gradient is GRPO's
    for measure in ("cosine_one_batch", "snr"):
        grpo, fipo = (cells.loc[(method, measure), "value"] for method in ("grpo", "fipo"))
        assert fipo == pytest.approx(grpo, rel=1e-3)
    assert "cosine to REINFORCE's" in (diagnosed / "diagnosis.md").read_text()


def test_gradients_can_be_left_out(tmp_path, capsys):
    code, out, err = run(capsys, "methods=[grpo]", "gradients=false", f"out={tmp_path / 'a'}")
    assert code == 0 and "REINFORCE" not in out and "gradients" not in err


def test_the_heat_map_begins_with_the_truth(diagnosed):
    table = pd.read_csv(diagnosed / "heatmap_1.csv", keep_default_na=False)
    assert table["method"].iloc[0] == TRUE
    assert list(dict.fromkeys(table["method"])) == [TRUE, "grpo", "oracle", "zero", "fipo", "vine_ppo", "prime"]


def test_goes_on_where_it_was_interrupted(diagnosed, tmp_path, capsys):
    whole = (diagnosed / "truth.jsonl").read_text()
    out = tmp_path / "again"
    out.mkdir()
    (out / "diagnosis.json").write_text((diagnosed / "diagnosis.json").read_text())
    (out / "truth.jsonl").write_text("".join(whole.splitlines(keepends=True)[:4]) + '{"problem": "cut sh')
    code, _, err = run(capsys, "methods=[grpo]", f"out={out}")
    assert code == 0 and "prompt 5/6" in err and "prompt 4/6" not in err
    assert (out / "truth.jsonl").read_text() == whole


def test_a_folder_of_another_diagnosis_is_refused(diagnosed, capsys):
    code, _, err = run(capsys, "methods=[grpo]", f"out={diagnosed}", "seed=5")
    assert code == 2 and "another seed: give another out=" in err


def test_rollouts_that_differ_are_refused(diagnosed, tmp_path, capsys):
    out = tmp_path / "other"
    out.mkdir()
    (out / "diagnosis.json").write_text((diagnosed / "diagnosis.json").read_text())
    first, *rest = lines(diagnosed / "truth.jsonl")
    first["completions"][0]["ids"][0] += 1
    (out / "truth.jsonl").write_text("".join(json.dumps(line) + "\n" for line in [first, *rest]))
    code, _, err = run(capsys, "methods=[grpo]", f"out={out}")
    assert code == 2 and "line 1 holds other rollouts" in err


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["continuations=5"], "continuations=5: expected an even number"),
        (["prompts=1"], "prompts=1: expected at least 2"),
        (["prompts=10"], "prompts_per_batch=8 does not divide prompts=10"),
        (["methods=[grpo,grpo]"], "name each preset once"),
        (["method=grpo"], "give methods="),
        (["trainer.completions_per_prompt=4"], "give completions= instead"),
        (["reinforce=8"], "gradients take three batches"),
        (["held_out=0"], "held_out=0: expected at least 1"),
        (["prompts=many"], "cannot read prompts=many"),
    ],
)
def test_what_the_command_line_refuses(arguments, message):
    with pytest.raises(ConfigError, match=message):
        parse(arguments)


def test_an_unknown_preset_is_named(capsys):
    code, _, err = run(capsys, "methods=[grop]")
    assert code == 2 and "grpo" in err


def test_help_teaches(capsys):
    assert main(["--help"]) == 0
    assert "continuations=32" in capsys.readouterr().out


def test_problems_that_come_again_are_drawn_once():
    problems = [Problem(f"{i}?", "math") for i in range(3)]
    assert [p.prompt for p in distinct(iter([problems[0], *problems]), 3)] == ["0?", "1?", "2?"]
    with pytest.raises(ConfigError, match="has 3 different training problems, 4 are asked for"):
        distinct(iter(problems * 9), 4)

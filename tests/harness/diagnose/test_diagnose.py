"""The command, from end to end on the embedded policy."""

import json

import numpy as np
import pandas as pd
import pytest

from harness.diagnose.__main__ import main, parse
from harness.diagnose.heatmap import TRUE
from harness.diagnose.html import page
from harness.diagnose.look import distinct
from harness.errors import ConfigError
from harness.suites import Problem

SMALL = (
    "prompts=6", "prompts_per_batch=2", "completions=4", "continuations=4", "suite.horizon=1", "reinforce=6",
    "held_out=2", "warm_up=4",
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
    truth = lines(diagnosed / "seed-0" / "truth.jsonl")
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
    truth, credit = lines(diagnosed / "seed-0" / "truth.jsonl"), lines(diagnosed / "credit.jsonl")
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


def test_values_of_states_by_the_methods_that_estimate_them(diagnosed):
    cells = pd.read_csv(diagnosed / "fidelity.csv").set_index(["method", "measure"])["value"]
    assert {method for method, measure in cells.index if measure == "value_error"} == {"vine_ppo", "prime"}
    # nine continuations of its own: error about √(p(1 − p)/9) at most; of prompts alone PRIME says one half
    assert 0 <= cells["vine_ppo", "value_error"] < 0.3 and 0 <= cells["prime", "value_error"] < 0.6
    assert "## Values of states" in (diagnosed / "diagnosis.md").read_text()


def test_several_seeds_have_their_own_rollouts_and_are_the_units(tmp_path, capsys):
    out = tmp_path / "seeds"
    code, _, err = run(capsys, "methods=[grpo,lampo,delta,lampo_delta]", "seeds=2", "gradients=false", f"out={out}")
    assert code == 0 and "seed 1 (2/2): prompt 6/6" in err
    first, second = ([line["problem"] for line in lines(out / f"seed-{s}" / "truth.jsonl")] for s in (0, 1))
    assert first != second
    credit = lines(out / "credit.jsonl")
    assert [line["seed"] for line in credit] == [0] * 24 + [1] * 24
    cells = pd.read_csv(out / "fidelity.csv").set_index(["method", "measure"])
    both = pd.read_csv(out / "interaction.csv").set_index(["method", "measure"])
    for measure in ("cosine_wrong", "cosine_between"):
        value = cells["value"].xs(measure, level="measure")
        own = both["value"].xs(measure, level="measure")
        assert own["lampo − grpo"] == pytest.approx(value["lampo"] - value["grpo"], abs=1e-5)
        beyond = value["lampo_delta"] - value["lampo"] - value["delta"] + value["grpo"]
        assert own["interaction"] == pytest.approx(beyond, abs=1e-5)
    page = (out / "diagnosis.html").read_text()
    assert "jackknife over the 2 seeds" in page and "lampo and delta: each alone, both" in page


def test_the_page_shows_a_completion_as_text(tmp_path):
    text = "# A\n\n<script>alert(1)</script> [x](javascript:alert(1))\n\n| a |\n|--:|\n| <b>1</b> |\n"
    shown = page(text, tmp_path)
    assert "<script>" not in shown and 'href="javascript' not in shown
    assert "&lt;script&gt;" in shown and "&lt;b&gt;1" in shown


def test_gradients_can_be_left_out(tmp_path, capsys):
    code, out, err = run(capsys, "methods=[grpo]", "gradients=false", f"out={tmp_path / 'a'}")
    assert code == 0 and "REINFORCE" not in out and "gradients" not in err


def test_the_heat_map_begins_with_the_truth(diagnosed):
    table = pd.read_csv(diagnosed / "heatmap_1.csv", keep_default_na=False)
    assert table["method"].iloc[0] == TRUE
    assert list(dict.fromkeys(table["method"])) == [TRUE, "grpo", "oracle", "zero", "fipo", "vine_ppo", "prime"]


def test_goes_on_where_it_was_interrupted(diagnosed, tmp_path, capsys):
    whole = (diagnosed / "seed-0" / "truth.jsonl").read_text()
    out = tmp_path / "again"
    (out / "seed-0").mkdir(parents=True)
    (out / "diagnosis.json").write_text((diagnosed / "diagnosis.json").read_text())
    (out / "seed-0" / "truth.jsonl").write_text("".join(whole.splitlines(keepends=True)[:4]) + '{"problem": "cut sh')
    code, _, err = run(capsys, "methods=[grpo]", f"out={out}")
    assert code == 0 and "prompt 5/6" in err and "prompt 4/6" not in err
    assert (out / "seed-0" / "truth.jsonl").read_text() == whole


def test_a_folder_of_another_diagnosis_is_refused(diagnosed, capsys):
    code, _, err = run(capsys, "methods=[grpo]", f"out={diagnosed}", "seed=5")
    assert code == 2 and "another seed: give another out=" in err


def test_rollouts_that_differ_are_refused(diagnosed, tmp_path, capsys):
    out = tmp_path / "other"
    (out / "seed-0").mkdir(parents=True)
    (out / "diagnosis.json").write_text((diagnosed / "diagnosis.json").read_text())
    first, *rest = lines(diagnosed / "seed-0" / "truth.jsonl")
    first["completions"][0]["ids"][0] += 1
    (out / "seed-0" / "truth.jsonl").write_text("".join(json.dumps(line) + "\n" for line in [first, *rest]))
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
        (["seeds=0"], "seeds=0: expected at least 1"),
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

"""Arbitrary input: overrides and record files. What is refused is refused in our own words."""

import json
import re
import shutil
from difflib import unified_diff
from pathlib import Path

import pandas as pd
import pytest
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st
from omegaconf import OmegaConf

from harness.compare import select
from harness.compare.__main__ import main as compare
from harness.compare.load import UsageError, load
from harness.compare.read import RecordError
from harness.compare.samples import read_samples
from harness.config import refuse_other, run_dir
from harness.curve import LearningCurve
from harness.errors import ConfigError, RunFailed
from harness.plaindata import load_yaml
from harness.records import Records
from harness.run import run
from harness.sweep import check_without_loading, plan, status
from tests.faults.conftest import compose
from tests.harness.compare.conftest import HASHES, Tree

PHASES = [Phase.explicit, Phase.reuse, Phase.generate]  # what fails is short as it is
QUIET = [HealthCheck.function_scoped_fixture, HealthCheck.too_slow]
KEYS = [
    "seed", "trainer.steps", "trainer.extra", "+trainer.extra.top_p", "method", "method/advantage", "suite",
    "suite.horizon", "method.advantage", "evaluation.temperatures", "tuned", "label", "results_dir", "policy", "n_jobs",
    "~method.weighting", "hydra.run.dir", "experiment", "experiment_name", "++method.scale", "suite._target_",
    "policy._target_", "method.advantage._target_",
]  # fmt: skip
VALUES = [
    "", "null", "1e999", "-1", "nan", "[1", "{a: 1}", "[]", "${seed}", "${nowhere}", "${", "grpo", "'", "\\", "0x1",
    "${oc.env:HOME}", "!!python/object/apply:os.system [ls]", "1,2", "a=b", "\u2028", "\x00", "../..", "10000" * 9,
    "..", "os", "builtins.dict", "x" * 300,
]  # fmt: skip


@settings(max_examples=60, deadline=None, suppress_health_check=QUIET, phases=PHASES)
@given(
    st.lists(
        st.one_of(
            st.builds("{}={}".format, st.sampled_from(KEYS), st.sampled_from(VALUES) | st.text(max_size=12)),
            st.text(max_size=20),
        ),
        max_size=3,
    ),
    st.booleans(),
)
def test_overrides_compose_or_are_refused_by_name(overrides, sweep):
    try:
        cfgs = plan(overrides, sweep, None)
        check_without_loading(cfgs)
    except ConfigError as error:
        assert str(error)
    else:
        assert all(cfg.seed >= 0 and cfg.trainer.steps >= 1 for cfg in cfgs)


@pytest.mark.parametrize("group", ["suite", "policy", "method.advantage"])
@pytest.mark.parametrize("target", ["..", "os", "nowhere.X", "builtins.dict", "null", "7", "''"])
def test_what_cannot_be_called_is_refused_by_name(group, target):
    with pytest.raises(ConfigError, match=rf"^{group}[: ]|no key {group}\."):
        check_without_loading(plan([f"{group}._target_={target}"], False, None))


@pytest.mark.parametrize("key", ["results_dir", "experiment_name"])
def test_a_name_that_no_folder_can_have_is_refused(key):
    with pytest.raises(ConfigError, match="must name a folder: File name too long"):
        plan([f"{key}={'x' * 300}"], False, None)


@pytest.fixture(scope="module")
def tree(tmp_path_factory):
    made = Tree(tmp_path_factory.mktemp("tree") / "results" / "demo")
    made.sweep({"lampo": [0.02, 0.05]})
    (made.folder("lampo", 1) / STATE).parent.mkdir(parents=True)
    (made.folder("lampo", 1) / STATE).write_text('{"global_step": 5}')
    return made


json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=6) | st.just(10**400),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=6), inner, max_size=3),
    max_leaves=6,
)
BASELINE = f"grpo-{HASHES['grpo']}"
STATE = "checkpoint/checkpoint-5/trainer_state.json"
RECORDS = [
    "STATUS", "config.yaml", "env.json", "evals.jsonl", "metrics.jsonl", "samples.jsonl", "credit.jsonl",
    "problems.jsonl", STATE,
]  # fmt: skip
WHOLE_LINES = [
    b"[" * 100_000, b"1" * 5000, b"\xff\xfe", b"", b"null", b'"\\ud800"', b"\x00", b"{}", b"- &a [*a]", b"a: ${",
    b"a: !!python/object/apply:os.system ['true']", b'{"a": 1e400}', b"2001-99-99", b"{a: " * 3000,
]  # fmt: skip


@st.composite
def damages(draw):
    """(file, kind, how to damage its bytes): cut, a byte changed, a line replaced, a value of a line replaced."""
    name, kind = draw(st.sampled_from(RECORDS)), draw(st.sampled_from(["cut", "byte", "line", "value"]))
    place, byte = draw(st.floats(0, 0.999)), draw(st.integers(0, 255))
    line, value = draw(st.sampled_from(WHOLE_LINES) | st.binary(max_size=30)), draw(json_values)

    def damage(data: bytes) -> bytes:
        at = int(place * len(data))
        lines = data.split(b"\n")
        row = int(place * len(lines))
        if kind == "cut":
            return data[:at]
        if kind == "byte":
            return data[:at] + bytes([byte]) + data[at + 1 :]
        if kind == "value":
            try:
                read = json.loads(lines[row])
                read[sorted(read)[byte % len(read)]] = value
                line_ = json.dumps(read).encode()
            except (ValueError, TypeError, KeyError):
                line_ = json.dumps(value).encode()
            return b"\n".join([*lines[:row], line_, *lines[row + 1 :]])
        return b"\n".join([*lines[:row], line, *lines[row + 1 :]])

    return name, kind, damage


@settings(max_examples=100, deadline=None, suppress_health_check=QUIET, phases=PHASES)
@given(damages())
def test_a_damaged_record_is_a_hole_or_the_same_table(tree, same, damaged):
    name, kind, damage = damaged
    folder = tree.folder("lampo", 1)
    path = folder / name
    before = path.read_bytes()
    try:
        path.write_bytes(damage(before))
        try:
            records = load(tree.root, partial=True), select.exclude(load(tree.root), BASELINE, ())
        except UsageError as error:
            assert str(error)
        else:
            for found in records:
                assert ("lampo", 0) in {(label.partition("-")[0], seed) for label, seed in found.runs}
                assert all(hole.why and hole.todo for hole in found.holes)
            whole = (folder.parent.name, 1) in records[1].runs
            assert whole != ((folder.parent.name, 1) in {(hole.label, hole.seed) for hole in records[1].holes})
            if whole and kind != "value" and NUMBER.sub(b"0", path.read_bytes()) != NUMBER.sub(b"0", before):
                for own, other in zip(tables(records[1]), same, strict=True):
                    assert own.equals(other), [*unified_diff(*map(repr_lines, (before, path.read_bytes())), n=0)][2:]
        try:
            read_samples(folder)
        except RecordError as error:
            assert str(error)
        resumed(tree, folder)
    finally:
        path.write_bytes(before)


def repr_lines(data: bytes) -> list[str]:
    return [*map(repr, data.split(b"\n"))]


NUMBER = re.compile(rb" *-?\d[\d.eE+-]*|true|false|null")  # a plausible one in another's place is read as it stands


@pytest.fixture(scope="module")
def same(tree):
    return tables(load(tree.root))


def tables(records) -> list[pd.DataFrame]:
    """What the comparison is computed from."""
    items = [
        {"cell": cell, "key": key, "problem": problem, "n": n, "correct": correct}
        for cell, run in records.runs.items()
        for key, own in run.items.items()
        for problem, n, correct in zip(own.problems, own.n, own.correct, strict=True)
    ]
    return [records.evals, records.metrics, pd.DataFrame(items)]


def resumed(tree, folder: Path) -> None:
    """What a sweep does with a run's folder before the run goes on, on a copy that has a checkpoint."""
    copied = Tree(tree.root.parents[1] / "copy" / "results" / "demo")
    shutil.rmtree(copied.root, ignore_errors=True)
    copy = shutil.copytree(folder, copied.root / folder.relative_to(tree.root))
    usual = load_yaml((tree.folder("lampo", 0) / "config.yaml").read_text())
    cfg = OmegaConf.create(usual | {"seed": 1, "results_dir": str(copied.root.parent)})
    assert run_dir(cfg) == copy
    assert isinstance(status(copy), str) and isinstance(Records(copy).status, str)
    env = json.loads((tree.folder("lampo", 0) / "env.json").read_text()) | {"started": "", "code": {}, "versions": {}}
    for step in (5, 0):  # the last forgets everything
        try:
            refuse_other(cfg)
            Records(copy).write_environment(env)
            Records(copy).rewind(step)
            if step:
                Records(copy).totals()
        except ValueError as error:  # also a ConfigError
            assert "delete" in str(error) or "another configuration" in str(error) or "put the old" in str(error)


@pytest.mark.long
@settings(max_examples=5, deadline=None, suppress_health_check=QUIET, phases=PHASES)
@given(damages())
def test_the_whole_comparison_of_damaged_records(tree, damaged):
    name, _, damage = damaged
    path = tree.folder("lampo", 1) / name
    before = path.read_bytes()
    try:
        path.write_bytes(damage(before))
        assert compare([f"runs={tree.root}", f"out={tree.root.parent / 'out'}"]) in (0, 2)
    finally:
        path.write_bytes(before)


def test_another_runs_status_fails_no_run(small, tmp_path, monkeypatch, capsys):
    """The line of progress looks at the STATUS of every run of a sweep: garbled, or gone in this moment."""
    monkeypatch.setenv("HARNESS_RUNS", "3")
    monkeypatch.setenv("HARNESS_STARTED", "0")
    cfg = compose(small, tmp_path / "results")
    for number, there in enumerate((True, False), start=1):
        path = run_dir(cfg).with_name(f"seed-{number}") / "STATUS"
        path.parent.mkdir(parents=True)
        path.write_bytes(b"\xff\xfe") if there else path.symlink_to("nowhere")
    assert status(path.parent.with_name("seed-1")) == "\ufffd\ufffd"
    run(cfg)
    assert Records(run_dir(cfg)).status == "done" and "step 3/3" in capsys.readouterr().out


def test_a_cause_with_half_a_character_is_written(small, tmp_path, monkeypatch):
    def fails(*_):
        raise ValueError("half of \ud83d")

    monkeypatch.setattr(LearningCurve, "finish", fails)
    cfg = compose(small, tmp_path / "results")
    with pytest.raises(RunFailed, match="half of"):
        run(cfg)
    assert Records(run_dir(cfg)).status == "failed: ValueError: half of \\ud83d"
    assert "half of \\ud83d" in (run_dir(cfg) / "traceback.txt").read_text()
    assert json.loads((run_dir(cfg) / "failure.json").read_text())["error"] == "ValueError: half of \ud83d"

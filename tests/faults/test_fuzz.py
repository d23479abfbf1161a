"""Arbitrary input: overrides, record files, completions. What is refused is refused in our own words."""

import json
import shutil
from pathlib import Path
from typing import get_args

import pytest
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st

from harness.compare.__main__ import main as compare
from harness.compare.load import UsageError, load
from harness.compare.read import RecordError
from harness.compare.samples import read_samples
from harness.errors import ConfigError
from harness.records import Records
from harness.suites import Problem
from harness.suites.micro import MicroSuite
from harness.sweep import plan
from harness.verifiers.answers import Mode, final_answer
from harness.verifiers.choice import ChoiceVerifier
from harness.verifiers.math import MathVerifier
from harness.verifiers.numeric import NumericVerifier
from harness.verifiers.programs import extract
from tests.harness.compare.conftest import Tree
from tests.harness.conftest import make_policy

PHASES = [Phase.explicit, Phase.reuse, Phase.generate]  # what fails is short as it is
QUIET = [HealthCheck.function_scoped_fixture, HealthCheck.too_slow]
KEYS = [
    "seed",
    "trainer.steps",
    "trainer.extra",
    "+trainer.extra.top_p",
    "method",
    "method/advantage",
    "suite",
]
KEYS += [
    "suite.horizon",
    "method.advantage",
    "evaluation.temperatures",
    "tuned",
    "label",
    "results_dir",
    "policy",
]
KEYS += ["n_jobs", "~method.weighting", "hydra.run.dir", "experiment", "experiment_name", "++method.scale"]
VALUES = [
    "",
    "null",
    "1e999",
    "-1",
    "nan",
    "[1",
    "{a: 1}",
    "[]",
    "${seed}",
    "${nowhere}",
    "${",
    "grpo",
    "'",
    "\\",
]
VALUES += [
    "0x1",
    "${oc.env:HOME}",
    "!!python/object/apply:os.system [ls]",
    "1,2",
    "a=b",
    "\u2028",
    "\x00",
    "../..",
    "10000" * 9,
]


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
    except ConfigError as error:
        assert str(error)
    else:
        assert all(cfg.seed >= 0 and cfg.trainer.steps >= 1 for cfg in cfgs)


@pytest.fixture(scope="module")
def tree(tmp_path_factory):
    made = Tree(tmp_path_factory.mktemp("tree") / "results" / "demo")
    made.sweep({"lampo": [0.02, 0.05]})
    return made


json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=6) | st.just(10**400),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=6), inner, max_size=3),
    max_leaves=6,
)
RECORDS = [
    "STATUS",
    "config.yaml",
    "env.json",
    "evals.jsonl",
    "metrics.jsonl",
    "samples.jsonl",
    "credit.jsonl",
]
RECORDS += ["problems.jsonl"]
WHOLE_LINES = [
    b"[" * 100_000,
    b"1" * 5000,
    b"\xff\xfe",
    b"",
    b"null",
    b'"\\ud800"',
    b"\x00",
    b"{}",
    b"- &a [*a]",
    b"a: ${",
]
WHOLE_LINES += [
    b"a: !!python/object/apply:os.system ['true']",
    b'{"a": 1e400}',
    b"2001-99-99",
    b"{a: " * 3000,
]


@st.composite
def damages(draw):
    """(file, how to damage its bytes): cut, a byte changed, a line replaced, a value of a line replaced."""
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

    return name, damage


@settings(max_examples=100, deadline=None, suppress_health_check=QUIET, phases=PHASES)
@given(damages())
def test_a_damaged_record_is_a_hole_or_the_same_table(tree, tmp_path_factory, damaged):
    name, damage = damaged
    path = tree.folder("lampo", 1) / name
    before = path.read_bytes()
    try:
        path.write_bytes(damage(before))
        try:
            records = load(tree.root, partial=True), load(tree.root)
        except UsageError as error:
            assert str(error)
        else:
            for found in records:
                assert ("lampo", 0) in {(label.partition("-")[0], seed) for label, seed in found.runs}
                assert all(hole.why and hole.todo for hole in found.holes)
        try:
            read_samples(path.parent)
        except RecordError as error:
            assert str(error)
        resumed(path.parent)
    finally:
        path.write_bytes(before)


def resumed(folder: Path) -> None:
    """What a run does with its records before it goes on, on a copy."""
    copy = folder.parents[3] / "copy"
    shutil.rmtree(copy, ignore_errors=True)
    shutil.copytree(folder, copy)
    for step in (0, 5):
        try:
            Records(copy).rewind(step)
        except ValueError as error:
            assert "delete" in str(error)


@pytest.mark.long
@settings(max_examples=5, deadline=None, suppress_health_check=QUIET, phases=PHASES)
@given(damages())
def test_the_whole_comparison_of_damaged_records(tree, damaged):
    name, damage = damaged
    path = tree.folder("lampo", 1) / name
    before = path.read_bytes()
    try:
        path.write_bytes(damage(before))
        assert compare([f"runs={tree.root}", f"out={tree.root.parent / 'out'}"]) in (0, 2)
    finally:
        path.write_bytes(before)


# Completions

TOKENIZER = make_policy().tokenizer
ids = st.lists(st.integers(0, len(TOKENIZER) - 1), max_size=40)
FRAGMENTS = [
    "\\boxed{",
    "}",
    "####",
    "answer:",
    "<answer>",
    "</think>",
    "<think>",
    "```python\n",
    "```",
    "\\frac{",
    "^{",
]
FRAGMENTS += [
    "1e9",
    "(A)",
    "A",
    "-",
    ",",
    "10",
    "\ufffd",
    "\ud800",
    "\u202e",
    "\x00",
    "\n",
    "$",
    "∞",
    "٣",
    "½",
    "%",
]
texts = st.one_of(
    ids.map(lambda row: TOKENIZER.decode(row, skip_special_tokens=True)),
    st.binary(max_size=60).map(
        lambda data: data.decode("utf-8", errors="replace")
    ),  # what byte-level tokens decode to
    st.lists(st.sampled_from(FRAGMENTS), max_size=14).map("".join),
    st.text(max_size=60),
)
VERIFIERS = {
    "math": (MathVerifier(), "12"),
    "choice": (ChoiceVerifier(), {"letter": "B", "options": ["1", "2", "3"]}),
    "numeric": (NumericVerifier(), {"number": "12.5", "unit": "m"}),
}


@settings(max_examples=200, deadline=None, phases=PHASES)
@given(texts, st.sampled_from(get_args(Mode)))
def test_any_completion_is_extracted(text, mode):
    assert isinstance(final_answer(text, mode), str | None)
    assert isinstance(extract(text, ["f"]), str)


@pytest.mark.parametrize("name", VERIFIERS)
@settings(max_examples=60, deadline=None, phases=PHASES)
@given(text=texts)
def test_any_completion_gets_a_verdict(name, text):
    verifier, data = VERIFIERS[name]
    [verdict] = verifier.judge([Problem("q", "d", data=data)], [text])
    assert verdict.error is None or not verdict.error.startswith(
        ("TypeError", "KeyError", "IndexError", "Attribute")
    )
    json.dumps({"text": text, "answer": verdict.answer})


SUITE = MicroSuite(horizon=2)
PROBLEMS = SUITE.evaluation("test", 3)
begun = st.builds("{}{}".format, st.sampled_from([problem.reference for problem in PROBLEMS]), texts)


@settings(max_examples=200, deadline=None, phases=PHASES)
@given(st.sampled_from(PROBLEMS), texts | begun)
def test_any_completion_of_the_embedded_suite_is_judged(problem, text):
    [verdict] = SUITE.judge([problem], [text])
    assert verdict.error is None and 0 <= verdict.reward <= 1 and isinstance(verdict.correct, bool)
    assert all(0 <= offset <= len(text) and sign in (-1, 1) for offset, sign in verdict.decisive)

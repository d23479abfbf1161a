"""Arbitrary completions: what is extracted from them, and what verifiers say."""

import json
import re
from typing import get_args

import pytest
from hypothesis import Phase, given, settings
from hypothesis import strategies as st

from harness.suites import Problem
from harness.suites.micro import MicroSuite
from harness.verifiers.answers import Mode, final_answer
from harness.verifiers.choice import ChoiceVerifier
from harness.verifiers.math import MathVerifier
from harness.verifiers.numeric import NumericVerifier
from harness.verifiers.programs import extract
from tests.harness.conftest import make_policy

PHASES = [Phase.explicit, Phase.reuse, Phase.generate]  # what fails is short as it is
TOKENIZER = make_policy().tokenizer
TOKENS = range(len(TOKENIZER))
FRAGMENTS = [
    "\\boxed{", "}", "####", "answer:", "<answer>", "</think>", "<think>", "```python\n", "```", "\\frac{", "^{", "1e9",
    "(A)", "A", "-", ",", "10", "\ufffd", "\ud800", "\u202e", "\x00", "\n", "$", "∞", "٣", "½", "%",
]  # fmt: skip
texts = st.one_of(
    st.lists(st.sampled_from(TOKENS), max_size=40).map(lambda row: TOKENIZER.decode(row, skip_special_tokens=True)),
    st.binary(max_size=60).map(lambda data: data.decode("utf-8", errors="replace")),  # as a byte-level tokenizer does
    st.lists(st.sampled_from(FRAGMENTS), max_size=14).map("".join),
    st.text(max_size=60),
)
VERIFIERS = {
    "math": (MathVerifier(), "12", "time limit|no reply|memory"),
    "choice": (ChoiceVerifier(), {"letter": "B", "options": ["1", "2", "3"]}, None),
    "numeric": (NumericVerifier(), {"number": "12.5", "unit": "m"}, None),
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
    verifier, data, limits = VERIFIERS[name]
    [verdict] = verifier.judge([Problem("q", "d", data=data)], [text])
    assert verdict.error is None or limits and re.search(limits, verdict.error), verdict.error
    json.dumps({"text": text, "answer": verdict.answer})


SUITE = MicroSuite(horizon=2)
PROBLEMS = SUITE.evaluation("test", 3)
begun = st.builds("{}{}".format, st.sampled_from([problem.reference for problem in PROBLEMS]), texts)


def judged(problem, text):
    [verdict] = SUITE.judge([problem], [text])
    assert verdict.error is None and 0 <= verdict.reward <= 1 and isinstance(verdict.correct, bool)
    assert all(0 <= offset <= len(text) and sign in (-1, 1) for offset, sign in verdict.decisive)


@settings(max_examples=200, deadline=None, phases=PHASES)
@given(st.sampled_from(PROBLEMS), texts | begun)
def test_any_completion_of_the_embedded_suite_is_judged(problem, text):
    judged(problem, text)


@pytest.mark.parametrize("special", [False, True])
def test_every_token_is_judged(special):
    for token in TOKENS:
        text = TOKENIZER.decode([token], skip_special_tokens=special)
        for problem in PROBLEMS:
            judged(problem, text)
            judged(problem, problem.reference + text)
        for verifier, data, limits in VERIFIERS.values():
            [verdict] = verifier.judge([Problem("q", "d", data=data)], [text])
            assert verdict.error is None or limits and re.search(limits, verdict.error), verdict.error

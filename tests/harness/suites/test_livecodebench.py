import base64
import json
import os
import pickle
import zlib

import pytest

from harness.sandbox import SandboxError
from harness.suites import livecodebench as module
from harness.suites.livecodebench import PREFIX, hidden, livecodebench
from harness.verifiers.code import CodeVerifier

STDIN = [{"input": "3\n", "output": "6\n", "testtype": "stdin"}]
MORE = [{"input": "5\n", "output": "10\n", "testtype": "stdin"}]
ROW = {
    "question_title": "Twice",
    "question_content": "Print twice the number.\n",
    "platform": "atcoder",
    "question_id": "abc000_a",
    "contest_id": "abc000",
    "contest_date": "2024-01-06T00:00:00",
    "starter_code": "",
    "difficulty": "easy",
    "public_test_cases": json.dumps(STDIN),
    "private_test_cases": json.dumps(MORE),
    "metadata": "{}",
}
PAIRS = [{"input": '[1, 2]\n"ab"', "output": '[[1, "ab"], [2, "ab"]]', "testtype": "functional"}]
STARTER = "class Solution:\n    def pair(self, xs: List[int], s: str) -> List[List]:\n        "
FUNCTIONAL = ROW | {
    "question_content": "Pair them.",
    "platform": "leetcode",
    "starter_code": STARTER,
    "public_test_cases": json.dumps(PAIRS),
    "private_test_cases": "[]",
    "metadata": '{"func_name": "pair"}',
}
TEMPLATE = "Solve {this}.\n{question}\n"


def packed(value, protocol=None) -> str:
    return base64.b64encode(zlib.compress(pickle.dumps(value, protocol))).decode()


def test_a_program_of_standard_input_and_output():
    problem = livecodebench(ROW, TEMPLATE)
    assert problem.prompt == "Solve {this}.\nPrint twice the number.\n"
    assert (
        problem.question == "Print twice the number."
        and problem.domain == "code"
        and problem.reference is None
    )
    assert problem.data == {
        "cases": [{"input": "3\n", "output": "6\n"}, {"input": "5\n", "output": "10\n"}],
        "function": None,
        "prefix": PREFIX,
    }


def test_a_function_with_starter_code():
    problem = livecodebench(FUNCTIONAL, "{question}")
    assert problem.prompt == f"Pair them.\n\n```python\n{STARTER.rstrip()}\n```"
    assert problem.data["function"] == "pair"
    assert problem.data["cases"] == [{"input": '[1, 2]\n"ab"', "output": '[[1, "ab"], [2, "ab"]]'}]


@pytest.mark.parametrize("protocol", range(pickle.HIGHEST_PROTOCOL + 1))
def test_packed_tests_are_the_same_tests(protocol):
    row = ROW | {"private_test_cases": packed(json.dumps(MORE), protocol)}
    assert livecodebench(row, TEMPLATE).data == livecodebench(ROW, TEMPLATE).data


class Hostile:
    def __init__(self, *call):
        self.call = call

    def __reduce__(self):
        return self.call


@pytest.mark.parametrize("protocol", range(pickle.HIGHEST_PROTOCOL + 1))
@pytest.mark.parametrize("deep", [False, True])
def test_a_pickle_that_calls_is_refused_and_calls_nothing(tmp_path, protocol, deep):
    hostile = Hostile(os.mkdir, (str(tmp_path / "reached"),))
    text = packed([json.dumps(MORE), hostile] if deep else hostile, protocol)
    with pytest.raises(
        ValueError, match="abc000_a: private_test_cases cannot be read: the pickle names .*mkdir: refused"
    ):
        livecodebench(ROW | {"private_test_cases": text}, TEMPLATE)
    assert not (tmp_path / "reached").exists()
    pickle.loads(zlib.decompress(base64.b64decode(text)))  # it would have
    assert (tmp_path / "reached").exists()


def test_no_name_at_all_can_be_had():
    """Not even of a builtin that looks harmless, by the instruction that every protocol has."""
    for code in (
        b"cbuiltins\ngetattr\n.",
        b"\x8c\x08builtins\x8c\x04eval\x93.",
        b"(S'x'\nios\nsystem\n.",
        b"P1\n.",
    ):
        text = base64.b64encode(zlib.compress(code)).decode()
        with pytest.raises(ValueError, match="refused"):
            hidden(text, "row")


def test_a_bomb_is_not_unpacked(monkeypatch):
    monkeypatch.setattr(module, "MAX_BYTES", 10_000)
    fits = json.dumps(MORE)
    assert hidden(packed(fits), "row") == fits
    with pytest.raises(ValueError, match="more than 10000 bytes"):
        hidden(packed("[" + " " * 10_000 + "]"), "row")


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "cannot be read"),
        ("?", "cannot be read"),
        ("AAAA", "cannot be read"),
        (packed(MORE), "hold a pickled list, not a text"),
        (packed("no json"), "not JSON"),
        (base64.b64encode(zlib.compress(pickle.dumps("x" * 999))[:20]).decode(), "breaks off"),
        (base64.b64encode(zlib.compress(b"\x80\x04\x95")).decode(), "cannot be read"),
        (json.dumps([{"input": 1, "output": "2", "testtype": "stdin"}]), "are texts"),
        (json.dumps(PAIRS), "one kind"),
        (json.dumps([MORE[0] | {"testtype": "other"}]), "one kind"),
    ],
)
def test_hidden_tests_that_cannot_be_read(text, message):
    with pytest.raises(ValueError, match=message) as error:
        livecodebench(ROW | {"private_test_cases": text}, TEMPLATE)
    assert "abc000_a" in str(error.value)


def test_rows_without_tests_or_a_name_are_refused():
    with pytest.raises(ValueError, match="one kind"):
        livecodebench(ROW | {"private_test_cases": "[]", "public_test_cases": "[]"}, TEMPLATE)
    with pytest.raises(ValueError, match="name no function"):
        livecodebench(FUNCTIONAL | {"metadata": '{"func_name": "f(0)"}'}, TEMPLATE)
    with pytest.raises(KeyError):
        livecodebench(FUNCTIONAL | {"metadata": "{}"}, TEMPLATE)
    with pytest.raises(KeyError, match="question_content"):
        livecodebench({key: value for key, value in ROW.items() if key != "question_content"}, TEMPLATE)


def test_programs_are_judged():
    problems = [livecodebench(ROW, TEMPLATE)] * 3 + [livecodebench(FUNCTIONAL, TEMPLATE)] * 3
    completions = [
        "```python\nprint(floor(Decimal := 2.0 * int(input())))\n```",  # names of modules that are there already
        "```python\nn = int(input())\nprint(2 * n)\n```",
        "```python\nprint(6)\n```",  # the public test only
        f"```python\n{STARTER}return [[x, s] for x in xs]\n```",
        "```python\ndef pair(xs, s): return list(product(xs, [s]))\n```",
        f"```python\n{STARTER}return [xs, s]\n```",
    ]
    verifier = CodeVerifier(workers=2)
    try:
        verifier.facts()
    except SandboxError as error:
        pytest.skip(str(error))
    verdicts = verifier.judge(problems, completions)
    assert [(v.correct, v.error) for v in verdicts] == [(r, None) for r in (True, True, False) * 2]

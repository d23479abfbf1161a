import json
import os
import threading
import time
from concurrent.futures import ThreadPoolExecutor

import pytest

from harness.errors import ConfigError
from harness.evaluation import majority
from harness.sandbox import Outcome, SandboxError
from harness.suites.problem import Problem
from harness.verifiers import code
from harness.verifiers.code import CodeVerifier, digest

HEAD = '''import math


def half(x):
    return x / 2


def double(x):
    """ Twice x.
    >>> double(2)
    4
    """
'''
TESTS = (
    "def check(candidate):\n    assert candidate(4) == 8\n    assert half(candidate(3)) == 3\ncheck(double)"
)
DOUBLE = {"tests": TESTS, "names": ["double"], "prefix": HEAD, "entry_point": "double", "timeout": None}
PLAIN = {"tests": "assert double(4) == 8", "names": None, "prefix": "", "timeout": None}
SUM = {"cases": [{"input": "1 2\n", "output": "3\n"}, {"input": "5 6\n", "output": "11\n"}], "timeout": None}


def problem(data):
    return Problem(f"{data}", "code", data=data)


@pytest.fixture(scope="module")
def verifier():
    verifier = CodeVerifier(seconds=5, workers=2)
    try:
        verifier.facts()
    except SandboxError as error:
        pytest.skip(str(error))
    return verifier


def judged(verifier, data, *completions):
    return [v.correct for v in verifier.judge([problem(data)] * len(completions), completions)]


@pytest.mark.parametrize(
    ("completion", "right"),
    [
        ("    return 2 * x\n", True),  # a base model goes on with the prompt
        ("    return 2 * x\n\n\ndef double(x):\n    return Here the model", True),  # and on
        ("    return 2 * x\n\n\n# The end, said in prose\nit is", True),
        ("\n    return 2 * x", True),
        ("    return 3 * x\n\n\ndef double(x):\n    return 2 * x\n", False),
        ("return 2 * x", True),
        ("y = x\nif y:\n    y = 2 * y\nreturn y", True),
        ("```python\n    return 2 * x\n```", True),
        ("```python\nreturn 2 * x\n```", True),
        ("```python\ndef double(x):\n    return 2 * x\n```", True),
        ("1. So:\n   ```python\n   def double(x):\n       return 2 * x\n   ```", True),
        ("```\n    def double(x):\n        return 2 * x\n```", True),
        ("```python\ndouble = lambda x: 4 * half(x)\n```", True),  # the prompt's own function is there
        (
            "```python\nfrom __future__ import annotations\ndef double(x: Y): return 2 * int(math.floor(x))\n```",
            True,
        ),
        ("```python\nasync def double(x):\n    return 2 * x\n```", False),
        ("```python\ndef double(x):\n    return 3 * x\n```", False),
        ("```python\ndef doubles(x):\n    return 2 * x\n```", False),
        (
            "```python\ndef half(x): return 3\ndef double(x): return 8 if x == 4 else 5\n```",
            False,
        ),  # a forged helper
        ("def double(x: return 2 * x", False),
        ("I cannot do that.", False),
    ],
)
def test_a_body_and_a_function_complete_a_prompt(verifier, completion, right):
    assert judged(verifier, DOUBLE, completion) == [right]


def test_functions_by_assertions(verifier):
    good, bad = "def double(x):\n    return 2 * x", "```python\ndef double(x):\n    return 3 * x\n```"
    verdicts = verifier.judge([problem(PLAIN)] * 4, [good, bad, "", "  \n"])
    assert [(v.reward, v.correct, v.error) for v in verdicts] == [(1.0, True, None)] + [
        (0.0, False, None)
    ] * 3
    assert [v.answer for v in verdicts] == [
        digest(good),
        digest("def double(x):\n    return 3 * x"),
        None,
        None,
    ]
    assert verdicts[0].answer == "0d810f2090e71bc9"
    assert judged(verifier, PLAIN | {"prefix": "from math import *"}, "double = lambda x: 2 * floor(x)") == [
        True
    ]


def test_the_same_answer_always_has_the_same_verdict(verifier):
    """Text around a program does not matter, the program's does; so votes can be counted."""
    good = "def double(x):\n    return 2 * x"
    group = verifier.judge(
        [problem(PLAIN)] * 4, [good, f"Well.\n```python\n{good}\n```", good + "  # so", "double = 0"]
    )
    assert [v.answer for v in group].count(group[0].answer) == 2
    assert majority(group) == 1.0


READS = [
    "a, b = map(int, input().split())\nprint(a + b)",
    "a, b = map(int, input('> ').split())\nprint(a + b)",  # the prompt goes to standard output, as ever
    "import sys\na, b = map(int, sys.stdin.read().split())\nsys.stdout.write(f'{a + b}\\n')",
    "import sys\nprint(sum(map(int, sys.stdin.readline().split())))",
    "import sys\nfor line in sys.stdin: print(sum(map(int, line.split())))",
    "import sys\nsys.stdout.buffer.write(str(sum(map(int, sys.stdin.buffer.read().split()))).encode())",
    "import os\ntext = os.read(0, os.fstat(0).st_size)\nprint(sum(map(int, text.split())))",
    "print(sum(map(int, open(0).read().split())))",
    "import os\nos.write(1, str(ANSWER).encode())",
    "print(ANSWER)\nexit()",
    "import sys\nprint(ANSWER)\nsys.exit(1)",
    "import sys\nprint(ANSWER)\nsys.stdout.close()",
    "import io, sys\nout, sys.stdout = sys.stdout, io.StringIO()\nprint(ANSWER)\nout.write(sys.stdout.getvalue())",
    "import atexit\nout = []\natexit.register(lambda: print(*out))\nout.append(ANSWER)",
    "from threading import *\nstack_size(2**26)\nt = Thread(target=lambda: print(ANSWER))\nt.start()\nt.join()",
    "def main():\n    print(ANSWER)\nif __name__ == '__main__':\n    main()",
    "total = globals().get('total', 0)\ntotal += ANSWER\nprint(total)",  # fresh globals
    "from dataclasses import dataclass\n@dataclass\nclass P:\n    x: 'int'\nprint(P(ANSWER).x)",
    "from __future__ import annotations\ndef f(x: Unknown): print(x)\nf(ANSWER)",
    "import sys\nsys.setrecursionlimit(10**6)\ndef f(n): return n and 1 + f(n - 1)\nf(40000)\nprint(ANSWER)",
]  # fmt: skip


def test_programs_of_standard_input_and_output(verifier):
    programs = [text.replace("ANSWER", "sum(map(int, input().split()))") for text in READS]
    assert judged(verifier, SUM, *programs) == [True, False] + [True] * 18
    assert judged(
        verifier, SUM | {"prefix": "from math import *"}, "print(floor(sum(map(int, input().split()))))"
    ) == [True]


@pytest.mark.parametrize(
    "program",
    [
        "print(3)",
        "print(3)\nprint(11)",
        "import os\nprint(3)\nos._exit(0)",
        "print(sum(map(int, input().split())))\nraise ValueError",
        "print(sum(map(int, input().split())))\ninput()",
        "print(sum(map(int, input().split())), end='!')",
        "import sys\nsys.stderr.write(str(sum(map(int, input().split()))))",
        "import cases, judge\ncases.same_output = lambda *a: True\ncases.check_outputs = print",
        "import runs\nruns.redirect = lambda text: lambda: type('S', (str,), {'__eq__': lambda s, o: True})('')",
        "import runs\nruns.redirect = lambda text: lambda: True",
        "import __main__\nprint(__main__.__dict__)",
        "print(",
        "\ud800",
        "while True: print(3)",
    ],
)
def test_wrong_programs_and_forgeries_of_cases(verifier, program):
    (verdict,) = verifier.judge([problem(SUM | {"timeout": 1})], [program])
    assert (verdict.reward, verdict.correct, verdict.error) == (0.0, False, None)


@pytest.mark.parametrize(
    ("expected", "written", "right"),
    [
        ("3\n", "3", True),
        ("a b\nc\n", "  a b  \nc   \n\n", True),
        ("a b", "a  b", False),
        ("1 2", "1  2", True),  # the same numbers
        ("0.5", "0.50", True),
        ("0.5", "5e-1", True),
        ("0.5", "0.5000001", False),
        ("50000000000000000", "50000000000000001", False),
        ("1 a", "1.0 a", False),
        ("nan", "NaN", False),
        ("1\n2", "1 2", False),
        ("1", "1\n2", False),
        ("1\n2", "1", False),
        ("", "", True),
        ("", "0", False),
        ("1\n\n2", "1\n2", False),
    ],
)
def test_what_output_is_equal(verifier, expected, written, right):
    data = {"cases": [{"input": "", "output": expected}]}
    assert judged(verifier, data, f"print({written!r}, end='')") == [right]


def test_functions_of_values(verifier):
    data = {
        "cases": [
            {"input": '[1, 2]\n"ab"', "output": '[[1, "ab"], [2, "ab"]]'},
            {"input": '[]\n""', "output": "[]"},
        ],
        "function": "pair",
        "prefix": "from typing import *",
    }
    method = "class Solution:\n    def pair(self, xs: List[int], s: str):\n        return "
    right = [
        method + "[[x, s] for x in xs]",
        method + "tuple((x, s) for x in xs)",
        "def pair(xs, s): return [[x, s] for x in xs]",
        "from __future__ import annotations\ndef pair(xs: Unknown, s): return [[x, s] for x in xs]",
        "class Solution:\n    def __init__(self): self.calls = 0\n    def pair(self, xs, s):\n        self.calls += 1\n"
        "        return [[x, s] for x in xs] if self.calls == 1 else None",
    ]  # fmt: skip
    wrong = [
        method + "[[x, 'ab'] for x in xs][:1]",
        method + "str([[x, s] for x in xs])",
        method + "type('L', (list,), {'__eq__': lambda a, b: True})()",
        method + "type('Any', (), {'__eq__': lambda a, b: True})()",
        "class Solution: pass",
        "pairs = 1",
        "class Solution:\n    def pair(self, xs): return []",
    ]
    assert judged(verifier, data, *right, *wrong) == [True] * len(right) + [False] * len(wrong)


def test_time_is_cpu_time_of_each_case(verifier):
    busy = "import time\nend = time.process_time() + {}\nwhile time.process_time() < end: pass\n"
    written = {"cases": [{"input": "", "output": "1"}] * 6, "timeout": 1}
    function = {"cases": [{"input": "1", "output": "1"}] * 6, "function": "f", "timeout": 1}
    programs = [
        (written, "print(1)\n" + busy.format(0.4), True),  # 2.4 s in all
        (written, "print(1)\n" + busy.format(2.2), False),
        (function, f"def f(x):\n    exec({busy.format(0.4)!r})\n    return x", True),
        (function, f"def f(x):\n    exec({busy.format(2.2)!r})\n    return x", False),
        (PLAIN | {"timeout": 1}, "def double(x):\n    while 1: pass", False),
    ]
    data, texts, expected = zip(*programs, strict=True)
    verdicts = verifier.judge(list(map(problem, data)), texts)
    assert tuple(verdict.correct for verdict in verdicts) == expected


def test_waiting_for_the_machine_is_not_the_programs_failing(verifier):
    """Two seconds of waiting within a limit of one second: the clock's limit is a multiple of it."""
    assert judged(
        verifier, PLAIN | {"timeout": 1}, "import time\ntime.sleep(2)\ndouble = lambda x: 2 * x"
    ) == [True]


def test_waiting_for_nothing_is(verifier, monkeypatch):
    monkeypatch.setattr(code, "WALL", 1)
    started = time.monotonic()
    cases = SUM | {"timeout": 0.5}
    assert judged(verifier, cases, "import time\ntime.sleep(60)") == [False]
    assert judged(verifier, PLAIN | {"timeout": 0.5}, "import time\ntime.sleep(60)") == [False]
    assert time.monotonic() - started < 10


def test_limits_of_a_task():
    """Five seconds of CPU for a function, or for each case; six times as long by the clock."""
    made = code.tests_of(problem(PLAIN), 5.0).task("x")
    assert (made.cpu, made.timeout, made.patience) == (5.0, 30.0, None)
    made = code.tests_of(problem(SUM), 5.0).task("x")
    assert (made.cpu, made.timeout, made.patience) == (50.0, 300.0, 30.0)
    assert "5.0)" in made.program


class Fake:
    """A sandbox that keeps what it is given; the third program of a batch cannot be judged."""

    name, way = "fake", "none"

    def __init__(self):
        self.batches = []

    def run_many(self, tasks):
        self.batches.append(tasks)
        return [SandboxError("no room") if i == 2 else Outcome(i == 0, "", 0.1) for i in range(len(tasks))]


@pytest.fixture
def fake(monkeypatch):
    fake = Fake()
    monkeypatch.setattr(code, "shared", lambda name, workers: fake)
    return fake


def test_a_program_that_comes_twice_is_run_once(fake):
    one, other = problem(PLAIN), problem(PLAIN | {"tests": "assert double(5) == 10"})
    verdicts = CodeVerifier().judge([one, one, other, one], ["a", "```python\na\n```", "a", "b"])
    assert [len(batch) for batch in fake.batches] == [3]
    assert [v.correct for v in verdicts] == [True, True, False, None]


def test_an_error_of_the_sandbox_is_no_verdict(fake):
    verdicts = CodeVerifier().judge([problem(PLAIN)] * 3, ["a", "b", "c"])
    assert [v.correct for v in verdicts] == [True, False, None]
    assert verdicts[2].reward != verdicts[2].reward and verdicts[2].error == "sandbox: no room"


def test_no_sandbox_is_no_verdict(monkeypatch):
    def none(name, limits, workers):
        raise SandboxError("none works here")

    monkeypatch.setattr(code, "open_sandbox", none)
    monkeypatch.setattr(code, "_opened", {})
    verifier = CodeVerifier()
    assert [v.error for v in verifier.judge([problem(PLAIN)] * 2, ["a", "b"])] == [
        "sandbox: none works here"
    ] * 2
    with pytest.raises(SandboxError, match="none works here"):
        verifier.facts()


@pytest.mark.parametrize(
    "data",
    [
        None,
        {},
        {"names": []},
        {"cases": []},
        {"cases": [{"input": "1"}]},
        {"cases": [{"input": "{", "output": "1"}], "function": "f"},
        {"cases": [{"input": "1", "output": ""}], "function": "f"},
        PLAIN | {"timeout": 0},
        PLAIN | {"timeout": 10**9},
    ],
)
def test_data_without_tests_are_no_verdict(fake, data):
    (verdict,) = CodeVerifier().judge([problem(data)], ["a"])
    assert verdict.correct is None and "the problem's data hold no tests" in verdict.error
    assert fake.batches == []


def test_tests_that_are_no_python_are_no_verdict(verifier):
    (verdict,) = verifier.judge([problem(PLAIN | {"tests": "assert double("})], ["double = 1"])
    assert "the tests cannot be run" in verdict.error


def test_choices_are_checked_when_made():
    with pytest.raises(ConfigError, match="bubblewrap"):
        CodeVerifier(sandbox="bublewrap")
    with pytest.raises(ValueError, match="seconds"):
        CodeVerifier(seconds=0)


def test_nothing_is_started_before_it_is_needed_and_then_it_is_shared(verifier, monkeypatch):
    monkeypatch.setattr(code, "_opened", opened := dict(code._opened))
    CodeVerifier(workers=1)
    assert opened == code._opened and ("auto", 1) not in opened
    assert code.shared("auto", 2) is code.shared(verifier.sandbox, verifier.workers)
    assert verifier.facts()["sandbox"].endswith(")") and verifier.facts()["seconds"] == 5.0
    assert json.loads(json.dumps(verifier.facts())) == verifier.facts()


def test_a_forked_process_opens_its_own_and_leaves_its_parents_alone(verifier):
    ours = code.shared("auto", 2)
    child = os.fork()
    if child == 0:
        status = 1
        try:
            right = judged(verifier, PLAIN, "double = lambda x: 2 * x", "double = 1") == [True, False]
            theirs = code.shared("auto", 2)
            ours.close()  # as happens at its end
            theirs.close()
            status = 0 if right and theirs is not ours else 2
        finally:
            os._exit(status)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
    assert code.shared("auto", 2) is ours and judged(verifier, PLAIN, "double = lambda x: 2 * x") == [True]


def test_threads_share_it(verifier):
    before = threading.active_count()
    with ThreadPoolExecutor(4) as threads:
        found = threads.map(lambda k: judged(verifier, PLAIN, f"double = lambda x: x + {k}"), range(8))
        assert [right for (right,) in found] == [k == 4 for k in range(8)]
    assert threading.active_count() <= before + 1

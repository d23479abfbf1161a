import os
import shutil
import subprocess
import sys
import time

import pytest

from harness.errors import ConfigError
from harness.sandbox import Limits, SandboxError, Task, choose, defined_names, open_sandbox
from harness.sandbox.bubblewrap import USER, Bubblewrap
from harness.sandbox.selfcheck import self_check
from tests.harness.sandbox.conftest import LIMITS

DOUBLE = "def double(x):\n    return 2 * x\n"
TREE = """
class Node:
    def __init__(self, value):
        self.value, self.left, self.right = value, None, None
def depth(node):
    return 0 if node is None else 1 + max(depth(node.left), depth(node.right))
"""
QUEUE = """
class Empty(LookupError): pass
class Queue:
    def __init__(self, *items): self.items = list(items)
    def take(self):
        if not self.items: raise Empty("nothing left")
        return self.items.pop(0)
    def __len__(self): return len(self.items)
    def __getitem__(self, i): return self.items[i]
    def __str__(self): return "<" + ",".join(self.items) + ">"
"""


@pytest.mark.parametrize(
    ("program", "tests"),
    [
        (DOUBLE, "assert double(4) == 8\nassert double('a') == 'aa'\nassert double(x=1j) == 2j"),
        (DOUBLE, "def check(candidate):\n    assert candidate(3) == 6\ncheck(double)"),
        (DOUBLE, "assert abs(double(0.1) - 0.2) < 1e-9 and math.isclose(double(0.1), 0.2)"),
        (DOUBLE, "assert [double(x) for x in range(500)] == list(range(0, 1000, 2))"),
        (DOUBLE, "import itertools\nassert list(itertools.accumulate(double([1, 2]))) == [1, 3, 4, 6]"),
        ("f = lambda *a, **k: (a, k)", "assert f(1, (2,), b={3}) == ((1, (2,)), {'b': {3}})"),
        ("def f(x): return {x: None, (1, b'b'): frozenset([2])}", "assert f(1.5)[1, b'b'] == {2}"),
        ("def f(n):\n    for i in range(n): yield i * i", "assert list(f(300)) == [i * i for i in range(300)]"),
        ("import itertools\nf = itertools.count", "i = iter(f(5))\nassert next(i) == 5 and next(f(7)) == 7"),
        ("from collections import Counter\nf = Counter", "assert f('abca') == {'a': 2, 'b': 1, 'c': 1}"),
        ("from collections import namedtuple\nP = namedtuple('P', 'x y')\nf = P", "assert f(1, y=2) == (1, 2)"),
        ("from enum import IntEnum\nclass C(IntEnum): RED = 3\nf = lambda: C.RED", "assert f() == 3"),
        ("def f(xs, kind): return [x for x in xs if isinstance(x, kind)]", "assert f([1, 'a'], str) == ['a']"),
        ("def f(n): return 1 if n < 2 else n * f(n - 1)", "assert f(200) == math.factorial(200)"),
        (TREE, "root = Node(1)\nroot.left = Node(2)\nroot.left.right = Node(3)\nassert depth(root) == 3"),
        (TREE, "assert Node(7).value == 7 and Node(7).left is None"),
        (QUEUE, "q = Queue('a', 'b')\nassert (len(q), q[1], q.take(), str(q)) == (2, 'b', 'a', '<b>')"),
        (QUEUE, "try:\n    Queue().take()\nexcept LookupError as e:\n    assert 'nothing' in str(e)\nelse:\n    f()"),
        ("def f(x): return 1 / x", "try:\n    f(0)\nexcept ZeroDivisionError:\n    pass\nelse:\n    assert False"),
        ("import sys\nprint('noise' * 9999)\nsys.stderr.write('x')\ndef f(): return input", "f()"),
        ("from dataclasses import dataclass\n@dataclass\nclass P:\n    x: int\nf = lambda: P(3).x", "assert f() == 3"),
        ("if __name__ == '__main__':\n    raise SystemExit\ndef f(): return 1", "assert f() == 1"),
        ("count = 0\ndef f():\n    global count\n    count += 1\n    return count", "assert [f(), f()] == [1, 2]"),
        ("limit = [1, 2]", "assert limit == [1, 2]"),
    ],
)  # fmt: skip
def test_honest_programs_pass(sandbox, program, tests):
    outcome = sandbox.run_tests(program, tests)
    assert outcome.passed and outcome.reason == "", outcome


@pytest.mark.parametrize(
    ("program", "tests", "reason"),
    [
        (DOUBLE, "assert double(4) == 9", "wrong: AssertionError:  at `assert double(4) == 9`"),
        (DOUBLE, "assert double(4) == 8\nassert double(5) == 8, 'no'", "wrong: AssertionError: no at `assert"),
        ("def f(x): return 1 / x", "assert f(0) == 1", "raised: ZeroDivisionError: ZeroDivisionError: division by"),
        ("import nowhere", "assert f(0) == 1", "raised: ModuleNotFoundError: ModuleNotFoundError: No module"),
        ("def g(): pass", "assert f(0) == 1", "raised: NameError: name 'f' is not defined at `assert f(0) == 1`"),
        ("def f(): assert False", "f()", "wrong: AssertionError"),
        (TREE, "assert Node(1) == Node(1)", "raised: Undecidable: the test needs the truth or equality"),
        (TREE, "assert Node(1)", "raised: Undecidable"),
        (TREE, "assert not Node(1)", "raised: Undecidable"),
        (TREE, "assert Node(1) != 3", "raised: Undecidable"),
        (TREE, "assert 3 in [Node(1)]", "raised: Undecidable"),
        (TREE, "assert Node(1) in {1: 2}", "raised: TypeError: unhashable"),
        (DOUBLE, "exit()", "raised: NameError"),
        (DOUBLE, "import sys\nsys.exit(0)", "raised: SystemExit: 0"),
        (DOUBLE, "import os\nos._exit(0)", "judge: twice without a verdict: ended with exit status 0"),
    ],
)  # fmt: skip
def test_others_fail_and_say_why(sandbox, program, tests, reason):
    outcome = sandbox.run_tests(program, tests)
    assert not outcome.passed and outcome.reason.startswith(reason), outcome


@pytest.mark.parametrize(
    ("theirs", "tests"),
    [
        ("abs = lambda x: 0", "assert abs(f() - 1.4) < 1e-6"),
        ("len = lambda x: 3", "assert len(str(f())) == 3"),
        ("class math:\n    isclose = lambda *a: True", "assert math.isclose(f(), 1.4)"),
        ("isinstance = lambda *a: True", "assert isinstance(f(), str)"),
        ("def check(x): pass", "def check(x): assert x() == 1.4\ncheck(f)"),
        ("expected = 0", "expected = 1.4\nassert f() == expected"),
        ("AssertionError = StopIteration", "assert f() == 1.4"),
    ],
)
def test_a_program_does_not_answer_to_the_tests_own_names(sandbox, theirs, tests):
    program = f"{theirs}\ndef f(): return 0\n"
    assert not sandbox.run_tests(program, tests).passed
    assert not sandbox.run_tests(program, tests, names=["f"]).passed


def test_a_function_named_like_a_builtin_has_to_be_listed(sandbox):
    program = "def sum(a, b): return sorted([a, b])"
    assert sandbox.run_tests(program, "assert sum(2, 1) == [1, 2]", names=defined_names(program)).passed
    assert not sandbox.run_tests(program, "assert sum(2, 1) == [1, 2]").passed


@pytest.mark.parametrize(
    "tests", ["assert f(1) ==", "x = '\0'", "import numpy_nowhere\nassert f(1) == 2", "(" * 300]
)
def test_tests_that_cannot_be_run_are_no_verdict(sandbox, tests):
    with pytest.raises(SandboxError, match="tests cannot be run"):
        sandbox.run_tests(DOUBLE, tests)


def test_timeouts_are_kept_and_runs_go_side_by_side(sandbox):
    asleep = Task("import time\ntime.sleep(60)", "f()", timeout=1)
    started = time.monotonic()
    outcomes = sandbox.run_many([asleep] * 4)
    assert 2 <= time.monotonic() - started < 10  # two at a time
    assert all(o.reason == "timeout: no answer after 1 s" and 1 <= o.seconds < 3 for o in outcomes)


def test_many_runs_keep_their_order_and_their_errors(sandbox):
    tasks = [Task(DOUBLE, f"assert double({i}) == {2 * i + i % 2}") for i in range(12)]
    outcomes = sandbox.run_many([*tasks[:6], Task(DOUBLE, "no python"), *tasks[6:]])
    assert isinstance(outcomes.pop(6), SandboxError)
    assert [o.passed for o in outcomes] == [i % 2 == 0 for i in range(12)]
    assert sandbox.run_many([]) == []


def test_nothing_outlives_a_run(sandbox):
    if sandbox.name == "sandlock":
        pytest.skip("sandlock has no scratch directory")
    kept = "open('note', 'w').write('kept')\ndef f(): return open('note').read()"
    assert sandbox.run_tests(kept, "assert f() == 'kept'").passed
    leave = "import builtins, os\nopen('left', 'w').write('x')\nbuiltins.left = 1\nos.environ['LEFT'] = '1'\n"
    look = "import builtins, os\ndef f(): return os.listdir('.'), hasattr(builtins, 'left'), 'LEFT' in os.environ"
    for outcome in sandbox.run_many(
        [Task(leave, "pass"), Task(look, "assert f() == ([], False, False)")] * 4
    ):
        assert outcome.passed, outcome


def test_sets_keep_one_order_so_that_verdicts_repeat(sandbox):
    order = Task("def f(): return '-'.join({'a', 'b', 'c', 'd', 'e', 'f', 'g', 'h'})", "assert False, f()")
    assert len({outcome.reason for outcome in sandbox.run_many([order] * 6)}) == 1


@pytest.mark.parametrize("limit", [{"wall_seconds": 0}, {"memory_mb": -1}])
def test_limits_are_positive(limit):
    with pytest.raises(ValueError, match="above zero"):
        Limits(**limit)


def test_an_unknown_backend_is_refused_by_name():
    with pytest.raises(ConfigError, match="bubblewrap"):
        open_sandbox("bublewrap")


def test_without_a_backend_the_error_says_what_to_do(monkeypatch):
    monkeypatch.setattr(choose, "STRONG", (Bubblewrap(USER),))
    monkeypatch.setenv("PATH", "/nowhere")
    with pytest.raises(
        SandboxError, match=r"no `bwrap` on the PATH.*apt-get install bubblewrap.*sandbox=unsafe"
    ):
        open_sandbox()


def test_a_sandbox_that_does_not_contain_is_not_chosen(unsafe):
    with pytest.raises(SandboxError, match="does not contain: .*a file outside can be read"):
        self_check(unsafe, contains=True)


def test_limits_reach_the_program(sandbox):
    program = "import resource\ndef f(name): return resource.getrlimit(getattr(resource, name))"
    for name, limit in (
        ("RLIMIT_AS", LIMITS.memory_mb << 20),
        ("RLIMIT_CPU", LIMITS.cpu_seconds),
        ("RLIMIT_FSIZE", LIMITS.scratch_mb << 20),
        ("RLIMIT_NOFILE", LIMITS.open_files),
        ("RLIMIT_NPROC", 0),
    ):
        assert sandbox.run_tests(program, f"assert f('{name}') == ({limit}, {limit})").passed


def test_a_task_has_its_own_limits(sandbox):
    loop, sleep = "def f():\n    while True: pass", "import time\ndef f(): time.sleep(0.4)\nf()"
    outcomes = sandbox.run_many(
        [
            Task(loop, "f()", cpu=1),
            Task("import os\nf = lambda: 1", "assert f() == 1", cpu=0.1),
            Task(sleep, "f()", patience=0.3),
            Task(sleep, "f()\nf()", timeout=20, patience=10),
            Task("import resource\nf = resource.getrlimit", "assert f(0) == (1, 2), f(0)", cpu=0.5),
            Task("import resource\nf = resource.setrlimit", "f(0, (9, 9))", cpu=0.5),
        ]
    )
    reasons = [outcome.reason for outcome in outcomes]
    assert reasons[0] == "died: its CPU time is used up"
    assert reasons[2] == "timeout: no answer after 0.3 s"
    assert reasons[5].startswith("raised: ValueError") and [reasons[i] for i in (1, 3, 4)] == [""] * 3


def test_programs_can_leave_as_they_are_used_to(sandbox):
    assert sandbox.run_tests("if 0: exit()\ndef f(): quit()", "try: f()\nexcept SystemExit: pass").reason == (
        "raised: RuntimeError: SystemExit:  at `try: f()`"
    )


def test_a_crash_leaves_no_core_file_and_calls_no_reporter(sandbox):
    assert sandbox.run_tests("import resource\nf = resource.getrlimit", "assert max(f(4)) <= 1").passed


def test_lower_limits_of_the_machine_stay():
    """As on a cluster that limits memory, or in a container without core files."""
    code = (
        "import resource\n"
        "from harness.sandbox import open_sandbox\n"
        "resource.setrlimit(resource.RLIMIT_CORE, (0, 0))\n"
        "resource.setrlimit(resource.RLIMIT_NOFILE, (60, 60))\n"
        "with open_sandbox('unsafe', workers=1) as sandbox:\n"
        "    f = 'import resource\\nf = resource.getrlimit'\n"
        "    print(sandbox.run_tests(f, 'assert f(4) == (0, 0) and f(7) == (60, 60), (f(4), f(7))'))\n"
    )
    command = ["setpriv", "--bounding-set=-all", "--inh-caps=-all", sys.executable, "-c", code]
    command = (
        command if os.geteuid() == 0 and shutil.which("setpriv") else command[3:]
    )  # root may raise limits
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert "passed=True" in done.stdout, done.stdout + done.stderr


def test_cpu_is_limited_by_itself():
    with open_sandbox(limits=Limits(cpu_seconds=1, wall_seconds=30), workers=1) as sandbox:
        assert sandbox.run_tests("def f():\n    while True: pass", "f()").reason.startswith("died: ended by ")

"""Programs, judged by running their tests in `harness.sandbox`.

`Problem.data` says what is tested. Of a function:

    {"tests": str, "names": list[str] | None, "prefix": str, "entry_point": str | None, "timeout": float | None}

`tests` is Python whose assertions must hold, `names` the program's names in it (None: by the rule in
`harness.sandbox.names`), and `prefix` what the program may build on: imports, or a prompt that ends in a
function without a body, called `entry_point` (HumanEval). Of a program, or a function, that maps inputs to
outputs as in LiveCodeBench:

    {"cases": [{"input": str, "output": str}, …], "function": str | None, "prefix": str, "timeout": float | None}

Without `function` an input is what the program reads and an output what it has to write. With it an input is
one JSON value per line, the arguments of `Solution().function` or of a plain function, and an output the JSON
value to be returned. All but `tests` and `cases` may be left out. What is equal: `inside.cases`.

**Time** is CPU time of the program: a machine under load makes it wait, not fail. A function has `seconds`
(or its problem's `timeout`) for all its tests, a program of cases as much for each case and `TOTAL` times as
much for all, rounded up to whole seconds. Wall-clock limits only catch programs that wait for nothing and are
`WALL` times as long, so a right program fails by the clock only if it gets less than a `WALL`-th of a core
all the while. Both count as the program's failing. LiveCodeBench gives 6 s of wall-clock time for each case
and 7 for each and 5 over for all of a problem's.
"""

from __future__ import annotations

import ast
import atexit
import hashlib
import json
import os
import re
from collections.abc import Mapping, Sequence
from textwrap import dedent, indent
from threading import Lock
from typing import Any

from harness.errors import ConfigError, nearest
from harness.sandbox import AUTO, Limits, Outcome, Sandbox, SandboxError, Task, open_sandbox
from harness.sandbox.choose import BACKENDS
from harness.suites.problem import Problem, Verdict
from harness.verifiers.programs import AFTER_BODY, DEFINITION, ahead, extract, indented, line_end, unfinished

WALL = 6
TOTAL = 10
MOST_SECONDS = 300
LIMITS = Limits(cpu_seconds=3600, scratch_mb=64, answer_mb=16)  # seconds are set for each program by itself

_opened: dict[tuple, Sandbox] = {}
_lock = Lock()


def _forget() -> None:
    """In a process just forked: what is open is its parent's, and the lock may be held by a thread it has not got."""
    global _opened, _lock
    _opened, _lock = {}, Lock()


os.register_at_fork(after_in_child=_forget)


class CodeVerifier:
    """Right is what passes all its tests; the answer that counts in a vote is a digest of the program.

    sandbox: a backend's name, `auto` being the strongest that works. seconds: see above; at most `MOST_SECONDS`.
    workers: programs at a time (default: the cores); verifiers that agree on it share one sandbox, which is
    opened by the first `judge` or `facts` of a process and closed at its end.
    Raises ConfigError for a sandbox that does not exist, ValueError for seconds out of range.
    """

    def __init__(self, sandbox: str = AUTO, seconds: float = 10.0, workers: int | None = None) -> None:
        names = {AUTO, *(backend.name for backend in BACKENDS)}
        if sandbox not in names:
            raise ConfigError(f"sandbox={sandbox} does not exist. {nearest(sandbox, names)}")
        self.sandbox, self.seconds, self.workers = sandbox, checked(seconds), workers

    def judge(self, problems: Sequence[Problem], completions: Sequence[str]) -> list[Verdict]:
        """One verdict each; a program that comes twice for a problem is run once."""
        verdicts: list[Verdict | None] = [None] * len(problems)
        tests: dict[int, FunctionTests | CaseTests | Verdict] = {}
        waiting: dict[Task, list[tuple[int, str]]] = {}
        for place, (problem, completion) in enumerate(zip(problems, completions, strict=True)):
            if id(problem) not in tests:
                tests[id(problem)] = tests_of(problem, self.seconds)
            test = tests[id(problem)]
            if isinstance(test, Verdict):
                verdicts[place] = test
                continue
            code = extract(completion, test.wanted)
            if not code.strip():
                verdicts[place] = Verdict(reward=0.0, correct=False, answer=None)
                continue
            program = test.program(code)
            waiting.setdefault(test.task(program), []).append((place, digest(program)))
        for places, outcome in zip(waiting.values(), self._run(list(waiting)), strict=True):
            for place, answer in places:
                verdicts[place] = _verdict(outcome, answer)
        return verdicts

    def facts(self) -> dict[str, Any]:
        """The sandbox, opened to know it. Raises SandboxError, with advice, where there is none."""
        sandbox = shared(self.sandbox, self.workers)
        return {"sandbox": f"{sandbox.name} ({sandbox.way})", "seconds": self.seconds}

    def _run(self, tasks: list[Task]) -> list[Outcome | SandboxError]:
        if not tasks:
            return []
        try:
            return shared(self.sandbox, self.workers).run_many(tasks)
        except SandboxError as error:
            return [error] * len(tasks)


class FunctionTests:
    """Assertions on a function; what a test uses and the prompt defines is the judge's own copy of it.

    (HumanEval's `encode_cyclic`, say: were it the program's, a program could undo the test with it.)
    """

    def __init__(self, data: Mapping[str, Any], seconds: float) -> None:
        if not asserts(data["tests"]):
            raise ValueError("there are no assertions: any program would be right")
        self._seconds = seconds
        self._prefix = data.get("prefix", "")
        self._names = None if data.get("names") is None else tuple(data["names"])
        self._context, self._entry = unfinished(self._prefix, data.get("entry_point"))
        self.wanted = (self._entry,) if self._entry else self._names or ()
        self._text = line_end(self._context) + data["tests"] if self._entry else data["tests"]

    def program(self, code: str) -> str:
        """The program that a completion's code makes with the prefix.

        Where the prefix ends in a function without a body: code that defines this function itself, at the
        outermost level, takes the place of it, after the rest of the prefix. Any other code is its body, up
        to where it stops being one, and is indented if its first line is not.
        """
        if self._entry is None:
            return ahead(self._prefix, code)
        flat = dedent(code)
        if not indented(flat) and re.search(DEFINITION.format(self._entry), flat, re.MULTILINE):
            return ahead(self._context, flat)
        body = AFTER_BODY.split(code, maxsplit=1)[0] if indented(code) else indent(code, "    ")
        return line_end(self._prefix) + body

    def task(self, program: str) -> Task:
        return Task(program, self._text, self._names, timeout=WALL * self._seconds, cpu=self._seconds)


class CaseTests:
    """Inputs and outputs of a program, or of a function; what it returns is compared in the judge's process.

    Raises ValueError where there are no cases, or a function's are not JSON.
    """

    def __init__(self, data: Mapping[str, Any], seconds: float) -> None:
        self._seconds = seconds
        self._prefix = data.get("prefix", "")
        self._function = data.get("function")
        self.wanted = (self._function, "Solution") if self._function else ()
        cases = [(case["input"], case["output"]) for case in data["cases"]]
        if not cases:
            raise ValueError("there are no cases: any program would be right")
        if self._function is None:
            self._text = f"from cases import check_outputs\ncheck_outputs(call, {cases!r})"
        else:
            values = json.dumps([(list(map(json.loads, x.splitlines())), json.loads(y)) for x, y in cases])
            self._text = (
                f"import json\nfrom cases import check_values\ncheck_values(call, json.loads({values!r}))"
            )

    def program(self, code: str) -> str:
        """The completion's code as it is: the prefix is executed before it, not put into it."""
        return code

    def task(self, program: str) -> Task:
        made = f"runner({program!r}, {self._prefix!r}, {self._seconds!r})"
        if self._function is not None:
            made = f"caller({program!r}, {self._prefix!r}, {self._function!r}, {self._seconds!r})"
        return Task(
            f"from runs import caller, runner\ncall = {made}",
            self._text,
            names=("call",),
            timeout=WALL * TOTAL * self._seconds,
            patience=WALL * self._seconds,
            cpu=TOTAL * self._seconds,
        )


def tests_of(problem: Problem, seconds: float) -> FunctionTests | CaseTests | Verdict:
    """The problem's tests, or the failed verdict that follows from data that holds none."""
    try:
        timeout = problem.data.get("timeout")
        kind = CaseTests if "cases" in problem.data else FunctionTests
        return kind(problem.data, seconds if timeout is None else checked(timeout))
    except (AttributeError, KeyError, TypeError, ValueError) as error:
        return Verdict.failure(f"the problem's data hold no tests: {type(error).__name__}: {error}")


def asserts(tests: str) -> bool:
    """Whether tests assert anything; those that are no Python are left to the judge, who says so."""
    try:
        return any(isinstance(node, ast.Assert) for node in ast.walk(ast.parse(tests)))
    except (SyntaxError, ValueError):
        return True


def digest(program: str) -> str:
    """Sixteen hex digits: the same for the same program only, so that one answer has one verdict."""
    return hashlib.sha256(program.encode("utf-8", "surrogatepass")).hexdigest()[:16]


def checked(seconds: float) -> float:
    if not 0 < seconds <= MOST_SECONDS:
        raise ValueError(f"a program's seconds must lie in (0, {MOST_SECONDS}], not {seconds}")
    return float(seconds)


def shared(name: str, workers: int | None) -> Sandbox:
    """This process's sandbox for the arguments; a process that was forked opens its own."""
    key = (name, workers)
    with _lock:
        if key not in _opened:
            _opened[key] = open_sandbox(name, LIMITS, workers)
            atexit.register(_opened[key].close)
        return _opened[key]


def _verdict(outcome: Outcome | SandboxError, answer: str) -> Verdict:
    if isinstance(outcome, SandboxError):
        return Verdict.failure(f"sandbox: {outcome}")
    return Verdict(reward=float(outcome.passed), correct=outcome.passed, answer=answer)

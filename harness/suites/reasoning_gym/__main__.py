"""`python -m harness.suites.reasoning_gym [task …]`: every task of the package, taken or refused and why.

Each task's problems are made twice here and once in another process with another order of sets, and its scorer is
shown texts whose worth is known: for a task that is taken together with the checks of `rules.py`, for a refused one
alone. The last column is what that found. Exits with 1 where a task that is taken has a defect.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import warnings
from contextlib import redirect_stdout
from io import StringIO
from random import seed as reseed

from harness.suites.reasoning_gym import REFUSED, _catalogue, audit
from harness.suites.reasoning_gym.rules import score

PROBLEMS = 12
SLOW = (
    "futoshiki",
    "intermediate_integration",
    "simple_integration",
    "knight_swap",
)  # seconds for one problem
ENDS_NOT = {task for task, reason in REFUSED.items() if "sympy" in reason}  # not tried as they are
DIGESTS = "--digests"


def problems(task: str) -> tuple[object, list[audit.Entry]]:
    """The data set and its first problems with an answer, of one fixed seed."""
    make, config = _catalogue()[task]
    dataset = make(config(seed=11, size=500))
    with redirect_stdout(StringIO()):  # the programs of one task print
        entries = [dataset[i] for i in range(3 if task in SLOW else PROBLEMS)]
    return dataset, [e for e in entries if e["answer"] is None or e["answer"].strip()]


def examine(task: str, elsewhere: str | None) -> dict[str, str]:
    """What is wrong with `task`; `elsewhere` is the digest of its problems in another process."""
    if task == "composite":
        return {}
    dataset, entries = problems(task)
    reseed(0)
    again = audit.digest(problems(task)[1])
    found = {} if audit.digest(entries) == again == (elsewhere or again) else {"other problems again": ""}
    if task in ENDS_NOT:
        return found | {"evaluates with sympy": ""}
    raw = task in REFUSED
    judge = dataset.score_answer if raw else lambda answer, entry: score(task, dataset, answer.strip(), entry)
    return found | audit.defects(task, judge, entries, ends=not raw)


def main(tasks: list[str]) -> int:
    warnings.simplefilter("ignore")  # of the package's own evaluations
    command = [sys.executable, "-m", "harness.suites.reasoning_gym", DIGESTS, *tasks]
    child = subprocess.run(
        command, env={**os.environ, "PYTHONHASHSEED": "1"}, stdout=subprocess.PIPE, text=True, check=True
    )
    elsewhere = json.loads(child.stdout.splitlines()[-1])
    bad = []
    for task in tasks:
        found = examine(task, elsewhere.get(task))
        if found and task not in REFUSED:
            bad.append(task)
        verdict = f"refused: {REFUSED[task]}" if task in REFUSED else "taken"
        print(
            f"{task:26} {verdict} | {'; '.join(f'{k} {v}'.strip() for k, v in found.items()) or '-'}",
            flush=True,
        )
    print(
        f"{len(tasks)} tasks, {sum(t in REFUSED for t in tasks)} refused, {len(bad)} taken with a defect {bad or ''}"
    )
    return bool(bad)


if __name__ == "__main__":
    given = [a for a in sys.argv[1:] if a != DIGESTS] or sorted(_catalogue())
    if DIGESTS in sys.argv:
        print(json.dumps({task: audit.digest(problems(task)[1]) for task in given if task != "composite"}))
    else:
        sys.exit(main(given))

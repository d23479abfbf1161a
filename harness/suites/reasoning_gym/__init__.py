"""Procedurally made problems of the package `reasoning-gym`: one domain for each task, without end.

Whatever task is named in `suite.tasks` is taken with the package's own scorer, where that scorer could be shown to
tell right from wrong: `rules.py` says which tasks are refused and which answers are checked beforehand, and
`python -m harness.suites.reasoning_gym` shows it again.

An answer is the last `<answer>…</answer>` of a completion if there is one, else the last `\\boxed{…}`, else all of it,
each time without surrounding white space. Where the right answer is a plain number and neither mark is there, the last
number in the completion is its answer, so that "The answer is 11." answers 11. Thoughts before `</think>` are not read.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, fields
from functools import cached_property
from importlib.metadata import version
from itertools import count, cycle, islice
from typing import Any

from harness.errors import ConfigError, nearest
from harness.suites.problem import SPLIT_PERCENT, Problem, Split, Verdict, one_by_one
from harness.suites.reasoning_gym.rules import EXACT, REFUSED, SHAPES, score
from harness.verifiers.answers import after_thinking, last_box

SLOT = "{question}"
BOLD = re.compile(r"\*\*|__")  # and 2**3, which is then two numbers: no answer is written so
NUMBER = re.compile(r"-?\d+(?:\.\d+)?")  # a right answer of this form
# One in a sentence. Not a part of something else: of a word, a fraction, a power; in 7-5 there is no -5.
NUMBERS = re.compile(r"(?<![\w.,/^*])-?\d+(?:,\d{3})*(?:\.\d+)?(?![\w/^*]|[.,]\d)")
CHUNK = 500  # problems made from one of the package's seeds
MAX_TRIES = 20_000  # draws without a new problem before the possible ones count as used up


@dataclass(frozen=True)
class ReasoningGymSuite:
    """The tasks of reasoning-gym named in `tasks`, each a domain of its own.

    `options`: task → fields of its configuration; those of a task that is not in `tasks` are checked and wait.
    `template`: the prompt, with the question in place of `{question}`. `partial_credit`: the scorer's shares between
    0 and 1 as rewards, in place of 0; right is a score of 1 either way. `seed` chooses the problems.

    A problem's question decides its split, whatever seed made it, so the splits are disjoint. Left out are questions
    that came before and problems whose own answer is empty or not judged right. `reference` is the answer that the
    package gives: it has no worked solutions.
    Raises ConfigError for what is wrong in any of these, and where the package is not installed.
    """

    name: str = "reasoning_gym"
    tasks: Sequence[str] = ("chain_sum",)
    options: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)
    template: str = "{question}\nReply with the answer only."
    partial_credit: bool = False
    seed: int = 0

    def __post_init__(self) -> None:
        known = _catalogue()
        if isinstance(self.tasks, str) or not self.tasks:
            raise ConfigError("suite.tasks is a list of at least one task: suite.tasks=[chain_sum].")
        if len(set(self.tasks)) < len(self.tasks):
            raise ConfigError(f"suite.tasks: {', '.join(self.tasks)} names one twice.")
        for key, task in [
            *(("suite.tasks", t) for t in self.tasks),
            *(("suite.options", t) for t in self.options),
        ]:
            if task not in known:
                raise ConfigError(f"{key}: reasoning_gym has no task {task}. {nearest(str(task), known)}")
            if task in REFUSED:
                raise ConfigError(f"{key}: {task} is refused: {REFUSED[task]}.")
        if self.template.count(SLOT) != 1:
            raise ConfigError(f"suite.template must hold {SLOT} once, where the question goes.")
        for task in {**dict.fromkeys(self.tasks), **self.options}:
            self._check(task)

    def training(self, seed: int) -> Iterator[Problem]:
        """Training problems without end, the tasks in turn; none comes again before the others of its task have."""
        for laps in cycle([self._laps(task, f"{self.seed}/{seed}") for task in self.tasks]):
            yield next(laps)

    def evaluation(self, split: Split, size: int) -> list[Problem]:
        """`size` held-out problems of `split` for each task. Raises ValueError where a task has fewer."""
        chosen: list[Problem] = []
        for task in self.tasks:
            problems = list(islice(self._distinct(task, split, str(self.seed)), size))
            if len(problems) < size:
                raise ValueError(
                    f"evaluation.{split}_problems={size}: {task} has {len(problems)} different problems with these "
                    f"suite.options.{task}; ask for fewer"
                )
            chosen += problems
        return chosen

    def asks(self, problem: Problem) -> bool:
        """No: these questions are asked nowhere else."""
        return False

    def judge(self, problems: Sequence[Problem], completions: Sequence[str]) -> list[Verdict]:
        """The verdict on each completion; its `answer` is the text that was judged."""
        return one_by_one(self._verify, problems, completions)

    def facts(self) -> dict[str, Any]:
        """The package's version, the whole configuration of each task, and how its answers are judged."""
        judged = {
            t: "equality" if t in EXACT else "form, scorer" if t in SHAPES else "scorer" for t in self.tasks
        }
        settings = {
            task: {
                k: repr(v) for k, v in vars(self._scorers[task].config).items() if k not in ("seed", "size")
            }
            for task in self.tasks
        }
        package = f"reasoning-gym {version('reasoning-gym')}"
        return {"rows": {"package": package}, "tasks": settings, "judged_by": judged}

    def _verify(self, problem: Problem, completion: str) -> Verdict:
        answer = extract(completion, number=NUMBER.fullmatch(problem.reference) is not None)
        value = score(problem.domain, self._scorers[problem.domain], answer, problem.data)
        return Verdict(
            reward=value if self.partial_credit else float(value == 1.0), correct=value == 1.0, answer=answer
        )

    @cached_property
    def _scorers(self) -> dict[str, Any]:
        return {task: self._dataset(task, "scorer") for task in self.tasks}

    def _check(self, task: str) -> None:
        """Raise ConfigError for options that `task` has not, or does not take."""
        where = f"suite.options.{task}"
        given = self.options.get(task, {})
        if not isinstance(given, Mapping):
            raise ConfigError(f"{where} is {given!r}, and should give options by name.")
        known = {spec.name for spec in fields(_catalogue()[task][1])}
        for option in given:
            if option in ("seed", "size"):
                raise ConfigError(f"{where}.{option} is not yours to set: suite.seed chooses the problems.")
            if option not in known:
                raise ConfigError(f"{where}: {task} has no option {option}. {nearest(str(option), known)}")
        try:
            # Some values are refused by nothing but the making of a problem.
            self._dataset(task, "check")[0]
        except Exception as error:
            values = ", ".join(f"{key}={value}" for key, value in given.items()) or "no options"
            raise ConfigError(
                f"{where}: {task} does not take {values}: {error or type(error).__name__}."
            ) from error

    def _dataset(self, task: str, key: str) -> Any:
        make, config = _catalogue()[task]
        seed = int(hashlib.sha256(f"{task}/{key}".encode()).hexdigest()[:7], 16)
        return make(config(**self.options.get(task, {}), seed=seed, size=CHUNK))

    def _laps(self, task: str, key: str) -> Iterator[Problem]:
        for lap in count():
            problem = None
            for problem in self._distinct(task, "train", f"{key}/{lap}"):
                yield problem
            if problem is None:
                raise ValueError(f"{task} has no training problem with these suite.options.{task}")

    def _distinct(self, task: str, split: Split, key: str) -> Iterator[Problem]:
        """The different problems of one split in the order of `key`, until no new one turns up."""
        low, high = SPLIT_PERCENT[split]
        seen: set[str] = set()
        tries = 0
        for entry in self._entries(task, f"{split}/{key}"):
            problem = self._problem(task, entry)
            tries += 1
            if (
                problem.content not in seen
                and low <= int(problem.content, 16) % 100 < high
                and self._sound(problem)
            ):
                seen.add(problem.content)
                tries = 0
                yield problem
            elif tries == MAX_TRIES:
                return

    def _entries(self, task: str, key: str) -> Iterator[dict[str, Any]]:
        for chunk in count():
            dataset = self._dataset(task, f"{key}/{chunk}")
            yield from (dataset[index] for index in range(CHUNK))

    def _problem(self, task: str, entry: dict[str, Any]) -> Problem:
        question = entry["question"].strip()
        prompt = self.template.replace(SLOT, question)
        return Problem(prompt, task, reference=entry["answer"], data=entry, question=question)

    def _sound(self, problem: Problem) -> bool:
        """Whether the problem's own answer, given back as a completion, is judged right."""
        return bool(problem.reference.strip()) and bool(self._verify(problem, problem.reference).correct)


def extract(completion: str, number: bool = False) -> str:
    """The answer in `completion`, as the module says; tags that are not closed are text, a box that is not is empty."""
    completion = after_thinking(completion) or ""
    end = completion.rfind("</answer>")
    start = completion.rfind("<answer>", 0, max(end, 0))
    if start >= 0:
        return completion[start + len("<answer>") : end].strip()
    boxed, answer = last_box(completion)
    if boxed:
        return answer or ""
    found = NUMBERS.findall(BOLD.sub(" ", completion)) if number else []
    return found[-1].replace(",", "") if found else completion.strip()


def _catalogue() -> Mapping[str, tuple[type, type]]:
    """Task → the package's data set and configuration; a second to import, and only for those who use it."""
    try:
        from reasoning_gym.factory import DATASETS
    except ImportError as error:
        raise ConfigError(
            "suite=reasoning_gym needs the package reasoning-gym: pip install credit-harness[benchmarks]"
        ) from error
    return DATASETS

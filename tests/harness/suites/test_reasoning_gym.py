import builtins
import sys
from importlib.util import find_spec
from itertools import islice
from math import isnan

import pytest
from omegaconf import OmegaConf

from harness.check import check_parts
from harness.config import CONF
from harness.errors import ConfigError
from harness.suites.problem import SPLIT_PERCENT, Problem

pytestmark = pytest.mark.skipif(find_spec("reasoning_gym") is None, reason="reasoning-gym is not installed")

from harness.suites import reasoning_gym as room  # noqa: E402
from harness.suites.reasoning_gym import ReasoningGymSuite, audit, extract  # noqa: E402
from harness.suites.reasoning_gym.rules import score  # noqa: E402

EASY = {"chain_sum": {"min_terms": 2, "max_terms": 3, "min_digits": 1, "max_digits": 1}}
SUM = {"question": "3 - 9 =", "answer": "-6", "metadata": {}}


def problem(task, answer, **metadata):
    entry = {"question": "?", "answer": answer, "metadata": metadata}
    return Problem("?", task, reference=answer, data=entry)


def judge(task, answer, completion, partial=False, **metadata):
    suite = ReasoningGymSuite(tasks=[task], partial_credit=partial)
    return suite.judge([problem(task, answer, **metadata)], [completion])[0]


@pytest.mark.parametrize(
    ("completion", "answer"),
    [
        (" -6\n", "-6"),
        ("so it is <answer> -6 </answer>.", "-6"),
        ("<answer>1</answer> no, <answer>\n-6\n</answer>", "-6"),
        ("\\boxed{1} and <answer>-6</answer> and \\boxed{2}", "-6"),
        ("<answer>1 <answer>-6</answer>", "-6"),
        ("\\boxed{1}, \\boxed{-6}.", "-6"),
        ("\\boxed{\\frac{1}{2}}", "\\frac{1}{2}"),
        ("\\boxed{-6} then \\boxed{7", ""),  # taken back, as in math
        ("\\boxed{7", ""),
        ("</answer> -6 <answer>", "</answer> -6 <answer>"),
        ("", ""),
    ],
)
def test_the_answer_in_a_completion(completion, answer):
    assert extract(completion) == answer


@pytest.mark.parametrize(
    ("completion", "answer"),
    [
        ("The answer is -6.", "-6"),
        ("3 + 4 is **-6**.", "-6"),
        ("<think>so 7</think> 8", "8"),
        ("<think>so 7", ""),
        ("3 - 9 = -6", "-6"),
        ("-6 or 6", "6"),
        ("9-3", "3"),
        ("It is 1,005.50, no: 2.", "2"),
        ("1,005.50", "1005.50"),
        ("5/6", "5/6"),
        ("x2 and 3rd", "x2 and 3rd"),
        ("1.2.3", "1.2.3"),
        ("none", "none"),
        ("8, so <answer>seven</answer>", "seven"),
        ("\\boxed{7} of 8", "7"),
    ],
)
def test_the_last_number_answers_where_the_right_answer_is_a_number(completion, answer):
    assert extract(completion, number=True) == answer


@pytest.mark.parametrize(
    ("completion", "correct"),
    [
        ("-6", True),
        ("The answer is -6.", True),
        ("-6.0", True),
        ("<answer>-6</answer>", True),
        ("6", False),
        ("-6 or 6", False),
        ("", False),
    ],
)
def test_a_verdict(completion, correct):
    verdict = judge("chain_sum", "-6", completion)
    assert (verdict.correct, verdict.reward, verdict.error) == (correct, float(correct), None)
    assert verdict.answer == extract(completion, number=True)


def test_shares_are_rewards_only_if_asked_for():
    # the scorer says 2/6 for a right answer with text round it: two characters of six
    assert judge("chain_sum", "-6", "<answer>is -6.</answer>").reward == 0.0
    verdict = judge("chain_sum", "-6", "<answer>is -6.</answer>", partial=True)
    assert verdict.reward == pytest.approx(2 / 6) and verdict.correct is False


TRAPS = [  # task, own answer, what its scorer would take (or raise on), metadata
    ("game_of_life_halting", "True", "False", {}),
    ("game_of_life", "[[0,1],[1,0]]", "[[0,1,1],[1,0]]", {}),
    ("game_of_life", "[[0,1],[1,0]]", '{"0": 1}', {}),
    ("letter_jumble", "you can", "you can easily", {}),
    ("word_sorting", "a, b", "a, b, c", {"sorted_words": ["a", "b"]}),
    ("complex_arithmetic", "3.0 - 2.0i", "nan", {"result": (3.0, -2.0)}),
    ("complex_arithmetic", "3.0 - 2.0i", "1e308+1e308i", {"result": (3.0, -2.0)}),
    ("polynomial_equations", "-5.5, 1.0", "-5.5, 3 or so, 1.0", {}),
    ("prime_factorization", "2 × 3", "two × 3", {}),
    ("gsm_symbolic", "405", "405 or 7", {}),
    ("gsm_symbolic", "405", "-405", {}),
    ("fraction_simplification", "1/2", "\\frac{1}{2} or 3", {"simplified_numerator": 1, "simplified_denominator": 2,
                                                             "numerator": 2, "denominator": 4}),
    ("kakurasu", "1", "1 or 2", {"row_sums": [1], "col_sums": [1], "n_rows": 1, "n_cols": 1}),
    ("knights_knaves", "Al is a knight, and Bo is a knave.", "Of course Al is a knight, and Bo is a knave.", {}),
    ("survo", "1 2\n3 4", "1 two 2\n3 4", {"board_size": 2, "solution": [[1, 2], [3, 4]]}),
    ("countdown", "4 + 5", "Integer(4) + 5", {"numbers": [4, 5], "target": 9}),
    ("countdown", "4 + 5", "9**9**9**9**4 + 5", {"numbers": [4, 5], "target": 9}),
    ("countdown", "4 + 5", "1e999999", {"numbers": [4, 5], "target": 9}),
    ("countdown", "19 // 2", "19 // 2", {"numbers": [19, 2], "target": 9}),
    ("advanced_geometry", "(1.000, 2.000)", "(1.000, 2.000, 3.000)", {"task_type": "orthocenter", "ortho": ("1", "2")}),
]  # fmt: skip


@pytest.mark.parametrize(("task", "answer", "wrong", "metadata"), TRAPS)
def test_traps_are_wrong_answers_and_no_errors(task, answer, wrong, metadata):
    verdict = judge(task, answer, wrong, **metadata)
    assert (verdict.correct, verdict.reward, verdict.error) == (False, 0.0, None)


def test_right_answers_pass_the_forms():
    right = [
        ("game_of_life", "[[0,1],[1,0]]", "[[0, 1],\n [1, 0]]", {}),
        ("complex_arithmetic", "3.0 - 2.0i", "3-2i", {"result": (3.0, -2.0)}),
        ("prime_factorization", "2 × 3", "3×2", {}),
        ("countdown", "4 + 5", "5+4", {"numbers": [4, 5], "target": 9}),
        ("gsm_symbolic", "405", "405.0", {}),
        ("spell_backward", "nus", "Nus", {}),
        ("binary_matrix", "0 1\n1 0", " 0 1 \n1 0", {}),
        ("knights_knaves", "Al is a knight, and Bo is a knave.", "Bo is a knave, and Al is a knight", {}),
    ]
    for task, answer, completion, metadata in right:
        assert judge(task, answer, completion, **metadata).correct, task


def test_a_matrix_keeps_its_rows():
    assert not judge("binary_matrix", "0 1\n1 0", "0 1 1 0").correct


@pytest.mark.parametrize(
    "task", ["binary_matrix", "spiral_matrix", "string_insertion", "n_queens", "countdown"]
)
def test_answers_are_never_run(task):
    metadata = {"valid_answers": ["Q"], "numbers": [1], "target": 1}
    for text in audit.CODE:
        assert judge(task, "1 0 1", text, **metadata).correct is False
        assert not hasattr(builtins, audit.MARK)


def test_text_out_of_proportion_is_not_read():
    class Never:
        def score_answer(self, answer, entry):
            raise AssertionError("read")

    assert score("chain_sum", Never(), "9" * 2009, SUM) == 0.0
    assert score("chain_sum", Never(), "", SUM) == 0.0
    with pytest.raises(AssertionError, match="read"):
        score("chain_sum", Never(), "9" * 2008, SUM)


def test_a_scorer_that_fails_has_no_verdict_and_may_not_write_into_the_problem():
    class Bad:
        def score_answer(self, answer, entry):
            entry["metadata"]["seen"] = True
            return {"raise": lambda: 1 / 0, "nan": lambda: float("nan"), "two": lambda: 2.0}[answer]()

    suite = ReasoningGymSuite()
    suite.__dict__["_scorers"] = {"chain_sum": Bad()}
    asked = problem("chain_sum", "1")
    verdicts = suite.judge([asked] * 3, ["raise", "nan", "two"])
    assert all(isnan(v.reward) and v.correct is None and v.answer is None for v in verdicts)
    assert "ZeroDivisionError" in verdicts[0].error
    assert "says nan" in verdicts[1].error and "says 2.0" in verdicts[2].error
    assert asked.data["metadata"] == {}


def test_splits_are_disjoint_and_follow_from_the_question():
    suite = ReasoningGymSuite(options=EASY)
    held_out = {split: suite.evaluation(split, 150) for split in ("test", "validation", "curve")}
    training = list(islice(suite.training(0), 800))
    sets = [{p.content for p in problems} for problems in (*held_out.values(), training)]
    assert [len(s) for s in sets] == [150, 150, 150, 800]
    assert len(set.union(*sets)) == 150 * 3 + 800
    for split, problems in (*held_out.items(), ("train", training)):
        low, high = SPLIT_PERCENT[split]
        assert all(low <= int(p.content, 16) % 100 < high for p in problems)
    other = ReasoningGymSuite(options=EASY, template="Q: {question}", seed=1)
    assert not {p.content for p in other.evaluation("test", 150)} & sets[-1]


def test_problems_depend_on_the_seeds_alone():
    def first(training=0, **given):
        return list(islice(ReasoningGymSuite(options=EASY, **given).training(training), 20))

    assert first() == first() != first(training=1)
    assert first(seed=1) != first()
    one, other = ReasoningGymSuite(options=EASY), ReasoningGymSuite(options=EASY, seed=1)
    assert one.evaluation("test", 20) == one.evaluation("test", 40)[:20] != other.evaluation("test", 20)


def test_tasks_are_domains_in_turn():
    suite = ReasoningGymSuite(tasks=["gcd", "chain_sum"])
    assert [p.domain for p in islice(suite.training(0), 4)] == ["gcd", "chain_sum"] * 2
    assert [p.domain for p in suite.evaluation("test", 2)] == ["gcd"] * 2 + ["chain_sum"] * 2


def test_used_up_problems_come_again_and_too_many_are_refused():
    tiny = {"chain_sum": {"min_terms": 1, "max_terms": 1, "min_digits": 1, "max_digits": 1}}
    suite = ReasoningGymSuite(options=tiny)  # ten problems in all
    train = [p.content for p in islice(suite.training(0), 12)]
    count = len(set(train))
    assert 0 < count < 10 and train[:count] != train[count : 2 * count]
    assert set(train[:count]) == set(train[count : 2 * count])
    with pytest.raises(
        ValueError, match=r"evaluation.test_problems=50: chain_sum has \d different problems.*fewer"
    ):
        suite.evaluation("test", 50)


def test_a_prompt_and_what_goes_with_it():
    suite = ReasoningGymSuite(options=EASY, template="\\boxed{} please: {question}!")
    found = next(suite.training(0))
    assert found.prompt == f"\\boxed{{}} please: {found.question}!"
    assert found.question.startswith("State the final answer") and found.reference == found.data["answer"]


def test_problems_whose_own_answer_is_empty_or_wrong_are_left_out(monkeypatch):
    suite = ReasoningGymSuite(tasks=["ab", "gsm_symbolic"])
    assert not suite._sound(problem("ab", ""))
    assert not suite._sound(problem("gsm_symbolic", "-5"))  # the scorer reads no sign
    assert suite._sound(problem("gsm_symbolic", "5"))
    monkeypatch.setattr(room, "MAX_TRIES", 500)
    short = ReasoningGymSuite(tasks=["ab"], options={"ab": {"length": 2}})
    made = [p for split in SPLIT_PERCENT for p in short._distinct("ab", split, "0")]
    # sixteen programs of two tokens, of which `A# #A` and `B# #B` leave nothing
    assert len(made) == 14 and all(p.reference for p in made)


@pytest.mark.parametrize(
    ("given", "message"),
    [
        (
            {"tasks": ["chain_sums"]},
            r"suite.tasks: reasoning_gym has no task chain_sums. Did you mean chain_sum",
        ),
        ({"tasks": []}, "at least one"),
        ({"tasks": "gcd"}, "is a list"),
        ({"tasks": ["gcd", "gcd"]}, "names one twice"),
        ({"tasks": ["puzzle24"]}, "puzzle24 is refused: accepts numbers that were not given"),
        ({"options": {"gdc": {}}}, "suite.options: reasoning_gym has no task gdc. Did you mean gcd"),
        ({"options": {"chain_sum": {"min_term": 2}}}, "no option min_term. Did you mean .*min_terms"),
        ({"options": {"chain_sum": {"seed": 2}}}, "chain_sum.seed is not yours to set"),
        ({"options": {"chain_sum": 2}}, "chain_sum is 2, and should give options by name"),
        (
            {"options": {"chain_sum": {"max_terms": 1}}},
            "chain_sum does not take max_terms=1: max_terms must be >=",
        ),
        ({"options": {"chain_sum": {"max_terms": "two"}}}, "chain_sum does not take max_terms=two"),
        ({"options": {"gcd": {"max_value": -1}}}, "gcd does not take max_value=-1"),
        ({"template": "no place"}, "suite.template must hold {question} once"),
    ],
)
def test_bad_configurations_are_refused_with_a_sentence(given, message):
    with pytest.raises(ConfigError, match=message):
        ReasoningGymSuite(**given)


def test_without_the_package_the_error_says_how_to_get_it(monkeypatch):
    monkeypatch.setitem(sys.modules, "reasoning_gym.factory", None)
    with pytest.raises(ConfigError, match=r"pip install credit-harness\[benchmarks\]"):
        ReasoningGymSuite()


def test_the_configuration_file_makes_the_suite():
    cfg = OmegaConf.create({"seed": 0, "suite": OmegaConf.load(CONF / "suite" / "reasoning_gym.yaml")})
    check_parts(cfg, "suite")
    from hydra.utils import instantiate

    suite = instantiate(cfg.suite)
    assert suite.tasks == ["chain_sum"] and suite.options == EASY
    assert suite.facts()["tasks"]["chain_sum"]["max_terms"] == "3"
    assert suite.facts()["rows"]["package"].startswith("reasoning-gym ")
    assert suite.facts()["judged_by"] == {"chain_sum": "scorer"}
    cfg.suite.tasks = ["chain_sums"]
    with pytest.raises(ConfigError, match="suite: suite.tasks: reasoning_gym has no task chain_sums"):
        check_parts(cfg, "suite")

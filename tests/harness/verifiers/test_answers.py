import time

import pytest

from harness.verifiers.answers import LONGEST, final_answer, value_of_named
from harness.verifiers.choice import chosen


@pytest.mark.parametrize(
    ("completion", "answer"),
    [
        (r"so \boxed{18}.", "18"),
        (r"\boxed{1} or \boxed{2}", "2"),
        (r"\boxed{\frac{14}{3}}", r"\frac{14}{3}"),
        (r"\boxed{\left\{1, 2\right\}}", r"\left\{1, 2\right\}"),
        (r"\boxed{\{1\}} is it", r"\{1\}"),
        (r"\boxed{\{1} is open", r"\{1"),
        (r"\boxed{\boxed{5}}", "5"),
        (r"$\boxed 5$ apples", "5"),
        (r"\boxed 42, as said", "42"),
        (r"\boxed \frac{1}{2} and more", r"\frac{1}{2}"),
        (r"\(\boxed 7\)", "7"),
        (r"\fbox{6}", "6"),
        (r"$\framebox{204}$ minutes", "204"),
        (r"\boxed{1} then \fbox{2}", "2"),
        (r"\boxed{}", None),
        (r"\boxed{1}, no, \boxed{ }", None),
        (r"\boxed{1}, no, \boxed{2", None),
        (r"\boxed{\frac{1}{2}", None),
        (r"\boxedx{3}", None),
        ("#### 18", "18"),
        ("It is 3.\n#### 1,234\nDone", "1,234"),
        ("#### 1\n#### 2", "2"),
        ("#### $18", "$18"),
        ("#### -3", "-3"),
        ("  #### 5 apples  ", "5 apples"),
        ("#### Step 3", None),
        ("#### 3. Add them up", None),
        ("#### 4\n" + r"so \boxed{5}", "5"),
        (r"\boxed{5}" + "\n#### 6", "5"),
        ("the answer is 5", None),
        ("5", None),
        ("", None),
        ("\\boxed{" + "1" * (LONGEST + 1) + "}", None),
    ],
)
def test_marked(completion, answer):
    assert final_answer(completion, "marked") == answer


@pytest.mark.parametrize(
    ("completion", "answer"),
    [
        (r"<think>\boxed{1}</think> \boxed{2}", "2"),
        (r"<think>\boxed{1}</think> hm", None),
        (r"<think>I say \boxed{1}", None),
        (r"\boxed{1}</think>\boxed{2}", "2"),
        (r"\boxed{1}</think>", None),
        (r"<think>a</think>\boxed{1}<think>\boxed{2}", None),
        (r"<think>a</think>b</think>\boxed{3}", "3"),
        (r"no tags: \boxed{4}", "4"),
    ],
)
def test_only_what_follows_the_thinking_counts(completion, answer):
    assert final_answer(completion, "number") == answer


@pytest.mark.parametrize(
    ("completion", "number", "expression"),
    [
        ("The answer is 18.", "18", "18"),
        ("The answer is $18.", "$18", "$18"),
        ("The answer is $x+1$, as wanted", "x+1", "x+1"),
        ("The answer is 3.5 m. It took 7 steps.", "3.5 m", "3.5 m"),
        ("Answer: 4\nAnswer: 5", "5", "5"),
        ("**Answer:** 5", "5", "5"),
        ("**Final answer: 5**", "5", "5"),
        ("The answer is:\n42", "42", "42"),
        ("the answer is 6 because 2*3 = 6", "6", "6"),
        ("The answer is approximately 7.", "7", "7"),
        ("She has 16 - 3 = 13 eggs.", "13", None),
        ("It is 3, no, 1,234.", "1,234", None),
        ("so x = -5", "-5", None),
        ("so 8-5", "5", None),
        ("It is 3/4 of it", "3/4", None),
        ("in all 50.7 $\\mathrm{atm}$.", "50.7 \\mathrm{atm}", "\\mathrm{atm}"),
        ("the speed is 5.1 m/s^2", "5.1", None),
        ("the density 1.2 kg m^{-3}", "1.2", None),
        ("so CO2 and x_2", None, None),
        ("it is 1.2 × 10^{-3} m", "1.2 × 10^{-3}", None),
        ("thus $x=7$, in 3 steps", "3", "x=7"),
        (r"in 3 steps \(y = 7\) follows", "y = 7", "y = 7"),
        (r"\[ \frac{1}{2} \]", r"\frac{1}{2}", r"\frac{1}{2}"),
        ("It costs $5 for one and $6 for two", "$6", None),
        ("nothing here", None, None),
        ("the answering machine is 5", "5", None),
    ],
)
def test_unmarked(completion, number, expression):
    assert final_answer(completion, "number") == number
    assert final_answer(completion, "expression") == expression
    assert final_answer(completion, "marked") is None


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("x = 5", "5"), ("m+n = 33", "33"), ("f(3)=7", "7"), (r"\angle ABC = 90", "90"), ("a_1 = 4", "4"),
        (r"\text{total} = 12", "12"), ("2+3 = 5", "5"), ("x = 2+3 = 5", "5"), ("5=5", "5"), ("5", "5"),
        ("3x = 5", "3x = 5"), ("x^2 = 5", "x^2 = 5"), ("4 = 5", "4 = 5"), ("1=2=3=4=5", "1=2=3=4=5"),
        ("x=4, y=5", "x=4, y=5"), (r"x = 4 \text{ or } x = 5", r"x = 4 \text{ or } x = 5"),
        (r"x \ge 5", r"x \ge 5"), ("x <= 5", "x <= 5"), ("x != 5", "x != 5"),
    ],
)  # fmt: skip
def test_value_of_named(text, value):
    assert value_of_named(text) == value


@pytest.mark.parametrize(
    "text", ["\\boxed{" * 100_000, "$1$ " * 50_000, "answer is B " * 50_000, "#### " * 50_000, "1 " * 99_999]
)
def test_a_completion_that_loops_costs_no_time(text):
    start = time.perf_counter()
    for mode in ("marked", "expression", "number"):
        final_answer(text, mode)
    chosen(text, ["1", "2", "3"])
    assert time.perf_counter() - start < 3

import pytest
from hypothesis import given
from hypothesis import strategies as st

from harness.suites.problem import Problem
from harness.verifiers.choice import ChoiceVerifier, chosen, lettered, shuffled

OPTIONS = ["twelve", "seven", "a prime", "none of these"]


@pytest.mark.parametrize(
    ("completion", "letter"),
    [
        (r"\boxed{C}", "C"), (r"\boxed{c}", "C"), (r"\boxed{(C)}", "C"), (r"\boxed{\text{(C)}}", "C"),
        (r"\boxed{\textbf{C}}", "C"),
        (r"\boxed{C. a prime}", "C"), (r"\boxed{C) a prime}", "C"), (r"\boxed{(C) a prime}", "C"),
        (r"\boxed{\text{Option C}}", "C"),
        (r"\boxed{seven}", "B"), (r"\boxed{\text{a prime}}", "C"), (r"\boxed{a prime.}", "C"),
        (r"\boxed{none of these}", "D"),
        (r"\boxed{eight}", None), (r"\boxed{E}", None), (r"\boxed{}", None), (r"\boxed{B, C}", None),
        (r"\boxed{(B) or (C)}", None),
        (r"\boxed{(B), (C)}", None), (r"\boxed{B \text{ or } C}", None), (r"\boxed{Because}", None),
        (r"\boxed{AB}", None),
        (r"\boxed{A} no, \boxed{B}", "B"), (r"\boxed{A} no, \boxed{E}", None),
        (r"\boxed{A} no, \boxed{", None),
        ("Answer: C", "C"), ("answer: (C)", "C"), ("**Answer:** C", "C"), ("Answer: **C**", "C"),
        ("**Answer: C**", "C"), ("Answer: C) a prime", "C"),
        ("The answer is C.", "C"), ("The answer is (C).", "C"), ("The answer is (c)", "C"),
        ("the answer is: C", "C"), ("The answer is $C$", "C"),
        ("The answer is option B.", "B"), ("The correct choice is B", "B"),
        ("The correct option is (B) since", "B"), ("the answer is A, as", "A"),
        ("The answer is C because 7 is prime", "C"), ("The answer is [D]", "D"),
        (r"The answer is \text{B}", "B"), (r"The answer is \textbf{(B)}", "B"),
        ("thus\nC", "C"), ("thus\n(C)", "C"), ("thus\n**C**", "C"), ("thus\nC.\n\n", "C"),
        ("thus\n**(C)**", "C"), ("C", "C"),
        ("The answer is A good one.", None), ("A good answer: always think", None),
        ("Answer: A good guess", None), ("The answer is a", None),
        ("The answer is Charlie", None), ("Answer: Because", None), ("A", "A"), ("A prime", None),
        ("thus\nA prime", None), ("thus E", None),
        ("the answer is C-like", None), ("The answer is C's", None), ("I think B", None),
        ("the answer is I think (B)", None), ("E", None),
        ("Answer: E", None), ("Answer: B\nAnswer: E", None), ("Answer: B, wait. The answer is D.", "D"),
        ("\\boxed{B}\nThe answer is (C).", "B"),
        ("The answer is (C).\n\\boxed{B}", "B"), ("C\nso that is it", None), ("Answer: B\n\nC", "C"),
        ("", None), ("nothing", None),
        ("<think>Answer: B</think>Answer: C", "C"), ("<think>Answer: B", None),
        ("<think>Answer: B</think>", None),
        ("Answer: C\n<think>B", None),
    ],
)  # fmt: skip
def test_chosen(completion, letter):
    assert chosen(completion, OPTIONS) == letter


def test_the_text_of_an_option_must_be_one_options():
    assert chosen(r"\boxed{7}", ["7", "7", "8"]) is None
    assert chosen(r"\boxed{8}", ["7", "7", "8"]) == "C"
    assert chosen(r"\boxed{P}", ["P", "3P", "P/3"]) == "A"  # no letter of the choice
    assert chosen(r"\boxed{A}", ["E", "A", "O"]) == "A"  # the letter, not the option "A"
    assert chosen(r"\boxed{c}", ["b", "a", "x", "c"]) == "D"
    assert chosen(r"\boxed{(A) and (B) both}", ["x", "(A) and (B) both"]) == "B"
    assert chosen(r"\boxed{$\frac{1}{2}$}", [r"$\frac{1}{2}$", "1"]) == "A"


def test_verdicts():
    problem = Problem("q", "science", data={"letter": "C", "options": OPTIONS})
    right, wrong, none = ChoiceVerifier().judge([problem] * 3, ["Answer: C", "Answer: B", "no"])
    assert (right.reward, right.correct, right.answer) == (1.0, True, "C")
    assert (wrong.reward, wrong.correct, wrong.answer) == (0.0, False, "B")
    assert (none.reward, none.correct, none.answer) == (0.0, False, None)


@pytest.mark.parametrize(
    "data",
    [None, {}, {"letter": "C"}, {"letter": "E", "options": OPTIONS}, {"letter": "", "options": OPTIONS}],
)
def test_a_bad_reference_is_a_failure(data):
    (verdict,) = ChoiceVerifier().judge([Problem("q", "science", data=data)], ["Answer: C"])
    assert verdict.correct is None and verdict.error


def test_shuffled_is_fixed_by_its_key():
    # Constants: an order that changed with a release would change every recorded prompt.
    text, letter, order = shuffled("Which?", OPTIONS, 2, "mmlu/7")
    assert (letter, order) == ("B", [3, 2, 0, 1])
    assert text.splitlines() == [
        "Which?",
        "",
        *(f"({x}) {OPTIONS[i]}" for x, i in zip("ABCD", order, strict=True)),
    ]
    assert shuffled("Which?", OPTIONS, 2, "mmlu/7") == (text, letter, order)
    assert len({tuple(shuffled("Which?", OPTIONS, 2, f"mmlu/{n}")[2]) for n in range(200)}) == 24


@given(st.lists(st.text("xyz", min_size=1), min_size=1, max_size=10), st.data())
def test_the_letter_leads_to_the_right_option(options, data):
    right = data.draw(st.integers(0, len(options) - 1))
    _, letter, order = shuffled("q", options, right, data.draw(st.text()))
    assert sorted(order) == list(range(len(options)))
    assert order["ABCDEFGHIJ".index(letter)] == right


@pytest.mark.parametrize(
    "last", ["All of the above", "Both A and B", "(A) and (C)", "A, B, and C", "none of the above."]
)
def test_options_that_point_at_others_keep_their_places(last):
    for n in range(20):
        assert shuffled("q", ["x", "y", "z", last], 3, str(n))[1:] == ("D", [0, 1, 2, 3])
    assert any(shuffled("q", ["x", "y", "z", "Vitamin A and iron"], 3, str(n))[1] != "D" for n in range(20))


def test_a_data_set_that_names_the_right_option_first_is_always_shuffled():
    placed = ["the state below", "the state above", "both A and B", "none"]
    letters = [shuffled("q", placed, 0, str(key), ordered=False)[1] for key in range(80)]
    assert set(letters) == set("ABCD") and max(map(letters.count, "ABCD")) < 40
    assert shuffled("q", placed, 0, "0")[1] == "A"


@pytest.mark.parametrize(
    ("content", "letter"),
    [("C", "C"), ("(c)", "C"), ("C. twelve", "C"), ("C: twelve", "C"), ("\\text{C. twelve}", "C"),
     ("\\text{Option C}", "C"), ("B or C", None), ("twelve", None), ("Cat", None)],
)  # fmt: skip
def test_the_letter_that_a_box_names(content, letter):
    assert lettered(content) == letter


def test_a_statement_about_a_wrong_option_is_no_answer():
    assert chosen("The answer is (C). The wrong option is (B).", ["1", "2", "3", "4"]) == "C"
    assert chosen("\\boxed{C}\nThe wrong option is B.", ["1", "2", "3", "4"]) == "C"


def test_data_that_no_letter_can_answer_have_failed():
    problems = [Problem("q", "science", data={"letter": "A", "options": [1] * 30}), Problem("q", "science", data=3)]
    assert all(v.error for v in ChoiceVerifier().judge(problems, ["\\boxed{A}"] * 2))
    numbers = Problem("q", "science", data={"letter": "B", "options": [1, 2]})
    assert ChoiceVerifier().judge([numbers], ["\\boxed{2}"])[0].correct

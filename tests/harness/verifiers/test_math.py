import json
import subprocess
import sys
import threading

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from harness.suites.problem import Problem
from harness.verifiers import equivalence, workers
from harness.verifiers.math import LONGEST, MathVerifier, canonical

VERIFIER = MathVerifier(workers=1)


def judge(cases, verifier=VERIFIER):
    problems = [Problem("q", "math", data=reference) for reference, _ in cases]
    return verifier.judge(problems, [completion for _, completion in cases])


def boxed(cases):
    return judge([(reference, rf"Thus \boxed{{{answer}}}.") for reference, answer in cases])


RIGHT = [
    ("18", "18"), ("18", "18.0"), ("18", "$18"), ("18", r"\$18.00"), ("18", "18 eggs"),
    ("18", r"18 \text{ eggs per day}"),
    ("2,125", "2125"), ("1234", "1,234"), ("1234", r"1,\!234"), ("1234", r"1{,}234"), ("025", "25"),
    ("-3", "−3"), ("73", r"\textbf{(073)}"),
    ("5", "x = 5"), ("33", "m+n = 33"), ("5", "2+3"), ("5", "2+3 = 5"), ("5", r"\frac{10}{2}"),
    ("5", "(5)"), ("3", r"\{3\}"),
    (r"\frac{14}{3}", r"\dfrac{14}{3}"), (r"\frac{14}{3}", "14/3"), (r"\frac{14}{3}", r"4\frac{2}{3}"),
    (r"\frac{14}{3}", "4.666667"),
    (r"\frac{1}{2}", "0.5"), ("0.15", r"\frac{3}{20}"), (r"1\frac{4}{5}", "1.8"),
    (r"\frac43", r"\frac{4}{3}"), (r"\frac{1}{3}", r"0.\overline{3}"),
    (".0000672", r"6.72 \times 10^{-5}"), ("1000000", "10^6"), ("2", r"\sqrt{4}"), ("10", r"\binom{5}{2}"),
    ("120", "5!"),
    (r"5.5\%", "5.5"), ("5", r"5\%"), (r"5\%", "5%"), (r"90^\circ", "90"), ("90", r"90^{\circ}"),
    (r"\$32,\!348", "32348"),
    (r"864 \mbox{ inches}^2", "864"), ("864", r"864 \text{ in}^2"), (r"5.4 \text{ cents}", "5.4"),
    (r"\frac{270}7\text{ degrees}", r"\frac{270}{7}"),
    (r"\text{(C)}", "C"), (r"\text{(C)}", "(C)"), ("(C)", r"\text{C}"), ("C", r"\textbf{(C)}"),
    ("C", "(C) twelve"), ("(C)", "c"),
    (r"\text{Evelyn}", "Evelyn"), (r"\text{Evelyn}", r"\text{evelyn}"), ("Evelyn", r"\mathrm{Evelyn}"),
    (r"\text{even}", r"\textbf{even}"),
    (r"3\sqrt{13}", r"\sqrt{117}"), (r"3\sqrt{13}", r"3 \sqrt{13} \text{ cm}"),
    (r"\frac{\sqrt{3}}{3}", r"\frac{1}{\sqrt{3}}"), (r"11\sqrt2", r"11\sqrt{2}"),
    (r"\left( 3, \frac{\pi}{2} \right)", r"(3, \pi/2)"), ("(6,31,-1)", "(6, 31, -1)"),
    ("(-2,1)", r"\left(-2, 1\right)"),
    ("(3,4]", r"\left(3, 4\right]"), (r"(5,\infty)", "x > 5"), (r"x \in [-2,7]", "[-2,7]"),
    (r"x \in [-2,7]", r"-2 \le x \le 7"),
    (r"(0,9) \cup (9,36)", r"(9,36) \cup (0,9)"), ("1,-2", "-2, 1"), ("3, 5, 7", r"\{7, 5, 3\}"),
    ("3, 5, 7", "3, 5 and 7"),
    (r"3 \pm 2 \sqrt{2}", r"3-2\sqrt{2}, 3+2\sqrt{2}"),
    (r"\{1\pm\sqrt{5},-2\}", r"\{-2, 1+\sqrt{5}, 1-\sqrt{5}\}"),
    (r"\begin{pmatrix} -1/3 \\ 2/3 \end{pmatrix}", r"\begin{bmatrix} -\frac13 \\ \frac23 \end{bmatrix}"),
    ("x^3+3x-6", "3x - 6 + x^3"), ("(a+5)(b+2)", "ab+2a+5b+10"), (r"\cot x", r"\frac{\cos x}{\sin x}"),
    ("6+9i", "9i + 6"),
    ("x=5", "5"), ("x=5", "x = 5"), ("y = 2x + 3", "2x+3"), ("5x - 7y + 4 = 0", "7y - 5x = 4"),
    ("2516_8", "2516_{8}"), ("2516_8", "2516"),
    (r"\frac{11+9a}{20}", r"\frac{11}{20} + \frac{9a}{20}"), (r"12\pi", r"12 \pi \text{ cm}^3"),
    (r"\emptyset", r"\emptyset"),
]  # fmt: skip

WRONG = [
    ("18", "19"), ("18", "18.5"), ("18", "180"), ("18", "-18"), ("18", "18.0000001"), ("18", "17.9999999"),
    ("1", "1,000"), ("0", "10^{-9}"),
    ("5", "1,2,3,4,5"), ("12345", "1,2,3,4,5"), ("5", "5, 6"), ("5", "5 or 6"), ("5", r"5 \text{ or } 6"),
    ("5", r"4 \pm 1"), ("5", r"\{5, 6\}"),
    ("11", "5 6"), ("30", "5 6"), ("5", "3x = 5"), ("5", "x^2 = 5"), ("5", "x=4, x=5"),
    ("5", r"x = 4 \text{ or } x = 5"), ("5", "4 = 5"),
    ("5", "1=2=3=4=5"), ("5", "x > 5"), ("5", r"x \ne 5"), ("5", r"\text{five}"), ("5", "5x"), ("5", "5t"),
    ("2t", "2"), ("5", "5 million"),
    ("5", r"\infty"), ("5", r"\frac{5}{0}"), ("0", "1 000"), ("5", r"\pm 5"), ("5", "5^2"),
    ("5", r"5 \text{ or 6}"), ("6", "{6},{7}"),
    ("0.05", r"5\%"), (r"5\%", "0.05"), (r"\frac{1}{3}", "0.33"), (r"\frac{1}{3}", "0.3333"),
    (r"\frac{14}{3}", r"\frac{3}{14}"),
    (r"1\frac{4}{5}", r"\frac{4}{5}"), ("0.0000672", "0.0000671"), (r"\pi", "3.14"), ("288 \\pi", "288"),
    (r"\text{(C)}", "B"), ("(C)", "12"), ("C", r"\text{(B) or (C)}"), (r"\text{Evelyn}", "nylevE"),
    ("Evelyn", "Evelny"), (r"\text{even}", "odd"),
    (r"\text{even}", "5"), (r"3\sqrt{13}", r"\sqrt{13}"),
    (r"\left( 3, \frac{\pi}{2} \right)", r"(\frac{\pi}{2}, 3)"), ("(6,31,-1)", "(6,31)"),
    ("(3,4]", "[3,4]"), ("(3,4]", "(3,4)"), (r"(5,\infty)", r"[5,\infty)"),
    (r"(0,9) \cup (9,36)", "(0,36)"), ("1,-2", "1,2"), ("1,-2", "1,-2,3"),
    ("3, 5, 7", "3, 5"), (r"3 \pm 2 \sqrt{2}", r"3 + 2\sqrt{2}"),
    (r"\begin{pmatrix} 1 \\ 2 \end{pmatrix}", r"\begin{pmatrix} 2 \\ 1 \end{pmatrix}"),
    (r"\begin{pmatrix} 1 \\ 2 \end{pmatrix}", "(1,2)"), ("x^3+3x-6", "x^3+3x+6"), ("p - q", "q - p"),
    ("6+9i", "9+6i"), ("x=5", "y=5"),
    ("x=5", "x=4, x=5"), ("y = 2x + 3", "2x - 3"), ("2516_8", "2516_7"), ("2516_8", "2515_8"),
    (r"\cot x", r"\tan x"), ("2k", "2k+1"),
]  # fmt: skip


@pytest.mark.parametrize(("cases", "correct"), [(RIGHT, True), (WRONG, False)])
def test_tables(cases, correct):
    unexpected = [(case, v) for case, v in zip(cases, boxed(cases), strict=True) if v.correct is not correct]
    assert unexpected == []
    assert all(v.reward == float(correct) and v.error is None for v in boxed(cases))


@pytest.mark.parametrize(
    ("reference", "completion", "correct", "answer"),
    [
        ("2", r"\boxed{1} or \boxed{2}", True, "2"),
        ("1", r"\boxed{1} or \boxed{2}", False, "2"),
        ("18", "9 * 2 = 18\n#### 18", True, "18"),
        ("18", "She makes $18 every day.", True, "18"),
        ("18", "The answer is 18 because 9 * 2 = 18.", True, "18"),
        (r"\frac{1}{2}", r"hence $x = \frac{1}{2}$ holds.", True, "0.5"),
        (r"\sqrt{2}", "I saw 2 somewhere", False, None),
        ("Evelyn", "The answer is Evelyn.", True, "evelyn"),
        ("C", "The answer is (C).", True, "C"),
        ("5", r"<think>\boxed{5}", False, None),
        ("5", r"<think>\boxed{6}</think>\boxed{5}", True, "5"),
        ("5", "", False, None),
        ("5", "no idea", False, None),
        ("5", r"\boxed{}", False, None),
        ("5", r"\boxed{\frac{}}", False, None),
        ("5", r"\boxed{)(}", False, None),
    ],
)
def test_completions(reference, completion, correct, answer):
    (verdict,) = judge([(reference, completion)])
    assert (verdict.correct, verdict.answer) == (correct, answer)


@pytest.mark.parametrize("reference", [None, 18, "", "  ", r"\frac{)(", {"answer": "5"}])
def test_a_reference_that_cannot_be_read_is_a_failure(reference):
    (verdict,) = judge([(reference, r"\boxed{x+1}")])
    assert verdict.correct is None and verdict.reward != verdict.reward and "reference" in verdict.error


def test_answers_are_one_spelling_for_votes():
    spellings = ["1,234", "1234.0", r"\$1234", r"1{,}234 \text{ eggs}", "x = 1234", r"\frac{2468}{2}"]
    assert {v.answer for v in boxed([("5", s) for s in spellings])} == {"1234"}
    assert canonical(r"\left( 3 , \dfrac{\pi}{2} \right)") == canonical(r"(3,\frac{\pi}{2})")


@settings(max_examples=40, deadline=None)
@given(st.sampled_from(RIGHT + WRONG), st.sampled_from(RIGHT + WRONG))
def test_the_same_answer_gets_the_same_verdict(one, other):
    reference = one[0]
    first, second = boxed([(reference, one[1]), (reference, other[1])])
    if first.answer is not None and first.answer == second.answer:
        assert first.correct == second.correct
    if first.answer is not None and first.answer != "C":  # the answer is its own best spelling
        assert boxed([(reference, first.answer)])[0].correct == first.correct


decimals = st.decimals(-(10**6), 10**6, places=4, allow_nan=False).map(str)


@settings(max_examples=60, deadline=None)
@given(st.one_of(decimals, st.integers(-99, 99).map(str)), st.one_of(decimals, st.integers(-99, 99).map(str)))
def test_numbers_get_at_sight_the_verdict_of_math_verify(reference, answer):
    one, other = canonical(reference), canonical(answer)
    verdict = MathVerifier._at_sight(reference, rf"\boxed{{{answer}}}")
    if not isinstance(verdict, tuple):
        assert verdict.correct == (equivalence.compare(one, other) == "right")
        assert verdict.correct == (one == other)


@given(st.text(max_size=60))
def test_no_completion_raises_before_it_is_compared(text):
    MathVerifier._at_sight("5", text)
    MathVerifier._at_sight(r"\frac{x}{2}", rf"\boxed{{{text}}}")


SMALL = MathVerifier(seconds=1.0, workers=1)


@pytest.mark.parametrize("answer", ["9^{9^{9^9}}", "((9!)!)!"])
def test_an_astronomical_answer_is_a_failure_and_the_next_is_judged(answer):
    before, huge, after = judge(
        [("x", r"\boxed{2x - x}"), ("5", rf"\boxed{{{answer}}}"), (r"\sqrt{12}", r"\boxed{2\sqrt{3}}")], SMALL
    )
    assert before.correct is True and after.correct is True
    assert huge.correct is None and "time limit of 1 s" in huge.error and huge.answer is None


@pytest.mark.parametrize("answer", ["10^{10^{10}}", "(10^9)!", r"\binom{10^9}{10^8}", "100000!"])
def test_a_large_answer_is_wrong_where_its_size_can_be_told(answer):
    (verdict,) = judge([("5", rf"\boxed{{{answer}}}")])
    assert verdict.correct is False


@pytest.mark.parametrize(
    "answer",
    [
        r"\sqrt{" * 1000 + "2" + "}" * 1000,
        "(" * 1000 + "2" + ")" * 1000,
        "9" * 1900,
        "x+" * (LONGEST // 2 + 1) + "x",
        "{" * 1000,
    ],
)
def test_a_monstrous_answer_is_wrong_at_once(answer):
    (verdict,) = judge([("5", rf"\boxed{{{answer}}}")])
    assert verdict.correct is False and verdict.answer is None


def test_a_dead_worker_is_replaced_and_costs_no_answer():
    verifier = MathVerifier(seconds=7.0, workers=1)
    assert judge([("x", r"\boxed{2x-x}")], verifier)[0].correct is True
    (worker,) = workers.shared_pool(1, verifier.memory_mb, 7.0).workers
    subprocess.run(["kill", "-9", str(worker.pid)], check=True)
    verdicts = judge([("x", r"\boxed{3x-2x}"), ("x", r"\boxed{4x-3x}")], verifier)
    assert [verdict.correct for verdict in verdicts] == [True, True]


def test_threads_share_the_workers():
    results = []

    def work(factor):
        results.append(
            judge([("x", rf"\boxed{{{factor}x - {factor - 1}x}}"), ("x", rf"\boxed{{{factor}x}}")])
        )

    threads = [threading.Thread(target=work, args=(factor,)) for factor in range(2, 6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert [[v.correct for v in verdicts] for verdicts in results] == [[True, False]] * 4


def test_equal_questions_are_asked_once(monkeypatch):
    asked = []

    class Counting:
        def ask(self, questions):
            asked.extend(questions)
            return ["right"] * len(questions)

    monkeypatch.setattr("harness.verifiers.math.shared_pool", lambda *_: Counting())
    assert [v.correct for v in judge([("x", r"\boxed{2x-x}")] * 3 + [("5", r"\boxed{5}")])] == [True] * 4
    assert asked == [("x", "2x-x")]


def test_neither_the_import_nor_a_verifier_starts_or_loads_anything_heavy():
    code = (
        "import sys, json, harness.verifiers.math as m; m.MathVerifier();"
        "from harness.verifiers.workers import _pools;"
        "print(json.dumps([len(_pools), sorted({'torch', 'sympy', 'math_verify', 'numpy'} & set(sys.modules))]))"
    )
    out = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout
    assert json.loads(out) == [0, []]


def test_facts_name_the_checker():
    assert MathVerifier(seconds=3).facts() == {"math_verify": "0.9.0", "seconds": 3, "memory_mb": 2048}


def test_marked_answers_only():
    problem = Problem("q", "math", data="73")
    loose, strict = MathVerifier(), MathVerifier(marked=True)
    cut_off = "Let me try n = 73"
    assert [v.judge([problem], [cut_off])[0].correct for v in (loose, strict)] == [True, False]
    assert strict.judge([problem] * 2, ["so \\boxed{73}", "so\n#### 73"])[1].correct


@pytest.mark.parametrize("box", ["C. twelve", "C: twelve", "\\text{C. twelve}", "\\text{Option C}", "(C) twelve", "C"])
def test_a_letter_in_a_box_is_read_as_in_multiple_choice(box):
    verdicts = MathVerifier().judge([Problem("q", "math", data=d) for d in "CB"], [f"\\boxed{{{box}}}"] * 2)
    assert [v.correct for v in verdicts] == [True, False]

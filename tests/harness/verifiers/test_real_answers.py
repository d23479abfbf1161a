"""The verifiers on the benchmarks' own answers; needs the data folder, see `FOLDER`."""

import json
import os
import random
from pathlib import Path

import pytest

from harness.suites.problem import Problem
from harness.verifiers.choice import ChoiceVerifier, shuffled
from harness.verifiers.math import MathVerifier
from harness.verifiers.numeric import NumericVerifier

FOLDER = Path(os.environ.get("HARNESS_DATA", Path(__file__).parents[4] / "shared/data"))


def rows(name):
    path = FOLDER / name
    if not path.is_file():
        pytest.skip(f"{path} is absent: set HARNESS_DATA to the folder with the benchmark files")
    text = path.read_text()
    return json.loads(text) if path.suffix == ".json" else [json.loads(line) for line in text.splitlines()]


def unexpected(verifier, data, completions, correct=True):
    verdicts = verifier.judge([Problem("q", "d", data=d) for d in data], completions)
    return [
        (d, c[-80:], v)
        for d, c, v in zip(data, completions, verdicts, strict=True)
        if v.correct is not correct
    ]


@pytest.mark.parametrize("name", ["gsm8k_test.jsonl", "gsm8k_train_1500.jsonl"])
def test_gsm8k(name):
    solutions = [row["answer"] for row in rows(name)]
    answers = [solution.split("####")[1].strip() for solution in solutions]
    assert unexpected(MathVerifier(), answers, solutions) == []
    assert unexpected(MathVerifier(), answers, [rf"\boxed{{{a}}}" for a in answers]) == []
    assert unexpected(MathVerifier(), answers, [f"In the end she has {a} left." for a in answers]) == []
    others = [
        (a, b) for a, b in zip(answers, answers[1:], strict=False) if a.replace(",", "") != b.replace(",", "")
    ]
    assert unexpected(MathVerifier(), [a for a, _ in others], [f"#### {b}" for _, b in others], False) == []


@pytest.mark.parametrize("name", ["math500.json", "aime24_test.jsonl"])
def test_math(name):
    found = rows(name)
    answers = [row["answer"] for row in found]
    assert unexpected(MathVerifier(), answers, [row["solution"] for row in found]) == []
    assert unexpected(MathVerifier(), answers, [rf"so $\boxed{{{a}}}$." for a in answers]) == []
    assert unexpected(MathVerifier(), answers, [f"The answer is ${a}$." for a in answers]) == []


def test_math_refuses_another_answer():
    answers = [row["answer"] for row in rows("math500.json")]
    rng = random.Random(0)
    pairs = [(a, b) for a, b in zip(answers, rng.sample(answers, len(answers)), strict=True) if a != b]
    assert (
        len(unexpected(MathVerifier(), [a for a, _ in pairs], [rf"\boxed{{{b}}}" for _, b in pairs], False))
        <= 1
    )


def test_scibench():
    found = [row for book in ("atkins", "chemmc", "fund") for row in rows(f"scibench/{book}.json")]
    data = [{"number": row["answer_number"], "unit": row["unit"]} for row in found]
    units = [row["unit"].replace("$", "").strip() for row in found]
    numbers = [row["answer_number"].strip() for row in found]
    verifier = NumericVerifier()
    assert unexpected(verifier, data, [rf"\boxed{{{n}}}" for n in numbers]) == []
    # One unit is written with a semicolon: `electrons; `.
    written = [rf"\boxed{{{n} {unit}}}" for n, unit in zip(numbers, units, strict=True)]
    assert len(unexpected(verifier, data, written)) <= 1
    latex = [rf"\boxed{{{row['answer_latex'].strip()}}}" for row in found]
    assert (
        len(unexpected(verifier, data, latex)) <= 2
    )  # two rows whose LaTeX and number disagree in the data set


def test_mmlu_letters():
    data = []
    for number, row in enumerate(rows("mmlu_stem_test.jsonl")):
        _, letter, order = shuffled(row["question"], row["choices"], row["answer"], str(number))
        data.append({"letter": letter, "options": [row["choices"][i] for i in order]})
    verifier = ChoiceVerifier()
    assert unexpected(verifier, data, [rf"A good guess: \boxed{{{d['letter']}}}" for d in data]) == []
    texts = [d["options"]["ABCD".index(d["letter"])] for d in data]
    assert (
        unexpected(verifier, data, [f"Answer: {d['letter']}) {t}" for d, t in zip(data, texts, strict=True)])
        == []
    )
    others = ["ABCD"[("ABCD".index(d["letter"]) + 1) % 4] for d in data]
    assert unexpected(verifier, data, [f"The answer is ({x})." for x in others], False) == []
    # Left over: an option's text is another option's letter, or two options are the same.
    assert len(unexpected(verifier, data, [rf"\boxed{{{t}}}" for t in texts])) <= 5

import math

import pytest
import torch

from methods import MissingSignal
from methods.shaping.rouge_l import RougeL, rouge_l

nan = math.nan


@pytest.mark.parametrize(
    ("completion", "reference", "f1"),
    [
        ("a b c d", "a x c d", 0.75),  # LCS 3: P = 3/4, Rc = 3/4
        ("a b c", "c b a", 1 / 3),  # LCS 1: 1/3 and 1/3
        ("the cat sat", "the cat sat on the mat", 2 * 1.0 * 0.5 / 1.5),  # P = 3/3, Rc = 3/6
        ("the cat sat on the mat", "the cat sat", 2 * 0.5 * 1.0 / 1.5),
        ("a b", "c d", 0.0),
        ("", "a", 0.0),
        ("a", "  ", 0.0),
        ("2+3*4=14", "2+3*4=20", 6 / 7),  # 2 + 3 * 4 = and the result: seven pieces, six in common
        ("A b", "a b", 0.5),  # letters keep their case: M and m are not the same symbol
        ("x1 y", "x 1 y", 2 * 0.5 * (1 / 3) / (0.5 + 1 / 3)),
    ],
)
def test_f1_by_hand(completion, reference, f1):
    assert rouge_l(completion, reference) == pytest.approx(f1, abs=1e-15)


def test_reward_plus_lambda_f1(batch_of, close):
    batch = batch_of(
        [1.0, 0.0, 1.0, nan],
        2,
        completions=["a b c d", "a b", "a", "a"],
        references=["a x c d", "a b", None, "a"],
    )
    shaped = RougeL(weight=0.2)(batch)
    close(shaped.rewards[:3], [1.0 + 0.2 * 0.75, 0.0 + 0.2 * 1.0, 1.0])
    assert math.isnan(shaped.rewards[3])
    close(shaped.reward_terms["rouge_l"], [0.75, 1.0, 0.0, 0.0])
    assert batch.rewards[:3].tolist() == [1.0, 0.0, 1.0]


def test_row_without_a_reference_is_unchanged_to_the_bit(batch_of):
    batch = batch_of([0.1, 0.2], 2, completions=["a", "b"], references=[None, None])
    assert torch.equal(RougeL(weight=0.3)(batch).rewards, batch.rewards)


def test_weight_zero_changes_nothing(batch_of):
    batch = batch_of([1.0, 0.0], 2, completions=["a", "b"], references=["a", "b"])
    assert torch.equal(RougeL(weight=0.0)(batch).rewards, batch.rewards)


@pytest.mark.parametrize(("gate", "expected"), [("none", [1.5, 1.0, 0.75]), ("correct", [1.5, 0.5, 0.25])])
def test_gate_on_correctness(batch_of, close, gate, expected):
    batch = batch_of([1.0, 0.5, 0.25], 3, completions=["a"] * 3, references=["a"] * 3)
    close(RougeL(weight=0.5, gate=gate)(batch).rewards, expected)


def test_the_reward_that_counts_as_correct_is_an_option(batch_of, close):
    batch = batch_of([0.5, 0.4], 2, completions=["a"] * 2, references=["a"] * 2)
    close(RougeL(weight=0.5, gate="correct", correct_reward=0.5)(batch).rewards, [1.0, 0.4])


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        (
            "whole",
            [6 / 7, 2 * 1.0 * 0.2 / 1.2],
        ),  # seven pieces, think so < / think > 7, six in common; 1 of 1 and of 5
        ("reasoning", [0.5, 0.0]),
        ("answer", [1.0, 0.0]),
    ],
)
def test_text_compared(batch_of, close, text, expected):
    # row 0: reasoning "think so" against "think no", answer "7" against "7"
    # row 1: the completion was cut before its answer, the reference's reasoning is empty
    batch = batch_of(
        [0.0, 0.0],
        2,
        completions=["think so</think>7", "a"],
        references=["think no</think>7", "</think>a"],
    )
    got = RougeL(weight=1.0, text=text)(batch).rewards
    close(got, expected)


def test_answer_is_what_follows_the_last_separator(batch_of, close):
    batch = batch_of([0.0, 0.0], 2, completions=["a = b = c", "a"], references=["c", "x = c"])
    # a reference without a separator has no answer part: unchanged
    close(RougeL(weight=1.0, text="answer", separator="=")(batch).rewards, [0.0, 0.0])
    batch = batch_of([0.0, 0.0], 2, completions=["a = b = c", "x = d"], references=["x = c", "x = c"])
    close(RougeL(weight=1.0, text="answer", separator="=")(batch).rewards, [1.0, 0.0])


def test_texts_that_are_missing_are_named(batch_of):
    with pytest.raises(MissingSignal, match="references"):
        RougeL()(batch_of([1.0, 0.0], 2, completions=["a", "b"]))


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"weight": nan}, "weight"),
        ({"weight": -0.1}, "weight"),
        ({"text": "all"}, "RougeL.text.*whole, reasoning, answer"),
        ({"gate": "right"}, "RougeL.gate"),
        ({"separator": ""}, "separator"),
    ],
)
def test_wrong_options_are_refused(options, message):
    with pytest.raises(ValueError, match=message):
        RougeL(**options)

import pytest

from methods.answers import answer_spans, in_answers, last_answer, worked_answers


@pytest.mark.parametrize(
    ("text", "separator", "until", "answers"),
    [
        ("3+8=11", "=", "", ["11"]),
        ("a=b=c", "=", "", ["c"]),  # the last one counts
        ("3+8=11;7-3=4", "=", ";", ["11", "4"]),
        ("3+8=11;7-3=4", "=", "", ["4"]),
        ("3+8=11;7;2=2", "=", ";", ["11", "2"]),  # the stretch in the middle has none
        ("a</think>b", "</think>", "", ["b"]),
        ("so <answer>42</answer> end", "<answer>", "</answer>", ["42"]),
        ("3+8=", "=", ";", [""]),
        ("3+8", "=", ";", []),
        ("", "=", ";", []),
    ],
)
def test_answers_of_a_text(text, separator, until, answers):
    assert [text[start:end] for start, end in answer_spans(text, separator, until)] == answers


def test_spans_are_places_in_the_whole_text():
    # 3 + 8 = 1 1 ; 7 = 7
    # 0 1 2 3 4 5 6 7 8 9
    assert answer_spans("3+8=11;7=7", "=", ";") == [(4, 6), (9, 10)]
    assert answer_spans("a::b||c::d", "::", "||") == [(3, 4), (9, 10)]


@pytest.mark.parametrize(
    ("text", "separator", "answer"),
    [("a=b=c", "=", "c"), ("a", "=", None), ("a=", "=", ""), ("a=b", "", "a=b"), ("", "", "")],
)
def test_last_answer(text, separator, answer):
    assert last_answer(text, separator) == answer


@pytest.mark.parametrize(
    ("text", "separator", "until", "pairs"),
    [
        ("3+8=11;7-3=4", "=", ";", [("3+8=", "11"), ("7-3=", "4")]),
        ("3+8=11;7-3=4", "=", "", [("3+8=11;7-3=", "4")]),
        ("a=1;b;c=2", "=", ";", [("a=", "1"), ("b;c=", "2")]),  # what has no answer leads up to the next one
        ("<answer>42</answer>.", "<answer>", "</answer>", [("<answer>", "42")]),
        ("3+8", "=", ";", []),
    ],
)
def test_working_and_answer(text, separator, until, pairs):
    assert worked_answers(text, separator, until) == pairs


@pytest.mark.parametrize(
    ("pieces", "separator", "until", "inside"),
    [
        (["a", "=", "1", ";", "=", "2"], "=", ";", [0, 0, 1, 0, 0, 1]),
        (["a=1", "2;b", "c"], "=", ";", [1, 1, 0]),  # a piece that holds a part of an answer belongs to it
        (["a", "=", "", "1", ""], "=", "", [0, 0, 0, 1, 0]),  # one without text does not
        (["x::", "4"], "::", "", [0, 1]),
        (["a", "b"], "=", "", [0, 0]),
        ([], "=", "", []),
    ],
)
def test_pieces_in_answers(pieces, separator, until, inside):
    assert in_answers(pieces, separator, until) == [bool(x) for x in inside]

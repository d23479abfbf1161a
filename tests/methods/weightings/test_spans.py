import numpy as np
import pytest

from methods.weightings.spans import Spans


def test_spans_by_hand():
    # eleven tokens in spans of four, one every three: 0–3, 3–6, 6–9, and 9–10 to reach the end
    spans = Spans.of(11, 4, 3, 4)
    assert spans.start.tolist() == [0, 3, 6, 9] and spans.stop.tolist() == [4, 7, 10, 11]
    assert spans.tokens.tolist() == list(range(11))
    assert spans.index[:, 0].tolist() == [0, 1, 2, 3] and spans.index[:, 2].tolist() == [6, 7, 8, 9]
    assert spans.mass.T.tolist() == [[0.25] * 4] * 3 + [[0.5, 0.5, 0.0, 0.0]]
    assert spans.index[:2, 3].tolist() == [9, 10]


def test_no_span_beyond_the_one_that_reaches_the_end():
    assert Spans.of(10, 4, 3, 4).start.tolist() == [0, 3, 6]  # 6–9 is the last token
    assert Spans.of(2048, 100, 25, 8).start[-1] == 1950
    assert Spans.of(3, 1, 1, 1).start.tolist() == [0, 1, 2]


@pytest.mark.parametrize("n", [1, 3, 4])
def test_a_completion_no_longer_than_a_span_is_one(n):
    spans = Spans.of(n, 4, 2, 8)
    assert spans.start.tolist() == [0] and spans.stop.tolist() == [n]
    assert spans.tokens.tolist() == list(range(n)) and spans.mass.tolist() == [[1 / n]] * n


def test_points_are_evenly_spaced_by_hand():
    # three of eight: 0, ⌊8/3⌋, ⌊16/3⌋; the last span has two tokens and both
    spans = Spans.of(10, 8, 4, 3)
    assert spans.start.tolist() == [0, 4]
    assert spans.tokens[spans.index[:, 0]].tolist() == [0, 2, 5]
    assert spans.tokens[spans.index[:, 1]].tolist() == [4, 6, 8]  # of six: 4, 4 + ⌊6/3⌋, 4 + ⌊12/3⌋
    short = Spans.of(10, 8, 8, 3)
    assert short.stop.tolist() == [8, 10] and short.mass[:, 1].tolist() == [0.5, 0.5, 0.0]
    assert short.tokens[short.index[:2, 1]].tolist() == [8, 9]


@pytest.mark.parametrize(("n", "span", "stride", "points"), [(57, 8, 2, 8), (130, 100, 25, 8), (40, 7, 5, 3)])
def test_every_token_is_covered_and_masses_sum_to_one(n, span, stride, points):
    spans = Spans.of(n, span, stride, points)
    covered = set()
    for k, (start, stop) in enumerate(zip(spans.start, spans.stop, strict=True)):
        assert 0 < stop - start <= span
        covered |= set(range(start, stop))
        used = spans.tokens[spans.index[spans.mass[:, k] > 0, k]]
        assert len(set(used)) == len(used) == min(points, stop - start)
        assert start <= used.min() and used.max() < stop
    assert covered == set(range(n)) and spans.stop[-1] == n
    np.testing.assert_allclose(spans.mass.sum(0), 1.0)


def test_largest_of_the_covering_spans_by_hand():
    # tokens 0–2 | 3 is in both of the first spans | 6 in the second and third | 9 in the third and last
    spans = Spans.of(11, 4, 3, 4)
    found = spans.largest(np.array([2.0, 5.0, 1.0, 3.0]))
    assert found.tolist() == [2.0, 2.0, 2.0, 5.0, 5.0, 5.0, 5.0, 1.0, 1.0, 3.0, 3.0]

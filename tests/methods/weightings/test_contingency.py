import numpy as np
import pytest
from scipy.stats import fisher_exact

from methods.weightings.contingency import fisher_p, information_gain


def test_tables_by_hand():
    # two and two completions, a token in two of them: (2, 0) (1, 1) (0, 2) weigh 1, 4, 1 of 6
    p = fisher_p(2, 2)
    assert p[2, 0] == p[0, 2] == pytest.approx(2 / 6) and p[1, 1] == 1.0
    # in one of them: both tables weigh 2 of 4
    assert p[1, 0] == p[0, 1] == 1.0
    # in all or none: the only table there is
    assert p[2, 2] == p[0, 0] == 1.0
    # the lady tasting tea: 1, 16, 36, 16, 1 of 70
    p = fisher_p(4, 4)
    assert p[4, 0] == pytest.approx(2 / 70) and p[3, 1] == pytest.approx(34 / 70) and p[2, 2] == 1.0


def test_uneven_sides_by_hand():
    # three correct, two wrong, a token in four: a = 2 weighs 3, a = 3 weighs 2 of 5
    p = fisher_p(3, 2)
    assert p.shape == (4, 3)
    assert p[3, 1] == pytest.approx(2 / 5) and p[2, 2] == 1.0


@pytest.mark.parametrize(("correct", "wrong"), [(1, 1), (5, 3), (8, 8), (2, 14)])
def test_agrees_with_an_independent_implementation(correct, wrong):
    p = fisher_p(correct, wrong)
    for a in range(correct + 1):
        for b in range(wrong + 1):
            expected = fisher_exact([[a, b], [correct - a, wrong - b]]).pvalue
            assert p[a, b] == pytest.approx(expected, rel=1e-10)


def test_large_groups_are_exact_and_quick():
    p = fisher_p(128, 128)
    assert p[64, 64] == 1.0 and 0 < p[128, 0] < 1e-70


def test_the_table_is_kept_and_cannot_be_changed():
    assert fisher_p(3, 5) is fisher_p(3, 5)
    with pytest.raises(ValueError, match="read-only"):
        fisher_p(3, 5)[0, 0] = 2.0


def test_information_gain_by_hand():
    # three correct, two wrong: .970951 bits
    #   present in 3 and 1: 4/5 of the group with 3 : 1, .811278 bits, the rest certain
    #   present in 3 and 0: certain either way
    #   present in 0 and 1: 4/5 with 3 : 1
    #   present in all or none: nothing learnt
    a, b = np.array([3, 3, 0, 3, 0]), np.array([1, 0, 1, 2, 0])
    whole = 0.9709505944546686
    expected = [whole - 0.8 * 0.8112781244591328, whole, whole - 0.8 * 0.8112781244591328, 0.0, 0.0]
    assert information_gain(a, b, 3, 2) == pytest.approx(expected, abs=1e-12)


def test_information_gain_of_independence_is_exactly_nothing():
    gain = information_gain(np.array([1, 2, 3, 0]), np.array([1, 2, 3, 0]), 6, 6)
    assert gain == pytest.approx(0.0, abs=1e-15) and (gain >= 0).all()
    assert information_gain(np.array([4]), np.array([0]), 4, 4) == pytest.approx(1.0)  # one bit

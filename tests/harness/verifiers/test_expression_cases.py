from harness.verifiers.expression import share_passed

CASES = [(0, 3), (1, 5), (2, 7), (3, 9)]


def test_share_of_hidden_cases():
    assert share_passed("2*x+3", CASES) == 1.0
    assert share_passed("x+3+x", CASES) == 1.0  # any equivalent expression
    assert share_passed("5*x", CASES) == 0.25
    assert share_passed("print(3)", CASES) == 0.0
    assert share_passed("", CASES) == 0.0

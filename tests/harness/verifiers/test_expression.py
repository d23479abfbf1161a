import pytest

from harness.verifiers.expression import Malformed, evaluate


@pytest.mark.parametrize(
    ("expression", "value"),
    [("2*x+3", 11), ("(x+1)*2", 10), ("-x", -4), ("x//3", 1), ("x%3", 1), ("7-x*2", -1), ("12", 12)],
)
def test_values(expression, value):
    assert evaluate(expression, 4) == value


@pytest.mark.parametrize(
    "expression",
    [
        "", "2*", "y", "x.real", "f(x)", "x**9", "9**9**9", "[x]", "x if x else 1", "lambda: 1", "1.5", "True", "'a'*9",
        "__import__('os')", "x<<99", "x/0", "x//0", "x%0", "x;x", "x=1", "(" * 100 + "x", "9" * 199, "x+" * 200 + "x",
        "1234567890123*1", "\x00", "2x", "x\nx", "f'{x}'", "x:=3", "~x", "not x", "...",
    ],
)  # fmt: skip
def test_everything_else_is_malformed(expression):
    with pytest.raises(Malformed):
        evaluate(expression, 4)


def test_growing_numbers_stop_at_the_bound():
    with pytest.raises(Malformed, match="beyond"):
        evaluate("*".join(["999999"] * 20), 1)

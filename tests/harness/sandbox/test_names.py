import pytest

from harness.sandbox import defined_names
from harness.sandbox.names import split_names


@pytest.mark.parametrize(
    ("tests", "theirs", "names", "modules"),
    [
        ("assert f(1) == 2", None, ["f"], []),
        ("assert abs(f(1)) == len('a')", None, ["f"], []),
        ("assert abs(f(1)) == 1", ["f", "abs", "unused"], ["abs", "f"], []),
        ("assert math.isclose(f(1), 1)", None, ["f"], ["math"]),
        ("assert math.isclose(f(1), 1)", ["f", "math"], ["f", "math"], []),
        ("import math\nassert math.isclose(f(1), 1)", None, ["f"], []),
        ("assert bisect(1) == 2", None, ["bisect"], []),  # a call, not a module
        ("def check(c):\n    assert c(1) == 2\ncheck(f)", None, ["f"], []),
        ("x = f(1)\nassert x == 2", ["f", "x"], ["f"], []),
        ("from os import path as f\nassert f(1) == 2", None, [], []),
        ("class A: pass\nassert A() and [y for y in f(1)]", None, ["f"], []),
        ("assert f(1) ==", None, [], []),
    ],
)
def test_split(tests, theirs, names, modules):
    assert split_names(tests, theirs) == (tuple(names), tuple(modules))


def test_defined_names():
    code = "import os\nfrom math import pi\nA = b = 1\nfor i in []: c = 2\ndef f(x):\n    y = 1\nclass C: z = 1\n"
    assert defined_names(code) == {"A", "b", "c", "i", "f", "C"}

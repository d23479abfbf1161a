from dataclasses import dataclass, make_dataclass
from typing import Literal

import pytest

from methods.options import check_choice, check_options


def test_wrong_value_lists_valid_ones_and_the_nearest():
    with pytest.raises(ValueError, match="scale.*'grup'.*did you mean 'group'.*group, batch, none"):
        check_choice("scale", "grup", ("group", "batch", "none"))


def test_value_far_from_all_lists_them_without_a_guess():
    with pytest.raises(ValueError, match="group, batch") as error:
        check_choice("scale", None, ("group", "batch"))
    assert "did you mean" not in str(error.value)


@pytest.mark.parametrize(
    ("kind", "good", "bad"),
    [
        (bool, [True, False], ["off", 1, None]),
        (int, [0, -3], [1.0, True, "1"]),
        (float, [1, 0.5, float("nan")], [True, "0.1", None]),
        (str, [""], [1, None]),
    ],
)
def test_plain_fields_take_their_own_kind(kind, good, bad):
    Part = make_dataclass("Part", [("x", kind)])
    for value in good:
        check_options(Part(value))
    for value in bad:
        with pytest.raises(ValueError, match=f"Part.x: expected {kind.__name__}, got"):
            check_options(Part(value))


def test_every_literal_field_of_a_part_is_checked():
    @dataclass(frozen=True)
    class Part:
        size: int = 3
        first: Literal["a", "b"] = "a"
        second: Literal["c", "d"] = "c"

        def __post_init__(self):
            check_options(self)

    assert Part(first="b", second="d").second == "d"
    with pytest.raises(ValueError, match="Part.second.*c, d"):
        Part(second="a")

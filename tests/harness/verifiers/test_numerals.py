from fractions import Fraction

import pytest
from hypothesis import given
from hypothesis import strategies as st

from harness.verifiers.numerals import cleaned, is_unit, plain_number, spelled


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("18", 18), ("+18", 18), ("-18", -18), ("−18", -18), ("018", 18), ("18.0", 18), ("18.", 18),
        (".5", "1/2"),
        ("1,234", 1234), ("1{,}234", 1234), (r"1,\!234", 1234), (r"1\,234", 1234), ("1 234", 1234),
        ("1,234,567.5", "2469135/2"),
        ("$1,234", 1234), (r"\$1,234", 1234), ("-$5", -5), ("$-5", -5), ("€7", 7), ("5%", 5),
        (r"5.5\%", "11/2"),
        (r"\frac{14}{3}", "14/3"), (r"\dfrac{-1}{2}", "-1/2"), (r"-\frac{1}{2}", "-1/2"),
        (r"\frac12", "1/2"), (r"\frac 59", "5/9"),
        (r"\frac{270}7", "270/7"), ("3/4", "3/4"), ("3 / 4", "3/4"), (r"1\frac{4}{5}", "9/5"),
        ("1 4/5", "9/5"), ("-1 1/2", "-3/2"),
        (r"1.2 \times 10^{-3}", "3/2500"), (r"1.2\cdot10^3", 1200), ("1.2e-3", "3/2500"),
        ("1.2 × 10⁻³", "3/2500"), ("2x10^3", 2000),
        ("10^6", 10**6), ("10^{-2}", "1/100"), ("5 million", 5_000_000), (r"5 \text{ million}", 5_000_000),
        ("2 thousand eggs", 2000),
        ("5 apples", 5), (r"5 \text{ cm}", 5), (r"15\mbox{ cm}^2", 15), (r"864 \mbox{ inches}^2", 864),
        ("5 cm", 5), ("5cm", 5), ("5 m", 5),
        (r"90^\circ", 90), ("90°", 90), (r"\frac{270}7\text{ degrees}", "270/7"),
        (r"0.\overline{3}", "1/3"), (r"1.2\overline{45}", "137/110"),
        ("**18**", 18), ("$18$", 18), (r"\(18\)", 18), ("{18}", 18), (r"\frac{0}{5}", 0),
    ],
)  # fmt: skip
def test_plain_numbers(text, value):
    assert plain_number(text) == Fraction(value)


@pytest.mark.parametrize(
    "text",
    [
        "", "x", "5x", "5t", "5 x", "5 e", "5 i", "5 or 6", "5 and 6", "5, 6", "1,2,3", "1,23", "5 6",
        "5-6", "5!", "5^2", "5+6", "5 pi",
        r"5\pi", r"5\sqrt{2}", "5 squared", "5 dozen", r"5 \text{ or } 6", r"5 \text{ or 6}", "(5)",
        "{5},{6}", "5:6", "--5", "-$-5", "1.2.3",
        r"\frac{1}{0}", "1/0", r"\frac{x}{2}", "10^{99999}", "1e9999", "9" * 200, "1/2/3", "3 1/2/3",
        r"5\%6", "e5", "∞", "5 xyz",
    ],
)  # fmt: skip
def test_not_plain_numbers(text):
    assert plain_number(text) is None


def test_units():
    assert (
        is_unit(" apples")
        and is_unit(r"\text{ cm}^2")
        and is_unit(" kg")
        and is_unit(r"^\circ\text{C}")
        and is_unit("")
    )
    assert (
        not is_unit(" or")
        and not is_unit(" x")
        and not is_unit("x")
        and not is_unit(r"\sqrt{2}")
        and not is_unit(" 6")
    )
    assert is_unit(r"\text{ cm}", bare=False) and not is_unit(" cm", bare=False)


def test_cleaned_keeps_the_breaks_between_rows():
    assert cleaned(r"\begin{pmatrix} 1 \\ 2 \end{pmatrix}") == r"\begin{pmatrix} 1 \\ 2 \end{pmatrix}"
    assert cleaned(r"\left( 3,\, \dfrac{\pi}{2} \right).") == r"( 3, \frac{\pi}{2} )"
    assert cleaned("$5 and $6") == "$5 and $6"


@pytest.mark.parametrize(
    ("value", "text"),
    [(5, "5"), (-3, "-3"), ("1/4", "0.25"), ("-1/8", "-0.125"), ("14/3", "14/3"), ("-1/3", "-1/3"), ("1/500", "0.002")],
)  # fmt: skip
def test_spelled(value, text):
    assert spelled(Fraction(value)) == text


@given(st.fractions(max_denominator=10**6))
def test_a_spelling_is_read_back_exactly(value):
    assert plain_number(spelled(value)) == value


@given(st.integers(-(10**12), 10**12))
def test_thousands_are_read_back(value):
    assert plain_number(f"{value:,}") == plain_number(f"${value:,}.00") == value


@given(st.text(max_size=40))
def test_any_text_is_read_or_not(text):
    assert plain_number(text) is None or isinstance(plain_number(text), Fraction)

import pytest
from hypothesis import given
from hypothesis import strategies as st

from harness.suites.problem import Problem
from harness.verifiers.numeric import NumericVerifier, number_of, power_of


def verdict(number, unit, completion, tolerance=0.05):
    problem = Problem("q", "science", data={"number": number, "unit": unit})
    return NumericVerifier(tolerance).judge([problem], [completion])[0]


@pytest.mark.parametrize(
    ("text", "number"),
    [
        ("50.7", 50.7), ("-65.49", -65.49), ("+2.98", 2.98), ("−3", -3), ("1,410", 1410), (".5", 0.5),
        ("1e3", 1000), ("1.2e-3", 0.0012),
        (r"1.2 \times 10^{-3}", 0.0012), (r"1.2\times10^{-3}", 0.0012), (r"1.2 \cdot 10^3", 1200),
        ("1.2 × 10⁻³", 0.0012), ("1.2 x 10^-3", 0.0012),
        (r"$-1.0 \times 10^2$", -100), ("10^{-3}", 0.001), ("3/2", 1.5), (r"\frac{3}{2}", 1.5),
        (r"-\frac{1}{2}", -0.5), (" 3 / 2", 1.5),
        ("10.0 mol", 10), (r"5 \mathrm{~m/s^2}", 5), (r"5 \mathrm{~m} / \mathrm{s}^2", 5),
        ("1.2 kg m^{-3}", 1.2), ("5 m/s^2", 5), ("47 N/C", 47),
        (r"479 \mathrm{~N} \cdot \mathrm{m}^{-1}", 479), (r"56\,\mathrm{pC}", 56),
        (r"-1.00 \mu \mathrm{C}", -1), (r"-273 ^{\circ} \mathrm{C}", -273),
        (r"0.829 \mathrm{~N} \hat{\mathrm{i}}", 0.829), ("0.249 %", 0.249), (r"1.25 10^{-3} \%", 0.00125),
        (r"3.52 10^{-19} \mathrm{~J}", 3.52e-19),
        (r"3.52 $10^{-19} \mathrm{~J}$", 3.52e-19), ("P = 50.7", 50.7), (r"E_k = 50.7 \text{ atm}", 50.7),
        (r"x \approx 50.7", 50.7), ("≈ 50.7 atm", 50.7),
        ("(0.829)", 0.829), (r"\text{50.7 atm}", 50.7), (r"\mathbf{5}", 5), ("6.02214e23", 6.02214e23),
        ("1.07 10^{16} photons", 1.07e16),
        ("8.3147 J K^-1 mol^-1", 8.3147), ("5 cm²", 5), ("0", 0), ("123456789", 123457000),
    ],
)  # fmt: skip
def test_numbers(text, number):
    assert number_of(text) == number


@pytest.mark.parametrize(
    "text",
    [
        "", "x", "5 or 6", "5, 6", "5; 6", "5 6", "5-6", "5 to 6", "5 + 6", "5*6", r"5 \pm 1", r"2\pi", r"\sqrt{2}",
        r"5\sqrt{2}", "5^2", "5!", "5 = 6", "x = 5, y = 6", "3x = 5", "between 5 and 6", "1e999", "10^{9999}",
        r"\frac{1}{0}", "m/s^2", "5 m 6 s", "> 5", "5 < x",
    ],
)  # fmt: skip
def test_not_one_number(text):
    assert number_of(text) is None


@pytest.mark.parametrize(
    ("unit", "power"),
    [
        ("$\\mathrm{atm}$ ", 0), (" ", 0), ("$10^{-19} \\mathrm{~J}$", -19),
        ("$10^7 \\mathrm{~m} \\cdot \\mathrm{s}^{-1}$ ", 7), (" $10^6$ m", 6),
        (" 10^{-5} \\mathrm{~m}", -5), (" $\r\n10^{15} \\text { photon }\r\n$", 15), ("$10^{42}$", 42),
        (" $10^{-3} \\%$", -3),
        ("$\\mathrm{dm}^3 \\mathrm{~mol}^{-1}$ ", 0), (" %", 0), ("$\\mathrm{cm}^{10}$", 0),
    ],
)  # fmt: skip
def test_powers_of_ten_in_units(unit, power):
    assert power_of(unit) == power


@pytest.mark.parametrize(
    ("number", "unit", "completion", "correct"),
    [
        ("50.7", "$\\mathrm{atm}$ ", r"\boxed{50.7}", True),
        ("50.7", "$\\mathrm{atm}$ ", r"\boxed{53.3}", True),  # 53.3 · 0.95 = 50.6
        ("50.7", "$\\mathrm{atm}$ ", r"\boxed{53.4}", False),  # 53.4 · 0.95 = 50.73
        ("50.7", "$\\mathrm{atm}$ ", r"\boxed{48.2}", True),  # 50.7 · 0.95 = 48.165
        ("50.7", "$\\mathrm{atm}$ ", r"\boxed{48.1}", False),
        ("50.7", "$\\mathrm{atm}$ ", r"\boxed{-50.7}", False),
        ("50.7", "$\\mathrm{atm}$ ", r"\boxed{50.7 \mathrm{~kPa}}", True),  # units are not compared
        ("50.7", "$\\mathrm{atm}$ ", "The pressure is 50.7 $\\mathrm{atm}$.", True),
        ("50.7", "$\\mathrm{atm}$ ", "The answer is 50.7 atm. It took 3 steps.", True),
        ("50.7", "$\\mathrm{atm}$ ", "no number", False),
        ("50.7", "$\\mathrm{atm}$ ", r"\boxed{1, 50.7}", False),
        ("3.52", "$10^{-19} \\mathrm{~J}$", r"\boxed{3.52}", True),
        ("3.52", "$10^{-19} \\mathrm{~J}$", r"\boxed{3.52 \times 10^{-19} \mathrm{~J}}", True),
        ("3.52", "$10^{-19} \\mathrm{~J}$", r"\boxed{3.52 \times 10^{-18}}", False),
        ("3.52", "$10^{-19} \\mathrm{~J}$", r"\boxed{5.52 \times 10^{-19}}", False),
        ("3.52", "$10^{-19} \\mathrm{~J}$", r"\boxed{0}", False),
        ("2", "$10^6$ m", r"\boxed{2{,}000{,}000}", True),
        ("0", " ", r"\boxed{0}", True),
        ("0", " ", r"\boxed{0.00}", True),
        ("0", " ", r"\boxed{1e-19}", False),
        ("0", " ", r"\boxed{0.001}", False),
        (" -194", "$\\mathrm{~J}$", r"\boxed{-194}", True),
        ("+65.49", None, r"\boxed{65.49}", True),
        ("5.0", "m", r"<think>\boxed{5}", False),
    ],
)
def test_verdicts(number, unit, completion, correct):
    found = verdict(number, unit, completion)
    assert found.correct is correct and found.reward == float(correct) and found.error is None


def test_the_tolerance_is_the_users():
    assert verdict("100", "", r"\boxed{100.9}", tolerance=0.01).correct
    assert not verdict("100", "", r"\boxed{101.1}", tolerance=0.01).correct
    assert NumericVerifier(0.01).facts() == {"tolerance": 0.01}


def test_answers_for_votes():
    texts = [r"\boxed{1.2 \times 10^{-3}}", r"\boxed{0.0012 \text{ m}}", r"\boxed{x = 1.2e-3}"]
    assert {verdict("5", "", text).answer for text in texts} == {"0.0012"}


@pytest.mark.parametrize("data", [None, 5, "5", {}, {"number": "x"}, {"number": "1e999"}, {"number": None}])
def test_a_bad_reference_is_a_failure(data):
    (found,) = NumericVerifier().judge([Problem("q", "science", data=data)], [r"\boxed{5}"])
    assert found.correct is None and "reference" in found.error


@given(st.floats(-1e30, 1e30).filter(lambda x: x == 0 or abs(x) > 1e-30))
def test_a_number_is_right_against_itself_and_wrong_beyond_the_tolerance(value):
    assert verdict(repr(value), "", rf"\boxed{{{value!r}}}").correct
    assert not verdict(repr(value), "", rf"\boxed{{{1.2 * value + (value == 0)!r}}}").correct


@given(st.text(max_size=50))
def test_no_completion_raises(text):
    assert verdict("5", "m", text).correct in (True, False)
    assert verdict("5", "m", rf"\boxed{{{text}}}").correct in (True, False)

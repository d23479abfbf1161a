r"""Plain numbers as people and models write them, read exactly.

Read: signs, thousands separators (`1,234`, `1{,}234`, `1\,234`, `1 234`), decimals, `\frac{3}{4}`, `3/4`,
mixed numbers, repeating decimals, powers of ten (`1.2 \times 10^{-3}`, `1.2e-3`, `1.2 × 10⁻³`, `10^{6}`), a currency
before or a unit after. A unit is dropped, never compared or converted. The signs of percent and
degree are dropped as well: 5% is read as 5, not as 0.05. "5 million" is 5,000,000.
"""

from __future__ import annotations

import re
from fractions import Fraction

MOST_DIGITS = 100
LARGEST_EXPONENT = 400  # beyond every double

_SUPERSCRIPTS = str.maketrans("⁰¹²³⁴⁵⁶⁷⁸⁹⁺⁻", "0123456789+-")
_SIGNS = str.maketrans(
    {"−": "-", "–": "-", "﹣": "-", "＋": "+", "\u00a0": " ", "\u2009": " ", "\u202f": " "}
)
_SPACES = re.compile(
    r"(?:(?<!\\)\\[,;: ]|(?<!\\)\\q?quad(?![A-Za-z])|~|\s)+"
)  # not the break of a matrix row
_NOTHING = re.compile(
    r"\\!|\\(?:left|right|displaystyle|textstyle|limits|boldsymbol|bigl|bigr|Bigl|Bigr|big|Big)(?![A-Za-z])\.?"
)
_SCALES = {"hundred": 2, "thousand": 3, "million": 6, "billion": 9, "trillion": 12}

_DIGITS = r"(?:\d{1,3}(?:,\d{3})+(?!\d)|\d{1,3}(?: \d{3})+(?!\d)|\d+)"
_DECIMAL = rf"(?:{_DIGITS}(?:\.\d*)?|\.\d+)"
_FRACTION = (
    r"\\frac ?(?:\{ ?(?P<{0}a>[-+]?\d+) ?\}|(?P<{0}c>\d)) ?(?:\{ ?(?P<{0}b>[-+]?\d+) ?\}|(?P<{0}d>\d))"
)
_FORMS = (
    re.compile(rf"(?P<whole>\d+)? ?{_FRACTION.replace('{0}', '')}"),
    re.compile(r"(?:(?P<whole>\d+) )?(?P<a>\d+) ?/ ?(?P<b>\d+)(?![\d.])"),
    re.compile(r"(?P<before>\d*)\.(?P<fixed>\d*)\\overline ?\{ ?(?P<again>\d+) ?\}"),
    re.compile(rf"(?P<decimal>{_DECIMAL})(?:[eE](?P<e>[-+]?\d{{1,4}})(?![\d.]))?"),
)
_POWER = re.compile(
    r" ?(?:\\times|\\cdot|×|·|\*|x(?= ?10 ?\^)) ?10 ?(?:\^ ?\{ ?(?P<p>[-+]?\d{1,4}) ?\}|\^ ?(?P<q>[-+]?\d{1,4}))"
)
_BARE_POWER = re.compile(r"10 ?(?:\^ ?\{ ?(?P<p>[-+]?\d{1,4}) ?\}|\^ ?(?P<q>[-+]?\d{1,4}))")
_CURRENCY = re.compile(r"(?:\\\$|[$€£¥₹]|\\pounds|\\euro|USD|US\$|Rs\.?)\s*")

# Commands round a text or a name; what they hold is the first group.
WRAPPED = re.compile(
    r"\\(?:text|mathrm|mbox|textrm|textbf|mathbf|textit|hbox|operatorname|rm) ?\{([^{}]*)\}"
)
_EXPONENT = re.compile(r"\^ ?\{ ?-?\d ?\}|\^ ?-?\d|\{ ?\}(?=\^)")


def _words_of(text: str) -> frozenset[str]:
    return frozenset(text.split())


_SHORT_UNITS = _words_of(
    "cm mm km nm pm dm kg mg ml mL ft in lb lbs oz yd mi hr hrs min sec mph kph Hz kHz MHz eV keV MeV kJ kN kW kPa "
    "Pa atm bar mol"
)
_LETTER_UNITS = _words_of("m g s L l N J K V W A C F T h")
# Words after a number that change it or that make the answer more than one number.
_NOT_UNITS = _words_of(
    "or and to plus minus times over divided by pi sqrt root squared cubed factorial half halves third thirds quarter "
    "quarters fourth fourths fifth fifths dozen score hundred thousand million billion trillion e i inf infinity log "
    "ln lg sin cos tan sec csc cot exp mod choose base not than but either neither about maybe if when where"
)


def cleaned(text: str) -> str:
    """One spelling of spaces, signs, powers and fractions; wrappers of a whole formula are taken off."""
    text = text.translate(_SIGNS)
    text = re.sub(r"[⁰¹²³⁴⁵⁶⁷⁸⁹⁺⁻]+", lambda m: "^{" + m.group().translate(_SUPERSCRIPTS) + "}", text)
    text = text.replace("{,}", ",").replace(r"\mathrm{~", r"\mathrm{")
    text = _NOTHING.sub("", text)
    text = re.sub(r"\\[dtc]frac(?![A-Za-z])", r"\\frac", text)
    text = re.sub(r"(?<=\d)(?:\\[,;: ]|~)(?=\d{3}(?!\d))", ",", text)
    text = _SPACES.sub(" ", text).strip()
    while True:
        before = text
        for opening, closing in (("$", "$"), (r"\(", r"\)"), (r"\[", r"\]"), ("**", "**")):
            inside = text[len(opening) : len(text) - len(closing)]
            wrapped = (
                len(text) > len(opening + closing) and text.startswith(opening) and text.endswith(closing)
            )
            if wrapped and opening not in inside:
                text = inside.strip()
        if text.startswith("{") and text.endswith("}") and _closes_last(text):
            text = text[1:-1].strip()
        while text and text[-1] in ".,;:" and not text.endswith(r"\,"):
            text = text[:-1].strip()
        if text == before:
            return text


def _closes_last(text: str) -> bool:
    """Whether the brace that opens `text` is closed by its last character only."""
    depth = 0
    for position, letter in enumerate(text):
        depth += {"{": 1, "}": -1}.get(letter, 0)
        if depth == 0:
            return position == len(text) - 1
    return False


def is_unit(text: str, bare: bool = True) -> bool:
    r"""Whether `text` is nothing but a unit or the name of what is counted, as in `\text{ cm}^2` or "eggs".

    With `bare=False` only wrapped text counts (`\text{…}`), so that the x of 5 x stays a variable.
    """
    rest = text.replace(r"^\circ", " ").replace(r"^{\circ}", " ").replace("°", " ")
    rest = re.sub(r"\\?%|\\degree\b", " ", rest)
    if not rest.strip():
        return True
    if rest.lstrip().startswith("^"):
        return False
    words: list[str] = []

    def wrapped(match: re.Match[str]) -> str:
        words.extend(_words(match.group(1)))
        return " "

    rest = WRAPPED.sub(wrapped, rest)
    if any(not _is_word(word) for word in words):
        return False
    outside = _words(rest)
    if not bare:
        return not outside
    return all(
        word in _SHORT_UNITS
        or word in _LETTER_UNITS
        or (len(word) >= 3 and _is_word(word) and bool(set(word.lower()) & set("aeiou")))
        for word in outside
    ) and (not outside or text[:1] in " \\^°%" or len(outside[0]) > 1)


def _words(text: str) -> list[str]:
    text = _EXPONENT.sub(" ", text).replace(r"\cdot", " ").replace(r"\mu", "µ").replace(r"\Omega", "Ω")
    return [word for word in re.split(r"[\s/.\-()·]+", text) if word]


def _is_word(word: str) -> bool:
    return word.isalpha() and word.lower() not in _NOT_UNITS and (len(word) > 1 or word not in "xyzijkn")


def read_number(text: str) -> tuple[Fraction, str] | None:
    """The exact number that `text` begins with and what follows it; None where it begins with none."""
    rest = cleaned(text)
    sign, signed = 1, False
    for _ in range(2):  # -$5 and $-5
        if rest[:1] in ("+", "-"):
            if signed:
                return None
            signed, sign = True, -1 if rest[0] == "-" else 1
            rest = rest[1:].lstrip()
            if rest[:1] in ("+", "-"):
                return None
        currency = _CURRENCY.match(rest)
        rest = rest[currency.end() :] if currency else rest
    bare = _BARE_POWER.match(rest)
    if bare:
        value, rest, powers = Fraction(1), rest[bare.end() :], [bare]
    else:
        form = next(filter(None, (form.match(rest) for form in _FORMS)), None)
        value = _value(form) if form else None
        if value is None:
            return None
        rest = rest[form.end() :]
        power = _POWER.match(rest)
        powers = [power] if power else []
        rest = rest[power.end() :] if power else rest
    for power in powers:
        exponent = int(power["p"] or power["q"])
        if abs(exponent) > LARGEST_EXPONENT:
            return None
        value *= Fraction(10) ** exponent
    scale = re.match(r" ?(?:\\text ?\{)? ?([a-z]+)\b ?\}?", rest)
    if scale and scale[1] in _SCALES:
        value *= 10 ** _SCALES[scale[1]]
        rest = rest[scale.end() :]
    return sign * value, rest


def _value(form: re.Match[str]) -> Fraction | None:
    """The value of one matched form, None where it divides by zero or is too long."""
    if len(form.group()) > MOST_DIGITS:
        return None
    groups = form.groupdict()
    if groups.get("decimal"):
        exponent = int(groups["e"] or 0)
        if abs(exponent) > LARGEST_EXPONENT:
            return None
        return Fraction(re.sub(r"[ ,]", "", groups["decimal"]).rstrip(".")) * Fraction(10) ** exponent
    if groups.get("again"):
        nines = 10 ** len(groups["again"]) - 1
        fixed = int(groups["before"] + groups["fixed"] or 0) + Fraction(int(groups["again"]), nines)
        return fixed / 10 ** len(groups["fixed"])
    above = int(groups["a"] or groups["c"])
    below = int(groups["b"] or groups["d"])
    if below == 0 or (groups["whole"] and (above < 0 or below < 0)):
        return None
    return int(groups["whole"] or 0) + Fraction(above, below)


def plain_number(text: str) -> Fraction | None:
    """The value of a text that is one number with nothing but a unit round it, else None."""
    found = read_number(text)
    return found[0] if found and is_unit(found[1]) else None


def spelled(value: Fraction) -> str:
    """One spelling of each value: `-3`, `0.25` where a short decimal is exact, else `14/3`."""
    below = value.denominator
    if below == 1:
        return str(value.numerator)
    for prime in (2, 5):
        while below % prime == 0:
            below //= prime
    places = next((n for n in range(1, 13) if (value * 10**n).denominator == 1), None) if below == 1 else None
    if places is None:
        return f"{value.numerator}/{value.denominator}"
    digits = str(abs(value.numerator) * 10**places // value.denominator).rjust(places + 1, "0")
    return f"{'-' if value < 0 else ''}{digits[:-places]}.{digits[-places:]}"

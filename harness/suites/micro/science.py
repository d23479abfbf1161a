"""Questions over real atomic numbers, masses and constants, each answered by one worked line.

Data: atomic numbers, masses and natural isotopes from `periodictable` (masses rounded to whole
units), the ice point from `scipy.constants.zero_Celsius` (rounded to 273 K). From level 2 on every
question offers two choices, and the line ends with the letter of one.
"""

from __future__ import annotations

from functools import cache
from random import Random

from harness.suites.micro.items import Item, Kind, grade_worked

LIGHT = ("H", "C", "N", "O", "F", "S", "P", "B")
ELEMENTS = ("H", "He", "Li", "Be", "B", "C", "N", "O", "F", "Ne", "Na", "Mg", "Al", "Si", "P", "S", "Cl", "K")


@cache
def _tables() -> tuple[dict[str, int], dict[str, int], dict[str, tuple[int, ...]], int]:
    """Atomic number, rounded mass and natural mass numbers by symbol; the ice point in kelvin."""
    import periodictable
    from scipy.constants import zero_Celsius

    number, mass, isotopes = {}, {}, {}
    for symbol in sorted({*LIGHT, *ELEMENTS}):
        element = periodictable.elements.symbol(symbol)
        number[symbol] = element.number
        mass[symbol] = round(element.mass)
        isotopes[symbol] = tuple(
            a for a in element.isotopes if element[a].abundance > 0 and a > element.number
        )
    return number, mass, isotopes, round(zero_Celsius)


def _item(rng: Random, level: int, kind: str, question: str, right: str, wrong: str) -> Item:
    if level >= 2:
        letters = rng.sample("ab", 2)
        results = dict(zip(letters, (line.split("=")[1] for line in (right, wrong)), strict=True))
        question += " " + "".join(f"{letter}{results[letter]}" for letter in "ab")
        right, wrong = right + letters[0], wrong + letters[1]
    return Item(kind, question, right, wrong)


def formula_mass(rng: Random, level: int) -> Item:
    """Mass of `(XY)n`. Misconception: the subscript applies to the last atom only."""
    _, mass, _, _ = _tables()
    x, y = rng.sample(LIGHT, 2)
    n = rng.randint(2, 3)
    a, b = mass[x], mass[y]
    return _item(
        rng, level, "formula_mass", f"M({x}{y}){n}", f"{a + b}*{n}={(a + b) * n}", f"{a}+{b * n}={a + b * n}"
    )


def ion_electrons(rng: Random, level: int) -> Item:
    """Electrons of an ion: atomic number minus charge. Misconception: plus charge."""
    number, *_ = _tables()
    symbol = rng.choice([s for s in ELEMENTS if number[s] > 3])
    charge, z = rng.choice((1, 2, 3)), number[symbol]
    sign, right, wrong = rng.choice((("+", z - charge, z + charge), ("-", z + charge, z - charge)))
    away, toward = ("-", "+") if sign == "+" else ("+", "-")
    return _item(
        rng,
        level,
        "ion_electrons",
        f"e{symbol}{charge}{sign}",
        f"{z}{away}{charge}={right}",
        f"{z}{toward}{charge}={wrong}",
    )


def neutrons(rng: Random, level: int) -> Item | None:
    """Neutrons of a natural isotope: mass number minus atomic number. Misconception: their sum."""
    number, _, isotopes, _ = _tables()
    symbol = rng.choice(ELEMENTS)
    a, z = rng.choice(isotopes[symbol] or (0,)), number[symbol]
    return (
        _item(rng, level, "neutrons", f"n{symbol}{a}", f"{a}-{z}={a - z}", f"{a}+{z}={a + z}") if a else None
    )


def kelvin(rng: Random, level: int) -> Item:
    """Degrees Celsius to kelvin. Misconception: the temperature is taken from the ice point."""
    ice = _tables()[3]
    t = rng.randint(1, 99)
    return _item(rng, level, "kelvin", f"K{t}", f"{t}+{ice}={t + ice}", f"{ice}-{t}={ice - t}")


KINDS = {
    "formula_mass": Kind(formula_mass, misconception=0.65),
    "ion_electrons": Kind(ion_electrons, misconception=0.65),
    "neutrons": Kind(neutrons, misconception=0.4),
    "kelvin": Kind(kelvin, misconception=0.4),
}

grade = grade_worked

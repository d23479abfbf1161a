"""What is not taken as the package has it: tasks refused, and answers checked before or in place of the scorer.

Every entry was found by `python -m harness.suites.reasoning_gym`, which shows it again, or in the scorer's source.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any

_NO_ANSWER = "gives no answer of its own, so nothing shows that a right one is scored right"
_UNSTABLE = "the same seed makes other problems in another process (it depends on the order of a set)"
_SYMPY = "its scorer evaluates the model's text with sympy, which runs code and may not end"

REFUSED: dict[str, str] = {
    "boxnet": f"{_NO_ANSWER}; its scorer raises on bad text",
    "codeio": "the same seed makes other problems (its programs draw at random)",
    "coin_flip": "'0' is scored right for every probability; an exponent such as 1e999999999 does not end",
    "composite": "it mixes other tasks: name those in suite.tasks",
    "decimal_arithmetic": "asks for 12 significant digits and accepts what is off by one in the third decimal",
    "graph_color": _NO_ANSWER,
    "intermediate_integration": _SYMPY,
    "isomorphic_strings": _UNSTABLE,
    "knight_swap": f"{_UNSTABLE}; its scorer writes into the problem",
    "number_format": "accepts what is off by less than 0.01, and so at times a candidate that is not the right one",
    "number_sorting": "accepts numbers that are off by up to 1, and a list of NaN",
    "polynomial_multiplication": f"{_SYMPY}; {_UNSTABLE}",
    "pool_matrix": "asks for two decimals and accepts what is off by 1 %",
    "propositional_logic": _NO_ANSWER,
    "puzzle24": f"accepts numbers that were not given; {_SYMPY}",
    "ransom_note": _UNSTABLE,
    "rubiks_cube": _NO_ANSWER,
    "rush_hour": _NO_ANSWER,
    "simple_integration": _SYMPY,
    "time_intervals": "reads no more than the start of an answer, and milliseconds without their leading zeros",
    "word_ladder": _UNSTABLE,
}

# Task → the whole form that an answer must have before the scorer sees it; any other text is wrong.
_FRACTION = r"\\d?frac\s*\{\s*\d{1,12}\s*\}\s*\{\s*\d{1,12}\s*\}"
_NUMBER = r"-?\d{1,12}(\.\d{1,12})?"
SHAPES: dict[str, str] = {
    # "nan" scores 1.0, and a large exponent raises.
    "complex_arithmetic": r"[-+()\s.\dij]{1,60}",
    # Text after the coordinates is not read.
    "advanced_geometry": rf"\(?\s*{_NUMBER}\s*,\s*{_NUMBER}\s*\)?|{_NUMBER}\s*°?",
    # sympy would evaluate names, powers and "1e999999", which does not end.
    "countdown": r"(?!.*(\*\s*\*|/\s*/))[-+*/()\s\d]{1,120}",
    # Text after the fraction is not read.
    "fraction_simplification": rf"\$?\s*({_FRACTION}|\d{{1,12}}\s*/\s*\d{{1,12}})\s*\$?",
    # Neither the sign nor text after the first number is read.
    "gsm_symbolic": r"\d{1,12}(\.\d{1,12})?",
    # Other digits and any text are left out of the grid.
    "kakurasu": r"[01\s]+",
    # Words that are no name before a role are left out.
    "knights_knaves": r"\w+ is an? \w+((,| and|, and)\s+\w+ is an? \w+)*\.?",
    # Text that is no board is evaluated as Python.
    "n_queens": r"[Q_ \n]+",
    # Values that are no numbers are left out.
    "polynomial_equations": rf"{_NUMBER}(\s*,\s*{_NUMBER})*",
    # Text that is no number raises.
    "prime_factorization": r"\d{1,12}(\s*×\s*\d{1,12})*",
    # Every a, b and c of any text is a button.
    "quantum_lock": r"[ABC](\s*(→|->)\s*[ABC])*",
    # Characters that are no move are left out.
    "sokoban": r"[LRUD]+",
    # Text that is no number is left out.
    "survo": r"[-\d\s]+",
    # Text round a move is left out.
    "tower_of_hanoi": r"(Move disk \d{1,3} from Peg \d{1,3} to Peg \d{1,3}\s*)+",
}


def _words(text: str) -> list[str]:
    return text.split()


def _lower_words(text: str) -> list[str]:
    return text.lower().split()


def _rows(text: str) -> list[list[str]]:
    return [line.split() for line in text.strip().splitlines()]


def _squeezed(text: str) -> str:
    return "".join(text.split())


# Task with one right answer → the form in which an answer must equal it, in place of the package's scorer.
EXACT: dict[str, Callable[[str], Any]] = {
    "binary_matrix": _rows,  # the scorer evaluates the answer as Python
    "game_of_life": _squeezed,  # raises on JSON objects, accepts larger boards
    "game_of_life_halting": _words,  # any text is right where the answer is True, and "False" is too
    "letter_jumble": _words,  # accepts words that follow the right ones
    "spell_backward": _lower_words,  # adds shares to 1.0000000000000002 for a longer text
    "spiral_matrix": _words,  # the scorer evaluates the answer as Python
    "string_insertion": _words,  # the scorer evaluates the answer as Python
    "word_sorting": _squeezed,  # accepts words that follow the right ones
}

MARGIN = 2000  # characters


def score(task: str, dataset: Any, answer: str, entry: dict[str, Any]) -> float:
    """What `answer` (text without its surroundings) is worth for `entry`, between 0 and 1.

    An answer of more than four times the right one's length and 2000 characters is wrong unread, so that no scorer
    works long. Raises what the package's scorer raises, and ValueError where it says no share.
    """
    if not answer or len(answer) > MARGIN + 4 * len(entry["answer"]):
        return 0.0
    if form := EXACT.get(task):
        return float(form(answer) == form(entry["answer"]))
    if task in SHAPES and not re.fullmatch(SHAPES[task], answer):
        return 0.0
    # A copy, because scorers may write into what they are given.
    value = dataset.score_answer(answer, {**entry, "metadata": dict(entry["metadata"])})
    if not 0 <= value <= 1:
        raise ValueError(f"the scorer of {task} says {value}, which is no share")
    return float(value)

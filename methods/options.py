"""Options of a part: a wrong value is answered with the part, the option and what is valid."""

from collections.abc import Iterable
from dataclasses import fields
from difflib import get_close_matches
from typing import Literal, get_args, get_origin, get_type_hints

# True is an int to Python, but not a count; the string "off" is true to Python, but not a switch
ACCEPTED = {bool: (bool,), int: (int,), float: (int, float), str: (str,)}


def check_choice(what: str, value: object, choices: Iterable[str]) -> None:
    """Raise ValueError unless ``value`` is one of ``choices``; ``what`` names the option in the message."""
    choices = list(choices)
    if value in choices:
        return
    near = get_close_matches(str(value), choices, n=1)
    guess = f", did you mean {near[0]!r}?" if near else "."
    raise ValueError(f"{what}: {value!r} is not valid{guess} Valid: {', '.join(choices)}")


def check_options(part: object) -> None:
    """Check the fields of the dataclass ``part`` that are annotated Literal, bool, int, float or str."""
    kind = type(part)
    hints = get_type_hints(kind)
    for field in fields(part):
        what = f"{kind.__name__}.{field.name}"
        hint, value = hints[field.name], getattr(part, field.name)
        if get_origin(hint) is Literal:
            check_choice(what, value, get_args(hint))
        elif hint in ACCEPTED and type(value) not in ACCEPTED[hint]:
            raise ValueError(f"{what}: expected {hint.__name__}, got {value!r}")

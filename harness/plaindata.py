"""Reading YAML and numbers that may be anything: damaged, or made to harm."""

import math
from typing import Any

import yaml

DEPTH = 100
SUSPECT = 50  # brackets, dashes and question marks in one line: fewer cannot nest deep
BYTES = 1_000_000  # indentation alone nests deep in larger files only
LOADER = getattr(yaml, "CSafeLoader", yaml.SafeLoader)  # builds plain data, no objects


class NotYaml(ValueError):
    """The text is no YAML, or such as no configuration is. line: where, or None."""

    def __init__(self, why: str, line: int | None = None) -> None:
        super().__init__(why)
        self.line = line


def load_yaml(text: str) -> Any:
    """The plain data of a YAML text. Raises NotYaml."""
    try:
        check_nesting(text)
        return yaml.load(text, LOADER)
    except (yaml.YAMLError, ValueError, RecursionError) as error:  # ValueError: what looks like a date and is none
        mark = getattr(error, "problem_mark", None)
        raise NotYaml(str(error), mark.line + 1 if mark else None) from error


def check_nesting(text: str) -> None:
    """Raise ValueError if YAML is nested more than `DEPTH` levels deep, yaml.YAMLError if it is none.

    The parser in C overflows its stack on deep input, which ends the process.
    """
    lines = text.splitlines()
    if len(text) < BYTES and all(sum(map(line.count, "[{-?")) <= SUSPECT for line in lines):
        return
    depth = 0
    for event in yaml.parse(text, LOADER):
        depth += isinstance(event, yaml.CollectionStartEvent) - isinstance(event, yaml.CollectionEndEvent)
        if depth > DEPTH:
            raise ValueError(f"nested more than {DEPTH} levels deep")


def is_finite(value: float) -> bool:
    """Whether NumPy can hold the number: JSON knows larger ones."""
    return abs(value) < 2**63 if type(value) is int else math.isfinite(value)

"""Reads one file of text, or of JSON lines: whole, or a `RecordError` that names the file and the line."""

from __future__ import annotations

import itertools
import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from harness.plaindata import is_finite

JSON_TYPES: dict[type, frozenset[type]] = {int: frozenset({int}), float: frozenset({int, float}), str: frozenset({str})}


class RecordError(Exception):
    """A record file is missing or damaged; the message names file and line."""


def read_text(path: Path) -> str:
    if not path.is_file():
        raise RecordError(f"{path.name} is missing")
    try:
        return path.read_text(encoding="utf-8")
    except UnicodeDecodeError as error:
        raise RecordError(f"{path.name} is not text: byte {error.start} is no UTF-8") from error


def read_lines(path: Path, fields: Mapping[str, type], cut: bool = False) -> list[dict[str, Any]]:
    """The lines of a .jsonl file, one JSON object each, with `fields` of these types.

    cut: a last line that is no JSON is left out (the run was stopped while it wrote).
    """
    texts = read_text(path).splitlines()
    try:  # one call for the whole file; only where that fails are the lines looked at one by one
        lines = json.loads(f"[{','.join(texts)}]")
    except (ValueError, RecursionError):
        lines = []
    if len(lines) != len(texts) or not all(isinstance(line, dict) for line in lines):
        lines = _one_by_one(path, texts, cut)
    if not lines:
        raise RecordError(f"{path.name} is empty")
    if not all(_column_is(lines, field, kind) for field, kind in fields.items()):
        _raise_first(path, lines, fields)
    for number, line in enumerate(lines, start=1) if "avg" in fields else ():
        if not 0 <= line["avg"] <= 1:
            raise RecordError(
                f"{path.name} line {number}: avg is {line['avg']!r}, expected an accuracy between 0 and 1"
            )
    return lines


def _one_by_one(path: Path, texts: Sequence[str], cut: bool) -> list[dict[str, Any]]:
    lines = []
    for number, text in enumerate(texts, start=1):
        where = f"{path.name} line {number}"
        try:
            line = json.loads(text)
        except (ValueError, RecursionError) as error:
            if cut and number == len(texts):
                break
            raise RecordError(f"{where} is not JSON (cut short?)") from error
        if not isinstance(line, dict):
            raise RecordError(f"{where} is not a JSON object")
        lines.append(line)
    return lines


def _column_is(lines: Sequence[Mapping[str, Any]], field: str, kind: type) -> bool:
    values = [line.get(field) for line in lines]
    return {*map(type, values)} <= JSON_TYPES[kind] and (kind is str or all(map(is_finite, values)))


def _raise_first(path: Path, lines: Sequence[Mapping[str, Any]], fields: Mapping[str, type]) -> None:
    for (number, line), (name, kind) in itertools.product(enumerate(lines, start=1), fields.items()):
        if not is_a(line.get(name), kind):
            raise RecordError(
                f"{path.name} line {number}: {name} is {line.get(name)!r}, expected a finite {kind.__name__}"
            )


def is_a(value: Any, kind: type) -> bool:
    return type(value) in JSON_TYPES[kind] and (kind is str or is_finite(value))


def check_fields(name: str, lines: Sequence[Mapping[str, Any]]) -> None:
    """What one line of the harness's own has, all have: a damaged name would leave a gap as if nothing had been there.

    A slash is in the names of what a method says of itself, and verifier_errors only where there were some.
    """
    for number, line in enumerate(lines, start=1):
        if line.keys() != lines[0].keys():
            others = sorted((line.keys() ^ lines[0].keys()) - {"verifier_errors"})
            for field in (field for field in others if "/" not in field):
                raise RecordError(f"{name} line {number} and line 1 differ in having {field!r:.60}")

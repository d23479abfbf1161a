"""Rollouts made elsewhere: JSON lines, one completion each, as a batch that methods take."""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Iterator
from pathlib import Path
from reprlib import repr as short
from typing import Any, NamedTuple

import numpy as np
import torch

from harness.errors import ConfigError, nearest
from methods import RolloutBatch
from methods.batch import SIGNALS

REQUIRED = {
    "group": "string or integer, the prompt's name; its lines may lie apart, groups may differ in size",
    "completion_ids": "list of token ids",
    "reward": "number; null if the completion could not be judged: no vote, no credit",
}
OPTIONAL = {
    "mask": "1 or 0 a token, 0 where the policy did not write it (a tool's output); without it all are 1",
    "reward_terms": '{"name": number}, what the reward is made of; null: could not be judged, as above',
}
SIGNAL_COLUMNS = {
    "logps": "number a token: its log-probability under the policy that sampled it",
    "entropies": "number a token: entropy, in nats, of the distribution it was drawn from",
    "sum_sq_probs": "number a token: sum of that distribution's squared probabilities",
    "probs": "list of numbers a token: that whole distribution (large)",
    "hidden": "list of numbers a token: what the LM head read to predict it (large)",
    "ref_logps": "number a token: its log-probability under the reference policy",
    "decisive": "1, 0 or -1 a token: a right decision, no decision, where one went wrong",
    "prompt": "text",
    "completion": "text",
    "reference": "text of a reference solution; null where there is none",
    "token_texts": "text a token",
}
SINGULAR = {"prompts": "prompt", "completions": "completion", "references": "reference"}
SIGNAL_OF = {SINGULAR.get(name, name): name for name in SIGNALS}  # column → signal
COLUMNS = {**REQUIRED, **OPTIONAL, **{name: SIGNAL_COLUMNS.get(name, "") for name in SIGNAL_OF}}

# Lowest and highest value and why; what sums of single-precision probabilities overshoot is let pass.
LOG_PROBABILITY = (-math.inf, 1e-3, "a log-probability is at most 0")
PROBABILITY = (-1e-3, 1 + 1e-3, "it lies between 0 and 1")
RANGES = {
    "completion_ids": (0, 2**63 - 1, "a token id is at least 0, and padding is left out"),
    "mask": (0, 1, "it is 0 or 1"),
    "logps": LOG_PROBABILITY,
    "ref_logps": LOG_PROBABILITY,
    "entropies": (-1e-3, math.inf, "an entropy is at least 0"),
    "sum_sq_probs": PROBABILITY,
    "probs": PROBABILITY,
    "decisive": (-1, 1, "it is -1, 0 or 1"),
}


class Place(NamedTuple):
    """Where a completion stands: its group, its line in the file (from 1), its row in the batch, its tokens."""

    group: str | int
    line: int
    row: int
    length: int


def read_rollouts(path: str | Path) -> tuple[RolloutBatch, list[Place]]:
    """Read completions from JSON lines, whose columns `python -m harness.credit --help` lists.

    Returns the batch and each line's place in it, in the file's order. Groups smaller than the largest are
    filled up with empty rows without a reward, which vote nowhere and get no credit; only a method's metric
    `unscorable` counts them. Raises ConfigError naming line and column.
    """
    path = Path(path)
    rows = list(_Lines(path))
    if not rows:
        raise ConfigError(f"{path} is empty: write one JSON object for every completion.")
    groups: dict[str | int, list[int]] = {}
    for index, row in enumerate(rows):
        groups.setdefault(row["group"], []).append(index)
    size = max(map(len, groups.values()))
    at = {}
    for first, (group, members) in zip(range(0, len(groups) * size, size), groups.items(), strict=True):
        if len(members) == 1:
            raise ConfigError(
                f"{path}:{rows[members[0]]['line']}: group: {short(group)} has only this completion, and credit comes"
                " from comparing several of one prompt: give the others the same group, or leave this line out."
            )
        at |= {index: row for row, index in enumerate(members, start=first)}
    places = [
        Place(row["group"], row["line"], at[index], len(row["completion_ids"]))
        for index, row in enumerate(rows)
    ]
    if not any(place.length for place in places):
        raise ConfigError(f"{path}: completion_ids: no line has a token.")
    return _batch(rows, places, len(groups) * size, size), places


def _batch(rows: list[dict], places: list[Place], count: int, group_size: int) -> RolloutBatch:
    """Lay the rows out. Takes their columns away from them, so that no large one is held twice."""
    width = max(place.length for place in places)
    given = rows[0].keys()

    def laid_out(column: str, *tail: int, dtype: type = np.float64) -> torch.Tensor:
        whole = np.zeros((count, width, *tail), dtype)  # pages come into being when they are written
        for place, row in zip(places, rows, strict=True):
            whole[place.row, : place.length] = row.pop(column)
        return torch.from_numpy(whole)

    def numbers(values: list[float]) -> torch.Tensor:
        whole = torch.full((count,), math.nan, dtype=torch.float64)
        whole[[place.row for place in places]] = torch.tensor(values, dtype=torch.float64)
        return whole

    signals: dict[str, Any] = {}
    for column in given & SIGNAL_OF.keys():
        signal = SIGNALS[SIGNAL_OF[column]]
        if signal.axes == "N":
            empty = {"text": "", "text or None": None, "texts": []}[signal.kind]
            texts = [empty] * count
            for place, row in zip(places, rows, strict=True):
                texts[place.row] = row.pop(column)
            signals[signal.name] = texts
        elif signal.axes == "NT":
            dtype = np.int64 if signal.kind == "integer" else np.float64
            signals[signal.name] = laid_out(column, dtype=dtype)
        else:
            depth = next(row[column].shape[1] for row in rows if len(row[column]))
            signals[signal.name] = laid_out(column, depth, dtype=np.float32)
    return RolloutBatch.from_tensors(
        laid_out("completion_ids", dtype=np.int64),
        laid_out("mask", dtype=np.bool_),
        numbers([row["reward"] for row in rows]),
        group_size,
        reward_terms={
            name: numbers([row["reward_terms"][name] for row in rows])
            for name in rows[0].get("reward_terms", ())
        },
        **signals,
    )


class _Lines:
    """The checked lines of a file, each a dict: column → value, a list of numbers as an array; line → its number."""

    def __init__(self, path: Path) -> None:
        self.path, self.number = path, 0
        self.first: dict[
            str, tuple[int, Any]
        ] = {}  # what must not change: the line where it was set, and what

    def __iter__(self) -> Iterator[dict[str, Any]]:
        try:
            with self.path.open("rb") as file:
                for self.number, text in enumerate(file, start=1):
                    if text.strip():
                        yield self.checked(self.parsed(text))
        except OSError as error:
            raise ConfigError(f"{self.path}: {error.strerror}: name a file of JSON lines.") from error

    def refusal(self, column: str | None, says: str) -> ConfigError:
        return ConfigError(f"{self.path}:{self.number}: {column + ': ' if column else ''}{says}.")

    def parsed(self, text: bytes) -> dict[str, Any]:
        def unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
            fields: dict[str, Any] = {}
            for name, value in pairs:
                if name in fields:
                    raise self.refusal(name, "it stands twice in this line")
                fields[name] = value
            return fields

        try:
            fields = json.loads(text.decode("utf-8-sig"), object_pairs_hook=unique)
        except UnicodeDecodeError as error:
            raise self.refusal(None, f"byte {error.start} is not UTF-8") from error
        except json.JSONDecodeError as error:
            where = f"{error.msg} at character {error.colno}"
            raise self.refusal(None, f"no JSON ({where}): write every object whole on its line") from error
        if not isinstance(fields, dict):
            raise self.refusal(None, f"expected an object {{…}}, got {short(fields)}")
        return fields

    def checked(self, fields: dict[str, Any]) -> dict[str, Any]:
        for name in fields:
            if name not in COLUMNS:
                raise self.refusal(name, f"no such column. {nearest(name, COLUMNS).rstrip('.')}")
        for name, meaning in REQUIRED.items():
            if name not in fields:
                raise self.refusal(name, f"every line needs it: {meaning}")
        self.same_names(fields.keys(), None, "columns")
        if type(fields["group"]) not in (str, int):
            raise self.refusal("group", f"expected a string or an integer, got {short(fields['group'])}")
        ids = self.vector("completion_ids", fields["completion_ids"], None, np.int64)
        mask = self.vector("mask", fields.get("mask", [1] * len(ids)), len(ids), np.int64).astype(np.bool_)
        row = {"line": self.number, "group": fields["group"], "completion_ids": ids, "mask": mask}
        row["reward"] = self.judged("reward", fields["reward"])
        if "reward_terms" in fields:
            terms = fields["reward_terms"]
            if not isinstance(terms, dict):
                raise self.refusal("reward_terms", f'expected {{"name": number}}, got {short(terms)}')
            self.same_names(terms.keys(), "reward_terms", "reward_terms")
            row["reward_terms"] = {k: self.judged(f"reward_terms.{k}", v) for k, v in terms.items()}
        for column in fields.keys() & SIGNAL_OF.keys():
            row[column] = self.signal(column, fields[column], mask)
        return row

    def same(self, what: str, value: Any) -> tuple[int, Any]:
        """The line that said first what all must agree in, and what it said."""
        return self.first.setdefault(what, (self.number, value))

    def same_names(self, names: Any, column: str | None, what: str) -> None:
        line, known = self.same(what, set(names))
        for name in sorted(set(names) ^ known):
            here, there = ("this line", f"line {line}") if name in names else (f"line {line}", "this line")
            says = f"{here} has {name}, {there} does not: give every line the same {what}"
            raise self.refusal(column or name, says)

    def judged(self, column: str, value: Any) -> float:
        """A reward: a number, or NaN for null."""
        if value is None:
            return math.nan
        [number] = self.numbers(
            [value], np.float64, column, lambda _: column, ", or null if it could not be judged"
        )
        return float(number)

    def signal(self, column: str, value: Any, mask: np.ndarray) -> Any:
        signal = SIGNALS[SIGNAL_OF[column]]
        if signal.kind == "texts":  # a method reads those of the mask
            texts = [
                self.text(f"{column}[{k}]", v) for k, v in enumerate(self.entries(column, value, len(mask)))
            ]
            return [text for text, inside in zip(texts, mask, strict=True) if inside]
        if signal.axes == "N":
            return value if value is None and "None" in signal.kind else self.text(column, value)
        if signal.axes == "NT":
            dtype = np.int64 if signal.kind == "integer" else np.float64
            return self.vector(column, value, len(mask), dtype, unread=~mask)
        return self.matrix(column, value, len(mask))

    def text(self, column: str, value: Any) -> str:
        if not isinstance(value, str):
            raise self.refusal(column, f"expected a text, got {short(value)}")
        return value

    def vector(
        self, column: str, value: Any, length: int | None, dtype: type, unread: np.ndarray | None = None
    ) -> np.ndarray:
        values = self.entries(column, value, length)
        if unread is not None and None in values:  # outside the mask a signal may be missing
            values = [0 if v is None and skip else v for v, skip in zip(values, unread, strict=True)]
        return self.numbers(values, dtype, column, lambda k: f"{column}[{k}]")

    def matrix(self, column: str, value: Any, length: int) -> np.ndarray:
        vectors = []
        for t, inner in enumerate(self.entries(column, value, length)):
            at = f"{column}[{t}]"
            if not isinstance(inner, list):
                raise self.refusal(at, f"expected a list of numbers, got {short(inner)}")
            line, depth = self.same(column, len(inner))
            if len(inner) != depth:
                raise self.refusal(at, f"{len(inner)} numbers, but {depth} before (line {line})")
            vectors.append(self.numbers(inner, np.float32, column, lambda k, at=at: f"{at}[{k}]"))
        return np.stack(vectors) if vectors else np.zeros((0, 0), np.float32)

    def entries(self, column: str, value: Any, length: int | None) -> list:
        """The list that a column must be, of the completion's length."""
        if not isinstance(value, list):
            raise self.refusal(column, f"expected a list with an entry for every token, got {short(value)}")
        if length is not None and len(value) != length:
            says = f"{len(value)} entries for {length} completion_ids: give one for every token"
            raise self.refusal(column, says)
        return value

    def numbers(
        self, values: list, dtype: type, column: str, name: Callable[[int], str], hint: str = ""
    ) -> np.ndarray:
        """The values as an array, each of the right type, finite and in the column's range."""
        kinds, expected = ((int,), "an integer") if dtype is np.int64 else ((int, float), "a finite number")
        if not set(map(type, values)) <= set(kinds):  # True is an int to isinstance
            k = next(k for k, v in enumerate(values) if type(v) not in kinds)
            raise self.refusal(name(k), f"expected {expected}{hint}, got {short(values[k])}")
        try:
            with np.errstate(over="ignore"):
                array = np.array(values, dtype)
        except OverflowError as error:
            k = max(range(len(values)), key=lambda k: abs(values[k]))
            raise self.refusal(name(k), f"{short(values[k])} is too large") from error
        if not np.isfinite(array).all():
            k = int(np.isfinite(array).argmin())
            raise self.refusal(name(k), f"expected {expected}{hint}, got {short(values[k])}")
        low, high, why = RANGES.get(column, (-math.inf, math.inf, ""))
        beyond = (array < low) | (array > high)
        if beyond.any():
            k = int(beyond.argmax())
            raise self.refusal(name(k), f"{short(values[k])}: {why}")
        return array

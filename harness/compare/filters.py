"""Which folders and which runs are meant: `runs=` with globs, and `where=` on the configuration."""

from __future__ import annotations

import difflib
import glob
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from omegaconf import OmegaConf
from omegaconf.errors import OmegaConfBaseException
from yaml import YAMLError


class UsageError(Exception):
    """What the user asked for cannot be done; the message is one line that says what to change."""


def nearest(name: str, valid: Iterable[str]) -> str:
    """The part of an error message that helps: the closest valid names, or else all of them."""
    valid = sorted(valid)
    if close := difflib.get_close_matches(name, valid, n=3, cutoff=0.5):
        return f"did you mean {' or '.join(close)}?"
    return f"there is {', '.join(valid[:12])}{', …' if len(valid) > 12 else ''}" if valid else "there is none"


def expand(patterns: Sequence[str]) -> list[Path]:
    """Folders that `patterns` name, each once, in the order given; a glob's matches sorted.

    A glob takes the folders that hold runs (<label>/seed-<n>), so that plots beside them do no harm; a plain
    name is taken as it is. Raises UsageError for a glob that matches no such folder.
    """
    found: dict[Path, Path] = {}
    for pattern in patterns:
        matches = [Path(pattern)]
        if glob.has_magic(pattern):
            matches = [path for path in map(Path, sorted(glob.glob(pattern))) if any(path.glob("*/seed-*"))]
            if not matches:
                beside = {str(path) for path in Path(pattern).parent.glob("*") if path.is_dir()}
                raise UsageError(f"no folder with runs matches {pattern}: {nearest(pattern, beside)}")
        for path in matches:
            found.setdefault(path.resolve(), path)
    return list(found.values())


@dataclass(frozen=True)
class Filter:
    """One `key=value|value` (or `key!=…`) on flat configurations."""

    text: str
    key: str
    values: tuple[Any, ...]
    keeps: bool  # whether runs with one of these values stay, or go

    def __call__(self, config: Mapping[str, Any]) -> bool:
        """Whether a run of this configuration stays. A run without the key has none of the values."""
        has = self.key in config and any(_equal(config[self.key], value) for value in self.values)
        return has is self.keeps


def parse_filter(text: str) -> Filter:
    """`suite.horizon=4|8` or `method.name!=grpo`; values are written as on the command line that made the runs."""
    parts = re.fullmatch(r"([^=!|]+?)(!?=)(.*)", text)
    if not parts:
        raise UsageError(f"where: {text!r} is not key=value, key=value|value or key!=value")
    key, sign, values = parts.groups()
    try:
        read = [
            OmegaConf.to_object(OmegaConf.from_dotlist([f"x={value}"]))["x"] for value in values.split("|")
        ]
    except (OmegaConfBaseException, YAMLError) as error:
        raise UsageError(f"where: cannot read the value in {text!r}") from error
    return Filter(text, key.strip(), tuple(read), keeps=sign == "=")


def apply(where: Sequence[str], configs: Sequence[Mapping[str, Any]]) -> list[bool]:
    """For every configuration, whether it passes all filters; UsageError for an unknown key or an empty rest."""
    kept = [True] * len(configs)
    keys = {key for config in configs for key in config}
    for one in map(parse_filter, where):
        if one.key not in keys:
            raise UsageError(f"where: no configuration has {one.key!r}: {nearest(one.key, keys)}")
        there = {str(config.get(one.key)) for config, stays in zip(configs, kept, strict=True) if stays}
        kept = [stays and one(config) for config, stays in zip(configs, kept, strict=True)]
        if not any(kept):
            values = sorted(there)
            shown = f"{', '.join(values[:12])}{', …' if len(values) > 12 else ''}"
            raise UsageError(f"where: {one.text} leaves no run; {one.key} is {shown}")
    return kept


def _equal(ours: Any, theirs: Any) -> bool:
    # In Python True == 1; in a configuration they are two things.
    return ours == theirs and isinstance(ours, bool) == isinstance(theirs, bool)

"""Methods by name, for a notebook or a training script of one's own."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from hydra.utils import instantiate

from harness.check import check, check_parts
from harness.compose import composer

if TYPE_CHECKING:
    from methods import Method

PLAIN = ("name", "scale", "dynamic_sampling")  # keys of a method that hold a value, not a part


def load_method(name: str, overrides: Sequence[str] = (), config_dir: str | Path | None = None) -> Method:
    """Return a preset's method: `load_method("lampo", ["advantage.temperature=0.1", "weighting=delta"])`.

    Overrides are written relative to the method: `part=name` chooses another file for one of its four parts or
    its control, `part.option=value` sets an option. `config_dir` adds a folder of one's own groups, laid out like
    conf/.
    Raises ConfigError, with the nearest valid names, for what does not exist or is out of range.
    """
    with composer(config_dir) as compose:
        cfg = compose([f"method={name}", *(_absolute(override) for override in overrides)])
    check(cfg)
    check_parts(cfg, "method")
    return instantiate(cfg.method, _convert_="all")


def _absolute(override: str) -> str:
    """`weighting=delta` becomes `method/weighting=delta`, and `shaping.x=1` `method.shaping.x=1`."""
    prefix = override[: len(override) - len(override.lstrip("+~"))]
    key = override.partition("=")[0]
    return f"{prefix}method{'.' if '.' in key or key in PLAIN else '/'}{override[len(prefix) :]}"

"""A run's kept changes of the weights (harness/deltas.py), read a part of a tensor at a time."""

from __future__ import annotations

import json
import re
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from omegaconf import DictConfig, OmegaConf
from safetensors import safe_open
from torch import Tensor

from harness.config import CONF
from harness.deltas import FOLDER
from harness.diagnose.trajectory import gram
from harness.errors import ConfigError
from harness.plaindata import load_yaml

ELEMENTS = 2**24  # of all rows together in memory at a time
NAMING = ("_target_", "package", "hub")  # keys of a policy or suite that name what is called, or what is loaded


@dataclass(frozen=True)
class KeptRun:
    """One run. updates (n,): those after which θ_t − θ_0 was kept; files: one each; shapes: of each tensor by name;
    base: digits of θ_0, by policy and by what of it is trained.
    """

    folder: Path
    cfg: DictConfig
    updates: list[int]
    files: list[Path]
    shapes: dict[str, tuple[int, ...]]
    base: tuple[str, str]

    @property
    def sizes(self) -> dict[str, int]:
        return {name: int(np.prod(shape)) for name, shape in self.shapes.items()}

    def blocks(self, name: str) -> Iterator[np.ndarray]:
        """Rows (n, k) of one tensor, flattened, piece by piece along its first dimension."""
        shape = self.shapes[name]
        length = shape[0] if shape else 1
        at_once = max(1, ELEMENTS * length // max(1, len(self.files) * self.sizes[name]))
        for start in range(0, length, at_once):
            part = slice(start, min(start + at_once, length))
            rows = []
            for path in self.files:
                with safe_open(path, framework="numpy") as file:
                    whole = file.get_slice(name)[part] if shape else file.get_tensor(name)
                rows.append(whole.reshape(-1))
            yield np.stack(rows)

    def grams(self) -> dict[str, np.ndarray]:
        """MMᵀ (n, n) of every tensor."""
        return {name: sum(gram(rows) for rows in self.blocks(name)) for name in self.shapes}

    def combined(self, weights: Mapping[str, np.ndarray]) -> dict[str, Tensor]:
        """By name, the sum of the rows with their weights (n,): a change of the weights, in float64."""
        return {
            name: torch.from_numpy(np.concatenate([weights[name] @ rows for rows in self.blocks(name)])).view(shape)
            for name, shape in self.shapes.items()
        }


def read(folder: Path, trust: Collection[str] = ()) -> KeptRun:
    """Raises ConfigError where the folder is no run or lacks changes of the weights, and where the policy or suite of
    its configuration names what neither conf/ nor `trust` does.
    """
    if not (folder / "config.yaml").is_file() or not (folder / "env.json").is_file():
        raise ConfigError(f"{folder} is no run: give a folder with config.yaml, results/<experiment>/<label>/seed-<n>")
    tree = read_config(folder / "config.yaml")
    if not all(isinstance(tree.get(group), dict) for group in ("policy", "suite", "trainer")):
        raise ConfigError(f"{folder / 'config.yaml'} is damaged: it lacks policy, suite or trainer")
    try:
        refuse_calls([tree["policy"], tree["suite"]], folder, {*named_by_conf(), *trust})
    except RecursionError as error:  # an alias inside of what it stands for
        raise ConfigError(f"{folder / 'config.yaml'} is damaged: it holds itself") from error
    cfg = OmegaConf.create(tree)
    every = cfg.trainer.get("deltas_every", 0)
    if not every:
        raise ConfigError(
            f"{folder} keeps no changes of the weights: train it with trainer.deltas_every=1, under another "
            "experiment_name where it is finished"
        )
    updates = list(range(every, cfg.trainer.steps * cfg.trainer.updates_per_step + 1, every))
    files = [folder / FOLDER / f"{update:06d}.safetensors" for update in updates]
    there = [path.is_file() for path in files]
    if not all(there):
        raise ConfigError(
            f"{folder} keeps {sum(there)} of the {len(files)} changes of the weights: give the command that trains it "
            "once more, to go on where it stopped"
        )
    shapes, bases = {}, set()
    for path in files:
        with safe_open(path, framework="numpy") as file:
            shapes = {name: tuple(file.get_slice(name).get_shape()) for name in sorted(file.keys())}
            bases.add(file.metadata()["base"])
    if len(bases) > 1:
        raise ConfigError(f"{folder}: its changes of the weights begin from different weights: train it anew")
    policy = json.loads((folder / "env.json").read_text(encoding="utf-8"))["policy_hash"]
    return KeptRun(folder, cfg, updates, files, shapes, (policy, bases.pop()))


def read_config(path: Path) -> dict[str, Any]:
    """A run's config.yaml as plain data. Raises ConfigError where it is damaged."""
    try:
        tree = load_yaml(path.read_text(encoding="utf-8"))
    except ValueError as error:
        raise ConfigError(f"{path} is damaged: {str(error).splitlines()[0]}") from error
    if not isinstance(tree, dict):
        raise ConfigError(f"{path} is damaged: it holds no mapping")
    return tree


def refuse_calls(node: Any, folder: Path, allowed: Collection[str]) -> None:
    """Raise ConfigError where a configuration could have something called, or loaded, that `allowed` does not name.

    An interpolation could make a `_target_` when it is resolved; what runs write is resolved already.
    """
    if isinstance(node, str) and "${" in node:
        raise ConfigError(f"{folder}: config.yaml holds an interpolation, {node:.80}, which no run writes")
    if not isinstance(node, dict | list):
        return
    for key, value in node.items() if isinstance(node, dict) else enumerate(node):
        named = key in NAMING and value is not None or (key, value) == ("sandbox", "unsafe")
        if named and str(value) not in allowed:
            raise ConfigError(
                f"{folder}: config.yaml says {key}: {value!r:.80}, which conf/ does not: if you trust it, add "
                f"'trust=[{value!s:.80}]'"
            )
        refuse_calls(value, folder, allowed)


def named_by_conf() -> set[str]:
    """What the policies and suites of conf/ name under the keys of `NAMING`."""
    files = [path for group in ("policy", "suite") for path in (CONF / group).rglob("*.yaml")]
    line = re.compile(rf"^\s*(?:{'|'.join(NAMING)}): (\S+)", re.MULTILINE)
    return {name for path in files for name in line.findall(path.read_text(encoding="utf-8"))}


def directions(runs: Sequence[KeptRun], weights: Sequence[Mapping[str, np.ndarray]]) -> dict[str, np.ndarray]:
    """By tensor, the dot products (R, R) of directions of R runs. weights: of each run, by tensor, of its rows (n,)."""
    found = {}
    for name in runs[0].shapes:
        found[name] = np.zeros((len(runs), len(runs)))
        for pieces in zip(*(run.blocks(name) for run in runs), strict=True):
            own = np.stack([weight[name] @ rows for weight, rows in zip(weights, pieces, strict=True)])
            found[name] += own @ own.T
    return found

"""A run's kept changes of the weights (harness/deltas.py), read a part of a tensor at a time."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from omegaconf import DictConfig, OmegaConf
from safetensors import safe_open
from torch import Tensor

from harness.deltas import FOLDER
from harness.diagnose.trajectory import gram
from harness.errors import ConfigError

ELEMENTS = 2**24  # of all rows together in memory at a time


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


def read(folder: Path) -> KeptRun:
    """Raises ConfigError where the folder is no run or lacks changes of the weights."""
    if not (folder / "config.yaml").is_file() or not (folder / "env.json").is_file():
        raise ConfigError(f"{folder} is no run: give a folder with config.yaml, results/<experiment>/<label>/seed-<n>")
    cfg = OmegaConf.load(folder / "config.yaml")
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


def directions(runs: Sequence[KeptRun], weights: Sequence[Mapping[str, np.ndarray]]) -> dict[str, np.ndarray]:
    """By tensor, the dot products (R, R) of directions of R runs. weights: of each run, by tensor, of its rows (n,)."""
    found = {}
    for name in runs[0].shapes:
        found[name] = np.zeros((len(runs), len(runs)))
        for pieces in zip(*(run.blocks(name) for run in runs), strict=True):
            own = np.stack([weight[name] @ rows for weight, rows in zip(weights, pieces, strict=True)])
            found[name] += own @ own.T
    return found

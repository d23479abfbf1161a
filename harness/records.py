"""What a run writes: one folder of plain text files, complete up to its last line at any moment.

config.yaml  env.json  metrics.jsonl  evals.jsonl  samples.jsonl  checkpoint/  STATUS
"""

from __future__ import annotations

import json
import math
import os
import platform
import subprocess
from collections.abc import Iterable
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path
from typing import Any

import torch
from omegaconf import DictConfig, OmegaConf

from harness.config import HOUSEKEEPING

PACKAGES = ("torch", "transformers", "trl", "accelerate", "numpy", "hydra-core")
RUNNING, DONE, FAILED = "running", "done", "failed"


class ConfigurationDiffers(RuntimeError):
    """The folder holds a run of another configuration."""


class Records:
    """The folder of one run."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory

    @property
    def status(self) -> str | None:
        """`running`, `done`, `failed: why`, or None where no run was started."""
        path = self.directory / "STATUS"
        return path.read_text().strip() if path.exists() else None

    def set_status(self, status: str) -> None:
        """Replace the one line of STATUS."""
        self._replace("STATUS", status.replace("\n", " ") + "\n")

    def begin(self, config: DictConfig, env: dict[str, Any]) -> None:
        """Write configuration and environment; a folder with another configuration is refused."""
        self.directory.mkdir(parents=True, exist_ok=True)
        path = self.directory / "config.yaml"
        if path.exists():
            changed = differing_keys(OmegaConf.load(path), config)
            if changed:
                raise ConfigurationDiffers(
                    f"{self.directory} holds a run of another configuration, which differs in "
                    f"{', '.join(changed)}. Choose another experiment_name or results_dir, or delete the folder."
                )
        self._replace("config.yaml", OmegaConf.to_yaml(config, resolve=True))
        self._replace("env.json", json.dumps(env, indent=2) + "\n")
        (self.directory / "traceback.txt").unlink(missing_ok=True)
        self.set_status(RUNNING)

    def append(self, name: str, lines: Iterable[dict[str, Any]]) -> None:
        """Add lines to `<name>.jsonl` and flush them; NaN becomes null."""
        with open(self.directory / f"{name}.jsonl", "a") as file:
            for line in lines:
                file.write(json.dumps(_plain(line), allow_nan=False) + "\n")

    def read(self, name: str) -> list[dict[str, Any]]:
        """The complete lines of `<name>.jsonl`; an unfinished last line (a run cut off) is left out."""
        path = self.directory / f"{name}.jsonl"
        text = path.read_text() if path.exists() else ""
        return [json.loads(line) for line in text[: text.rfind("\n") + 1].splitlines()]

    def rewind(self, step: int) -> None:
        """Forget everything after `step`, the last step with a checkpoint, and the end point (0: start anew)."""
        metrics = [line for line in self.read("metrics") if line["step"] <= step]
        evals = [
            line
            for line in self.read("evals")
            if 0 < step >= line["step"] and (line["split"] != "test" or line["step"] == 0)
        ]
        for name, kept in (("metrics", metrics), ("evals", evals), ("samples", [])):
            self._replace(f"{name}.jsonl", "".join(json.dumps(line) + "\n" for line in kept))

    def last_checkpoint(self) -> tuple[int, Path] | None:
        """Updates done and folder of the newest checkpoint, or None."""
        found = [
            (int(path.name.rpartition("-")[2]), path)
            for path in (self.directory / "checkpoint").glob("checkpoint-*")
            if (path / "trainer_state.json").exists()  # written last
        ]
        return max(found, default=None)

    def _replace(self, name: str, text: str) -> None:
        temporary = self.directory / f".{name}.new"
        temporary.write_text(text)
        os.replace(temporary, self.directory / name)


def differing_keys(old: DictConfig, new: DictConfig) -> list[str]:
    """Dotted keys whose values differ, keys that only say where a run is kept left aside."""
    a, b = flatten(OmegaConf.to_container(old)), flatten(OmegaConf.to_container(new, resolve=True))
    ignored = tuple(key for key in HOUSEKEEPING if key != "seed")
    return sorted(
        key for key in a.keys() | b.keys() if a.get(key) != b.get(key) and not key.startswith(ignored)
    )


def flatten(tree: Any, prefix: str = "") -> dict[str, Any]:
    """Nested mappings as one mapping with dotted keys; lists stay values."""
    if not isinstance(tree, dict):
        return {prefix: tree}
    return {k: v for key, sub in tree.items() for k, v in flatten(sub, f"{prefix}.{key}".lstrip(".")).items()}


def environment(command: str, policy_hash: str, common_random_numbers: bool) -> dict[str, Any]:
    """Versions, commit, hardware, start and command, so that a run can be judged and repeated."""
    return {
        "command": command,
        "started": datetime.now(UTC).isoformat(timespec="seconds"),
        "python": platform.python_version(),
        "versions": {name: version(name) for name in PACKAGES},
        "commit": _commit(),
        "platform": platform.platform(),
        "processor": _processor(),
        "cores": os.cpu_count(),
        "threads": torch.get_num_threads(),
        "gpus": [torch.cuda.get_device_name(i) for i in range(torch.cuda.device_count())],
        "policy_hash": policy_hash,
        "common_random_numbers": common_random_numbers,
    }


def _commit() -> str | None:
    """Commit of the checkout this code runs from, `+` appended if it was changed; None in a wheel."""
    root = Path(__file__).resolve().parent.parent
    if not (root / ".git").exists():
        return None

    def git(*arguments: str) -> str:
        return subprocess.run(
            ["git", "-C", str(root), *arguments], capture_output=True, text=True, check=False
        ).stdout.strip()

    return (git("rev-parse", "HEAD") or "none") + ("+" if git("status", "--porcelain", "-uno") else "")


def _processor() -> str:
    path = Path("/proc/cpuinfo")
    lines = path.read_text().splitlines() if path.exists() else []
    names = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    return names[0] if names else platform.processor()


def _plain(value: Any) -> Any:
    """JSON without NaN: a float that is not finite becomes null."""
    if isinstance(value, dict):
        return {key: _plain(v) for key, v in value.items()}
    return None if isinstance(value, float) and not math.isfinite(value) else value

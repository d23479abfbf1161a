"""What a run writes: one folder of plain text files, complete up to its last line at any moment.

config.yaml  env.json  metrics.jsonl  evals.jsonl  credit.jsonl  samples.jsonl  problems.jsonl  checkpoint/  STATUS
and on request deltas/ (harness/deltas.py)
"""

from __future__ import annotations

import fcntl
import hashlib
import json
import math
import os
import platform
import subprocess
import sys
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path
from typing import Any

import torch
from omegaconf import DictConfig, OmegaConf

from harness.errors import Unrecorded
from harness.policy import Policy

PACKAGES = ("torch", "transformers", "trl", "accelerate", "numpy", "hydra-core")
RUNNING, DONE, FAILED = "running", "done", "failed"
NEEDED: dict[str, dict[str, type]] = {  # to take a run up
    "metrics": {"step": int},
    "evals": {"step": int, "split": str},
    "credit": {"step": int, "problem": str},
    "problems": {"split": str, "problem": str},
}
TRACEBACK, FAILURE = "traceback.txt", "failure.json"  # of a failed run: harness.failure


class Records:
    """The folder of one run."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory

    @property
    def status(self) -> str | None:
        """`running`, `done`, `failed: why`, or None where no run was started."""
        path = self.directory / "STATUS"
        return path.read_text(encoding="utf-8", errors="replace").strip() if path.exists() else None

    def set_status(self, status: str) -> None:
        """Replace the one line of STATUS."""
        self.replace("STATUS", status.replace("\n", " ") + "\n")

    @contextmanager
    def locked(self) -> Iterator[None]:
        """Hold the folder for this process; Unrecorded if another one is at work in it."""
        self.directory.mkdir(parents=True, exist_ok=True)
        with open(self.directory / ".lock", "w") as file:
            try:
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                raise Unrecorded(f"{self.directory}: another process is at work on this run") from None
            yield

    def begin(self, config: DictConfig) -> None:
        """Write the configuration and say that the run is under way."""
        self.replace("config.yaml", OmegaConf.to_yaml(config, resolve=True))
        for name in (TRACEBACK, FAILURE):
            (self.directory / name).unlink(missing_ok=True)
        self.set_status(RUNNING)

    def write_environment(self, env: dict[str, Any]) -> None:
        """Write env.json; a run that is taken up keeps its first one and lists what it went on with.

        Raises ValueError if the base policy is another than the run began with.
        """
        path = self.directory / "env.json"
        if path.exists() and self.last_checkpoint():
            first = self._first_environment(path)
            if first["policy_hash"] != env["policy_hash"]:
                raise ValueError(
                    f"the run began with base policy {first['policy_hash']}, which is now {env['policy_hash']}: "
                    f"put the old one back, or delete {self.directory}"
                )
            for key in ("rows", "autocast"):
                if first.get(key) != env.get(key):
                    raise ValueError(
                        f"the run began with {key} {first.get(key)}, and now has {env.get(key)}: put the old back, or "
                        f"delete {self.directory}"
                    )
            again = {key: env[key] for key in ("started", "command", "commit", "code", "versions")}
            env = first | {"resumed": [*first.get("resumed", []), again]}
        self.replace("env.json", json.dumps(env, indent=2) + "\n")

    def _first_environment(self, path: Path) -> dict[str, Any]:
        try:
            first = json.loads(path.read_text())
        except (ValueError, RecursionError):
            first = None
        if not isinstance(first, dict) or "policy_hash" not in first or type(first.get("resumed", [])) is not list:
            raise ValueError(f"{path} is damaged: delete {self.directory} to make the run anew")
        return first

    def append(self, name: str, lines: Iterable[dict[str, Any]]) -> None:
        """Add lines to `<name>.jsonl` and flush them; NaN becomes null."""
        with open(self.directory / f"{name}.jsonl", "a") as file:
            for line in lines:
                file.write(json.dumps(_plain(line), allow_nan=False) + "\n")

    def read(self, name: str) -> list[dict[str, Any]]:
        """The complete lines of `<name>.jsonl`; an unfinished last line (a run cut off) is left out.

        Raises ValueError naming file and line for any other line that is not JSON, or lacks what a run needs to go on.
        """
        path = self.directory / f"{name}.jsonl"
        try:
            text = path.read_text(encoding="utf-8") if path.exists() else ""
        except UnicodeDecodeError as error:
            raise ValueError(f"{path} is not text: delete {self.directory}") from error
        lines = []
        for number, line in enumerate(text[: text.rfind("\n") + 1].splitlines(), 1):
            try:
                read = json.loads(line)
            except (ValueError, RecursionError):
                raise ValueError(f"{path}, line {number} is not JSON: delete {self.directory}") from None
            for key, kind in NEEDED.get(name, {}).items():
                if not isinstance(read, dict) or type(read.get(key)) is not kind:
                    raise ValueError(f"{path}, line {number} has no {key}: delete {self.directory}")
            lines.append(read)
        return lines

    def totals(self) -> tuple[int, float]:
        """Tokens and seconds of training up to the last line of metrics.jsonl; ValueError if it does not say."""
        last = self.read("metrics")[-1]
        tokens, seconds = last.get("tokens"), last.get("seconds")
        if type(tokens) is not int or type(seconds) not in (int, float):
            raise ValueError(
                f"{self.directory}/metrics.jsonl: its last line lacks tokens or seconds: delete {self.directory}"
            )
        return tokens, seconds

    def rewind(self, step: int) -> None:
        """Forget everything after `step`, the last step with a checkpoint, and the end point (0: start anew).

        Raises ValueError if the metrics up to there are not complete.
        """
        metrics = [line for line in self.read("metrics") if line["step"] <= step]
        if [line["step"] for line in metrics] != list(range(1, step + 1)):
            raise ValueError(
                f"{self.directory}/metrics.jsonl does not hold steps 1 to {step}, where the checkpoint is: "
                f"delete {self.directory} to make the run anew"
            )
        evals = [
            line
            for line in self.read("evals")
            if 0 < step >= line["step"] and (line["split"] == "curve" or line["step"] == 0)
        ]
        if step > 0 and not any(line["step"] == 0 and line["split"] == "curve" for line in evals):
            raise ValueError(
                f"{self.directory}/evals.jsonl does not hold the base policy: delete {self.directory} to make the "
                "run anew"
            )
        credit = [line for line in self.read("credit") if line["step"] <= step]
        credited = {line["problem"] for line in credit}
        problems = [
            line for line in self.read("problems") if line["split"] == "train" and line["problem"] in credited
        ]
        files = {"metrics": metrics, "evals": evals, "credit": credit, "problems": problems, "samples": []}
        for name, kept in files.items():
            self.replace(f"{name}.jsonl", "".join(json.dumps(line) + "\n" for line in kept))

    def last_checkpoint(self) -> tuple[int, Path] | None:
        """Updates done and folder of the newest whole checkpoint, or None."""
        found = [
            (int(path.name.rpartition("-")[2]), path)
            for path in (self.directory / "checkpoint").glob("checkpoint-*")
            if _is_json(path / "trainer_state.json")  # written last
        ]
        return max(found, default=None)

    def replace(self, name: str, text: str) -> None:
        """Write a file whole or not at all."""
        temporary = self.directory / f".{name}.new"
        temporary.write_text(text, encoding="utf-8", errors="backslashreplace")  # a cause may hold half a character
        os.replace(temporary, self.directory / name)


def _is_json(path: Path) -> bool:
    try:
        json.loads(path.read_text())
    except (OSError, ValueError, RecursionError):
        return False
    return True


def environment(command: str, policy: Policy, uses_engine: bool, suite: Mapping[str, Any]) -> dict[str, Any]:
    """Versions, commit, hardware, start, command and what the suite says of its problems: to judge and repeat a run."""
    return {
        "command": command,
        "started": datetime.now(UTC).isoformat(timespec="seconds"),
        "python": platform.python_version(),
        "versions": {name: version(name) for name in PACKAGES},
        "commit": _commit(),
        "code": code(),
        "platform": platform.platform(),
        "processor": _processor(),
        "cores": os.cpu_count(),
        "threads": torch.get_num_threads(),
        "gpus": [torch.cuda.get_device_name(i) for i in range(torch.cuda.device_count())],
        "policy_hash": policy.hash,
        "autocast": "bfloat16" if policy.autocast else None,
        "suite": dict(suite),
        "rows": origins(suite),
        # in bfloat16 a completion depends on what is sampled beside it, if seldom
        "common_random_numbers": uses_engine and not policy.autocast,
    }


def origins(facts: Mapping[str, Any], prefix: str = "") -> dict[str, Any]:
    """Where a suite's rows come from, by its parts: what two runs on the same problems have in common."""
    found = {}
    for key, value in facts.items():
        if key == "rows":
            found[prefix or "suite"] = value
        elif isinstance(value, Mapping):
            found |= origins(value, f"{prefix}.{key}".strip("."))
    return found


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


def code() -> dict[str, str]:
    """Eight hex digits of the source of every loaded module of this project: {module name: digits}.

    The commit alone would tell apart runs between which only a document, or the file of another method, has changed.
    """
    found = {}
    for name, module in sorted(sys.modules.items()):
        path = getattr(module, "__file__", None)
        if name.partition(".")[0] in ("harness", "methods") and path:
            found[name] = hashlib.sha256(Path(path).read_bytes()).hexdigest()[:8]
    return found


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

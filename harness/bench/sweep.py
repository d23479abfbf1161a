"""Wall-clock of a sweep, 4 methods × 4 seeds: by two worker processes, by one, and as scripts around stock TRL.

    python -m harness.bench sweep [steps=8] [seeds=4] [workers=2] [parts=[parallel,sequential,stock]]

The methods are some that stock TRL has too; a script is benchmarks/stock_trl.py of a checkout, started anew for every
run with as many threads as there are workers. All train `steps` steps from the embedded policy on the same problems,
with a learning curve and an end point. The runs are short, and starting Python weighs more in them than in long ones:
the seconds of the scripts' own work stand beside the whole.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass, field
from pathlib import Path

from omegaconf import OmegaConf

from harness.markdown import table

METHODS = ("grpo", "dr_grpo", "cispo", "sapo")
SCRIPT = Path(__file__).parents[2] / "benchmarks" / "stock_trl.py"
SIZES = {"curve": 8, "validation": 8, "test": 32}  # problems per domain


@dataclass
class Options:
    """What can be set on the command line."""

    steps: int = 8
    seeds: int = 4
    workers: int = 2
    parts: list[str] = field(default_factory=lambda: ["parallel", "sequential", "stock"])


def harness(options: Options, workers: int, folder: str) -> float:
    """Seconds of the sweep as one command."""
    every = max(1, options.steps // 2)
    command = [
        sys.executable, "-m", "harness", "-m", f"method={','.join(METHODS)}", f"seed=range(0,{options.seeds})",
        f"results_dir={folder}", f"n_jobs={workers}", f"trainer.steps={options.steps}",
        f"trainer.checkpoint_every={options.steps}", f"evaluation.every={every}", "evaluation.temperatures=[1.0]",
        *(f"evaluation.{split}_problems={count}" for split, count in SIZES.items()),
    ]  # fmt: skip
    return _seconds(command, threads=1)


def stock(options: Options) -> tuple[float, float]:
    """Seconds of all scripts one after another, and of their own work without starting Python."""
    total = own = 0.0
    for seed in range(options.seeds):
        for method in METHODS:
            command = [
                sys.executable, str(SCRIPT), method, str(seed), "--steps", str(options.steps), "--every",
                str(max(1, options.steps // 2)), "--threads", str(options.workers),
                *(text for split, count in SIZES.items() for text in (f"--{split}", str(count))),
            ]  # fmt: skip
            start = time.perf_counter()
            ended = _run(command, options.workers)
            total += time.perf_counter() - start
            own += json.loads(ended.stdout.splitlines()[-1])["seconds"]
    return total, own


def _seconds(command: list[str], threads: int) -> float:
    start = time.perf_counter()
    _run(command, threads)
    return time.perf_counter() - start


def _run(command: list[str], threads: int) -> subprocess.CompletedProcess[str]:
    env = os.environ | {"OMP_NUM_THREADS": str(threads)}
    ended = subprocess.run(command, capture_output=True, text=True, env=env, check=False)
    if ended.returncode:
        raise RuntimeError(f"{' '.join(command)} failed:\n{ended.stdout[-2000:]}\n{ended.stderr[-2000:]}")
    return ended


def main(arguments: list[str]) -> int:
    options = OmegaConf.to_object(
        OmegaConf.merge(OmegaConf.structured(Options), OmegaConf.from_cli(arguments))
    )
    if unknown := set(options.parts) - {"parallel", "sequential", "stock"}:
        print(f"parts: {', '.join(unknown)} is none of parallel, sequential, stock", file=sys.stderr)
        return 2
    if "stock" in options.parts and not SCRIPT.exists():
        print(f"{SCRIPT} is not there: it comes with a checkout of the project", file=sys.stderr)
        return 2
    found: dict[str, float] = {}
    for part in options.parts:
        print(f"{part} …", file=sys.stderr, flush=True)
        if part == "stock":
            found["stock TRL scripts"], found["stock TRL scripts, Python started"] = stock(options)
        else:
            workers = options.workers if part == "parallel" else 1
            with tempfile.TemporaryDirectory() as folder:
                found[f"harness, {workers} worker{'s' * (workers > 1)}"] = harness(options, workers, folder)
    fastest = found.get(f"harness, {options.workers} workers", min(found.values()))
    print(f"{len(METHODS)} methods × {options.seeds} seeds × {options.steps} steps\n")
    rows = [(name, f"{seconds:.0f}", f"{seconds / fastest:.2f}") for name, seconds in found.items()]
    print(table(("sweep", "seconds", "× the parallel sweep"), rows))
    return 0

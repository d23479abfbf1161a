"""Wall-clock of a sweep, 4 methods × 4 seeds: by two worker processes, by one, and as scripts around stock TRL.

    python -m harness.bench sweep [steps=8] [seeds=4] [workers=2] [parts=[parallel,sequential,stock,stock_parallel]]

The methods are some that stock TRL has too; a script is benchmarks/stock_trl.py of a checkout, started anew for every
run: one after another with as many threads as there are workers, and as many at once as there are workers. All train
`steps` steps from the embedded policy on the same problems, with a learning curve and an end point. The runs are
short, and starting Python weighs more in them than in long ones: the seconds of the scripts' own work stand beside
the whole.
"""

from __future__ import annotations

import itertools
import json
import os
import subprocess
import sys
import tempfile
import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path

from omegaconf import OmegaConf

from harness.markdown import table

METHODS = ("grpo", "dr_grpo", "cispo", "sapo")
SCRIPT = Path(__file__).parents[2] / "benchmarks" / "stock_trl.py"
SIZES = {"curve": 8, "validation": 8, "test": 32}  # problems per domain


PARTS = ("parallel", "sequential", "stock", "stock_parallel")


@dataclass
class Options:
    """What can be set on the command line."""

    steps: int = 8
    seeds: int = 4
    workers: int = 2
    parts: list[str] = field(default_factory=lambda: list(PARTS))


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


def stock(options: Options, at_once: int) -> tuple[float, float]:
    """Seconds of all scripts, `at_once` of them at a time sharing `workers` threads, and of their own work without
    starting Python, as if spread evenly over those.
    """
    sizes = [text for split, count in SIZES.items() for text in (f"--{split}", str(count))]
    threads = options.workers // at_once
    every = str(max(1, options.steps // 2))

    def run(of: tuple[int, str]) -> float:
        seed, method = of
        command = [sys.executable, str(SCRIPT), method, str(seed), "--steps", str(options.steps), "--every", every,
                   "--threads", str(threads), *sizes]  # fmt: skip
        return json.loads(_run(command, threads).stdout.splitlines()[-1])["seconds"]

    start = time.perf_counter()
    with ThreadPoolExecutor(at_once) as pool:
        own = list(pool.map(run, itertools.product(range(options.seeds), METHODS)))
    return time.perf_counter() - start, sum(own) / at_once


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
    if unknown := set(options.parts) - set(PARTS):
        print(f"parts: {', '.join(unknown)} is none of {', '.join(PARTS)}", file=sys.stderr)
        return 2
    if {"stock", "stock_parallel"} & set(options.parts) and not SCRIPT.exists():
        print(f"{SCRIPT} is not there: it comes with a checkout of the project", file=sys.stderr)
        return 2
    found: dict[str, float] = {}
    for part in options.parts:
        print(f"{part} …", file=sys.stderr, flush=True)
        if part.startswith("stock"):
            at_once = options.workers if part == "stock_parallel" else 1
            name = f"stock TRL scripts, {at_once} at once"
            found[name], found[f"{name}, without imports"] = stock(options, at_once)
        else:
            workers = options.workers if part == "parallel" else 1
            with tempfile.TemporaryDirectory() as folder:
                found[f"harness, {workers} worker{'s' * (workers > 1)}"] = harness(options, workers, folder)
    fastest = found.get(f"harness, {options.workers} workers", min(found.values()))
    print(f"{len(METHODS)} methods × {options.seeds} seeds × {options.steps} steps\n")
    rows = [(name, f"{seconds:.0f}", f"{seconds / fastest:.2f}") for name, seconds in found.items()]
    print(table(("sweep", "seconds", "× the parallel sweep"), rows))
    return 0

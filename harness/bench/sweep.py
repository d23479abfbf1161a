"""Wall-clock of a sweep, 4 methods × 4 seeds: by two worker processes, by one, and as scripts around stock TRL.

    python -m harness.bench sweep [rounds=1] [steps=8] [seeds=4] [workers=2] [parts=[…]]

The methods are some that stock TRL has too; a script is benchmarks/stock_trl.py of a checkout, started anew for every
run. All train `steps` steps from the embedded policy on the same problems, with a learning curve and an end point. The
parts, in an order drawn anew each round:

- parallel: one command, a worker process of one thread for each of `workers`;
- sequential: one command, one process of one thread, as a sweep without a launcher would run;
- sequential_threads: the same with `workers` threads;
- stock: scripts one after another, with `workers` threads;
- stock_parallel: `workers` scripts at once, of one thread.

Short runs are mostly the start of Python, which the harness does once a worker: the seconds of the scripts' own work
stand beside the whole, and steps=60 is a real run's length.
"""

from __future__ import annotations

import itertools
import json
import os
import random
import statistics
import subprocess
import sys
import tempfile
import time
from collections import defaultdict
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path

from omegaconf import OmegaConf

from harness.markdown import table

METHODS = ("grpo", "dr_grpo", "cispo", "sapo")
SCRIPT = Path(__file__).parents[2] / "benchmarks" / "stock_trl.py"
SIZES = {"curve": 8, "validation": 8, "test": 32}  # problems per domain


PARTS = ("parallel", "sequential", "sequential_threads", "stock", "stock_parallel")


@dataclass
class Options:
    """What can be set on the command line."""

    rounds: int = 1
    steps: int = 8
    seeds: int = 4
    workers: int = 2
    parts: list[str] = field(default_factory=lambda: list(PARTS))


def harness(options: Options, workers: int, threads: int) -> float:
    """Seconds of the sweep as one command."""
    every = max(1, options.steps // 2)
    with tempfile.TemporaryDirectory() as folder:
        command = [
            sys.executable, "-m", "harness", "-m", f"method={','.join(METHODS)}", f"seed=range(0,{options.seeds})",
            f"results_dir={folder}", f"n_jobs={workers}", f"trainer.threads={threads}",
            f"trainer.steps={options.steps}", f"trainer.checkpoint_every={options.steps}", f"evaluation.every={every}",
            "evaluation.temperatures=[1.0]",
            *(f"evaluation.{split}_problems={count}" for split, count in SIZES.items()),
        ]  # fmt: skip
        return _seconds(command, threads)


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


def measured(part: str, options: Options) -> dict[str, float]:
    """Seconds by what they are of."""
    many = options.workers
    if part.startswith("stock"):
        whole, own = stock(options, many if part == "stock_parallel" else 1)
        return {part: whole, f"{part}, own work": own}
    workers, threads = {"parallel": (many, 1), "sequential": (1, 1), "sequential_threads": (1, many)}[part]
    return {part: harness(options, workers, threads)}


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
    found: dict[str, list[float]] = defaultdict(list)
    for number in range(options.rounds):
        for part in random.Random(number).sample(options.parts, len(options.parts)):
            for name, seconds in measured(part, options).items():
                found[name].append(seconds)
                print(f"round {number + 1}/{options.rounds}, {name}: {seconds:.0f} s", file=sys.stderr, flush=True)
    print(f"{len(METHODS)} methods × {options.seeds} seeds × {options.steps} steps, {options.rounds} round(s)\n")
    rows, fastest = [], found.get("parallel")
    for part in PARTS:
        for name in (part, f"{part}, own work"):
            if own := found.get(name):
                ratios = [a / b for a, b in zip(own, fastest, strict=True)] if fastest else []
                said = f"{statistics.median(ratios):.2f} ({min(ratios):.2f}-{max(ratios):.2f})" if ratios else ""
                rows.append((name, f"{statistics.median(own):.0f}", said))
    print(table(("sweep", "seconds, median", "× parallel (range)"), rows))
    return 0

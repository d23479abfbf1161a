"""Seconds and memory of `harness.compare` by the number of runs, and how they grow.

    python -m harness.bench compare [runs=[250,500,1000]] [steps=500] [seeds=25] [stages=[read,numbers,command]]

Writes runs in the shape of real ones into a temporary folder (30 numbers a step, an evaluation every 25
steps, three domains, 960 judged completions a run; about 0.7 GB for 1,000 runs) and measures, each in a
process of its own, imports included: reading alone, reading and all numbers of the page (`report.find`), and
the whole command with its figures. `CPU s` adds the processor seconds of all processes, which other work on
the machine changes little. Memory is the highest of all processes together, looked at every fifth of a second,
a page that several share counted once (proportional set size; Linux). The exponent is the slope
of a line through the logarithms: 1 is linear. The goal is 60 s and 2 GiB for 1,000 runs of 500 steps on two
cores. The folder is deleted afterwards.
"""

from __future__ import annotations

import json
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import psutil
import yaml
from omegaconf import OmegaConf

DOMAINS = ("math", "code", "science")
EVERY = 25
SAMPLES, PROBLEMS = 4, 64  # a domain's test problems, and completions of each; greedily one more
LOOK = 0.2  # seconds between two looks at memory
TEXTS = 8  # metrics of so many runs are made up and shared out: numbers of single steps decide no verdict
OWN = ("shaping_mean", "weight_mass", "weight_sd", "one_sided")  # what a method records of itself
FIELDS = (
    "reward", "reward_std", "loss", "grad_norm", "entropy", "clip_share", "length_mean", "length_max",
    "truncated_share", "advantage_rms", "zero_variance_share", "kl", "credit_rms", "credit_share",
    "ratio_mean", "ratio_max", "learning_rate",
)  # fmt: skip
CONFIG = {
    "results_dir": "results", "n_jobs": -1, "sandbox": "auto", "tuned": [],
    "suite": {"_target_": "harness.suites.micro.MicroSuite", "name": "micro", "domains": [*DOMAINS], "horizon": 4,
              "level": 1, "reward": "all", "seed": 0},
    "policy": {"_target_": "harness.policy.load_policy", "name": "micro", "path": "micro", "dtype": "float32"},
    "trainer": {"prompts_per_step": 12, "completions_per_prompt": 8, "updates_per_step": 2, "rows_per_pass": None,
                "learning_rate": 0.00015, "temperature": 1.0, "max_completion_tokens": 64, "beta": 0.0,
                "max_grad_norm": 1.0, "checkpoint_every": 10, "report_to": [], "threads": 1, "extra": {},
                "allow_truncated_sampling": False, "dry_run": False},
    "evaluation": {"every": EVERY, "curve_problems": 24, "validation_problems": 24, "test_problems": PROBLEMS,
                   "curve_samples": 4, "test_samples": SAMPLES, "temperature": 1.0, "temperatures": [0.5, 0.7, 1.0],
                   "max_tokens": None, "shown_problems": 4, "seed": 0},
}  # fmt: skip
CHILD = """
import json, resource, sys, time
start = time.perf_counter()
from pathlib import Path
stage, root, out = sys.argv[1:]
if stage == "read":
    from harness.compare.load import load
    load(Path(root))
elif stage == "numbers":
    from harness.compare import report
    report.find([Path(root)], report.Question("method-00", ("method",), None, 0.05, ""))
else:
    from harness.compare.__main__ import main
    if main([f"runs={root}", f"out={out}", "baseline=method-00", "factors=[method]"]):
        sys.exit(1)
seconds = time.perf_counter() - start
own, workers = (resource.getrusage(who) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN))
spent = sum(usage.ru_utime + usage.ru_stime for usage in (own, workers))
Path(out, "measured.json").write_text(json.dumps([seconds, spent]))
"""


@dataclass
class Options:
    """What can be set on the command line."""

    runs: list[int] = field(default_factory=lambda: [250, 500, 1000])
    steps: int = 500
    seeds: int = 25
    stages: list[str] = field(default_factory=lambda: ["read", "numbers", "command"])


def write_runs(root: Path, runs: int, steps: int, seeds: int) -> None:
    """`runs` finished runs of `steps` steps below `root`, `seeds` of each method; the same for the same call."""
    rng = np.random.default_rng(0)
    texts = [_metrics(steps, rng) for _ in range(TEXTS)]
    completions = _text(_completions(steps, rng))
    for number in range(runs):
        method, seed = divmod(number, seeds)
        name = f"method-{method:02d}"
        folder = root / f"{name}-{method:08x}" / f"seed-{seed}"
        folder.mkdir(parents=True)
        config = CONFIG | {"seed": seed, "label": folder.parent.name, "experiment_name": root.name}
        config |= {"trainer": CONFIG["trainer"] | {"steps": steps}, "method": _method(name)}
        (folder / "config.yaml").write_text(yaml.dump(config, Dumper=yaml.CSafeDumper))
        (folder / "env.json").write_text(json.dumps(_env(name, seed), indent=2))
        (folder / "metrics.jsonl").write_text(texts[number % TEXTS].replace("METHOD", name))
        (folder / "evals.jsonl").write_text(_text(_evaluations(steps, method, rng)))
        (folder / "samples.jsonl").write_text(completions)
        (folder / "STATUS").write_text("done\n")


def _method(name: str) -> dict[str, Any]:
    return {
        "name": name, "_target_": "methods.method.Method", "scale": "own", "dynamic_sampling": 0,
        "control": {"_target_": "methods.weightings.uniform.Uniform"},
        "advantage": {"_target_": "methods.advantages.group_mean.GroupMean", "scale": "group", "epsilon": 0.0001},
        "weighting": {"_target_": f"methods.weightings.{name}", "refine": 1, "bounds": [0.8, 1.2]},
        "shaping": {"_target_": "methods.shaping.none.NoShaping"},
        "surrogate": {"_target_": "methods.surrogates.Surrogate", "loss_type": "dapo", "epsilon": 0.2},
    }  # fmt: skip


def _env(name: str, seed: int) -> dict[str, Any]:
    modules = [f"harness.module_{i}" for i in range(60)] + [f"methods.weightings.{name}"]
    return {
        "command": f"python -m harness method={name} seed={seed} experiment=speed", "commit": "c" * 40,
        "versions": {"torch": "2.13.0", "transformers": "5.23.0", "trl": "1.16.0"},
        "code": dict.fromkeys(modules, "0a1b2c3d"),
        "policy_hash": "bb0e16145b9fcf8e", "autocast": None, "rows": {}, "common_random_numbers": True,
    }  # fmt: skip


def _metrics(steps: int, rng: np.random.Generator) -> str:
    lines = []
    seconds = 0.0
    for step, numbers in enumerate(rng.random((steps, len(FIELDS) + len(OWN) + 4)).tolist(), start=1):
        line = {"step": step, **dict(zip(FIELDS, numbers, strict=False)), "unscorable": 0.0}
        line |= {f"METHOD/{name}": value for name, value in zip(OWN, numbers[len(FIELDS) :], strict=False)}
        spent = dict(zip(("rollout", "reward", "credit", "update"), numbers[-4:], strict=True))
        seconds += sum(spent.values())
        line |= {"tokens": 2900 * step, "extra_tokens": 0, "pass_tokens": 0, "seconds": seconds}
        lines.append(line | {f"seconds_{phase}": value for phase, value in spent.items()})
    return _text(lines)


def _evaluations(steps: int, method: int, rng: np.random.Generator) -> Iterator[dict[str, Any]]:
    """Every evaluation of a run; the learning curve rises from 0.1 to about 0.5, a bit more for later methods."""
    curve = sorted({*range(0, steps, EVERY), steps})
    kinds = [(0, "validation", "sampled", temperature) for temperature in (0.5, 0.7, 1.0)]
    kinds += [(0, "test", "sampled", 1.0), (0, "test", "greedy", 0.0), (0, "test", "best", 0.7)]
    kinds += [(step, "curve", "sampled", 1.0) for step in curve]
    kinds += [
        (steps, "validation", "sampled", 1.0),
        (steps, "test", "sampled", 1.0),
        (steps, "test", "greedy", 0.0),
    ]
    for step, split, mode, temperature in kinds:
        values = (0.1 + (0.4 + 0.002 * method) * step / steps + 0.05 * (step > 0) * rng.random(3)).tolist()
        for domain, value in zip(("all", *DOMAINS), (sum(values) / 3, *values), strict=True):
            yield {
                "step": step, "split": split, "mode": mode, "temperature": temperature, "domain": domain,
                "problems": PROBLEMS, "samples": 1 if mode == "greedy" else SAMPLES, "avg": value,
                "pass": {"1": value, "2": 1 - (1 - value) ** 2, "4": 1 - (1 - value) ** 4}, "maj": value,
                "errors": 0, "length": 30.5, "train_tokens": 2900 * step, "train_seconds": 0.5 * step,
                "problems_hash": f"20449ad45bf8{split[:4]}", "eval_seed": 0,
            }  # fmt: skip


def _completions(steps: int, rng: np.random.Generator) -> Iterator[dict[str, Any]]:
    for mode, count in (("sampled", SAMPLES), ("greedy", 1)):
        for domain in DOMAINS:
            for problem in range(PROBLEMS):
                for sample, correct in enumerate((rng.random(count) < 0.5).tolist()):
                    yield {
                        "step": steps, "split": "test", "mode": mode, "domain": domain, "sample": sample,
                        "problem": f"{domain}{problem:012x}", "text": "5-2=3;19-11=8;7+25=32;7+36=43",
                        "answer": "3;8;32;43", "correct": correct,
                    }  # fmt: skip


def _text(lines: Sequence[dict[str, Any]] | Iterator[dict[str, Any]]) -> str:
    return "".join(json.dumps(line) + "\n" for line in lines)


def measure(stage: str, root: Path, out: Path) -> tuple[float, float, float]:
    """(seconds, processor seconds, GiB) of a stage in a process of its own. Raises CalledProcessError if it fails."""
    out.mkdir(parents=True, exist_ok=True)
    command = [sys.executable, "-c", CHILD, stage, str(root), str(out)]
    highest = 0
    with subprocess.Popen(command, stdout=subprocess.DEVNULL) as child:
        while child.poll() is None:
            highest = max(highest, together(child.pid))
            time.sleep(LOOK)
    if child.returncode:
        raise subprocess.CalledProcessError(child.returncode, command)
    return *json.loads((out / "measured.json").read_text()), highest / 2**30


def together(pid: int) -> int:
    """Bytes that a process and its children hold, a page that several share counted once."""
    try:
        family = [psutil.Process(pid), *psutil.Process(pid).children(recursive=True)]
    except psutil.NoSuchProcess:
        return 0
    held = 0
    for process in family:
        with suppress(psutil.NoSuchProcess):  # ended meanwhile
            held += process.memory_full_info().pss
    return held


def exponent(runs: Sequence[int], seconds: Sequence[float]) -> float:
    """The slope of log(seconds) over log(runs) by least squares; NaN for one size."""
    return float(np.polyfit(np.log(runs), np.log(seconds), 1)[0]) if len(runs) > 1 else float("nan")


def main(arguments: Sequence[str]) -> None:
    """Write the runs, measure, print the table."""
    options = OmegaConf.to_object(
        OmegaConf.merge(OmegaConf.structured(Options), OmegaConf.from_cli(list(arguments)))
    )
    taken: dict[str, list[tuple[float, float, float]]] = {stage: [] for stage in options.stages}
    print("| runs | " + " | ".join(f"{stage}, s | CPU s | GiB" for stage in options.stages) + " |")
    print("|--:|" + "--:|--:|--:|" * len(options.stages))
    for runs in options.runs:
        with tempfile.TemporaryDirectory(prefix="compare-") as folder:
            root = Path(folder) / "speed"
            write_runs(root, runs, options.steps, options.seeds)
            for stage in options.stages:
                taken[stage].append(measure(stage, root, Path(folder) / "out"))
        row = [f"{own[-1][0]:.1f} | {own[-1][1]:.1f} | {own[-1][2]:.2f}" for own in taken.values()]
        print(f"| {runs} | {' | '.join(row)} |", flush=True)
    slopes = [
        f"{exponent(options.runs, column):.2f}" for own in taken.values() for column in zip(*own, strict=True)
    ]
    print(f"| exponent | {' | '.join(slopes)} |")

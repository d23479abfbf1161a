"""Time and memory that the credit of every preset takes, and how both grow with the number of tokens.

    python -m harness.bench credit [largest=1024x2048] [methods=[grpo,lampo]] [threads=1]
                                   [hidden=1536] [group=16] [sizes=[64x512,256x1024]] [live_rows=64] [limit=1800]

Sizes are completions × tokens: `largest`, and two that halve both, unless `sizes` names them. The rollouts
are made up (harness.bench.synthetic), each method gets what its `needs` names, and work that takes a policy is
answered from memory: what is measured is credit alone. Every cell has a process of its own, one after the
other, so that the largest (LM-head inputs of 12.9 GB) fits where it fits at all.

Peak memory is what one `Method.credit` adds to the process at its highest, its result included: the
kernel's high-water mark of resident memory, reset before, minus what was resident then. Temporaries must not
hide in memory that was freed but kept: freed memory goes back to the system before the call, and blocks
above 64 KiB are mapped and unmapped one by one during it. Seconds are the median of further calls with
malloc as it is, or this call's where it took over 10 s. `×` is the peak over the largest input: token ids
or the largest signal in `needs`. Methods over 2.0× at the largest size are named below the table. Exponents
are those of tokens, log(ratio of two neighbouring sizes)/log(ratio of their tokens): 1 is linear.

A second table has `Method.live`, which live methods call for every micro-batch of `live_rows` completions.

Linux with glibc. Exit codes: 0, 1 if a method failed (its error stands in the table), 2 refused.
"""

from __future__ import annotations

import json
import math
import os
import re
import statistics
import subprocess
import sys
import time
import traceback
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, field
from textwrap import shorten
from typing import Any

import torch
from omegaconf import OmegaConf
from omegaconf.errors import OmegaConfBaseException

from harness.bench.memory import MAPPED, check_system, malloc_as_usual, measured, status
from harness.bench.synthetic import micro_batch, rollouts
from harness.config import CONF
from harness.errors import ConfigError, nearest
from harness.load import load_method
from methods.batch import SIGNALS

BOUND = 2  # peak memory over the largest input
CHILD = [sys.executable, "-m", "harness.bench.credit"]


@dataclass
class Options:
    """What can be set on the command line."""

    methods: list[str] = field(default_factory=list)
    largest: str = "1024x2048"
    sizes: list[str] = field(default_factory=list)
    hidden: int = 1536
    group: int = 16
    live_rows: int = 64
    threads: int = 1
    limit: int = 1800


@dataclass(frozen=True)
class Cell:
    """One measurement: a preset at a size."""

    method: str
    rows: int
    width: int
    hidden: int
    group: int
    live_rows: int
    threads: int

    @property
    def tokens(self) -> int:
        return self.rows * self.width

    @property
    def size(self) -> str:
        return f"{self.rows}×{self.width}"


def measure(cell: Cell) -> dict[str, Any]:
    """Seconds and peak bytes of a cell's credit, its largest input in bytes, and the same of its live stage."""
    torch.set_num_threads(cell.threads)
    method = load_method(cell.method)
    if unknown := method.needs & {"probs"}:
        raise ConfigError(f"needs {', '.join(unknown)}, which the benchmark does not make")
    _check_room(cell, method.needs)
    small = (
        min(4 * cell.group, cell.rows),
        min(256, cell.width),
    )  # large enough for the paths that large ones take
    load_method(cell.method).credit(rollouts(*small, cell.group, cell.hidden, method.needs))
    batch = rollouts(cell.rows, cell.width, cell.group, cell.hidden, method.needs)
    tensors = [batch.completion_ids, *(x for x in batch.cache.values() if isinstance(x, torch.Tensor))]
    credit, seconds, peak = measured(lambda: method.credit(batch))
    found = {"seconds": seconds, "peak": peak, "largest": max(x.nbytes for x in tensors)}
    calls = [(found, lambda: method.credit(batch))]
    if method.is_live:
        rows = min(cell.live_rows, cell.rows)
        now, values = micro_batch(batch, rows), credit.values[:rows].clone()
        method.live(now, values)
        _, seconds, peak = measured(lambda: method.live(now, values))
        found["live"] = {"seconds": seconds, "peak": peak, "largest": now.logps.nbytes}
        calls.append((found["live"], lambda: method.live(now, values)))
    malloc_as_usual()
    for result, call in calls:
        if result["seconds"] < 10:
            result["seconds"] = median_seconds(call)
    return found


def median_seconds(call: Callable[[], Any]) -> float:
    """Of up to five calls, as many as a second takes."""
    times: list[float] = []
    while sum(times) < 1 and len(times) < 5:
        start = time.perf_counter()
        call()
        times.append(time.perf_counter() - start)
    return statistics.median(times)


def _check_room(cell: Cell, needs: frozenset[str]) -> None:
    """Refuse inputs that do not fit into memory before they are made."""
    maps = 4 + sum(SIGNALS[name].axes == "NT" for name in needs & SIGNALS.keys())
    needed = cell.tokens * (8 * maps + 4 * cell.hidden * ("hidden" in needs))
    available = status("MemAvailable", "/proc/meminfo")
    if needed > available:
        raise ConfigError(f"inputs take {needed / 1e9:.1f} GB, {available / 1e9:.1f} GB are free")


def run_cell(cell: Cell, limit: int) -> dict[str, Any]:
    """Measure in a process of its own; {"error": why} if that fails."""
    variables = {f"{library}_NUM_THREADS": str(cell.threads) for library in ("OMP", "MKL", "OPENBLAS")}
    command = [*CHILD, json.dumps(asdict(cell))]
    try:
        done = subprocess.run(
            command, stdout=subprocess.PIPE, text=True, env=os.environ | variables | MAPPED, timeout=limit
        )
    except subprocess.TimeoutExpired:
        return {"error": f"took over {limit} s"}
    if done.returncode:
        memory = ", which is what happens when memory runs out" if done.returncode == -9 else ""
        return {"error": f"its process ended with {done.returncode}{memory}"}
    return json.loads(done.stdout.splitlines()[-1])


def child(text: str) -> None:
    """Measure the cell described by `text` and print the result, or the error, as JSON."""
    try:
        found = measure(Cell(**json.loads(text)))
    except Exception as error:  # every kind goes to the table, with the traceback above it
        traceback.print_exc()
        says = " ".join([f"{type(error).__name__}: {error}", *getattr(error, "__notes__", ())])
        found = {"error": shorten(says, 300)}
    print(json.dumps(found))


def table(cells: dict[str, list[dict[str, Any]]], sizes: Sequence[tuple[int, int]]) -> str:
    """A Markdown table of results by method, one a size, the smallest size first; errors in their cells."""
    names = [f"{rows}×{width}" for rows, width in sizes]
    heads = ["method", *(f"{name}: {what}" for name in names for what in ("s", "MB", "×"))]
    if len(sizes) > 1:
        heads += ["time exponent", "memory exponent"]
    lines = [_row(heads), "|---" + "|--:" * (len(heads) - 1) + "|"]
    tokens = [rows * width for rows, width in sizes]
    for method, found in cells.items():
        columns = [method]
        for result in found:
            columns += _cell(result)
        columns += ["", "", ""] * (len(sizes) - len(found))
        if len(sizes) > 1:
            columns += [exponents(found, tokens, "seconds", 1e-4), exponents(found, tokens, "peak", 1e6)]
        lines.append(_row(columns))
    return "\n".join(lines)


def exponents(found: list[dict[str, Any]], tokens: list[int], what: str, least: float) -> str:
    """How a measure grows with tokens, from each size to the next; – where it is too small to say."""
    shown = []
    for i in range(1, len(tokens)):
        pair = [result.get(what, 0.0) for result in found[i - 1 : i + 1]]
        known = len(pair) == 2 and min(pair) >= least
        growth = math.log(pair[1] / pair[0]) / math.log(tokens[i] / tokens[i - 1]) if known else None
        shown.append("–" if growth is None else f"{growth:.2f}")
    return ", ".join(shown)


def over(cells: dict[str, list[dict[str, Any]]]) -> str:
    """Name the methods above the bound at the largest size; one that failed has none there."""
    last = {m: found[-1] for m, found in cells.items() if "peak" in found[-1]}
    above = {m: r["peak"] / r["largest"] for m, r in last.items() if _is_over(r)}
    if not above:
        return f"None of {len(last)} over {BOUND}× the largest input at the largest size."
    named = ", ".join(f"{m} ({ratio:.1f}×)" for m, ratio in above.items())
    return f"Over {BOUND}× the largest input at the largest size: {named}."


def _is_over(result: dict[str, Any]) -> bool:
    return round(result["peak"] / result["largest"], 1) > BOUND  # two maps and a little are two maps


def _cell(result: dict[str, Any]) -> list[str]:
    if "error" in result:
        return [f"failed: {result['error']}".replace("|", "\\|"), "", ""]
    ratio = result["peak"] / result["largest"]
    shown = f"**{ratio:.2f}**" if _is_over(result) else f"{ratio:.2f}"
    return [f"{result['seconds']:.3g}", f"{result['peak'] / 1e6:.1f}", shown]


def _row(columns: Sequence[str]) -> str:
    return f"| {' | '.join(columns)} |"


def parse(arguments: Sequence[str]) -> tuple[Options, list[str], list[tuple[int, int]]]:
    """Options, presets and sizes, the smallest first. Raises ConfigError."""
    for argument in arguments:
        key, equals, _ = argument.partition("=")
        if not equals or key not in Options.__dataclass_fields__:
            raise ConfigError(f"There is no option {key}. {nearest(key, Options.__dataclass_fields__)}")
    try:
        merged = OmegaConf.merge(OmegaConf.structured(Options), OmegaConf.from_cli(list(arguments)))
        options: Options = OmegaConf.to_object(merged)
    except OmegaConfBaseException as error:
        raise ConfigError(f"{error.full_key}: {str(error).splitlines()[0]}.") from error
    for key, least in {"hidden": 1, "group": 2, "live_rows": 1, "threads": 1, "limit": 1}.items():
        if getattr(options, key) < least:
            raise ConfigError(f"{key}={getattr(options, key)} must be at least {least}.")
    presets = sorted(path.stem for path in (CONF / "method").glob("*.yaml"))
    for name in options.methods:
        if name not in presets:
            raise ConfigError(f"There is no method named {name}. {nearest(name, presets)}")
    sizes = [_size(text, options.group, 4) for text in options.sizes]
    if not sizes:
        rows, width = _size(options.largest, 4 * options.group, 16)
        sizes = [(rows // k, width // k) for k in (4, 2, 1)]
    return options, options.methods or presets, sorted(set(sizes), key=math.prod)


def _size(text: str, rows: int, width: int) -> tuple[int, int]:
    found = re.fullmatch(r"(\d+)[x×](\d+)", str(text))
    size = tuple(map(int, found.groups())) if found else (0, 0)
    if not all(size) or size[0] % rows or size[1] % width:
        raise ConfigError(
            f"{text} is no size here: write completions x tokens, multiples of {rows} and {width}, such as 1024x2048."
        )
    return size


def main(arguments: list[str]) -> int:
    """Measure every preset at every size, print the tables and return the exit code."""
    try:
        check_system()
        options, methods, sizes = parse(arguments)
    except ConfigError as error:
        print(f"harness.bench credit: {error}", file=sys.stderr)
        return 2
    shared = (options.hidden, options.group, options.live_rows, options.threads)
    cells: dict[str, list[dict[str, Any]]] = {}
    total, number = len(methods) * len(sizes), 0
    for method in methods:
        found = cells[method] = []
        for size in sizes:
            number += 1
            cell = Cell(method, *size, *shared)
            result = run_cell(cell, options.limit)
            found.append(result)
            says = result.get("error") or f"{result['seconds']:.3g} s, {result['peak'] / 1e6:.1f} MB"
            print(f"[{number}/{total}] {method} {cell.size}: {says}", flush=True)
            if "error" in result:  # a larger size would take longer to fail
                number += len(sizes) - len(found)
                break
    print(f"\nGroups of {options.group}, hidden size {options.hidden}, {options.threads} thread(s)\n")
    print(table(cells, sizes))
    print(f"\n{over(cells)}")
    live = {m: [r["live"] for r in found if "live" in r] for m, found in cells.items()}
    if live := {m: found for m, found in live.items() if found}:
        rows = [(min(options.live_rows, size[0]), size[1]) for size in sizes]
        print(f"\nMethod.live on one micro-batch\n\n{table(live, rows)}")
    return 1 if any("error" in result for found in cells.values() for result in found) else 0


if __name__ == "__main__":
    child(sys.argv[1])

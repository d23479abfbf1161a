"""Credit on rollouts made elsewhere: any trainer's completions, any method of this harness; nothing is trained.

    python -m harness.credit rollouts.jsonl method=lampo
    python -m harness.credit rollouts.jsonl method=lampo method.advantage.temperature=0.05 method/weighting=delta
    python -m harness.credit rollouts.jsonl --config-dir my_conf method/advantage=sign out=sign.jsonl

rollouts.jsonl holds one JSON object a line for each completion, all with the same columns:

    {"group": "7*8?", "completion_ids": [53, 54], "reward": 1, "logps": [-0.1, -0.7]}
    {"group": "7*8?", "completion_ids": [53, 52, 9], "reward": 0, "logps": [-0.1, -1.9, -0.2]}

Required
%(required)s
Optional
%(optional)s
Signals, of which a method needs some or none; one that is missing is named
%(signals)s

Where the mask is 0, a signal's number may be null.

The method is chosen as for `python -m harness`, whose --help lists what there is: method=<preset> (default: grpo),
method/<part>=<file>, method.<part>.<option>=<value>, --config-dir <folder of your own groups>.

Prints the method's metrics and writes to out=<file> (default: credit.jsonl) a line for each completion, in the
input's order; `row` is its line in the input, and credit is 0 where the mask is 0:

    {"group": "7*8?", "row": 1, "credit": [0.9656, 0.9656]}

From a notebook:

    from harness import load_method
    from harness.credit import read_rollouts, write

    batch, places = read_rollouts("rollouts.jsonl")
    credit = load_method("lampo").credit(batch)
    write("credit.jsonl", credit, places)

Exit codes: 0 written, 2 refused; the message says where and what to do.
"""

from __future__ import annotations

import json
import os
import sys
from argparse import ArgumentParser
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path

from hydra.utils import instantiate

from harness.__main__ import _warn_of_shadowed
from harness.check import PARTS, check, check_parts
from harness.compose import composer, parse
from harness.errors import ConfigError, nearest
from harness.imported import COLUMNS, OPTIONAL, REQUIRED, SIGNAL_OF, Place, read_rollouts
from methods import Credit, Method, MissingSignal, RolloutBatch
from methods.batch import SIGNALS

CHOICES = {"method", *(f"method/{part}" for part in (*PARTS, "control")), "out"}

__all__ = ["Place", "read_rollouts", "write"]


def write(path: str | Path, credit: Credit, places: Sequence[Place]) -> None:
    """Write the credit of every line that was read, in the file's order; the file appears when it is whole."""
    path = Path(path)
    part = path.with_name(f"{path.name}.part")
    with part.open("w", encoding="utf-8") as file:
        for place in places:
            values = credit.values[place.row, : place.length] + 0.0  # no -0.0
            line = {"group": place.group, "row": place.line, "credit": values.tolist()}
            file.write(json.dumps(line, ensure_ascii=False) + "\n")
    os.replace(part, path)


def compose_method(overrides: list[str], config_dir: str | None = None) -> Method:
    """The method that whole overrides, as of `python -m harness`, describe. Raises ConfigError."""
    with composer(config_dir) as compose:
        for override in parse(overrides):
            key = override.key_or_group
            if key.partition("/")[0].partition(".")[0] != "method":
                raise ConfigError(f"{override.input_line} is not read here. {nearest(key, CHOICES)}")
            if override.is_sweep_override():
                raise ConfigError(f"{override.input_line} stands for several methods: give one at a time.")
        cfg = compose(overrides)
    check(cfg)
    check_parts(cfg, "method")
    return instantiate(cfg.method, _convert_="all")


def main(arguments: Sequence[str] | None = None) -> int:
    """Run what the command line asks for and return the exit code."""
    arguments = sys.argv[1:] if arguments is None else list(arguments)
    if not arguments or {"-h", "--help"} & set(arguments):
        print(_help())
        return 0 if arguments else 2
    parser = ArgumentParser("python -m harness.credit", add_help=False, allow_abbrev=False)
    parser.add_argument("rollouts", type=Path)
    parser.add_argument("overrides", nargs="*", metavar="key=value")
    parser.add_argument("--config-dir", "-cd")
    options = parser.parse_intermixed_args(arguments)
    overrides, out = [], Path("credit.jsonl")
    for text in options.overrides:
        if text.startswith("out="):
            out = Path(text.removeprefix("out="))
        else:
            overrides.append(text)
    try:
        _check_out(out, options.rollouts)
        _warn_of_shadowed(options.config_dir)
        method = compose_method(overrides, options.config_dir)
        batch, places = read_rollouts(options.rollouts)
        credit = _credit(method, batch, options.rollouts)
        write(out, credit, places)
    except ConfigError as error:
        print(f"harness.credit: {error}", file=sys.stderr)
        return 2
    filling = len(batch.rewards) - len(places)  # rows that stand for no line
    print(_summary(options.rollouts, method, places))
    print(_table({**credit.metrics, "unscorable": credit.metrics["unscorable"] - filling}))
    print(f"\nwritten: {out}")
    return 0


def _check_out(out: Path, rollouts: Path) -> None:
    if not out.name or out.is_dir() or not out.parent.is_dir():
        raise ConfigError(f"out={out}: name a file in a folder that exists.")
    if out.exists() and rollouts.exists() and out.samefile(rollouts):
        raise ConfigError(f"out={out} would replace the rollouts: name another file.")


def _credit(method: Method, batch: RolloutBatch, rollouts: Path) -> Credit:
    try:
        return method.credit(batch)
    except MissingSignal as missing:
        wanted = method.needs | {missing.name}
        if work := sorted(wanted - SIGNALS.keys()):
            raise ConfigError(
                f"{missing.wanted_by} needs the policy itself ({', '.join(work)}), which a file cannot give: train"
                " with `python -m harness`, or in a notebook give the batch a provider that has it."
            ) from missing
        lacking = wanted - batch.cache.keys()
        columns = [column for column, signal in SIGNAL_OF.items() if signal in lacking]
        described = ", ".join(f"{column} ({COLUMNS[column]})" for column in columns)
        raise ConfigError(
            f"{missing.wanted_by} needs what {rollouts} does not have: add to every line {described}."
        ) from missing


def _summary(rollouts: Path, method: Method, places: Sequence[Place]) -> str:
    sizes = Counter(place.group for place in places).values()
    low, high = min(sizes), max(sizes)
    lines = [
        f"{rollouts}: {len(places)} completions, {len(sizes)} groups of {low if low == high else f'{low} to {high}'},"
        f" {sum(place.length for place in places)} tokens",
        f"method {method.name}",
    ]
    if method.is_live:
        lines.append(
            "its weighting acts at every optimisation step, on current log-probs: shown is the frozen credit"
            " it starts from"
        )
    if method.dynamic_sampling:
        lines.append(
            "it would replace groups without variance by fresh prompts: here they stay, with credit 0"
        )
    return "\n".join(lines)


def _table(metrics: Mapping[str, float]) -> str:
    shown = {"metric": "value", **{name: f"{value:.6g}" for name, value in metrics.items()}}
    name_width, width = max(map(len, shown)), max(map(len, shown.values()))
    rows = [f"| {name:<{name_width}} | {value:>{width}} |" for name, value in shown.items()]
    rows.insert(1, f"|{'-' * (name_width + 2)}|{'-' * (width + 1)}:|")
    return "\n" + "\n".join(rows)


def _help() -> str:
    def described(columns: Iterable[str]) -> str:
        return "\n".join(f"    {name:<15} {COLUMNS[name]}" for name in columns)

    return __doc__ % {
        "required": described(REQUIRED),
        "optional": described(OPTIONAL),
        "signals": described(SIGNAL_OF),
    }


if __name__ == "__main__":
    sys.exit(main())

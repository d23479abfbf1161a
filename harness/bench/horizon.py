"""The suite's own validation: how far perfect credit leads GRPO, by the number of decisions in a completion.

    python -m harness -m experiment=horizon          # makes the runs
    python -m harness.bench horizon [results=results] [out=results/horizon]

At horizon 1 a test question never stood in training; at longer horizons single questions do, in other
combinations. The lead in training reward, where all questions are training questions at every horizon,
shows that the growth does not come from that.

Reads results/horizon-<h>/ and prints, for every horizon h, the area under the learning curve of `grpo`
and `oracle`, and oracle's lead paired by seed with its 95 % t interval; then how much larger the lead
is at the longest horizon than at the shortest. Writes horizon.png, .svg and .csv.
"""

from __future__ import annotations

import sys
from dataclasses import dataclass
from pathlib import Path

import matplotlib
import pandas as pd
from matplotlib.figure import Figure
from omegaconf import OmegaConf

from harness.compare.load import UsageError, load
from harness.compare.plots import COLOURS, STYLE, save
from harness.compare.read import ALL
from harness.compare.scores import AULC, scores
from harness.compare.statistics import MIN_SEEDS, Interval, t_interval


@dataclass
class Options:
    """What can be set on the command line."""

    results: str = "results"
    out: str = "results/horizon"


def leads(folder: Path) -> pd.DataFrame:
    """One row a seed: areas under the learning curve (percent) of grpo and oracle, the lead between them, and
    the lead in mean training reward.
    """
    records = load(folder)
    if records.holes:
        raise UsageError("; ".join(f"{h.label} seed {h.seed}: {h.why}. {h.todo}" for h in records.holes))
    found = scores(records)
    areas = found[(found["metric"] == AULC) & (found["domain"] == ALL)].copy()
    areas["method"] = [
        records.runs[cell].config["method.name"] for cell in zip(areas.label, areas.seed, strict=True)
    ]
    table = 100 * areas.pivot(index="seed", columns="method", values="value")[["grpo", "oracle"]]
    method = {label: records.runs[label, seed].config["method.name"] for label, seed in records.runs}
    rewards = records.metrics.assign(method=records.metrics["label"].map(method))
    reward = 100 * rewards.pivot_table(index="seed", columns="method", values="reward")  # mean over steps
    return table.assign(
        lead=table["oracle"] - table["grpo"], lead_in_reward=reward["oracle"] - reward["grpo"]
    ).dropna()


def described(interval: Interval) -> str:
    """`+3.1 [+1.0, +5.2], n=5` and whether that is resolved."""
    resolved = interval.n >= MIN_SEEDS and (interval.low > 0 or interval.high < 0)
    text = f"{interval.mean:+.1f} [{interval.low:+.1f}, {interval.high:+.1f}], n={interval.n}"
    return f"{text}{'' if resolved else ' (not resolved)'}"


def plot(tables: dict[int, pd.DataFrame], out: Path) -> list[Path]:
    """Lead against horizon: mean and interval, with every seed as a dot."""
    with matplotlib.rc_context(STYLE):
        figure = Figure(figsize=(3.5, 2.6))
        axes = figure.subplots()
        axes.axhline(0, color="#666666", linewidth=0.8)
        for place, table in enumerate(tables.values()):
            interval = t_interval(table["lead"].to_numpy())
            axes.scatter(
                [place + 0.12] * len(table), table["lead"], s=9, color=COLOURS[1], alpha=0.6, linewidths=0
            )
            error = [[interval.mean - interval.low], [interval.high - interval.mean]]
            axes.errorbar(place, interval.mean, error, fmt="o", color=COLOURS[1], capsize=3, markersize=4)
        axes.set_xticks(range(len(tables)), [str(h) for h in tables])
        axes.set_xlim(-0.5, len(tables) - 0.5)
        axes.set_xlabel("horizon: decisions in one completion")
        axes.set_ylabel("oracle's lead over GRPO, AULC points")
    numbers = pd.concat([table.reset_index().assign(horizon=h) for h, table in tables.items()])
    return save(
        figure, numbers[["horizon", "seed", "grpo", "oracle", "lead", "lead_in_reward"]], out, "horizon"
    )


def main(arguments: list[str]) -> None:
    """Print the table and draw the figure."""
    options = OmegaConf.to_object(
        OmegaConf.merge(OmegaConf.structured(Options), OmegaConf.from_cli(arguments))
    )
    folders = {int(path.name.split("-")[1]): path for path in Path(options.results).glob("horizon-*")}
    try:
        tables = {horizon: leads(folders[horizon]) for horizon in sorted(folders)}
    except UsageError as error:
        sys.exit(f"harness.bench horizon: {error}")
    if len(tables) < 2:
        sys.exit(
            f"no two horizons under {options.results}: run `python -m harness -m experiment=horizon` first"
        )
    print(
        "| horizon | GRPO, AULC % | oracle, AULC % | oracle's lead, points [95 %] | lead in training reward |"
    )
    print("|--:|--:|--:|---|---|")
    for horizon, table in tables.items():
        lead = described(t_interval(table["lead"].to_numpy()))
        reward = described(t_interval(table["lead_in_reward"].to_numpy()))
        print(
            f"| {horizon} | {table['grpo'].mean():.1f} | {table['oracle'].mean():.1f} | {lead} | {reward} |"
        )
    shortest, longest = min(tables), max(tables)
    for column, name in (("lead", "lead"), ("lead_in_reward", "lead in training reward")):
        growth = (tables[longest][column] - tables[shortest][column]).dropna()
        print(
            f"\n{name} at {longest} minus at {shortest}, by seed: {described(t_interval(growth.to_numpy()))}"
        )
    out = Path(options.out)
    out.mkdir(parents=True, exist_ok=True)
    print("written: " + "  ".join(map(str, plot(tables, out))))

"""Figures of a comparison: learning curves and end points, each as PNG, SVG and the CSV of the numbers behind
it.

Figures are 7 inches wide (two columns of a paper). Colours are Okabe and Ito's, told apart by colour-blind
readers; a method keeps its colour in every figure, the baseline is black. The same input gives the same
bytes.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import matplotlib
import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.collections import LineCollection
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from harness.compare.read import ALL
from harness.compare.scores import END, Findings, ordered_labels, sampled_curve
from harness.compare.statistics import mean_curve

BASELINE_COLOUR = "#000000"
COLOURS = (
    "#0072B2",
    "#D55E00",
    "#009E73",
    "#CC79A7",
    "#E69F00",
    "#56B4E9",
    "#8C8C00",
)  # the last: yellow, darkened
DASHES = (  # when the colours are used up, the next round is dashed
    "-", (0, (4, 1.5)), (0, (1, 1)), (0, (6, 1, 1, 1)), (0, (8, 3)), (0, (3, 1, 1, 1, 1, 1)), (0, (1, 3)),
)  # fmt: skip
MARKERS = ("o", "s", "D", "^", "v", "P", "X")
GREY = "#666666"
FULL = 101.0  # percent at which axes end, though a t interval may reach further
WIDTH = 7.0  # inches: two columns of a paper
BASE_DASHES = {"sampled": (0, (5, 2)), "greedy": (0, (1, 1.2)), "best": "-."}
AXES = {"steps": "step", "tokens": "train_tokens", "seconds": "train_seconds"}
TITLES = {"steps": "training steps", "tokens": "generated tokens", "seconds": "training time"}
STYLE = {
    "font.family": "DejaVu Sans", "font.size": 8, "axes.titlesize": 8, "axes.labelsize": 8,
    "legend.fontsize": 8, "legend.frameon": False, "xtick.labelsize": 7, "ytick.labelsize": 7,
    "axes.spines.top": False, "axes.spines.right": False, "axes.linewidth": 0.7, "axes.axisbelow": True,
    "axes.grid": True, "grid.color": "#e6e6e6", "grid.linewidth": 0.6,
    "figure.constrained_layout.use": True, "svg.hashsalt": "harness.compare",
}  # fmt: skip


def styles(labels: Sequence[str]) -> dict[str, dict]:
    """label -> colour, dash, marker. labels: baseline first, the others sorted (`ordered_labels`), holes
    included.
    """
    found = {labels[0]: {"color": BASELINE_COLOUR, "linestyle": "-", "marker": "o"}}
    for i, label in enumerate(labels[1:]):
        turn = i // len(COLOURS) % len(DASHES)
        found[label] = {
            "color": COLOURS[i % len(COLOURS)],
            "linestyle": DASHES[turn],
            "marker": MARKERS[turn],
        }
    return found


def save(figure: Figure, numbers: pd.DataFrame, out: Path, stem: str) -> list[Path]:
    """Writes stem.png, stem.svg and stem.csv, without dates or versions inside."""
    FigureCanvasAgg(figure)
    with matplotlib.rc_context(STYLE):  # the salt of SVG ids is read while saving
        figure.get_layout_engine().execute(figure)
        figure.set_layout_engine("none")  # laid out once, for both formats alike
        figure.savefig(out / f"{stem}.png", dpi=200, metadata={"Software": None})
        figure.savefig(out / f"{stem}.svg", metadata={"Date": None, "Creator": None})
    numbers.to_csv(out / f"{stem}.csv", index=False, float_format="%.6g", lineterminator="\n")
    return [out / f"{stem}.{ending}" for ending in ("png", "svg", "csv")]


@dataclass(frozen=True)
class Curve:
    """One method's learning curve: runs {seed: (x, accuracy)}, and the mean over seeds on `x`, (k, 3) mean,
    low, high.
    """

    runs: dict[int, tuple[np.ndarray, np.ndarray]]
    x: np.ndarray
    band: np.ndarray


def curves(found: Findings) -> dict[tuple[str, str, str], Curve]:
    """(label, domain, axis) -> its curve."""
    collected = {}
    for (label, domain), lines in sampled_curve(found.records.evals).groupby(["label", "domain"]):
        runs = [(seed, run) for seed, run in lines.groupby("seed")]
        for axis, column in AXES.items():
            own = {seed: (run[column].to_numpy(dtype=float), run["avg"].to_numpy()) for seed, run in runs}
            collected[label, domain, axis] = Curve(own, *mean_curve(list(own.values()), found.alpha))
    return {
        key: collected[key]
        for key in itertools.product(found.labels, found.domains, AXES)
        if key in collected
    }


def curve_numbers(drawn: Mapping[tuple[str, str, str], Curve]) -> pd.DataFrame:
    """The numbers of learning curves: columns label, domain, axis, seed, x, accuracy, low, high.

    seed is a number (one run, no interval) or "mean" (over seeds, with the t interval).
    """
    rows = []
    for key, curve in drawn.items():
        for seed, (x, accuracy) in curve.runs.items():
            rows += [(*key, str(seed), *point, np.nan, np.nan) for point in zip(x, accuracy, strict=True)]
        rows += [(*key, "mean", x, *band) for x, band in zip(curve.x, curve.band, strict=True)]
    return pd.DataFrame(rows, columns=["label", "domain", "axis", "seed", "x", "accuracy", "low", "high"])


def learning_curves(found: Findings, out: Path) -> list[Path]:
    """learning_curves: mean over domains against steps, tokens and time; learning_curves_domains: against
    steps.

    The first one's CSV holds every domain on every axis.
    """
    drawn = curves(found)
    figure = _curves(found, drawn, [(ALL, axis) for axis in AXES])
    written = save(figure, curve_numbers(drawn), out, "learning_curves")
    domains = [domain for domain in found.domains if domain != ALL]
    if len(domains) > 1:
        figure = _curves(found, drawn, [(domain, "steps") for domain in domains])
        shown = {key: curve for key, curve in drawn.items() if key[1] != ALL and key[2] == "steps"}
        written += save(figure, curve_numbers(shown), out, "learning_curves_domains")
    return written


def _curves(
    found: Findings, drawn: Mapping[tuple[str, str, str], Curve], panels: Sequence[tuple[str, str]]
) -> Figure:
    """panels: (domain, axis) each."""
    by_label = styles(ordered_labels(found.records, found.baseline))
    curve = sampled_curve(found.records.evals)
    start = (
        curve[curve["step"] == 0].groupby("domain")["avg"].mean()
    )  # of the curve problems, where the lines begin
    with matplotlib.rc_context(STYLE):
        figure, axes = _panels(len(panels), columns=3, height=0.6 + 2.2 * -(-len(panels) // 3), sharey=True)
        for ax, (domain, axis) in zip(axes, panels, strict=True):
            shown = {
                label: drawn[label, domain, axis] for label in found.labels if (label, domain, axis) in drawn
            }
            longest = max(x[-1] for own in shown.values() for x, _ in own.runs.values())
            scale, unit = _unit(axis, longest)
            for label in reversed(shown):  # the baseline last, on top
                _curve(ax, shown[label], scale, by_label[label])
            ax.axhline(100 * start[domain], color=GREY, linestyle=BASE_DASHES["sampled"], linewidth=0.9)
            _base_lines(ax.axhline, found.base, domain, ["greedy"])
            ax.set_xlabel(f"{TITLES[axis]}{unit}")
            ax.set_xlim(0, longest / scale)
            ax.set_ylim(top=min(ax.get_ylim()[1], FULL))
            if domain != ALL:
                ax.set_title(domain)
        what = "accuracy (%), mean over domains" if panels[0][0] == ALL else "accuracy (%)"
        for ax in axes[::3]:
            ax.set_ylabel(what)
        lines = [_sample(by_label[label], found.name(label)) for label in found.labels]
        _legend(figure, lines, {"sampled": "base, sampled", "greedy": "base, greedy (test problems)"})
    return figure


def _curve(ax: Axes, curve: Curve, scale: float, style: dict) -> None:
    line = {"color": style["color"], "linestyle": style["linestyle"]}
    runs = [np.stack([x / scale, 100 * accuracy], axis=1) for x, accuracy in curve.runs.values()]
    ax.add_collection(LineCollection(runs, linewidths=0.4, alpha=0.3, colors=style["color"]))
    x, (mean, low, high) = curve.x / scale, 100 * curve.band.T
    ax.fill_between(x, low, high, color=style["color"], alpha=0.11, linewidth=0)
    ax.plot(x, mean, linewidth=1.6, **line)


def endpoint(found: Findings, out: Path) -> list[Path]:
    """endpoint: per domain, mean and t interval of each method on the test problems, one dot a seed."""
    ends = found.rows[found.rows["metric"] == END]
    runs = found.scores[found.scores["metric"] == END].sort_values(["label", "domain", "seed"])
    by_label = styles(ordered_labels(found.records, found.baseline))
    with matplotlib.rc_context(STYLE):
        rows = -(-len(found.domains) // 2)
        height = 0.45 + rows * (0.5 + 0.24 * len(found.labels))
        figure, axes = _panels(len(found.domains), columns=2, height=height, sharey=True, sharex=True)
        for ax, domain in zip(axes, found.domains, strict=True):
            for place, label in enumerate(found.labels):
                cell = found.cell(label, domain, END)
                seeds = runs[(runs["label"] == label) & (runs["domain"] == domain)]["value"]
                if cell is not None:
                    _interval(ax, place, cell, seeds.to_numpy(), by_label[label])
            _base_lines(ax.axvline, found.base, domain, list(BASE_DASHES))
            ax.set_title("mean over domains" if domain == ALL else domain)
            ax.set_yticks(range(len(found.labels)), [found.name(label) for label in found.labels])
            ax.set_ylim(len(found.labels) - 0.3, -0.5)
            ax.grid(visible=False, axis="y")
        axes[0].set_xlim(right=min(axes[0].get_xlim()[1], FULL))  # shared, so once all panels are drawn
        for ax in axes[-2:]:
            ax.set_xlabel("accuracy on test problems (%)")
            ax.tick_params(labelbottom=True)
        names = {
            "sampled": "base, sampled",
            "greedy": "base, greedy",
            "best": "base, best validation temperature",
        }
        _legend(figure, [], names)
    single = runs.rename(columns={"value": "mean"}).assign(seed=runs["seed"].astype(str))
    numbers = pd.concat([ends.assign(seed="mean"), single], ignore_index=True)
    numbers = numbers[["label", "domain", "seed", "n", "mean", "low", "high"]].rename(
        columns={"mean": "accuracy"}
    )
    return save(figure, numbers, out, "endpoint")


def _interval(ax: Axes, place: int, cell: pd.Series, seeds: np.ndarray, style: dict) -> None:
    colour = style["color"]
    below = (
        place + 0.25 + 0.13 * (np.arange(len(seeds)) % 3) / 2
    )  # staggered, so that equal seeds stay visible
    ax.plot(100 * seeds, below, ".", color=colour, markersize=4.5, markeredgewidth=0, alpha=0.75)
    ax.plot([100 * cell["low"], 100 * cell["high"]], [place, place], color=colour, linewidth=1.3)
    ax.plot(100 * cell["mean"], place, style["marker"], color=colour, markersize=4.5)


def _panels(count: int, columns: int, height: float, **share: bool) -> tuple[Figure, list[Axes]]:
    figure = Figure(figsize=(WIDTH, height))
    columns = min(columns, count)
    grid = figure.subplots(-(-count // columns), columns, squeeze=False, **share)
    for ax in grid.flat[count:]:
        ax.set_visible(False)
    return figure, list(grid.flat[:count])


def _base_lines(draw: Callable, base: pd.DataFrame, domain: str, modes: Iterable[str]) -> None:
    accuracies = base[base["domain"] == domain].set_index("mode")["accuracy"]
    for mode in modes:
        draw(100 * accuracies[mode], color=GREY, linestyle=BASE_DASHES[mode], linewidth=0.9)


def _sample(style: dict, name: str) -> Line2D:
    return Line2D([], [], color=style["color"], linestyle=style["linestyle"], linewidth=1.6, label=name)


def _legend(figure: Figure, lines: list[Line2D], base: dict[str, str]) -> None:
    """Above the panels, where it cannot cover data; read row by row (matplotlib fills columns)."""
    lines += [
        Line2D([], [], color=GREY, linestyle=BASE_DASHES[mode], linewidth=0.9, label=base[mode])
        for mode in base
    ]
    longest = max(len(line.get_label()) for line in lines)
    columns = min(4, len(lines), max(1, int(WIDTH / (0.6 + 0.065 * longest))))
    width, height = figure.get_size_inches()
    rows = -(-len(lines) // columns)
    figure.set_size_inches(width, height + 0.17 * max(0, rows - 2))  # many methods take nothing from the panels
    by_row = [line for column in range(columns) for line in lines[column::columns]]
    place = {"loc": "outside upper center", "ncols": columns}
    figure.legend(handles=by_row, handlelength=2.6, columnspacing=1.6, **place)


UNITS = {
    "steps": ((1.0, ""),),
    "tokens": ((1e9, " (billions)"), (1e6, " (millions)"), (1e3, " (thousands)"), (1.0, "")),
    "seconds": ((3600.0, " (hours)"), (60.0, " (minutes)"), (1.0, " (seconds)")),
}


def _unit(axis: str, largest: float) -> tuple[float, str]:
    """(divisor, unit in brackets) that keeps tick labels short: the largest unit of which there are at least
    3.
    """
    return next((pair for pair in UNITS[axis] if largest >= 3 * pair[0]), UNITS[axis][-1])

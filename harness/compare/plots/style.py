"""What all figures share: colours, panels, the legend, and saving.

Figures are 7 inches wide (two columns of a paper). Colours are Okabe and Ito's, told apart by colour-blind
readers; a method keeps its colour, dash and marker in every figure, the baseline is black. The same input
gives the same bytes. A line of more than `POINTS` points is drawn with every k-th point (and the last); its
CSV holds all of them.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from pathlib import Path

import matplotlib
import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.collections import LineCollection
from matplotlib.colors import LinearSegmentedColormap
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from harness.compare.read import ALL
from harness.compare.scores import END, Findings, ordered_labels

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
# orange below the middle, blue above: told apart by colour-blind readers, and the same as in comparison.html
DIVERGING = LinearSegmentedColormap.from_list("credit", ["#B34A00", "#F7F7F7", "#0072B2"])
FLOOR, FULL = -1.0, 101.0  # percent at which axes end, though a t interval may reach further
WIDTH = 7.0  # inches: two columns of a paper
CROWD = 12  # with more methods, bands, error bars and the text in matrix cells hide one another
POINTS = 400  # of one drawn line
RASTER = 200  # with more seed lines than this, an SVG holds them as one image
BASE_DASHES = {"sampled": (0, (5, 2)), "greedy": (0, (1, 1.2)), "best": "-."}
STYLE = {
    "font.family": "DejaVu Sans", "text.parse_math": False,  # a name may hold a $
    "font.size": 8, "axes.titlesize": 8, "axes.labelsize": 8,
    "legend.fontsize": 8, "legend.frameon": False, "xtick.labelsize": 7, "ytick.labelsize": 7,
    "axes.spines.top": False, "axes.spines.right": False, "axes.linewidth": 0.7, "axes.axisbelow": True,
    "axes.grid": True, "grid.color": "#e6e6e6", "grid.linewidth": 0.6,
    "figure.constrained_layout.use": True, "svg.hashsalt": "harness.compare",
}  # fmt: skip
UNITS = {
    "steps": ((1.0, ""),),
    "tokens": ((1e9, " (billions)"), (1e6, " (millions)"), (1e3, " (thousands)"), (1.0, "")),
    "seconds": ((3600.0, " (hours)"), (60.0, " (minutes)"), (1.0, " (seconds)")),
}


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


def styles_of(found: Findings) -> dict[str, dict]:
    """`styles` of all labels of a comparison, holes included, so that a run that arrives changes no colour."""
    return styles(ordered_labels(found.records, found.baseline))


def unit(axis: str, largest: float) -> tuple[float, str]:
    """(divisor, unit in brackets) that keeps tick labels short: the largest unit of which there are at least
    3.
    """
    return next((pair for pair in UNITS[axis] if largest >= 3 * pair[0]), UNITS[axis][-1])


def within(limits: tuple[float, float]) -> tuple[float, float]:
    """The limits of an axis of accuracies in percent, cut to what an accuracy can be."""
    return max(limits[0], FLOOR), min(limits[1], FULL)


def save(figure: Figure, numbers: pd.DataFrame, out: Path, stem: str) -> list[Path]:
    """Writes stem.png, stem.svg and stem.csv, without dates or versions inside."""
    FigureCanvasAgg(figure)
    with matplotlib.rc_context(STYLE):  # the salt of SVG ids is read while saving
        figure.get_layout_engine().execute(figure)
        figure.set_layout_engine("none")  # laid out once, for both formats alike
        figure.savefig(out / f"{stem}.png", dpi=200, metadata={"Software": None})
        figure.savefig(out / f"{stem}.svg", dpi=200, metadata={"Date": None, "Creator": None})
    numbers.to_csv(out / f"{stem}.csv", index=False, float_format="%.6g", lineterminator="\n")
    return [out / f"{stem}.{ending}" for ending in ("png", "svg", "csv")]


def domain_panels(found: Findings, drawn: Collection[str]) -> list[str]:
    """Of the domains `drawn`, those with a panel: the mean over domains, then each; a single one is its own mean."""
    own = [domain for domain in found.domains if domain in drawn]
    return own if len(own) > 2 else own[:1]


def domain_title(found: Findings, domain: str) -> str:
    if domain == ALL:
        return "mean over domains" if len(found.domains) > 2 else found.domains[-1]
    return domain


def end_points(found: Findings) -> dict[str, np.ndarray]:
    """label -> (seeds, domains) accuracies at the end point, domains sorted, seeds sorted.

    A seed without a number in every domain is left out; a label without any such seed is not there.
    """
    ends = found.scores[(found.scores["metric"] == END) & (found.scores["domain"] != ALL)]
    table = ends.pivot(index=["label", "seed"], columns="domain", values="value").dropna()
    by_label = {label: rows.to_numpy(dtype=float) for label, rows in table.groupby(level="label")}
    return {label: by_label[label] for label in found.labels if label in by_label}


def columns(count: int) -> int:
    """Panels beside each other: three, but four stand as two and two."""
    return 2 if count == 4 else 3


def panels(count: int, columns: int, height: float, **share: bool | str) -> tuple[Figure, list[Axes]]:
    """A figure with `count` panels in rows of `columns`, read row by row. height: inches of the whole figure."""
    figure = Figure(figsize=(WIDTH, height))
    columns = min(columns, count)
    grid = figure.subplots(-(-count // columns), columns, squeeze=False, **share)
    for place, ax in enumerate(grid.flat):
        ax.set_visible(place < count)
        # the lowest visible panel of a column shows its tick labels, even above an empty place
        if place + columns >= count:
            ax.tick_params(labelbottom=True)
    return figure, list(grid.flat[:count])


def thin(line: np.ndarray) -> np.ndarray:
    """(k, c) -> at most about POINTS rows: every so many-th row and the last one."""
    every = -(-len(line) // POINTS)
    kept = np.arange(0, len(line), max(1, every))
    return line[np.union1d(kept, [len(line) - 1])] if len(line) else line


def seed_lines(ax: Axes, lines: Sequence[np.ndarray], colours: Sequence[str]) -> None:
    """Thin lines, one a run, below everything else. lines: (k, 2) points each; colours: one a line."""
    faint = 0.3 if len(lines) <= RASTER else 0.12
    collection = LineCollection([thin(line) for line in lines], linewidths=0.4, alpha=faint, colors=colours)
    collection.set_zorder(1.2)
    collection.set_rasterized(len(lines) > RASTER)
    ax.add_collection(collection)


def base_lines(draw: Callable, base: pd.DataFrame, domain: str, modes: Iterable[str]) -> None:
    """Draws the accuracy of the untrained policy with ax.axhline or ax.axvline, one line a mode."""
    accuracies = base[base["domain"] == domain].set_index("mode")["accuracy"]
    for mode in modes:
        draw(100 * accuracies[mode], color=GREY, linestyle=BASE_DASHES[mode], linewidth=0.9)


def method_samples(found: Findings, labels: Iterable[str], marker: bool = False) -> list[Line2D]:
    """Legend entries of methods: the line as it is drawn, with its marker if the figure has markers."""
    by_label = styles_of(found)
    return [
        Line2D(
            [], [], color=by_label[label]["color"], linestyle=by_label[label]["linestyle"], linewidth=1.6,
            label=found.name(label), marker=by_label[label]["marker"] if marker else "", markersize=4,
        )
        for label in labels
    ]  # fmt: skip


def legend(figure: Figure, lines: Sequence[Line2D], base: Mapping[str, str]) -> None:
    """Above the panels, where it cannot cover data; read row by row (matplotlib fills columns).

    base: mode of the base policy -> the name its line gets.
    """
    lines = [
        *lines,
        *(
            Line2D([], [], color=GREY, linestyle=BASE_DASHES[mode], linewidth=0.9, label=base[mode])
            for mode in base
        ),
    ]
    longest = max(len(line.get_label()) for line in lines)
    columns = min(4, len(lines), max(1, int(WIDTH / (0.6 + 0.065 * longest))))
    width, height = figure.get_size_inches()
    rows = -(-len(lines) // columns)
    figure.set_size_inches(
        width, height + 0.17 * max(0, rows - 2)
    )  # many methods take nothing from the panels
    by_row = [line for column in range(columns) for line in lines[column::columns]]
    place = {"loc": "outside upper center", "ncols": columns}
    figure.legend(handles=by_row, handlelength=2.6, columnspacing=1.6, **place)

"""Learning curves: accuracy on the curve problems against steps, generated tokens and training time."""

from __future__ import annotations

import itertools
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import matplotlib
import numpy as np
import pandas as pd
from matplotlib.figure import Figure

from harness.compare.plots import style
from harness.compare.read import ALL
from harness.compare.scores import Findings, sampled_curve
from harness.compare.statistics import mean_curve

AXES = {"steps": "step", "tokens": "train_tokens", "seconds": "train_seconds"}
TITLES = {"steps": "training steps", "tokens": "generated tokens", "seconds": "training time"}
READ = (
    "Thick lines are means over seeds, bands their t intervals (left out with more than 12 methods), thin lines "
    "single seeds. Grey lines: the base policy, on the same problems where sampled, on the test problems where "
    "greedy."
)
CAPTIONS = {
    "learning_curves": (
        "Accuracy on the curve problems, mean over domains, against training steps, generated tokens (extra "
        f"rollouts included) and training time. {READ}"
    )
} | {
    f"learning_curves_{axis}": f"Accuracy on the curve problems against {title}, for the mean over domains and "
    f"each domain. {READ}"
    for axis, title in TITLES.items()
}


@dataclass(frozen=True)
class Curve:
    """One method's learning curve: runs {seed: (x, accuracy)}, and the mean over seeds on `x`, (k, 3) mean,
    low, high.
    """

    runs: dict[int, tuple[np.ndarray, np.ndarray]]
    x: np.ndarray
    band: np.ndarray


Drawn = Mapping[tuple[str, str, str], Curve]


def curves(found: Findings) -> dict[tuple[str, str, str], Curve]:
    """(label, domain, axis) -> its curve."""
    collected = {}
    whole = sampled_curve(found.records.evals)
    for (label, domain), lines in whole.groupby(["label", "domain"]):  # sorted by seed, then step
        seeds, starts = np.unique(lines["seed"].to_numpy(), return_index=True)
        accuracy = np.split(lines["avg"].to_numpy(), starts[1:])
        for axis, column in AXES.items():
            x = np.split(lines[column].to_numpy(dtype=float), starts[1:])
            own = dict(zip(seeds.tolist(), zip(x, accuracy, strict=True), strict=True))
            collected[label, domain, axis] = Curve(own, *mean_curve(list(own.values()), found.alpha))
    return {
        key: collected[key]
        for key in itertools.product(found.labels, found.domains, AXES)
        if key in collected
    }


def curve_numbers(drawn: Drawn) -> pd.DataFrame:
    """The numbers of learning curves: columns label, domain, axis, seed, x, accuracy, low, high.

    seed is a number (one run, no interval) or "mean" (over seeds, with the t interval).
    """
    parts = []
    for (label, domain, axis), curve in drawn.items():
        where = {"label": label, "domain": domain, "axis": axis}
        for seed, (x, accuracy) in curve.runs.items():
            parts.append(where | {"seed": str(seed), "x": x, "accuracy": accuracy})
        mean, low, high = curve.band.T
        parts.append(where | {"seed": "mean", "x": curve.x, "accuracy": mean, "low": low, "high": high})
    lengths = [len(part["x"]) for part in parts]
    columns = {
        name: np.repeat(np.array([part[name] for part in parts], dtype=object), lengths)
        for name in ("label", "domain", "axis", "seed")
    }
    for name in ("x", "accuracy", "low", "high"):
        own = [part.get(name, np.full(size, np.nan)) for part, size in zip(parts, lengths, strict=True)]
        columns[name] = np.concatenate(own)
    return pd.DataFrame(columns)


def learning_curves(found: Findings, out: Path) -> list[Path]:
    """learning_curves: the mean over domains on all three axes; learning_curves_<axis>: one axis, a panel for
    the mean and for each domain.
    """
    drawn = curves(found)
    whole = {key: curve for key, curve in drawn.items() if key[1] == ALL}
    figure = _figure(found, whole, [(ALL, axis) for axis in AXES], by_domain=False)
    written = style.save(figure, curve_numbers(whole), out, "learning_curves")
    for axis in AXES:
        domains = style.domain_panels(found, {domain for _, domain, _ in drawn})
        figure = _figure(found, drawn, [(domain, axis) for domain in domains], by_domain=True)
        shown = {key: curve for key, curve in drawn.items() if key[1] in domains and key[2] == axis}
        written += style.save(figure, curve_numbers(shown), out, f"learning_curves_{axis}")
    return written


def _figure(found: Findings, drawn: Drawn, panels: Sequence[tuple[str, str]], by_domain: bool) -> Figure:
    """panels: (domain, axis) each."""
    by_label = style.styles_of(found)
    curve = sampled_curve(found.records.evals)
    start = (
        curve[curve["step"] == 0].groupby("domain")["avg"].mean()
    )  # of the curve problems, where the lines begin
    with matplotlib.rc_context(style.STYLE):
        columns = style.columns(len(panels))
        height = 0.6 + 2.2 * -(-len(panels) // columns)
        figure, axes = style.panels(len(panels), columns=columns, height=height, sharey=True)
        for ax, (domain, axis) in zip(axes, panels, strict=True):
            shown = {
                label: drawn[label, domain, axis] for label in found.labels if (label, domain, axis) in drawn
            }
            longest = max(x[-1] for own in shown.values() for x, _ in own.runs.values())
            scale, unit = style.unit(axis, longest)
            runs = [
                (np.stack([x / scale, 100 * accuracy], axis=1), by_label[label]["color"])
                for label, own in shown.items()
                for x, accuracy in own.runs.values()
            ]
            style.seed_lines(ax, [line for line, _ in runs], [colour for _, colour in runs])
            for label in reversed(shown):  # the baseline last, on top
                own = style.thin(np.column_stack([shown[label].x / scale, 100 * shown[label].band]))
                x, mean, low, high = own.T
                line = {"color": by_label[label]["color"], "linestyle": by_label[label]["linestyle"]}
                if len(shown) <= style.CROWD:
                    ax.fill_between(x, low, high, color=line["color"], alpha=0.11, linewidth=0)
                ax.plot(x, mean, linewidth=1.6 if len(shown) <= style.CROWD else 1.0, **line)
            dashes = style.BASE_DASHES["sampled"]
            ax.axhline(100 * start[domain], color=style.GREY, linestyle=dashes, linewidth=0.9)
            style.base_lines(ax.axhline, found.base, domain, ["greedy"])
            ax.set_xlabel(f"{TITLES[axis]}{unit}")
            ax.set_xlim(0, longest / scale or 1)
            if by_domain:
                ax.set_title(style.domain_title(found, domain))
        what = "accuracy (%)" if by_domain or len(found.domains) <= 2 else "accuracy (%), mean over domains"
        axes[0].set_ylim(style.within(axes[0].get_ylim()))  # shared, so once all panels are drawn
        for ax in axes[::columns]:
            ax.set_ylabel(what)
        names = {"sampled": "base, sampled", "greedy": "base, greedy (test set)"}
        style.legend(figure, style.method_samples(found, found.labels), names)
    return figure

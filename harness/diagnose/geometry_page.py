"""What trajectory geometry writes: tables as CSV, two figures, and a page that joins them."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import matplotlib
import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.lines import Line2D

from harness.compare.plots import style
from harness.diagnose.endpoints import MEAN
from harness.diagnose.nulls import Nulls
from harness.diagnose.trajectory import COMPONENTS, shape
from harness.markdown import code, table

if TYPE_CHECKING:
    from harness.diagnose.geometry import Geometry

ALL = "all"
NULLS = {"walk": "Gaussian random walk", "adam": "AdamW on noise"}
COLOURS = {"walk": style.GREY, "adam": style.COLOURS[1]}
OWN, WINDOW = style.COLOURS[0], style.COLOURS[2]
SHOWN = {"ev1": "EV₁", "ev2": "EV₂", "ev3": "EV₃", "r2": "R²", "window_ev1": "EV₁, window", "window_r2": "R², window"}
READ = """\
Each row of M is the change of all trained weights since the base policy, kept after an update. EV: share of the squared
singular values of M (not centred) that one direction takes; R²: of the straight line through the coefficients of the
first direction. **A high EV₁ and R² alone mean nothing**: a walk without any direction has EV₁ near 0.81 and R² near
0.96 as well, and AdamW on pure noise a still higher EV₁. So the first rows are these nulls at the length of the runs:
mean and 95 % range of their simulations. A run is more of a line than chance only where it lies above both, in EV₁ and
in R². Both nulls have noise that is alike in all directions; noise confined to few lies above them too, so that even
this does not show that what is learnt is one direction. The window is the beginning that the line is fitted to. Last
columns: tensors whose own EV₁ lies above the 95 % range of either null for a tensor of that size (one in forty would
by chance)."""
READ_COSINES = """\
Cosines of the first directions of two runs, all parameters together, each oriented the way that its training went.
Directions drawn at random are within ±{chance:.4f} in 95 %. That is a low bar: runs from one base policy share its
gradient noise, which is not alike in all directions, so two seeds of one method are what two methods compare with.
By tensor: cosines.csv."""
READ_POINTS = """\
Accuracy in percent, mean over domains, of points on the trajectory of each run: {problems} problems of the {split}
split, all points with the same random numbers; in brackets Student's t over problems, 95 %. The window's end, its rank
1 (reconstructed there by the window's own directions) and the extrapolated point know nothing of what came after the
window; rank 1 of the whole run knows all of it. Directions and lines are those of each tensor by itself. Last column:
paired difference to the trained policy. It speaks of these policies, not of methods: a method takes several seeds."""


def write(
    folder: Path,
    found: Sequence[Geometry],
    frame: pd.DataFrame,
    pairs: pd.DataFrame | None,
    scored: pd.DataFrame | None,
    drawn: Nulls,
    split: str,
    command: str,
) -> tuple[list[Path], str]:
    """frame, pairs, scored: as `geometry.compared`, `geometry.cosines` and `endpoints.evaluated` give them."""
    files = []
    for name, own in {"geometry": frame, "cosines": pairs, "evaluation": scored}.items():
        if own is not None:
            files.append(folder / f"{name}.csv")
            own.to_csv(files[-1], index=False, float_format="%.4g", lineterminator="\n")
    files += [*_coefficients(found, drawn, folder), *_explained(found, frame, folder)]
    parts = ["# Trajectory geometry", _of_what(found, drawn), READ, _shapes(frame), _verdict(frame)]
    parts += ["![Shares of the first directions](explained.png)",
              "Bars: EV₁ to EV₅ of all parameters together; marks: mean and 95 % range of each null.",
              "![Coefficients of the first direction](coefficients.png)",
              "Way along the first direction of the whole run, and along that of the window with its line drawn on, "
              "both as shares of the way of the whole run. Nulls: mean and 95 % range."]  # fmt: skip
    if pairs is not None:
        chance = pairs[pairs["tensor"] == ALL]["chance"].iloc[0]
        parts += ["## Directions of different runs", READ_COSINES.format(chance=chance), _matrix(found, pairs)]
    if scored is not None:
        own = scored[scored["domain"] == MEAN]
        about = READ_POINTS.format(problems=own["problems"].iloc[0], split=split)
        parts += ["## Points of the trajectory, evaluated", about, _points(own)]
    parts += ["## Command", f"```\n{command}\n```"]
    page = "\n\n".join(parts) + "\n"
    (folder / "geometry.md").write_text(page, encoding="utf-8")
    return [folder / "geometry.md", *files], page


def _of_what(found: Sequence[Geometry], drawn: Nulls) -> str:
    lines = []
    for own in found:
        run = own.run
        lines.append(
            f"- {code(own.name)}: {len(run.updates)} kept changes of {sum(run.sizes.values()):,} weights in "
            f"{len(run.shapes)} tensors, updates {run.updates[0]} to {run.updates[-1]}; window: the first "
            f"{own.window}, to update {run.updates[own.window - 1]}."
        )
    simulated = f"{drawn.count} simulations of each null." if drawn.count else "No null was simulated (nulls=0)."
    return "\n".join([*lines, "", f"Base policy {found[0].run.base[0]}. {simulated}"])


def _shapes(frame: pd.DataFrame) -> str:
    own = frame[frame["tensor"] == ALL].set_index(["run", "measure"])
    runs = list(dict.fromkeys(frame["run"]))
    rows: dict[tuple[str, ...], list[str]] = {}
    for null, title in NULLS.items():
        for run in runs:
            cells = own.loc[run].loc[list(SHOWN)][[f"{null}_mean", f"{null}_low", f"{null}_high"]].to_numpy()
            if np.isfinite(cells).all():
                shown = tuple("{:.3f} [{:.3f}, {:.3f}]".format(*cell) for cell in cells)
                rows.setdefault((title, *shown), []).append(run)
    head = ["", *SHOWN.values(), "above walk", "above Adam"]
    nulls = [
        [title if len(of) == len(runs) else f"{title} ({', '.join(of)})", *cells, "", ""]
        for (title, *cells), of in rows.items()
    ]
    lines = []
    for run in runs:
        ev1 = frame[(frame["run"] == run) & (frame["measure"] == "ev1") & (frame["tensor"] != ALL)]
        above = [f"{(ev1['value'] > ev1[f'{null}_high']).sum()} of {len(ev1)}" for null in NULLS] if rows else ["", ""]
        lines.append([code(run), *(f"{own.loc[(run, measure), 'value']:.3f}" for measure in SHOWN), *above])
    return table(head, [*nulls, *lines])


def _verdict(frame: pd.DataFrame) -> str:
    """How many runs are above both nulls: the sentence that any claim of low rank needs."""
    own = frame[frame["tensor"] == ALL]
    if own["walk_mean"].isna().all():
        return "Without nulls none of this says that training is low-rank."
    parts = []
    for measure in ("ev1", "r2"):
        rows = own[own["measure"] == measure]
        ends = rows[["walk_high", "adam_high"]].max(axis=1), rows[["walk_low", "adam_low"]].min(axis=1)
        above, below = (rows["value"] > ends[0]).sum(), (rows["value"] < ends[1]).sum()
        parts.append(f"{SHOWN[measure]} lies above both nulls in {above} and below both in {below} of {len(rows)} runs")
    return f"**All parameters together: {'; '.join(parts)}.**"


def _matrix(found: Sequence[Geometry], pairs: pd.DataFrame) -> str:
    cells = pairs[pairs["tensor"] == ALL].set_index(["a", "b"])["cosine"]
    names = [own.name for own in found]
    rows = [
        [code(a), *(f"{cells[a, b]:+.3f}" if (a, b) in cells.index else "" for b in names[1:])] for a in names[:-1]
    ]
    return table(["", *map(code, names[1:])], rows)


def _points(own: pd.DataFrame) -> str:
    last = dict(zip(own["run"], own["point"], strict=True))  # of each run, the trained policy
    rows = []
    for row in own.itertuples():
        accuracy = f"{100 * row.accuracy:.1f} [{100 * row.low:.1f}, {100 * row.high:.1f}]"
        paired = f"{100 * row.difference:+.1f} [{100 * row.diff_low:+.1f}, {100 * row.diff_high:+.1f}]"
        rows.append([code(row.run), row.point, accuracy, "" if row.point == last[row.run] else paired])
    return table(["run", "policy", "accuracy", "minus trained"], rows)


# Figures


def _explained(found: Sequence[Geometry], frame: pd.DataFrame, folder: Path) -> list[Path]:
    own = frame[(frame["tensor"] == ALL) & frame["measure"].isin([f"ev{k}" for k in range(1, COMPONENTS + 1)])]
    with matplotlib.rc_context(style.STYLE):
        columns = style.columns(len(found))
        height = 0.5 + 1.7 * -(-len(found) // min(columns, len(found)))
        figure, axes = style.panels(len(found), columns, height, sharey=True, sharex=True)
        for ax, one in zip(axes, found, strict=True):
            rows = own[own["run"] == one.name]
            k = np.arange(1, len(rows) + 1)
            ax.bar(k, rows["value"], width=0.55, color=OWN, alpha=0.75)
            for shift, null in zip((-0.12, 0.12), NULLS, strict=True):
                mean, low, high = (rows[f"{null}_{what}"].to_numpy() for what in ("mean", "low", "high"))
                dot = {"color": COLOURS[null], "fmt": "o", "markersize": 2.6, "elinewidth": 1, "capsize": 2}
                # a null without spread has its mean outside its range by rounding
                ax.errorbar(k + shift, mean, np.clip([mean - low, high - mean], 0, None), **dot)
            ax.set_title(one.name)
            ax.set_xticks(k)
            ax.grid(False, axis="x")
        _outer(axes, columns, "direction", "share of the squares")
        shown = [null for null in NULLS if own[f"{null}_mean"].notna().any()]
        lines = [Line2D([], [], color=OWN, alpha=0.75, linewidth=5, label="run")]
        lines += [Line2D([], [], color=COLOURS[n], marker="o", markersize=3, label=NULLS[n]) for n in shown]
        style.legend(figure, lines, {})
    return style.save(figure, own.drop(columns=["tensor"]), folder, "explained")


def _coefficients(found: Sequence[Geometry], drawn: Nulls, folder: Path) -> list[Path]:
    numbers = []
    with matplotlib.rc_context(style.STYLE):
        columns = style.columns(len(found))
        height = 0.6 + 1.9 * -(-len(found) // min(columns, len(found)))
        figure, axes = style.panels(len(found), columns, height, sharex=True)
        for ax, one in zip(axes, found, strict=True):
            t = np.array(one.run.updates)
            series = _panel(ax, one, drawn, t)
            numbers.append(pd.DataFrame({"run": one.name, "update": t, **series}))
            ax.set_title(one.name)
        _outer(axes, columns, "update", "share of the way")
        shown = NULLS if drawn.count else {}
        solid = {"whole run": OWN, "along the window's direction": WINDOW}
        lines = [Line2D([], [], color=colour, linewidth=1.6, label=name) for name, colour in solid.items()]
        lines.append(Line2D([], [], color=WINDOW, linestyle="--", linewidth=1, label="line of the window"))
        lines.append(Line2D([], [], color=OWN, linestyle="--", linewidth=1, label="line of the whole run"))
        lines += [Line2D([], [], color=COLOURS[n], linewidth=2.4, alpha=0.6, label=NULLS[n]) for n in shown]
        style.legend(figure, lines, {})
    return style.save(figure, pd.concat(numbers), folder, "coefficients")


def _panel(ax: Axes, one: Geometry, drawn: Nulls, t: np.ndarray) -> dict[str, np.ndarray]:
    """Draws one run and returns what it drew, over the coefficient at the end of the run."""
    whole, first, gram = one.whole[ALL], one.first[ALL], one.grams[ALL]
    end = whole.coefficients[-1]
    along = gram[:, : one.window] @ first.direction  # ⟨θ_t − θ_0, v₁ of the window⟩
    series = {"whole": whole.coefficients / end, "window": along / end}
    series["whole_line"] = (whole.slope * t + whole.intercept) / end
    series["window_line"] = (first.slope * t + first.intercept) / end
    for null, grams in drawn.simulated(one.run).items():
        own = np.stack([(c := shape(gram, t).coefficients) / c[-1] for gram in grams])
        low, high = np.quantile(own, [0.025, 0.975], axis=0)
        ax.fill_between(t, low, high, color=COLOURS[null], alpha=0.35, linewidth=0)
        ax.plot(t, own.mean(axis=0), color=COLOURS[null], linewidth=2.4, alpha=0.5)
        series |= {f"{null}_mean": own.mean(axis=0), f"{null}_low": low, f"{null}_high": high}
    ax.plot(t, series["whole_line"], "--", color=OWN, linewidth=0.8)
    ax.plot(t, series["window_line"], "--", color=WINDOW, linewidth=0.8)
    ax.plot(t, series["window"], color=WINDOW, linewidth=1.2)
    ax.plot(t, series["whole"], color=OWN, linewidth=1.2)
    ax.axvline(t[one.window - 1], color="#999999", linewidth=0.7, linestyle=":")
    return series


def _outer(axes: Sequence[Axes], columns: int, below: str, beside: str) -> None:
    columns = min(columns, len(axes))
    for place, ax in enumerate(axes):
        if place + columns >= len(axes):
            ax.set_xlabel(below)
        if place % columns == 0:
            ax.set_ylabel(beside)

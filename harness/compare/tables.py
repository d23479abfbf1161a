"""Numbers -> the markdown tables of the page and the terminal."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pandas as pd

from harness.compare.load import Hole
from harness.compare.scores import AULC, END, GAIN, GREEDY, TOKENS, WORK, Findings, cost_and_stability

NONE = "–"


def markdown(header: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """A markdown table with padded columns, so that it reads well in a terminal too; numbers to the right."""
    table = [[str(cell).replace("|", "\\|") for cell in row] for row in (header, *rows)]
    widths = [max(map(len, column)) for column in zip(*table, strict=True)]
    right = [i > 0 and all(row[i][:1] in "+-–0123456789" for row in table[1:]) for i in range(len(widths))]

    def line(cells: Sequence[str]) -> str:
        padded = (c.rjust(w) if r else c.ljust(w) for c, w, r in zip(cells, widths, right, strict=True))
        return f"| {' | '.join(padded)} |"

    rule = (
        "|" + "|".join("-" * (w + 1) + (":" if r else "-") for w, r in zip(widths, right, strict=True)) + "|"
    )
    return "\n".join([line(table[0]), rule, *map(line, table[1:])])


def percent(value: float) -> str:
    return f"{100 * value:.1f}" if np.isfinite(value) else NONE


def interval(cell: pd.Series, signed: bool = False) -> str:
    """The method's own mean, '71.3 [69.0, 73.6]', from a row of the tidy table; no brackets where no
    interval.
    """
    return _interval(*cell[["mean", "low", "high"]], "{:+.1f}" if signed else "{:.1f}")


def difference(cell: pd.Series) -> str:
    """The paired difference in points, with sign."""
    return _interval(*cell[["diff", "diff_low", "diff_high"]], "{:+.1f}")


def _interval(mean: float, low: float, high: float, form: str) -> str:
    if not np.isfinite(mean):
        return NONE
    text = form.format(100 * mean)
    return f"{text} [{form.format(100 * low)}, {form.format(100 * high)}]" if np.isfinite(low) else text


def tokens(count: float) -> str:
    if not np.isfinite(count):
        return NONE
    whole = round(count)
    return f"{whole / 1e6:.2f} M" if whole >= 1e6 else f"{whole / 1e3:.1f} k" if whole >= 1e3 else str(whole)


def base_table(found: Findings) -> str:
    rows = []
    for domain in found.domains:
        own = found.base[found.base["domain"] == domain].set_index("mode")
        best = f"{percent(own.loc['best', 'accuracy'])} (T={own.loc['best', 'temperature']})"
        plain = [percent(own.loc[mode, "accuracy"]) for mode in ("sampled", "greedy")]
        rows.append((domain, *plain, best, str(own.loc["best", "policies"])))
    return markdown(
        ("domain", "sampled %", "greedy %", "best validation temperature %", "base policies"), rows
    )


def end_table(found: Findings, domain: str) -> str:
    rows = []
    for label in found.labels:
        end, greedy, gain = (found.cell(label, domain, metric) for metric in (END, GREEDY, GAIN))
        if end is not None:
            numbers = (interval(end), percent(greedy["mean"]), interval(gain, signed=True), difference(end))
            rows.append((found.name(label), str(end["n"]), *numbers, end["verdict"]))
    level = _level(found)
    head = (f"end point % {level}", "greedy %", "gain over best base", f"difference {level}", "verdict")
    return markdown(("method", "n", *head), rows)


def speed_table(found: Findings, domain: str) -> str:
    rows = []
    for label in found.labels:
        area, crossing = found.cell(label, domain, AULC), found.cell(label, domain, TOKENS)
        if area is not None:
            numbers = (interval(area), difference(area), area["verdict"], _reached(crossing))
            rows.append((found.name(label), str(area["n"]), *numbers))
    level = _level(found)
    goal = f"tokens to {percent(found.levels.get(domain, np.nan))} %"
    return markdown(("method", "n", f"AULC % {level}", f"difference {level}", "verdict", goal), rows)


def _level(found: Findings) -> str:
    return f"[{100 * (1 - found.alpha):g} %]"


def _reached(cell: pd.Series | None) -> str:
    if cell is None:
        return f"{NONE} (no threshold: the baseline did not rise)"
    return f"{tokens(cell['mean']) if np.isfinite(cell['mean']) else 'not reached'} ({cell['verdict']})"


def cost_tables(found: Findings) -> tuple[str, str]:
    """(cost, stability) of every method with a finished run."""
    frame = cost_and_stability(found.records, found.scores, found.baseline)
    shares = [name for name in frame.columns if name.startswith("share ")]
    cost, stability = [], []
    for row in frame.to_dict("records"):
        head = (found.name(row["label"]), str(row["n"]))
        cost.append(
            (
                *head,
                *(tokens(row[name]) for name in ("tokens", *WORK)),
                f"{row['seconds']:.1f}",
                *(percent(row[name]) for name in shares),
            )
        )
        numbers = [_plain(row[key]) for key in ("entropy", "grad_norm", "advantage_rms")]
        percents = [percent(row[key]) for key in ("zero_variance_share", "truncated_share", "worst_seed")]
        stability.append((*head, *numbers, *percents))
    phases = [f"{name.removeprefix('share ')} %" for name in shares]
    signs = ("entropy", "max gradient norm", "advantage RMS", "groups without variance %", "truncated %")
    return (
        markdown(("method", "n", "generated tokens", *WORK.values(), "training seconds", *phases), cost),
        markdown(("method", "n", *signs, "worst seed's end point %"), stability),
    )


def holes_table(holes: Sequence[Hole]) -> str:
    rows = [(hole.label, str(hole.seed), hole.why, hole.todo) for hole in holes]
    return markdown(("label", "seed", "what is wrong", "what to do"), rows)


def differences_table(found: Findings) -> str:
    rows = [
        (found.name(label), key, _short(ours), _short(theirs))
        for label, differing in found.differences.items()
        for key, (ours, theirs) in differing.items()
    ]
    if not rows:
        return "Nothing but the declared factors differs between any method and the baseline."
    return markdown(("method", "differs in", "its value", "baseline's value"), rows)


def _plain(value: float) -> str:
    return f"{value:.3g}" if np.isfinite(value) else NONE


def _short(value: str, width: int = 60) -> str:
    return value if len(value) <= width else f"{value[: width - 1]}…"

"""Do two changes add up? The 2×2 of base, a, b and ab (both changes), on the same seeds.

The interaction is `(ab - a) - (b - base)`, one number a seed: what the second change gains beside the first, less
what it gains alone. The verdict is one of five:

- **not resolved (n<5)**: fewer than 5 seeds.
- **synergistic**: the interaction is resolved above 0, that is, its p-value, Holm-corrected over {gain of a, gain of
  b, interaction}, is below alpha; and both changes together are resolved above the base (p < alpha).
- **antagonistic**: the interaction is resolved below 0, neither single gain is, and both changes together are resolved
  worse than one of them alone (ab - a < 0 or ab - b < 0, Holm over these two).
- **redundant**: the interaction is resolved below 0, not antagonistic, and both single gains are resolved above 0:
  part of the second gain is the first one again.
- **additive**: both single gains are resolved above 0 and the interaction I is equivalent to 0 within half of each:
  I + g_a/2 > 0, I + g_b/2 > 0, I - g_a/2 < 0 and I - g_b/2 < 0, each with p < alpha, two-sided. All four have to
  hold, so nothing is corrected (an intersection-union test, Berger 1982); the margin g/2 is taken seed by seed, so
  its noise is within the test. An interaction that is merely not significant is never called additive.
- **not resolved** otherwise, with the reason.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd

from harness.compare import fairness
from harness.compare.filters import UsageError
from harness.compare.read import ALL
from harness.compare.scores import AULC, END, Findings
from harness.compare.statistics import MIN_SEEDS, Interval, holm, t_interval

MEASURES = {END: "end point", AULC: "area under the learning curve"}
CONTRASTS = ("gain_a", "gain_b", "gain_ab", "main_a", "main_b", "interaction")
FAMILY = ("gain_a", "gain_b", "interaction")  # one Holm family
COLUMNS = ["a", "b", "domain", "metric", "n", "contrast", "mean", "low", "high", "p", "p_holm", "verdict"]
UNRESOLVED = "not resolved"


@dataclass(frozen=True)
class Contrast(Interval):
    """A t interval over seeds. p_holm: adjusted over FAMILY; NaN for other contrasts and below 5 seeds."""

    p_holm: float


@dataclass(frozen=True)
class Interaction:
    """The contrasts of one 2×2 (fractions) with its verdict; reason says what is open, empty if nothing is.

    gain_x is x - base; main_a is the mean of a's gain without and with b, ((a - base) + (ab - b)) / 2.
    """

    n: int
    gain_a: Contrast
    gain_b: Contrast
    gain_ab: Contrast
    main_a: Contrast
    main_b: Contrast
    interaction: Contrast
    verdict: str
    reason: str = ""


def interaction(
    base: Sequence[float], a: Sequence[float], b: Sequence[float], ab: Sequence[float], alpha: float = 0.05
) -> Interaction:
    """Contrasts and verdict (rule: top of this file) of the four cells, (n,) each, in the same order of seeds.

    Raises ValueError for vectors of different lengths or numbers that are not finite.
    """
    cells = [np.asarray(cell, dtype=np.float64) for cell in (base, a, b, ab)]
    if len({cell.shape for cell in cells}) != 1:
        raise ValueError(f"the four cells must match: {[cell.shape for cell in cells]}")
    base, a, b, ab = cells
    gain_a, gain_b, inter = a - base, b - base, (ab - a) - (b - base)
    main_a, main_b = (gain_a + (ab - b)) / 2, (gain_b + (ab - a)) / 2
    values = dict(zip(CONTRASTS, (gain_a, gain_b, ab - base, main_a, main_b, inter), strict=True))
    raw = {name: t_interval(own, alpha) for name, own in values.items()}
    enough = len(base) >= MIN_SEEDS
    adjusted = holm([raw[name].p if enough else np.nan for name in FAMILY])
    p_holm = dict.fromkeys(CONTRASTS, np.nan) | dict(zip(FAMILY, map(float, adjusted), strict=True))
    found = {name: Contrast(**vars(own), p_holm=p_holm[name]) for name, own in raw.items()}
    return Interaction(len(base), **found, **_judge(found, values, ab - a, ab - b, alpha))


def _judge(
    found: Mapping[str, Contrast],
    values: Mapping[str, np.ndarray],
    beside_a: np.ndarray,
    beside_b: np.ndarray,
    alpha: float,
) -> dict[str, str]:
    inter = found["interaction"]
    if inter.n < MIN_SEEDS:
        return {"verdict": f"{UNRESOLVED} (n<{MIN_SEEDS})", "reason": f"{inter.n} seeds have all four cells"}
    risen = [name for name in ("gain_a", "gain_b") if found[name].p_holm < alpha and found[name].mean > 0]
    if inter.p_holm < alpha and inter.mean > 0:
        if _beyond(values["gain_ab"], 1, alpha):
            return {"verdict": "synergistic"}
        return {
            "verdict": UNRESOLVED,
            "reason": "the interaction is positive, but both changes together are not resolved above the base",
        }
    harms = [_harms(found[gain], alpha) for gain in ("gain_a", "gain_b")]
    harm = {
        (True, False): "the first change harms by itself",
        (False, True): "the second change harms by itself",
        (True, True): "both changes harm by themselves",
    }.get(tuple(harms))
    if inter.p_holm < alpha and harm:
        return {"verdict": UNRESOLVED, "reason": f"the interaction is negative, but {harm}"}
    if inter.p_holm < alpha:
        losses = [t_interval(own, alpha) for own in (beside_a, beside_b)]
        adjusted = holm([own.p for own in losses])
        if any(own.mean < 0 and p < alpha for own, p in zip(losses, adjusted, strict=True)):
            return {"verdict": "antagonistic"}
        if len(risen) == 2:
            return {"verdict": "redundant"}
        return {
            "verdict": UNRESOLVED,
            "reason": "the interaction is negative, but which kind is open: neither are both single gains "
            "resolved, nor is the combination resolved worse than one of them",
        }
    if len(risen) < 2:
        lacking = {0: "no resolved gain to add", 1: "only one of the two single gains is resolved"}[len(risen)]
        reason = f"no two gains to add: {harm}" if harm else lacking
        return {"verdict": UNRESOLVED, "reason": reason}
    own, halves = values["interaction"], (values["gain_a"] / 2, values["gain_b"] / 2)
    if all(_beyond(own + half, 1, alpha) and _beyond(own - half, -1, alpha) for half in halves):
        return {"verdict": "additive"}
    reach = f"{100 * inter.low:+.1f} to {100 * inter.high:+.1f} points"
    reason = f"the interval of the interaction reaches from {reach}: neither resolved nor zero within half of each gain"
    return {"verdict": UNRESOLVED, "reason": reason}


def _harms(gain: Contrast, alpha: float) -> bool:
    return gain.p_holm < alpha and gain.mean < 0


def _beyond(values: np.ndarray, sign: int, alpha: float) -> bool:
    # by p and not by the interval: the two agree, except where all values are equal and the interval is a point
    own = t_interval(values, alpha)
    return own.p < alpha and sign * own.mean > 0


@dataclass(frozen=True)
class TwoByTwo:
    """One 2×2 of runs. a, b: names of the two changed levels; labels: of base, a, b and ab, in this order."""

    a: str
    b: str
    labels: tuple[str, str, str, str]

    @property
    def name(self) -> str:
        return f"{self.a} × {self.b}"


@dataclass(frozen=True)
class TwoByTwos:
    """All 2×2s of a comparison.

    base: names of the baseline's two levels; left_out: label -> why it is in no cell; rows: tidy, columns COLUMNS, one
    row per 2×2, domain, measure and contrast (fractions); reasons: (name, domain, metric) -> `Interaction.reason`.
    """

    base: tuple[str, str]
    squares: list[TwoByTwo]
    left_out: dict[str, str]
    rows: pd.DataFrame
    reasons: dict[tuple[str, str, str], str]


def two_by_twos(found: Findings, factors: Sequence[str]) -> TwoByTwos:
    """The 2×2s of two configuration groups, such as method.advantage and method.weighting, around the baseline.

    A run's level in a factor is everything its configuration holds at or below that key, but for method.name. Every
    pair of a level of each factor other than the baseline's makes a 2×2 if all four cells have runs. Labels that differ
    from the baseline in anything else are left out. Raises UsageError for two labels in one cell, or for factors
    that are no two separate keys of the configurations.
    """
    if len(factors) != 2 or _within(factors[0], factors[1]) or _within(factors[1], factors[0]):
        raise UsageError(
            f"2×2: {', '.join(factors) or 'nothing'}: expected two separate keys, such as "
            "method.advantage and method.weighting"
        )
    fairness.check_factors(found.records, factors)
    cells: dict[tuple[str, str], str] = {}
    left_out: dict[str, str] = {}
    levels: tuple[dict[str, dict], dict[str, dict]] = ({}, {})
    for label in found.labels:
        differing = fairness.differing(found.records, label, found.baseline, factors)
        if differing:
            left_out[label] = f"differs from the baseline in {', '.join(differing)}"
            continue
        cell = []
        for factor, seen in zip(factors, levels, strict=True):
            level = _level(found, label, factor)
            seen[key := json.dumps(level, sort_keys=True, default=str)] = level
            cell.append(key)
        if other := cells.get(tuple(cell)):
            what = fairness.differing(found.records, label, other, ()) or ["names only"]
            raise UsageError(
                f"2×2: {other} and {label} are in one cell of {' × '.join(factors)}; they differ in "
                f"{', '.join(what)}: leave one out with where=, or merge their folders"
            )
        cells[cell[0], cell[1]] = label
    names = [_names(seen, factor) for seen, factor in zip(levels, factors, strict=True)]
    base_a, base_b = next(iter(cells))  # the baseline is the first label, and differs from itself in nothing
    squares = []
    for a in sorted(levels[0].keys() - {base_a}, key=names[0].get):
        for b in sorted(levels[1].keys() - {base_b}, key=names[1].get):
            corners = ((base_a, base_b), (a, base_b), (base_a, b), (a, b))
            if all(corner in cells for corner in corners):
                labels = tuple(cells[corner] for corner in corners)
                squares.append(TwoByTwo(names[0][a], names[1][b], labels))
    rows, reasons = _rows(found, squares)
    return TwoByTwos((names[0][base_a], names[1][base_b]), squares, left_out, rows, reasons)


def _within(key: str, group: str) -> bool:
    return key == group or key.startswith(f"{group}.")


def _level(found: Findings, label: str, factor: str) -> dict[str, object]:
    config = found.records.runs[label, found.records.seeds(label)[0]].config
    return {key: value for key, value in config.items() if _within(key, factor) and key != "method.name"}


def _names(levels: Mapping[str, dict], factor: str) -> dict[str, str]:
    """Canonical level -> a short name: the target's last part, with the keys that tell levels of one target apart."""
    stems = {level: _stem(values, factor) for level, values in levels.items()}
    names = {}
    for level, values in levels.items():
        alike = [levels[other] for other, stem in stems.items() if stem == stems[level]]
        keys = sorted({key for one in alike for key in one})
        telling = [key for key in keys if len({str(one.get(key, fairness.ABSENT)) for one in alike}) > 1]
        shown = ", ".join(
            f"{key.removeprefix(f'{factor}.')}={values.get(key, fairness.ABSENT)}" for key in telling
        )
        names[level] = f"{stems[level]} ({shown})" if shown else stems[level]
    return names


def _stem(values: Mapping[str, object], factor: str) -> str:
    if target := values.get(f"{factor}._target_"):
        last = str(target).rpartition(".")[2].strip("_")
        return re.sub(r"(?<=[a-z0-9])(?=[A-Z])|_", " ", last).lower()
    return str(values[factor]) if factor in values else (fairness.ABSENT if not values else factor)


def _rows(
    found: Findings, squares: Sequence[TwoByTwo]
) -> tuple[pd.DataFrame, dict[tuple[str, str, str], str]]:
    grouped = found.scores.groupby(["label", "domain", "metric"])
    values = {key: group.set_index("seed")["value"] for key, group in grouped}
    rows, reasons = [], {}
    for square in squares:
        for domain in found.domains:
            for metric in MEASURES:
                keys = [(label, domain, metric) for label in square.labels]
                cells = [values.get(key, pd.Series(dtype=float)).dropna() for key in keys]
                seeds = sorted(set.intersection(*(set(cell.index) for cell in cells)))
                own = interaction(*(cell[seeds].to_numpy() for cell in cells), found.alpha)
                reasons[square.name, domain, metric] = own.reason
                for name in CONTRASTS:
                    one = getattr(own, name)
                    head = (square.a, square.b, domain, metric, own.n, name)
                    rows.append((*head, one.mean, one.low, one.high, one.p, one.p_holm, own.verdict))
    return pd.DataFrame(rows, columns=COLUMNS), reasons


def sentences(result: TwoByTwos, domain: str = ALL) -> str:
    """A line per 2×2: '- **pairwise × delta**: area … **redundant**: interaction -1.2 [-2.0, -0.4] points, n=9'."""
    lines = []
    own = result.rows[(result.rows["contrast"] == "interaction") & (result.rows["domain"] == domain)]
    for square in result.squares:
        cells = own[(own["a"] == square.a) & (own["b"] == square.b)].set_index("metric")
        parts = []
        for metric, measure in MEASURES.items():
            cell, why = cells.loc[metric], result.reasons[square.name, domain, metric]
            reach = "" if np.isnan(cell["low"]) else " [{:+.1f}, {:+.1f}]".format(*100 * cell[["low", "high"]])
            margin = f"interaction {100 * cell['mean']:+.1f}{reach} points, " if cell["n"] else ""
            told = f" ({why})" if why else ""
            parts.append(f"{measure} **{cell['verdict']}**: {margin}n={cell['n']}{told}")
        lines.append(f"- **{square.name}**: {'; '.join(parts)}")
    return "\n".join(lines or ["- No 2×2: no pair of changes has runs in all four cells."])

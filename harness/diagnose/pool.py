"""What all looks say together: every measure of every method, with what it rests on left out in turn.

One look: the units are its prompts, its batches, or the held-out problems. Several: the units are the seeds, each with
problems, rollouts and continuations of its own, so that an interval says what other seeds would have given.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import combinations
from typing import Any

import numpy as np
import pandas as pd
from omegaconf import DictConfig, OmegaConf

from harness.diagnose import fidelity, values
from harness.diagnose.drawing import scored
from harness.diagnose.gradient import TRUE, gradient_fidelity
from harness.diagnose.jackknife import Estimate, contrast, of_sums
from harness.diagnose.look import Look, states, valuing

GAIN = "step_gain"


def estimates(looks: Sequence[Look]) -> list[dict[str, Estimate]]:
    """Method -> its measures, by kind: of tokens, state values, gradients, a step; {} where that was not measured."""
    return [_tokens(looks), _values(looks), _gradients(looks), _gains(looks)]


def frame(found: Sequence[Mapping[str, Estimate]]) -> pd.DataFrame:
    """Rows method, measure, value, low, high."""
    parts = [own.frame(method) for kind in found for method, own in kind.items()]
    return pd.concat(parts, ignore_index=True)


def _units(looks: Sequence[Look], counts: Sequence[int], chunks: int | None = None) -> np.ndarray:
    """The unit of each row: with several looks the look, else the row, or one of `chunks` shares of the rows."""
    if len(looks) > 1:
        return np.repeat(np.arange(len(looks)), counts)
    rows = np.arange(counts[0])
    return rows if chunks is None else rows * chunks // counts[0]


def _tokens(looks: Sequence[Look]) -> dict[str, Estimate]:
    groups = [[scored(completions) for completions in look.truth] for look in looks]
    units = _units(looks, [len(look.truth) for look in looks])
    return {
        name: fidelity.fidelity(
            np.concatenate([
                fidelity.prompt_sums(own, judged(look.truth, look.given[name].credit))
                for look, own in zip(looks, groups, strict=True)
            ]),
            units,
        )
        for name in looks[0].given
    }  # fmt: skip


def judged(truth: Sequence[Sequence[dict[str, Any]]], credit: Sequence[np.ndarray]) -> list[list[np.ndarray]]:
    """Credit of the completions of each problem that have a verdict."""
    rows = iter(credit)
    return [
        [c for c, line in [(next(rows), line) for line in completions] if line["reward"] is not None]
        for completions in truth
    ]


def _values(looks: Sequence[Look]) -> dict[str, Estimate]:
    units = _units(looks, [len(look.truth) for look in looks])
    by_name = {name: [problem for look in looks for problem in states(look, name)] for name in valuing(looks[0])}
    shared = [set.intersection(*map(set, problems)) for problems in zip(*by_name.values(), strict=True)]
    found = {}
    for name, problems in by_name.items():
        own = [{s: v for s, v in one.items() if s in common} for one, common in zip(problems, shared, strict=True)]
        found[name] = values.value_quality(values.prompt_sums(own), units)
    return found


def _gradients(looks: Sequence[Look]) -> dict[str, Estimate]:
    if not looks[0].fresh:
        return {}
    by_name = {name: [g for look in looks for g in look.gradients[name]] for name in looks[0].gradients}
    batches = [len(look.batches) for look in looks]
    fresh = [g for look in looks for g in look.fresh]
    units = _units(looks, batches)
    fresh_units = _units(looks, [len(look.fresh) for look in looks], chunks=batches[0])
    return gradient_fidelity(by_name, by_name[TRUE], fresh, units, fresh_units)


def _gains(looks: Sequence[Look]) -> dict[str, Estimate]:
    """Mean gain over the held-out problems, the same in every look."""
    found = {}
    for name in looks[0].gains:
        gains = np.concatenate([look.gains[name] for look in looks])
        units = _units(looks, [len(look.gains[name]) for look in looks])
        sums = np.stack([np.nan_to_num(gains), np.isfinite(gains)], axis=1)  # without a verdict: no gain, no count
        found[name] = of_sums((GAIN,), lambda sums: sums[..., :1] / sums[..., 1:], sums, units)
    return found


def differences(kind: Mapping[str, Estimate]) -> dict[str, Estimate]:
    """Every method minus the first."""
    first, *others = kind or [None]
    return {f"{name} − {first}": contrast({name: 1, first: -1}, kind) for name in others}


def squares(cfgs: Mapping[str, DictConfig]) -> list[tuple[str, str, str, str]]:
    """All 2×2s among the methods: (a, b, c, d) where b differs from a in its advantage only, c in its weighting only,
    and d in both, the surrogate and the scale aside, which a diagnosis does not see. a is the first of its square.
    """
    parts = {}
    for name, cfg in cfgs.items():
        own = OmegaConf.to_container(cfg.method, resolve=True)
        rest = {key: own.get(key) for key in ("shaping", "control")}
        parts[name] = tuple(map(repr, (own["advantage"], own["weighting"], rest)))
    by_parts = {own: name for name, own in reversed(parts.items())}
    order = list(parts)
    found = []
    for a, d in combinations(order, 2):
        (one, plain, rest), (other, weighted, same) = parts[a], parts[d]
        if rest != same or one == other or plain == weighted:
            continue
        b, c = by_parts.get((other, plain, rest)), by_parts.get((one, weighted, rest))
        if b and c and order.index(a) < min(map(order.index, (b, c))):
            found.append((a, b, c, d))
    return found


def effects(square: tuple[str, str, str, str], kind: Mapping[str, Estimate]) -> dict[str, Estimate]:
    """What the change to b, that to c, and both do, and how much both do beyond the sum."""
    a, b, c, d = square
    if not set(square) <= kind.keys():
        return {}
    return {
        f"{b} − {a}": contrast({b: 1, a: -1}, kind),
        f"{c} − {a}": contrast({c: 1, a: -1}, kind),
        f"{d} − {a}": contrast({d: 1, a: -1}, kind),
        "interaction": contrast({d: 1, b: -1, c: -1, a: 1}, kind),
    }

"""Trajectory geometry: is training one straight line, more than chance would have it, and can it be drawn on?

    python -m harness method=grpo trainer.deltas_every=1            # a run that keeps the changes of its weights
    python -m harness.diagnose.geometry run=results/default/grpo-<hash>/seed-0
    python -m harness.diagnose.geometry 'run=results/geometry/*/seed-*' out=results/geometry/page

For each run, of every tensor and of all parameters together: the share of the first five directions in θ_t − θ_0
(EV₁ … EV₅) and how straight the way along the first is (R²), beside two nulls of the same length, a Gaussian random
walk and the run's own AdamW on pure noise; between runs from one base policy, the cosine of their first directions;
then the accuracy of the base policy, of the window's end, of rank-1 reconstructions, of the point that the window alone
extrapolates to, and of the trained policy, on the same problems with the same random numbers. The mathematics:
harness/diagnose/trajectory.py and nulls.py (RELEX, arXiv:2605.21468).

    run=FOLDERS       one or several runs (seed-<n> folders; * allowed) trained with trainer.deltas_every
    window=0.15       share of the updates that a line is fitted to; the paper's 75 of 500 updates, 100 of 750
    extrapolate=null  the update to extrapolate to; null: the run's last one
    nulls=100         simulations of each null; 0: none, and then nothing may be called low-rank
    evaluate=true     false: leave out the evaluations, one after the other of the six policies of each run
    split=test        problems of the evaluation: test, curve or validation, as many as the run's evaluation.* says
    out=FOLDER        default: <run>/geometry, of several runs <results_dir>/geometry/<digits>
    trust=[NAME,...]  functions and classes of your own that a run's config.yaml names for its policy or suite: what
                      conf/ does not name is called only if it is named here

Writes to the folder: geometry.md, geometry.csv, cosines.csv (several runs), evaluation.csv, and the figures
coefficients and explained (.png, .svg, .csv). In memory is a part of one tensor at a time, and the policy. Exit codes:
0 written, 2 refused.
"""

from __future__ import annotations

import hashlib
import shlex
import sys
import warnings
from collections.abc import Sequence
from dataclasses import dataclass, field, fields
from glob import glob, has_magic
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import torch
import transformers
import yaml
from hydra.utils import instantiate
from omegaconf import OmegaConf
from omegaconf.errors import OmegaConfBaseException

from harness.deltas import weights_digest
from harness.diagnose import geometry_page
from harness.diagnose.endpoints import evaluated
from harness.diagnose.kept import KeptRun, directions, read
from harness.diagnose.nulls import NULLS, Nulls
from harness.diagnose.trajectory import Shape, extrapolation, measures, reconstruction, shape
from harness.errors import ConfigError, nearest
from harness.policy import Policy
from harness.run import seed_everything

ALL = "all"  # parameters together
SPLITS = ("test", "curve", "validation")
LEAST = 3  # kept updates in a window: two points are always on a line


@dataclass
class Options:
    """The command line, as described at the top of this file."""

    run: Any = None
    window: float = 0.15
    extrapolate: int | None = None
    nulls: int = 100
    evaluate: bool = True
    split: str = "test"
    out: str | None = None
    trust: list[str] = field(default_factory=list)


def parse(arguments: Sequence[str]) -> Options:
    """Raises ConfigError."""
    names = [entry.name for entry in fields(Options)]
    for text in arguments:
        if (key := text.partition("=")[0]) not in names or "=" not in text:
            raise ConfigError(f"{text}: there is no option {key}. {nearest(key, names)}")
    try:
        merged = OmegaConf.merge(OmegaConf.structured(Options), OmegaConf.from_cli(list(arguments)))
        options: Options = OmegaConf.to_object(merged)
    except (OmegaConfBaseException, yaml.YAMLError) as error:
        raise ConfigError(f"cannot read {shlex.join(arguments)}: {str(error).splitlines()[0]}") from error
    given = [options.run] if isinstance(options.run, str) else options.run
    if not isinstance(given, list) or not given or not all(isinstance(text, str) and text for text in given):
        raise ConfigError(f"run={options.run}: give a run's folder, or several as run=[A,B] or with *")
    options.run = [path for text in given for path in (sorted(glob(text)) if has_magic(text) else [text])]
    if not options.run:
        raise ConfigError(f"run={','.join(given)}: no such folder")
    if len({Path(path).resolve() for path in options.run}) < len(options.run):
        raise ConfigError("run: name each folder once")
    if not 0 < options.window < 1:
        raise ConfigError(f"window={options.window}: expected a share of the updates between 0 and 1")
    if options.extrapolate is not None and options.extrapolate < 1:
        raise ConfigError(f"extrapolate={options.extrapolate}: expected an update, at least 1")
    if options.nulls < 0:
        raise ConfigError(f"nulls={options.nulls}: expected 0 or more simulations")
    if options.split not in SPLITS:
        raise ConfigError(f"split={options.split}: there is none such. {nearest(options.split, SPLITS)}")
    return options


@dataclass(frozen=True)
class Geometry:
    """Of one run, by tensor and ALL: Gram matrix, shape of the whole and of its first `window` kept updates."""

    run: KeptRun
    name: str
    grams: dict[str, np.ndarray]
    whole: dict[str, Shape]
    first: dict[str, Shape]
    window: int

    def points(self, update: int) -> dict[str, dict[str, np.ndarray]]:
        """Name of a policy -> by tensor, the weights (n,) of the rows whose sum is its θ − θ_0, tensor by tensor."""
        n, w, last = len(self.run.updates), self.window, self.run.updates[-1]
        end = self.run.updates[w - 1]
        kept = np.eye(n)
        tensors = self.run.shapes
        further = {name: _padded(extrapolation(self.first[name], update), n) for name in tensors}
        return {
            "base": {name: np.zeros(n) for name in tensors},
            f"window's end, update {end}": {name: kept[w - 1] for name in tensors},
            "its rank 1": {name: _padded(reconstruction(self.first[name], w - 1), n) for name in tensors},
            f"extrapolated to update {update}": further,
            "rank 1 of the whole run": {name: reconstruction(self.whole[name], n - 1) for name in tensors},
            f"trained, update {last}": {name: kept[n - 1] for name in tensors},
        }


def _padded(weights: np.ndarray, n: int) -> np.ndarray:
    return np.concatenate([weights, np.zeros(n - len(weights))])


def geometry(run: KeptRun, name: str, share: float) -> Geometry:
    """Raises ConfigError for a window too short for a line."""
    window = round(share * len(run.updates))
    if window < LEAST:
        raise ConfigError(
            f"window={share:g} of the {len(run.updates)} kept updates of {run.folder} is {window}, a line takes at "
            f"least {LEAST}: give a larger window=, or train with a smaller trainer.deltas_every"
        )
    grams = run.grams()
    grams = {ALL: sum(grams.values()), **grams}
    whole = {tensor: shape(own, run.updates) for tensor, own in grams.items()}
    first = {tensor: shape(own[:window, :window], run.updates[:window]) for tensor, own in grams.items()}
    return Geometry(run, name, grams, whole, first, window)


def compared(own: Geometry, found: Nulls) -> pd.DataFrame:
    """Rows run, tensor, size, measure, value, and for either null its mean, low and high."""
    rows = []
    sizes = {ALL: sum(own.run.sizes.values()), **own.run.sizes}
    for tensor, size in sizes.items():
        values = measures(own.grams[tensor], own.run.updates, own.window)
        nulls = found.of(own.run, own.window, None if tensor == ALL else tensor)
        for measure, value in values.items():
            beside = (number for null in NULLS for number in nulls[null][measure])
            rows.append((own.name, tensor, size, measure, value, *beside))
    ranges = [f"{null}_{what}" for null in NULLS for what in ("mean", "low", "high")]
    return pd.DataFrame(rows, columns=["run", "tensor", "size", "measure", "value", *ranges])


def cosines(found: Sequence[Geometry]) -> pd.DataFrame:
    """Rows a, b, tensor, size, cosine of the first directions of each pair of runs, and `chance`: 95 % of the cosines
    of two directions drawn at random lie within ± that (1.96/√d).
    """
    runs = [own.run for own in found]
    dots = directions(runs, [{name: own.whole[name].direction for name in own.run.shapes} for own in found])
    together = directions(runs, [dict.fromkeys(own.run.shapes, own.whole[ALL].direction) for own in found])
    dots = {ALL: sum(together.values()), **dots}
    sizes = {ALL: sum(runs[0].sizes.values()), **runs[0].sizes}
    rows = [
        (found[i].name, found[j].name, tensor, sizes[tensor], own[i, j], 1.959964 / np.sqrt(sizes[tensor]))
        for tensor, own in dots.items()
        for i in range(len(runs))
        for j in range(i + 1, len(runs))
    ]
    return pd.DataFrame(rows, columns=["a", "b", "tensor", "size", "cosine", "chance"])


def check_same(runs: Sequence[KeptRun]) -> None:
    """Raises ConfigError where two runs do not begin from the same weights: their directions mean different things."""
    for run in runs[1:]:
        if (run.base, run.shapes) != (runs[0].base, runs[0].shapes):
            raise ConfigError(
                f"{runs[0].folder} and {run.folder} begin from other weights (base policies {runs[0].base[0]} and "
                f"{run.base[0]}; adapters differ with the seed): look at them one by one"
            )


def base_policy(run: KeptRun) -> Policy:
    """The policy that the runs began from. Raises ConfigError where its weights are others by now."""
    seed_everything(run.cfg.seed)  # which draws adapters
    policy: Policy = instantiate(run.cfg.policy)
    weights = {name: p.detach() for name, p in policy.model.named_parameters() if name in run.shapes}
    if (policy.hash, weights_digest(weights)) != run.base:
        raise ConfigError(
            f"{run.folder} began from base policy {run.base[0]}, and policy.path={run.cfg.policy.path} has other "
            f"weights ({policy.hash}): put the old ones back"
        )
    return policy


def names(runs: Sequence[KeptRun]) -> list[str]:
    """What tells the runs apart: preset and seed, with the configuration's hash or the folder where those do not."""
    ways = (
        lambda run: f"{run.cfg.label.rpartition('-')[0]} seed {run.cfg.seed}",
        lambda run: f"{run.cfg.label} seed {run.cfg.seed}",
        lambda run: str(run.folder),
    )
    return next(own for way in ways if len(set(own := [way(run) for run in runs])) == len(runs))


def measured(options: Options, command: str) -> tuple[Path, list[Path], str]:
    """Read, measure, evaluate and write: the folder, what is in it, and the page."""
    transformers.utils.logging.set_verbosity_error()
    transformers.utils.logging.disable_progress_bar()
    warnings.filterwarnings("ignore", message=".*gradient_checkpointing` is deprecated", category=FutureWarning)
    runs = [read(Path(path), options.trust) for path in options.run]
    check_same(runs)
    torch.set_num_threads(runs[0].cfg.trainer.threads)
    policy = base_policy(runs[0])
    found = []
    for run, name in zip(runs, names(runs), strict=True):
        tell(f"{name}: Gram matrices of {len(run.shapes)} tensors at {len(run.updates)} updates")
        found.append(geometry(run, name, options.window))
    drawn = Nulls(options.nulls, policy, tell)
    table = pd.concat([compared(own, drawn) for own in found], ignore_index=True)
    pairs = cosines(found) if len(found) > 1 else None
    scored = None
    if options.evaluate:
        scored = pd.concat([evaluated(own, policy, options.split, options.extrapolate, tell) for own in found])
    folder = Path(options.out) if options.out else _default(runs)
    folder.mkdir(parents=True, exist_ok=True)
    files, page = geometry_page.write(folder, found, table, pairs, scored, drawn, options.split, command)
    return folder, files, page


def _default(runs: Sequence[KeptRun]) -> Path:
    if len(runs) == 1:
        return runs[0].folder / "geometry"
    digits = hashlib.sha256("\n".join(str(run.folder) for run in runs).encode()).hexdigest()[:8]
    return Path(runs[0].cfg.results_dir, "geometry", digits)


def tell(text: str) -> None:
    print(text, file=sys.stderr, flush=True)


def main(arguments: Sequence[str] | None = None) -> int:
    arguments = sys.argv[1:] if arguments is None else list(arguments)
    if not arguments or {"-h", "--help"} & set(arguments):
        print(__doc__)
        return 0 if arguments else 2
    try:
        shown = shlex.join(text for text in arguments if not text.startswith("out="))
        folder, files, page = measured(parse(arguments), f"python -m harness.diagnose.geometry {shown}")
    except ConfigError as error:
        print(f"harness.diagnose.geometry: {error}", file=sys.stderr)
        return 2
    print(page)
    print(f"\nwritten to {folder}: {', '.join(path.name for path in files)}")
    return 0


if __name__ == "__main__":
    sys.exit(main())

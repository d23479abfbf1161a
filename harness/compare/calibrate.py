"""Does the verdict err as often as it says? Simulated experiments, and a baseline against itself.

    python -m harness.compare.calibrate

simulates experiments whose truth is known and counts what the verdict of `harness.compare` makes of them:

    coverage         how often the paired t interval holds the true difference
    false positives  how often a method equal to the baseline is called better or worse; also how often at
                     least one of 10 such methods is, Holm-corrected (family-wise)
    power            how often a planted difference is called better
    2×2              how often each verdict on an interaction falls, for known truths

and writes calibration.md and calibration.csv. Arguments, all key=value:

    runs=FOLDER       results/<experiment>: also splits the baseline's seeds at random into two halves and
                      compares them as if they were two methods. Default: none, simulation only
    baseline=METHOD   whose seeds are split. Default: grpo
    repeats=COUNT     simulated experiments per number (bootstrap a tenth, 2×2 a twentieth). Default: 20000
    seed=NUMBER       of the simulation; the same seed gives the same bytes. Default: 0
    alpha=LEVEL       level of verdicts; intervals cover 1 - alpha. Default: 0.05
    out=FOLDER        where to write. Default: results/reference/calibration

Examples:

    python -m harness.compare.calibrate repeats=2000 out=/tmp/calibration
    python -m harness.compare.calibrate runs=results/null baseline=grpo out=results/null

Exit code: 1 if, in a case of the kind `usual` (ordinary runs, no difference but the name), coverage at n >= 5 is
outside 93 to 97 % or false positives are above 5.5 % (at alpha=0.05) by more than 3 standard errors of the
simulation; 2 for a wrong call; otherwise 0.
"""

from __future__ import annotations

import shlex
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass, fields
from pathlib import Path

import numpy as np
import pandas as pd
import yaml
from omegaconf import OmegaConf
from omegaconf.errors import OmegaConfBaseException

from harness.compare import scores, select
from harness.compare import simulate as sim
from harness.compare.filters import UsageError, expand, nearest
from harness.compare.load import load
from harness.compare.read import ALL
from harness.compare.statistics import MIN_SEEDS
from harness.compare.tables import markdown, percent

COLUMNS = ["part", "case", "n", "quantity", "value", "repeats"]
MEANING = """\
Two runs that differ in nothing but the name are exchangeable, so their difference is symmetric (kinds usual and
extreme). {usual} Runs that collapse make it wider than it had
to be: fewer false positives, less power. A test set on which most seeds tie makes the level uneven: use more problems
or more samples. With skewed differences, where a method is as good as the baseline on average but a few of its seeds
are far off, the t interval covers less than it claims, more so the more skewed, and Holm over many such methods does
not repair that: 5 seeds cannot show such a tail. Look at the dots of the end-point plot; if one seed carries the mean,
read `better` and `worse` as a hint and add seeds."""
KEPT = "Of the usual kind, every case keeps its level from 5 seeds on."
MISSED = "A CASE OF THE USUAL KIND MISSES ITS LEVEL, see above: verdicts cannot be trusted until that is explained."
TWO_BY_TWO = """\
Rate of each verdict; runs are normal. Gains are the true single gains, in SDs of a paired difference; both changes
together gain twice that (additive), as much as one (redundant, ab = max), three times (synergistic) or nothing
(antagonistic). The interaction has an SD 1.4 times that of a difference, so it takes more seeds than a gain does."""
ITSELF = """\
Real runs of the baseline: two disjoint random halves of n seeds, paired at random, so without what pairing by seed
gains. Power: a difference of that many points is added to one half. All splits use the same few seeds, so a rate
here is one draw and not a long-run rate: with 2n seeds or few more it says little beyond that nothing is badly off."""
LEVELS = ("coverage", "false positives", "family-wise")
BOOTSTRAPPED = ("normal", "skewness 1", "skewness 2")


@dataclass
class Options:
    """The command line, as described at the top of this file."""

    runs: str | None = None
    baseline: str = "grpo"
    repeats: int = 20000
    seed: int = 0
    alpha: float = 0.05
    out: str = "results/reference/calibration"


def parse(arguments: Sequence[str]) -> Options:
    """key=value arguments -> Options; UsageError with the nearest names for anything else."""
    known = [entry.name for entry in fields(Options)]
    for argument in arguments:
        key, equals, _ = argument.partition("=")
        if not equals or key not in known:
            raise UsageError(f"{argument!r} is no option=value: {nearest(key, known)} (--help explains)")
    try:
        merged = OmegaConf.merge(OmegaConf.structured(Options), OmegaConf.from_cli(list(arguments)))
        options = OmegaConf.to_object(merged)
    except (OmegaConfBaseException, yaml.YAMLError) as error:
        raise UsageError(f"cannot read {shlex.join(arguments)}: {str(error).splitlines()[0]}") from error
    if not 0 < options.alpha < 1:
        raise UsageError(f"alpha={options.alpha:g}: expected a level between 0 and 1, such as 0.05")
    if options.repeats < 20 or options.seed < 0:
        raise UsageError("expected repeats of at least 20 and a seed of at least 0")
    return options


def measure(options: Options) -> tuple[pd.DataFrame, list[str]]:
    """(tidy table with columns COLUMNS, what the runs were too few for)."""
    rows: list[tuple] = []

    def add(part: str, case: str, n: int, numbers: dict[str, float], repeats: int) -> None:
        rows.extend((part, case, n, name, float(value), repeats) for name, value in numbers.items())

    def rng(*place: int) -> np.random.Generator:
        return np.random.default_rng([options.seed, *place])  # a cell's numbers depend on no other cell

    few, fewer = max(20, options.repeats // 10), max(20, options.repeats // 20)
    for i, (name, case) in enumerate(sim.CASES.items()):
        print(f"calibrate: {name}", file=sys.stderr)
        for n in sim.SEEDS:
            numbers = sim.simulate(case, n, options.repeats, rng(0, i, n), options.alpha)
            add("verdict", name, n, numbers, options.repeats)
            if name in BOOTSTRAPPED:
                covered = sim.bootstrap(case, n, few, rng(1, i, n), options.alpha)
                add("bootstrap", name, n, {"coverage": covered}, few)
    print("calibrate: 2×2", file=sys.stderr)
    truths = [("no effect", 0.0), *((truth, effect) for truth in sim.TRUTHS for effect in sim.EFFECTS)]
    for i, (truth, effect) in enumerate(truths):
        case = f"{truth}, gains {effect:g} SD" if effect else truth
        for n in sim.SEEDS:
            add("2x2", case, n, sim.interactions(truth, effect, n, fewer, rng(2, i, n), options.alpha), fewer)
    impossible = _real(options, add, rng) if options.runs else []
    return pd.DataFrame(rows, columns=COLUMNS), impossible


def _real(options: Options, add: Callable, rng: Callable) -> list[str]:
    records = load(expand([options.runs]))
    label = records.resolve(options.baseline)
    if not records.seeds(label):
        raise UsageError(f"baseline {label} has no finished run in {options.runs}")
    runs = scores.scores(select.exclude(records, label))
    impossible = []
    for i, metric in enumerate((scores.END, scores.AULC)):
        own = runs[(runs["label"] == label) & (runs["domain"] == ALL) & (runs["metric"] == metric)]
        values = own.sort_values("seed")["value"].to_numpy()
        for n in sim.SEEDS:
            if 2 * n <= len(values):
                numbers = sim.against_itself(values, n, options.repeats, rng(3, i, n), options.alpha)
                add("runs", f"{records.names[label]}, {metric}, {len(values)} seeds", n, numbers, options.repeats)
            else:
                impossible.append(f"{metric} at n = {n}: needs {2 * n} seeds, {label} has {len(values)}")
    return impossible


def misses(frame: pd.DataFrame, alpha: float, errors: float = 0.0) -> list[str]:
    """Where, at n >= 5, coverage is off 1 - alpha by 0.4 alpha or false positives are above 1.1 alpha, one line each.

    errors: standard errors of the simulation that are forgiven. At alpha = 0.05: outside 93 to 97 %, above 5.5 %.
    """
    found: dict[str, list[str]] = {}
    level = frame[(frame["part"] == "verdict") & (frame["n"] >= MIN_SEEDS)]
    for row in level.to_dict("records"):
        slack = errors * np.sqrt(alpha * (1 - alpha) / row["repeats"])
        covers = row["quantity"] == "coverage" and abs(row["value"] - (1 - alpha)) > 0.4 * alpha + slack
        errs = row["quantity"] in LEVELS[1:] and row["value"] > 1.1 * alpha + slack
        if covers or errs:
            place = f"{row['case']} at n = {row['n']}"
            found.setdefault(place, []).append(f"{row['quantity']} {percent(row['value'])} %")
    return [f"{place}: {', '.join(numbers)}" for place, numbers in found.items()]


def usual(frame: pd.DataFrame) -> pd.DataFrame:
    return frame[frame["case"].isin([name for name, case in sim.CASES.items() if case.kind == "usual"])]


def compose(frame: pd.DataFrame, impossible: Sequence[str], options: Options, command: str) -> str:
    """The page as markdown. frame: the tidy table of `measure`."""
    wide = frame.pivot_table(index=["part", "case", "n"], columns="quantity", values="value", sort=False)
    repeats = frame.groupby("part")["repeats"].first()

    def table(part: str, names: Sequence[str], heads: Sequence[str]) -> str:
        rows = [(case, str(n), *(percent(row.get(name, np.nan)) for name in names))
                for (case, n), row in wide.loc[part].iterrows()]  # fmt: skip
        return markdown(("case", "n", *heads), rows)

    off = misses(frame, options.alpha)
    planted = [name for name in frame["quantity"].unique() if name.startswith("power")]
    heads = [name.removeprefix("power ").replace("1 points", "1 point") for name in planted]
    level = f"{100 * (1 - options.alpha):g} %"
    cases = [(name, case.kind, f"{case.sd:.1f}", case.text) for name, case in sim.CASES.items()]
    parts = [
        "# Calibration of the verdict", f"    {command}",
        f"All numbers but n are percentages of {repeats['verdict']} simulated experiments (bootstrap: "
        f"{repeats['bootstrap']}, 2×2: {repeats['2x2']}). Below {MIN_SEEDS} seeds the verdict is always not resolved.",
        "## The interval and the false positives",
        f"Coverage: how often the paired t interval holds the true difference; {level} is claimed. False positives: a "
        f"method equal to the baseline is called better or worse. Family-wise: at least one of {sim.METHODS} such "
        "methods is, Holm-corrected.",
        table("verdict", LEVELS, LEVELS),
        f"**Outside {percent(1 - 1.4 * options.alpha)} to {percent(1 - 0.6 * options.alpha)} % coverage, or above "
        f"{percent(1.1 * options.alpha)} % false positives** (n of at least {MIN_SEEDS}):",
        "\n".join(f"- {line}" for line in off) or "- nothing",
        MEANING.format(usual=MISSED if misses(usual(frame), options.alpha, errors=3) else KEPT),
        "## The cases", markdown(("case", "kind", "SD of a difference, points", "what"), cases),
        "## Power", "How often a planted difference is called better (one comparison, not corrected); the difference "
        "in SDs of the case's paired difference, or in points.", table("verdict", planted, heads),
        "## BCa bootstrap, for comparison", "Coverage of its interval of the mean; not used for verdicts.",
        table("bootstrap", ("coverage",), ("coverage",)),
        "## The 2×2", TWO_BY_TWO, table("2x2", sim.KINDS, sim.KINDS),
    ]  # fmt: skip
    if options.runs:
        parts += ["## The baseline against itself", ITSELF]
        if "runs" in repeats:
            names = [name for name in planted if name.endswith("points")]
            heads = [name.replace("power", "power at").replace(" 1 points", " 1 point") for name in names]
            parts.append(table("runs", ("false positives", *names), ("false positives", *heads)))
        parts += ["\n".join(f"- not possible: {line}" for line in impossible)] * bool(impossible)
    return "\n\n".join(parts) + "\n"


def main(arguments: Sequence[str] | None = None) -> int:
    arguments = sys.argv[1:] if arguments is None else arguments
    if {"-h", "--help"} & set(arguments):
        print(__doc__)
        return 0
    try:
        options = parse(arguments)
        frame, impossible = measure(options)
    except UsageError as error:
        print(f"harness.compare.calibrate: {error}", file=sys.stderr)
        return 2
    shown = [argument for argument in arguments if not argument.startswith("out=")]
    page = compose(frame, impossible, options, shlex.join(["python", "-m", "harness.compare.calibrate", *shown]))
    out = Path(options.out)
    out.mkdir(parents=True, exist_ok=True)
    (out / "calibration.md").write_text(page, encoding="utf-8")
    frame.to_csv(out / "calibration.csv", index=False, float_format="%.6g", lineterminator="\n")
    print(f"{page}\nwritten: {out / 'calibration.md'}  {out / 'calibration.csv'}")
    failed = misses(usual(frame), options.alpha, errors=3)
    for line in failed:
        print(f"harness.compare.calibrate: out of bounds: {line}", file=sys.stderr)
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())

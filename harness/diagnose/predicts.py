"""Does credit fidelity predict learning speed? Rank correlation over methods.

    python -m harness.diagnose.predicts diagnosis=results/diagnosis/<name> comparison=results/controls[,results/more]

diagnosis: a folder of `python -m harness.diagnose`; comparison: those of `python -m harness.compare`, in which the
same presets were trained under the same settings; a preset that stands in two of them must have the same numbers in
both. For every measure of fidelity.csv: Spearman's ρ over the methods that both have, with the mean area under the
learning curve over all domains, the 95 % interval of Fisher's z (standard error 1.06/√(n − 3), Fieller et al. 1957)
and the two-sided p of a seeded permutation test. Methods are few and share parts, so an interval is wide and still
optimistic; no correction for the number of measures. Exit codes: 0 printed, 2 refused.
"""

from __future__ import annotations

import sys
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pandas as pd
from scipy.stats import permutation_test, spearmanr

from harness.compare.read import ALL
from harness.compare.scores import AULC
from harness.compare.tables import NONE
from harness.errors import ConfigError
from harness.markdown import table

LEAST = 4  # methods, for an interval


def correlations(fidelity: pd.DataFrame, comparison: pd.DataFrame) -> pd.DataFrame:
    """Rows measure, n, rho, low, high, p. fidelity: method, measure, value; comparison: as in comparison.csv."""
    speed = comparison[(comparison["metric"] == AULC) & (comparison["domain"] == ALL)]
    names = speed["label"].str.rpartition("-")[0].str.partition("+")[0]
    speeds = pd.Series(speed["mean"].to_numpy(), index=names).dropna()
    spread = speeds.groupby(level=0).agg(np.ptp)
    if unlike := sorted(spread.index[spread > 1e-9]):
        raise ConfigError(f"{', '.join(unlike)} stands there with different numbers: compare one setting of each")
    speeds = speeds[~speeds.index.duplicated()]
    rows = []
    for measure, own in fidelity.groupby("measure", sort=False):
        values = own.set_index("method")["value"].dropna()
        shared = sorted(values.index.intersection(speeds.index))
        x, y = values[shared].to_numpy(), speeds[shared].to_numpy()
        n = len(shared)
        if n < LEAST or np.ptp(x) == 0 or np.ptp(y) == 0:
            rows.append((measure, n, *[np.nan] * 4))
            continue

        def rho(own: np.ndarray, y: np.ndarray = y) -> float:
            return spearmanr(own, y).statistic

        value = rho(x)
        half = 1.959964 * 1.06 / np.sqrt(n - 3)
        z = np.arctanh(value) if abs(value) < 1 - 1e-9 else np.nan  # perfect order has no error to speak of
        rng = np.random.Generator(np.random.Philox(0))
        tested = permutation_test((x,), rho, permutation_type="pairings", n_resamples=9999, rng=rng)
        rows.append((measure, n, value, np.tanh(z - half), np.tanh(z + half), tested.pvalue))
    if not any(n for _, n, *_ in rows):
        raise ConfigError("the diagnosis and the comparison share no preset")
    return pd.DataFrame(rows, columns=["measure", "n", "rho", "low", "high", "p"])


def _brackets(low: float, high: float) -> str:
    return f" [{low:+.2f}, {high:+.2f}]" if np.isfinite(low) else ""


def main(arguments: Sequence[str] | None = None) -> int:
    arguments = sys.argv[1:] if arguments is None else list(arguments)
    if not arguments or {"-h", "--help"} & set(arguments):
        print(__doc__)
        return 0 if arguments else 2
    given = dict(text.partition("=")[::2] for text in arguments)
    try:
        if set(given) != {"diagnosis", "comparison"}:
            raise ConfigError("give diagnosis=FOLDER and comparison=FOLDER (--help explains)")
        folders = given["comparison"].strip("[]").split(",")
        files = [Path(given["diagnosis"], "fidelity.csv"), *(Path(one, "comparison.csv") for one in folders)]
        if missing := [str(path) for path in files if not path.is_file()]:
            raise ConfigError(f"no {missing[0]}")
        fidelity, *comparisons = map(pd.read_csv, files)
        found = correlations(fidelity, pd.concat(comparisons, ignore_index=True))
    except ConfigError as error:
        print(f"harness.diagnose.predicts: {error}", file=sys.stderr)
        return 2
    rows = [
        (row.measure, str(row.n), *([f"{row.rho:+.2f}{_brackets(row.low, row.high)}", f"{row.p:.2g}"]
         if np.isfinite(row.rho) else [NONE, NONE]))
        for row in found.itertuples()
    ]  # fmt: skip
    print(table(("measure", "methods", "rank correlation with AULC [95 %]", "p"), rows))
    return 0


if __name__ == "__main__":
    sys.exit(main())

"""Compare finished runs with a baseline.

    python -m harness.compare runs=results/demo baseline=grpo

reads the records below the folder `runs` (nothing else: no model, no torch) and writes

    comparison.html      the whole comparison in one file, for a browser: verdicts, tables that sort, figures,
                         single problems with each method's completions and their token credit
    comparison.md        the same without single problems, for a terminal or a repository
    comparison.csv       the numbers, tidy: a row per method, domain and measure
    tables/              each table as .md, .csv and .tex (booktabs)
    figures/             each figure as .png and .svg, with the numbers behind it as .csv

Two factors, such as factors=[method.advantage,method.weighting], are also compared as a 2x2: are their gains
additive, redundant, synergistic, antagonistic, or is it not resolved? (docs/statistics.md)

Arguments, all key=value:

    runs=FOLDERS         results/<experiment>, which holds <label>/seed-<n>; several as [a,b] or with
                         wildcards (in quotes, so that the shell leaves them alone). A method and seed
                         that two folders hold is refused. Required.
    baseline=METHOD      a label, or a label without its hash. Default: grpo
    out=FOLDER           where to write. Default: the runs folder; needed if there are several
    where=[FILTER,...]   only runs whose configuration passes all filters: key=value, key=value|value for
                         any of these, key!=value for any other
    allow=[KIND,...]     lets runs in that are excluded otherwise, each by name:
                         problems    other test or curve problems than the baseline's (the curves are
                                     drawn, a verdict stays refused)
                         incomplete  not finished, or with records cut short (no end point)
                         code        made by another version of the code
    tuned=[KEY,...]      keys swept equally for every method: of each method's values the one with the
                         best validation accuracy after the last step is compared.
                         Default: what the runs' configurations name under `tuned`
    factors=[KEY,...]    configuration keys in which compared methods may differ; anything else that
                         differs, apart from names, folders and tuned keys, refuses the verdict.
                         Default: [method.name,method.shaping,method.advantage,method.weighting,
                         method.control]
    threshold=ACCURACY   between 0 and 1, for "tokens to threshold". Default: halfway from the base
                         policy to the baseline's end point, on the curve problems
    alpha=LEVEL          level of verdicts; intervals cover 1 - alpha. Default: 0.05

Examples:

    python -m harness.compare runs=results/demo baseline=grpo threshold=0.7 out=/tmp/page
    python -m harness.compare runs=results/rates factors=[method.name,trainer.learning_rate]
    python -m harness.compare runs=results/additivity factors=[method.advantage,method.weighting]
    python -m harness.compare 'runs=[results/demo,results/controls*]' out=results/together
    python -m harness.compare runs=results/sweep 'where=[suite.horizon=4,method.name=grpo|lampo,seed!=3]'
    python -m harness.compare runs=results/sweep 'allow=[code,incomplete]'
    python -m harness.compare runs=results/rates tuned=[trainer.learning_rate]

Exit code: 0 if a table was made, also one with holes (they are listed); 2 if nothing could be compared or written.
"""

from __future__ import annotations

import shlex
import sys
from collections.abc import Sequence
from dataclasses import dataclass, field, fields
from pathlib import Path
from typing import Any

import yaml
from omegaconf import MISSING, OmegaConf
from omegaconf.errors import OmegaConfBaseException

from harness.compare import report
from harness.compare.fairness import FACTORS
from harness.compare.filters import UsageError, expand, nearest
from harness.compare.select import ALLOWABLE


@dataclass
class Options:
    """The command line, as described at the top of this file."""

    runs: Any = MISSING
    baseline: str = "grpo"
    out: str | None = None
    factors: list[str] = field(default_factory=lambda: list(FACTORS))
    threshold: float | None = None
    alpha: float = 0.05
    where: list[str] = field(default_factory=list)
    allow: list[str] = field(default_factory=list)
    tuned: list[str] = field(default_factory=list)


def parse(arguments: Sequence[str]) -> Options:
    """key=value arguments -> Options; UsageError with the nearest names for anything else."""
    known = [entry.name for entry in fields(Options)]
    for argument in arguments:
        key, equals, _ = argument.partition("=")
        if not equals:
            raise UsageError(
                f"{argument!r} is not key=value; for instance runs=results/demo (--help explains)"
            )
        if key not in known:
            raise UsageError(f"no option {key!r}: {nearest(key, known)}")
    try:
        merged = OmegaConf.merge(OmegaConf.structured(Options), OmegaConf.from_cli(list(arguments)))
        if OmegaConf.is_missing(merged, "runs"):
            raise UsageError("which runs? give runs=results/<experiment> (--help explains)")
        options = OmegaConf.to_object(merged)
    except (OmegaConfBaseException, yaml.YAMLError) as error:
        raise UsageError(f"cannot read {shlex.join(arguments)}: {str(error).splitlines()[0]}") from error
    if isinstance(options.runs, str):
        options.runs = [options.runs]
    if not isinstance(options.runs, list) or not all(isinstance(one, str) and one for one in options.runs):
        raise UsageError(f"runs={options.runs!r}: expected a folder or a list of folders, [a,b]")
    if not options.runs:
        raise UsageError("runs=[] names no folder; for instance runs=results/demo")
    for kind in options.allow:
        if kind not in ALLOWABLE:
            raise UsageError(f"allow: no kind {kind!r}: {nearest(kind, ALLOWABLE)}")
    if not 1e-6 <= options.alpha < 1:
        raise UsageError(f"alpha={options.alpha:g}: expected a level between 0 and 1, such as 0.05")
    if options.threshold is not None and not 0 < options.threshold < 1:
        raise UsageError(
            f"threshold={options.threshold:g}: expected an accuracy between 0 and 1, such as 0.7"
        )
    return options


def main(arguments: Sequence[str] | None = None) -> int:
    arguments = sys.argv[1:] if arguments is None else arguments
    if not arguments or {"-h", "--help"} & set(arguments):
        print(__doc__)
        return 0 if arguments else 2
    try:
        options = parse(arguments)
        roots = expand(options.runs)
        if options.out is None and len(roots) > 1:
            raise UsageError(
                f"{len(roots)} folders of runs: say where to write, such as out=results/together"
            )
        shown = [argument for argument in arguments if not argument.startswith("out=")]
        question = report.Question(
            options.baseline,
            tuple(options.factors),
            options.threshold,
            options.alpha,
            f"python -m harness.compare {shlex.join(shown)}",
            tuple(options.where),
            tuple(options.allow),
            tuple(options.tuned),
        )
        found = report.write(roots, Path(options.out or roots[0]), question)
    except (UsageError, OSError) as error:
        print(f"harness.compare: {error}", file=sys.stderr)
        return 2
    for hole in found.holes:
        print(f"hole: {hole.label} seed {hole.seed}: {hole.why}. To do: {hole.todo}", file=sys.stderr)
    print(found.summary)
    out = found.files[0].parent
    pages = [path.name for path in found.files if path.parent == out]
    print(f"\nwritten to {out}: {', '.join(pages)}, tables/, figures/. Open {out / 'comparison.html'} in a browser.")
    return 0


if __name__ == "__main__":
    sys.exit(main())

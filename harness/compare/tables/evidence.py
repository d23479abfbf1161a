"""How much it takes to be sure: power, what a cell's spread is made of, tests by problem, the 2x2, what was tuned."""

from __future__ import annotations

from functools import reduce

import numpy as np
import pandas as pd

from harness.compare.interaction import TwoByTwos
from harness.compare.items import hierarchical_interval, mcnemar, permutation, variance_split
from harness.compare.power import detectable, sd_upper, seeds_needed
from harness.compare.read import ALL
from harness.compare.scores import AULC, END, Findings
from harness.compare.statistics import MIN_SEEDS, holm
from harness.compare.tables.table import NONE, Table, bracketed, percent, plain

MEASURES = {END: "end point", AULC: "AULC"}
POINTS = (1, 2, 5)  # differences whose price in seeds is told
SAID = {
    "gain_a": "gain of {a}", "gain_b": "gain of {b}", "gain_ab": "gain of both", "main_a": "main effect of {a}",
    "main_b": "main effect of {b}", "interaction": "interaction",
}  # fmt: skip
LEAST = 2  # seeds from which a standard deviation can be taken
MANY = 1000  # seeds beyond which the number says no more than "too many"


def power_table(found: Findings) -> Table:
    """From the paired differences at hand: what these seeds could resolve, and how many would resolve d points."""
    rows, numbers = [], []
    others = [
        label
        for label in found.labels[1:]
        if not found.differences[label] and len(paired_differences(found, label, END)) >= MIN_SEEDS
    ]
    level = found.alpha / max(1, len(others))  # Holm's first step, the strictest
    for label in others:
        for metric, name in MEASURES.items():
            gaps = paired_differences(found, label, metric)
            n = len(gaps)
            if not (sd := float(np.std(gaps, ddof=1))) > 0:
                continue
            upper = sd_upper(sd, n)
            least = detectable(n, sd, alpha=level)
            needed = [
                (seeds_needed(d / 100, sd, alpha=level), seeds_needed(d / 100, upper, alpha=level))
                for d in POINTS
            ]
            texts = (f"{_count(a)} (to {_count(b)})" for a, b in needed)
            rows.append((found.name(label), name, str(n), f"{100 * sd:.2f}", f"{100 * least:.1f}", *texts))
            numbers.append(
                (label, metric, n, sd, upper, least, *(count for pair in needed for count in pair))
            )
    columns = ["label", "metric", "n", "sd", "sd_upper", "detectable"]
    columns += [f"seeds_for_{d}{end}" for d in POINTS for end in ("", "_at_sd_upper")]
    head = (
        "method",
        "measure",
        "n",
        "SD of differences",
        "resolvable now",
        *(f"seeds for {d}" for d in POINTS),
    )
    note = (
        f"In points. Power 80 % of a paired t-test at the level {level:.3g}, the strictest step of Holm's correction "
        f"for {len(others)} comparison{'s' * (len(others) != 1)}. The standard deviation of a few seeds is a rough "
        "guide: in brackets the seeds needed at its upper 80 % limit."
    )
    frame = pd.DataFrame(numbers, columns=columns)
    return Table("power", "Power: how many seeds a difference takes", head, rows, frame, note)


def paired_differences(found: Findings, label: str, metric: str, domain: str = ALL) -> np.ndarray:
    """Method minus baseline, (n,) over the seeds that both have."""
    scores = found.scores[(found.scores["metric"] == metric) & (found.scores["domain"] == domain)]
    ours, theirs = (
        scores[scores["label"] == name].set_index("seed")["value"] for name in (label, found.baseline)
    )
    return (ours - theirs).dropna().sort_index().to_numpy()


def _count(seeds: int) -> str:
    return str(seeds) if seeds <= MANY else f">{MANY}"


def cells_table(found: Findings) -> Table:
    """Each method and domain by itself: an interval that covers seeds, problems and samples, and its spread's parts."""
    rows, numbers = [], []
    for label in found.labels:
        for domain in found.domains[1:]:
            correct, judged = counts(found, label, domain)
            if not correct.size:
                continue
            own = hierarchical_interval(correct, judged, found.alpha)
            head = (found.name(label), domain, str(len(correct)), str(correct.shape[1]))
            parts = [NONE] * 3
            split = (np.nan,) * 3
            if len(correct) >= LEAST and judged.max() >= LEAST:
                parted = variance_split(correct, judged)
                split = tuple(float(np.sqrt(v)) for v in (parted.total, parted.training, parted.evaluation))
                parts = [f"{100 * sd:.1f}" if np.isfinite(sd) else NONE for sd in split]
            rows.append((*head, bracketed(own.value, own.low, own.high), *parts))
            numbers.append((label, domain, *correct.shape, own.value, own.low, own.high, *split))
    columns = [
        "label",
        "domain",
        "seeds",
        "problems",
        "mean",
        "low",
        "high",
        "sd",
        "sd_training",
        "sd_evaluation",
    ]
    head = ("method", "domain", "seeds", "problems", f"end point % [{100 * (1 - found.alpha):g} %]")
    head += ("SD between seeds", "of it training", "of it evaluation sampling")
    note = (
        "Each cell by itself, not against the baseline: the interval is a bootstrap of seeds, then problems, "
        "then samples. It is about these test problems and not about others, "
        "and too narrow with few seeds. The standard deviation between seeds (points) is split into what sampling the "
        "evaluation anew would change, and the rest, which is the training seed's: only the first shrinks with more "
        "samples a problem. Seeds share their evaluation noise: its part is overstated where policies are alike."
    )
    return Table("cells", "Single cells", head, rows, pd.DataFrame(numbers, columns=columns), note)


def counts(found: Findings, label: str, domain: str, mode: str = "sampled") -> tuple[np.ndarray, np.ndarray]:
    """Right and judged completions (seeds, problems) on the test problems that all the method's finished runs have."""
    runs = (found.records.runs[label, seed] for seed in found.records.seeds(label))
    # a run that kept no completions has none to count
    pools = [run.items[domain, mode] for run in runs if not run.why and (domain, mode) in run.items]
    if not pools:
        return np.empty((0, 0)), np.empty((0, 0))
    shared = reduce(np.intersect1d, [own.problems for own in pools])
    places = [np.searchsorted(own.problems, shared) for own in pools]
    correct, n = (
        np.stack([getattr(own, name)[place] for own, place in zip(pools, places, strict=True)])
        for name in ("correct", "n")
    )
    judged = n.sum(axis=1) > 0  # a seed of which no completion could be judged has no accuracy
    return correct[judged], n[judged]


def paired_items(found: Findings, label: str, seed: int, mode: str) -> dict[str, np.ndarray]:
    """Problems that both the method's and the baseline's run of a seed were judged on: domain, problem, and the shares
    of right completions, ours and theirs.
    """
    ours, theirs = (found.records.runs[name, seed].items for name in (label, found.baseline))
    parts = []
    for key in sorted(key for key in ours.keys() & theirs.keys() if key[1] == mode):
        a, b = ours[key], theirs[key]
        shared, i, j = np.intersect1d(a.problems, b.problems, assume_unique=True, return_indices=True)
        both = (a.n[i] > 0) & (b.n[j] > 0)
        shared, i, j = shared[both], i[both], j[both]
        parts.append((np.full(len(shared), key[0], dtype=object), shared, a.correct[i] / a.n[i], b.correct[j] / b.n[j]))
    columns = zip(*parts, strict=True) if parts else [[np.empty(0)]] * 4
    return dict(zip(("domain", "problem", "ours", "theirs"), map(np.concatenate, columns), strict=True))


def items_table(found: Findings) -> Table:
    """Tests by problem against the baseline: McNemar on greedy answers seed by seed, a permutation test on avg@k."""
    pairs, overall = [], []
    for label in found.labels:
        if label == found.baseline or found.differences[label]:
            continue
        shared = sorted(set(found.records.seeds(label)) & set(found.records.seeds(found.baseline)))
        sampled = []
        for seed in shared:
            greedy = paired_items(found, label, seed, "greedy")
            if len(greedy["ours"]):
                own = mcnemar(greedy["ours"], greedy["theirs"])
                pairs.append((label, seed, own.b, own.c, own.p))
            rest = paired_items(found, label, seed, "sampled")
            if len(rest["ours"]):
                sampled.append((rest["domain"], rest["problem"], rest["ours"] - rest["theirs"]))
        if sampled:
            columns = zip(("domain", "problem", "gap"), map(np.concatenate, zip(*sampled, strict=True)), strict=True)
            problems = pd.DataFrame(dict(columns)).groupby(["domain", "problem"])["gap"].mean()
            size = problems.groupby("domain").transform("size")
            weights = (1 / (size * problems.index.get_level_values("domain").nunique())).to_numpy()
            gaps = problems.to_numpy()
            overall.append((label, len(sampled), len(gaps), float(gaps @ weights), permutation(gaps, weights)))
    tests = pd.DataFrame(pairs, columns=["label", "seed", "won", "lost", "p"])
    tests["p_holm"] = holm(tests["p"]) if len(tests) else []
    means = pd.DataFrame(overall, columns=["label", "seeds", "problems", "diff", "p"])
    means["p_holm"] = holm(means["p"]) if len(means) else []
    rows = []
    for row in means.to_dict("records"):
        own = tests[tests["label"] == row["label"]]
        clear = own[own["p_holm"] < found.alpha]
        greedy = [NONE, NONE]
        if len(own):
            more, fewer = (clear["won"] > clear["lost"]).sum(), (clear["won"] < clear["lost"]).sum()
            greedy = [f"{own['won'].mean():.1f} / {own['lost'].mean():.1f}"]
            greedy += [f"{more} better, {fewer} worse, of {len(own)}"]
        head = (found.name(row["label"]), str(row["seeds"]), str(row["problems"]), *greedy)
        rows.append((*head, f"{100 * row['diff']:+.1f}", plain(row["p"]), plain(row["p_holm"])))
    head = ("method", "seeds", "problems", "greedy: won / lost a seed", "resolved seeds (McNemar)")
    head += ("avg@k difference", "permutation p", "Holm p")
    note = (
        "By problem: whether the policies that these seeds made differ on more problems than chance would have it. "
        "That is about these policies, not about the method on a new seed: no verdict. McNemar's exact test compares "
        "greedy answers seed by seed; the permutation test swaps the signs of the problems' differences in avg@k, mean "
        "over seeds, domains counting alike."
    )
    numbers = pd.concat(
        [tests.assign(test="mcnemar"), means.assign(test="permutation")], ignore_index=True
    ).reindex(columns=["test", "label", "seed", "seeds", "problems", "won", "lost", "diff", "p", "p_holm"])
    return Table("items", "By problem", head, rows, numbers, note)


def factors_table(result: TwoByTwos) -> Table:
    """The 2x2s over all domains: single gains, main effects, interaction, verdict."""
    rows = []
    own = result.rows[result.rows["domain"] == ALL]
    for (a, b, metric), cells in own.groupby(["a", "b", "metric"], sort=False):
        for cell in cells.to_dict("records"):
            what = SAID[cell["contrast"]].format(a=a, b=b)
            last = cell["verdict"] if cell["contrast"] == "interaction" else NONE
            gap = bracketed(cell["mean"], cell["low"], cell["high"], signed=True)
            p = plain(cell["p_holm"])
            rows.append((f"{a} × {b}", MEASURES[metric], str(cell["n"]), what, gap, p, last))
    head = ("2×2", "measure", "n", "contrast", "points [interval]", "Holm p", "verdict")
    note = (
        f"Base: {' with '.join(result.base)}. Gains are cell minus base, main effects the mean of a change's two "
        "gains, the interaction (both − first) − (second − base); per seed, then Student's t. Additive, redundant, "
        "synergistic and antagonistic are defined in docs/statistics.md."
    )
    return Table("factors", "The 2×2", head, rows, result.rows, note)


def tuning_table(found: Findings) -> Table:
    """Every value of the tuned keys that was tried, which was chosen, and whether the best may lie beyond the grid."""
    frame = found.records.tuning
    keys = [name for name in frame.columns if name not in ("cell", "validation", "n", "chosen")]

    def chosen(row: dict) -> str:
        if not row["chosen"]:
            return NONE
        edges = [
            key
            for key in keys
            if len(set(frame[key])) > 2 and row[key] in (frame[key].min(), frame[key].max())
        ]
        return f"chosen, at the edge of {', '.join(edges)}" if edges else "chosen"

    rows = [
        (
            row["cell"],
            *(str(row[key]) for key in keys),
            percent(row["validation"]),
            str(row["n"]),
            chosen(row),
        )
        for row in frame.to_dict("records")
    ]
    head = ("method", *keys, "validation %", "n", "chosen")
    note = (
        "Chosen by the mean validation accuracy after the last step, also for the area under the curve. Where the edge "
        "of the grid was chosen, a value beyond it may be better still: the method may be under-tuned."
    )
    return Table("tuning", "What was tuned", head, rows, frame, note)

"""Credit fidelity: how well a method's credit C_t tells what each token was worth, Δ_t, on the same completions.

Between and within completions apart. Σ_t Δ_t = R − V(s_0), so credit that is the same on every token of a completion
already agrees with Δ *between* completions; what a token method adds shows *within* them. With means over a completion
marked by a bar, both parts of every sum over tokens stand for themselves:

    Σ C·Δ = Σ (C − C̄)(Δ − Δ̄)  +  Σ C̄·Δ̄          (within + between)

Δ is known with noise. Halves a and b of the continuations have independent noise, so ⟨Δ^a, Δ^b⟩ is an unbiased square
of the true length, and

    cosine = ⟨C, Δ̂⟩ / (|C| · √⟨Δ^a, Δ^b⟩)

is 1 for the true credit up to its noise, however few the continuations (and may exceed 1 by that noise).

Measures (`MEASURES`), each with a jackknife interval over prompts or seeds (`harness.diagnose.jackknife`):

cosine_within, cosine_between  as above; 0 for credit without any such part
cosine_right, cosine_wrong     cosine_within over right and over wrong completions alone: weights that raise the same
                  tokens whatever the outcome agree with Δ in one kind and oppose it in the other
spearman_within   mean over completions of the rank correlation of C and Δ̂, divided by the root of the reliability of
                  Δ̂'s ranks (Spearman-Brown from both halves): where many tokens are worth the same, as a rule, even
                  the true credit stays below 1; credit that is the same on all tokens ranks nothing, 0
auc_decisive      chance that |C| of a decisive token exceeds that of another token of its completion, ties half;
                  decisive: |Δ̂| in the top tenth of all tokens by each half alone, but `LEAST` at least, and of one
                  sign in both (|Δ_t| ≤ 1 − π(o_t) for rewards in [0, 1], and unlikely tokens have the noisier Δ̂: with
                  a low bound everything unlikely would count, and surprisal would find it by definition)
auc_planted       the same for the tokens that the suite marks: misconceptions and slips
sign_decisive     share of decisive tokens with the sign of Δ, credit 0 counting half
sign_planted      the same for marked tokens and the sign of their mark
share_decisive, share_planted  their part of Σ|C|
effective_tokens  (Σ|C|)² / (T·Σ C²), mean over completions with credit: 1 is all tokens alike, 1/T a single one
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from scipy.stats import rankdata

from harness.diagnose.jackknife import Estimate, of_sums

TOP = 0.1  # share of tokens with the largest |Δ̂|, among which the decisive ones are
LEAST = 0.25  # |Δ̂| of a decisive token at least: often more than nine tenths of all tokens change nothing
MEASURES = (
    "cosine_within", "cosine_right", "cosine_wrong", "cosine_between", "spearman_within", "auc_decisive", "auc_planted",
    "sign_decisive",
    "sign_planted", "share_decisive", "share_planted", "effective_tokens",
)  # fmt: skip
SUMS = (
    "cd_within", "cc_within", "dd_within", "cd_between", "cc_between", "dd_between", "ranks", "reliability", "ranked",
    "auc_decisive", "pairs_decisive", "auc_planted", "pairs_planted", "sign_decisive", "count_decisive", "sign_planted",
    "count_planted", "mass_decisive", "mass_planted", "mass", "effective", "credited", "cd_right", "cc_right",
    "dd_right", "cd_wrong", "cc_wrong", "dd_wrong",
)  # fmt: skip


@dataclass(frozen=True)
class Scored:
    """One completion of T tokens: deltas (2, T) Δ̂ by half; marks (T,) of the suite, +1, −1 or 0; is it right?"""

    deltas: np.ndarray
    marks: np.ndarray
    right: bool


def thresholds(prompts: Sequence[Sequence[Scored]]) -> np.ndarray:
    """(2,) by half: |Δ̂| from which a token may be decisive."""
    every = np.concatenate([np.abs(own.deltas) for group in prompts for own in group], axis=1)
    return np.maximum(np.quantile(every, 1 - TOP, axis=1), LEAST)


def decisive(own: Scored, least: np.ndarray) -> np.ndarray:
    """(T,) bool."""
    a, b = own.deltas
    return (np.abs(own.deltas) >= least[:, None]).all(axis=0) & (a * b > 0)


def prompt_sums(
    prompts: Sequence[Sequence[Scored]], credit: Sequence[Sequence[np.ndarray]]
) -> np.ndarray:
    """(prompts, len(SUMS)) of the prompts of one seed. credit: of the same prompts and completions, (T,) each."""
    least = thresholds(prompts)
    pairs = [zip(group, given, strict=True) for group, given in zip(prompts, credit, strict=True)]
    none = np.zeros(len(SUMS))  # of a prompt without a completion that could be judged
    return np.array([sum((_sums(own, np.asarray(c, float), least) for own, c in pair), none) for pair in pairs])


def fidelity(sums: np.ndarray, units: np.ndarray) -> Estimate:
    """MEASURES of sums (n, len(SUMS)) of prompts; units (n,): prompts, or the seeds that they belong to."""
    return of_sums(MEASURES, measures, sums, units)


def measures(sums: np.ndarray) -> np.ndarray:
    """(…, len(SUMS)) added over prompts -> (…, len(MEASURES))."""
    s = dict(zip(SUMS, np.moveaxis(np.asarray(sums, dtype=np.float64), -1, 0), strict=True))
    with np.errstate(divide="ignore", invalid="ignore"):
        reliability = s["reliability"] / s["ranked"]
        attenuation = np.sqrt(np.where(reliability > 0, 2 * reliability / (1 + reliability), np.nan))
        found = (
            _cosine(s["cd_within"], s["cc_within"], s["dd_within"]),
            _cosine(s["cd_right"], s["cc_right"], s["dd_right"]),
            _cosine(s["cd_wrong"], s["cc_wrong"], s["dd_wrong"]),
            _cosine(s["cd_between"], s["cc_between"], s["dd_between"]),
            s["ranks"] / s["ranked"] / attenuation,
            s["auc_decisive"] / s["pairs_decisive"],
            s["auc_planted"] / s["pairs_planted"],
            s["sign_decisive"] / s["count_decisive"],
            s["sign_planted"] / s["count_planted"],
            s["mass_decisive"] / s["mass"],
            s["mass_planted"] / s["mass"],
            s["effective"] / s["credited"],
        )
    return np.stack(found, axis=-1)


def _cosine(product: np.ndarray, credit: np.ndarray, truth: np.ndarray) -> np.ndarray:
    length = np.sqrt(np.where(truth > 0, truth, np.nan))  # noise may make the unbiased square negative: no length
    return np.where(credit > 0, product / (np.sqrt(credit) * length), np.where(truth > 0, 0.0, np.nan))


def _sums(own: Scored, c: np.ndarray, least: np.ndarray) -> np.ndarray:
    a, b = own.deltas
    tokens, delta = len(c), (a + b) / 2
    if own.deltas.shape != (2, tokens) or own.marks.shape != (tokens,):
        raise ValueError(f"{tokens} tokens with credit, deltas {own.deltas.shape}, marks {own.marks.shape}")
    mean = c.mean()
    if np.ptp(c) <= 1e-12 * np.abs(c).max():  # rounding must not look like a difference
        c = np.full(tokens, mean)
    inner, size = c - mean, np.abs(c)
    within = [inner @ delta, inner @ inner, (a - a.mean()) @ (b - b.mean())]
    between = [tokens * mean * delta.mean(), tokens * mean**2, tokens * a.mean() * b.mean()]
    ranks = [0.0, 0.0, 0.0]
    if tokens > 2 and np.ptp(delta) > 0:
        ranks = [_spearman(c, delta), _spearman(a, b), 1.0]
    chosen = decisive(own, least)
    planted = own.marks != 0
    mass = [size[chosen].sum(), size[planted].sum(), size.sum()]
    effective = [size.sum() ** 2 / (tokens * (size @ size)), 1.0] if size.any() else [0.0, 0.0]
    found = [_concordant(size, chosen), _concordant(size, planted)]
    found += [_agreement(c[chosen], a[chosen]), _agreement(c[planted], own.marks[planted])]
    by_outcome = [*within, 0.0, 0.0, 0.0] if own.right else [0.0, 0.0, 0.0, *within]
    return np.array([*within, *between, *ranks, *(x for pair in found for x in pair), *mass, *effective, *by_outcome])


def _spearman(x: np.ndarray, y: np.ndarray) -> float:
    """Rank correlation with ties; 0 where one of them is constant."""
    x, y = rankdata(x) - (len(x) + 1) / 2, rankdata(y) - (len(y) + 1) / 2
    lengths = np.sqrt((x @ x) * (y @ y))
    return float(x @ y / lengths) if lengths > 0 else 0.0


def _concordant(score: np.ndarray, chosen: np.ndarray) -> tuple[float, int]:
    """Pairs of a chosen and another token that the score puts in order, ties half, and all such pairs."""
    gaps = score[chosen][:, None] - score[~chosen][None, :]
    return float((gaps > 0).sum() + (gaps == 0).sum() / 2), gaps.size


def _agreement(ours: np.ndarray, theirs: np.ndarray) -> tuple[float, int]:
    """Equal signs, ours 0 counting half, and how many there are; theirs is never 0."""
    ours, theirs = np.sign(ours), np.sign(theirs)
    return float((ours == theirs).sum() + (ours == 0).sum() / 2), len(theirs)

"""What the words of the page mean."""

from __future__ import annotations

from collections.abc import Sequence

from harness.compare.statistics import MIN_SEEDS

WORDS = """\
- **End point**: accuracy on the test problems after the last step, sampled at the evaluation temperature,
  averaged over several samples a problem. **Greedy**: the same with the most probable token each time.
  `all` is the unweighted mean over domains.
- **n**: training seeds. The seed is what is repeated; problems and samples within one run are not
  repetitions.
- **[{level}]**: Student's t interval of the mean over seeds. A **difference** is method minus baseline,
  paired by seed: the interval is that of the mean of the differences, in percentage points, uncorrected.
- **Verdict**: better or worse only if the paired t-test's p-value, Holm-corrected over the methods
  compared with the baseline in that measure (`all` by itself, single domains together), is below
  {alpha}; otherwise **not resolved**, which does not mean equal. With fewer than {n} pairs of seeds it
  is always not resolved. So an interval may exclude 0 and the verdict still be not resolved: the
  correction for many comparisons is the difference. If all differences are equal there is no spread to
  estimate: the interval is that one point, and p is 1 for differences of 0, otherwise the sign test's 2
  · 2^-n.
- **AULC**: area under the learning curve (curve problems, against steps) divided by its length: mean
  accuracy over training. It tells fast learners from slow ones that end alike.
- **Tokens to threshold**: generated training tokens at which the learning curve first reaches {goal}, by
  linear interpolation; the median over seeds, a seed that never gets there counting as infinite.
- **Gain over best base**: end point minus the best the untrained policy can do on the same problems:
  sampled, greedy, or at the temperature that was best on validation problems. A gain that a lower
  temperature gives is not learning.
- **Not compared**: the configurations differ outside the declared factors ({factors}), so a difference
  could not be put down to the method.
- **Positive control**: oracle credit knows the decisive tokens. If even that does not beat the baseline,
  the suite cannot rank credit methods."""


def words(alpha: float, threshold: float | None, factors: Sequence[str]) -> str:
    """The definitions as a Markdown list, with the level, threshold and factors of this comparison."""
    halfway = (
        "halfway between the base policy (sampled) and the baseline's mean final accuracy, in each domain"
    )
    return WORDS.format(
        level=f"{100 * (1 - alpha):g} %",
        alpha=f"{alpha:g}",
        n=MIN_SEEDS,
        goal=halfway if threshold is None else f"{100 * threshold:g} %, as asked for",
        factors=", ".join(factors),
    )

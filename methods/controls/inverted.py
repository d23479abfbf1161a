"""Control: the tokens that a weighting favours get least."""

from dataclasses import dataclass

from methods.controls.rows import Batch, redistributed
from methods.credit import Credit


@dataclass(frozen=True)
class Inverted:
    """C′_it ∝ max_t C_it + min_t C_it − C_it, scaled to the completion's total;  2·C̄_i − C_it in mixed rows

    The first in a completion whose credits have one sign (or 0), which it keeps; the second, mirrored about the
    completion's mean C̄_i, where an additive weighting left both signs: it keeps the total as it stands.
    A row of equal credits is unchanged. Metric: control_moved, the share of credit that changed place.
    """

    def __call__(self, batch: Batch, credit: Credit) -> Credit:
        def rule(C, row, tokens):
            if C.amin() < 0 < C.amax():
                return 2 * C.mean() - C
            mirrored = C.amax() + C.amin() - C
            # of one sign and not all 0, so the mirrored sum is none either
            return mirrored * (C.sum() / mirrored.sum())

        return redistributed(batch, credit, rule)

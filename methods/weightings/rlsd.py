"""RLSD: the policy, shown the answer, says which tokens its own completion owes the outcome to."""

from dataclasses import dataclass
from typing import ClassVar

from methods.batch import RolloutBatch
from methods.credit import Credit
from methods.weightings.privileged import Privileged


@dataclass(frozen=True)
class Rlsd(Privileged):
    """RLSD (arXiv:2604.03128, read second-hand):  C_t = A_t·[(1 − λ) + λ·clip(w_t, 1 − ε_w, 1 + ε_w)]

        w_t = e^{sign(A_t)·Δ_t},   Δ_t = log π_old(y_t | x, r, y_<t) − log π_old(y_t | x, y_<t)

    Praise goes to tokens that the answer r makes likelier, blame to those it makes less likely; no sign changes.

    template    the prompt that shows r: ``{prompt}`` and ``{answer}`` are filled in; replaces the row's prompt
    separator   r is what follows its last occurrence in the reference, all of a reference without it; empty: all
    mix         λ in [0, 1], constant here: in the paper it falls to 0 over the first 50 steps
    clip        ε_w in (0, 1]

    The teacher is the policy as it sampled; the paper's copy is up to 10 steps old. One more pass over rows
    with credit. Rows without a reference, and tokens that r leaves as likely, keep their credit.
    Metrics: rlsd_weight_mean over the tokens of rows shown r; rlsd_clipped_share of them; rlsd_shown_rows, the
    share of rows with credit that have a reference.
    """

    name: ClassVar[str] = "rlsd"
    needs: ClassVar[frozenset[str]] = frozenset({"prompts", "references", "score", "logps"})

    def __call__(self, batch: RolloutBatch, credit: Credit) -> Credit:
        weighted = self.weighted(batch, credit, wrong={})
        return Credit(weighted.values, {k: v for k, v in weighted.metrics.items() if "contrasted" not in k})

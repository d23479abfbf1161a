"""CEPO: tokens that the right answer favours while a wrong one disfavours them."""

import math
from dataclasses import dataclass
from typing import ClassVar

from methods.answers import last_answer
from methods.batch import RolloutBatch
from methods.credit import Credit
from methods.draws import row_uniforms
from methods.weightings.privileged import Privileged


@dataclass(frozen=True)
class Cepo(Privileged):
    """CEPO (arXiv:2605.19436):  C_t = A_t·[(1 − λ) + λ·clip(w_t, 1 − ε_w, 1 + ε_w)]

        w_t = e^{sign(A_t)·Δ_t},   Δ_t = log π_old(y_t | x, r⁺, y_<t) − log π_old(y_t | x, r⁻, y_<t)

    r⁺ is the reference, r⁻ the answer of the worst rejected completion of the group, as in the authors' code;
    among equals one is drawn, keyed by the group's tokens, where the code takes the first.

    template        the prompt that shows r: ``{prompt}`` and ``{answer}`` are filled in; replaces the row's prompt
    separator       r is what follows its last occurrence, all of a reference without it; empty: all. A completion
                    without an answer cannot be r⁻ (the code shows its first 50 characters)
    mix             λ in [0, 1], constant here: in the code it falls to 0 over the first 25 steps
    clip            ε_w in (0, 1]
    rejected_below  rewards under it make a completion rejected

    A group that rejects none is compared with log π_old(y_t | x, y_<t), which is RLSD, as the authors say (their
    code gives w = 1). Two more passes over rows with credit. Rows without a reference keep their credit.
    Metrics: cepo_weight_mean over the tokens of rows shown r⁺; cepo_clipped_share of them; cepo_shown_rows, the
    share of rows with credit that have a reference; cepo_contrasted_rows, the share of those with an r⁻.
    """

    clip: float = 0.5
    rejected_below: float = 0.5

    name: ClassVar[str] = "cepo"
    needs: ClassVar[frozenset[str]] = frozenset({"prompts", "references", "completions", "score", "logps"})
    absolute: ClassVar[str] = "a completion is rejected below rejected_below"

    def __post_init__(self) -> None:
        super().__post_init__()
        if not math.isfinite(self.rejected_below):
            raise ValueError(f"Cepo.rejected_below must be finite, got {self.rejected_below}")

    def __call__(self, batch: RolloutBatch, credit: Credit) -> Credit:
        size, worst = batch.group_size, self.worst_answers(batch)
        wrong = {i: worst[i // size] for i in range(len(batch.mask)) if i // size in worst}
        return self.weighted(batch, credit, wrong)

    def worst_answers(self, batch: RolloutBatch) -> dict[int, str]:
        """r⁻ by group, of those that have one."""
        draws, found = row_uniforms(batch, "cepo").tolist(), {}
        for i, (reward, text) in enumerate(zip(batch.rewards.tolist(), batch.completions, strict=True)):
            if reward < self.rejected_below and (answer := last_answer(text, self.separator)):
                group, candidate = i // batch.group_size, (reward, draws[i], answer)
                found[group] = min(found.get(group, candidate), candidate)
        return {group: answer for group, (_, _, answer) in found.items()}

"""VinePPO's advantage: a state is worth what completions sampled on from it earn."""

from dataclasses import dataclass
from itertools import pairwise
from math import isnan
from typing import ClassVar

import torch

from methods.advantages.steps import states, step_ends
from methods.advantages.whitening import whiten_
from methods.batch import RolloutBatch
from methods.credit import Credit
from methods.options import check_options


@dataclass(frozen=True)
class Vine:
    """VinePPO (arXiv:2410.01679), as in the authors' code; s_k is the state before step k of a completion

        A_k = r_k + V̂(s_{k+1}) − V̂(s_k) on every token of step k,   V̂(s) = mean reward of continuations of s

    r is R on the last step and 0 before; V̂ after the last step is 0.

    rollouts   continuations of a state
    separator  a step ends with the token in which this text ends; several in a row are one, at the start none
    max_steps  ends of steps valued in a completion; V̂ of later states is R, so the step after the last valued state
               carries all that remains and the rest 0; 0: no bound
    whiten     (A − Ā)/sqrt(Var A + 1e-8) over the batch's tokens (the authors: over those of a micro-batch)

    Scope: the rollout batch. Equal beginnings within a group, the prompt first of all, are one state, continued once.
    Continuations without a verdict (NaN) have no vote; a state without any vote is passed over, the steps before and
    after it count as one, and if it is the prompt, the step after it gets 0 (before whitening). Unscorable rows get 0.
    Metrics: vine_states continued, vine_unvalued without a vote; vine_steps of a completion; vine_value of the prompts.
    """

    needs: ClassVar[frozenset[str]] = frozenset({"continuations", "token_texts"})
    scope: ClassVar[str] = "batch"
    degenerate: ClassVar[str] = "the states within differ in value"
    absolute: ClassVar[str] = "continuations have rewards of their own"

    rollouts: int = 9
    separator: str = ";"
    max_steps: int = 0
    whiten: bool = True

    def __post_init__(self) -> None:
        check_options(self)
        if self.rollouts < 1 or self.max_steps < 0 or not self.separator:
            raise ValueError(f"Vine: needs rollouts >= 1, max_steps >= 0 and a separator, got {self}")

    def __call__(self, batch: RolloutBatch) -> Credit:
        mask = batch.mask & batch.valid[:, None]
        rows = mask.any(1).nonzero()[:, 0].tolist()
        ends = {row: step_ends(batch, row, self.separator) for row in rows}
        bound = self.max_steps + 1 if self.max_steps else None
        named = {row: list(states(batch, row, ends[row][:-1][:bound])) for row in rows}
        places = {name: (row, length) for row in rows for name, length in named[row]}
        value = {}
        if places:
            rewards = batch.continuations(*zip(*places.values(), strict=True), self.rollouts)
            value = dict(zip(places, rewards.nanmean(1).tolist(), strict=True))
        advantages, state_values = (mask.new_full(mask.shape, x, dtype=torch.float64) for x in (0.0, torch.nan))
        for row in rows:
            v = dict.fromkeys(ends[row], batch.rewards[row].item())  # R + 0 at the end, R where not valued
            for name, length in named[row]:
                v[length] = state_values[row, length] = value[name]
            for start, end in pairwise(length for length in v if not isnan(v[length])):
                advantages[row, start:end] = v[end] - v[start]
        advantages.masked_fill_(~mask, 0.0)
        if self.whiten:
            whiten_(advantages, mask)
        prompts = advantages.new_tensor([value[name] for name, (_, length) in places.items() if length == 0])
        metrics = {
            "vine_states": len(value),
            "vine_unvalued": sum(map(isnan, value.values())),
            "vine_steps": sum(len(e) - 1 for e in ends.values()) / max(len(rows), 1),
            "vine_value": prompts.nanmean().nan_to_num().item(),
        }
        return Credit(advantages, metrics, state_values)

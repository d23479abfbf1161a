"""PPO's advantage: generalised advantage estimation over a learned critic."""

from dataclasses import dataclass, field
from typing import ClassVar

import torch

from methods.advantages.generalised import generalised_advantages
from methods.advantages.learnt import Learning
from methods.advantages.token_blocks import runs
from methods.advantages.value_head import ValueHead
from methods.advantages.whitening import moments, whiten_
from methods.batch import RolloutBatch
from methods.credit import Credit
from methods.options import check_options


@dataclass(eq=False)
class Gae(Learning):
    """PPO's critic (arXiv:1707.06347) with GAE (arXiv:1506.02438); s_t: the state before token t is drawn

        δ_t = r_t + γ·V(s_{t+1}) − V(s_t),   A_t = Σ_l (γλ)^l·δ_{t+l},   G_t = A_t + V(s_t)

    r is the reward on the last token and 0 before, V after it 0. A takes V as it stood before the batch; then V, 0 at
    first, is fitted to G: a linear head on the policy's own LM-head inputs (see ValueHead), not PPO's second model.

    lam, gamma             λ, γ; λ = γ = 1: A_t = R − V(s_t)
    whiten                 (A − Ā)/sqrt(Var A + 1e-8) over the batch's tokens, as TRL's PPO and verl
    epochs, minibatches    of the fit: passes, and Adam steps in each (prompts dealt out in turn); learning_rate: Adam's
    value_clip             of the value loss, as in PPO's code; 0: none

    Scope: the rollout batch. Tokens outside the mask are no steps; unscorable rows get 0 and teach nothing.
    Metrics, before the fit: value_loss, mean ½·(V − G)²; explained_variance, 1 − Var(G − V)/Var(G), 0 of equal G.
    """

    needs: ClassVar[frozenset[str]] = frozenset({"hidden"})
    scope: ClassVar[str] = "batch"
    degenerate: ClassVar[str] = "what V expects otherwise, and with λ < 1 its changes"
    absolute: ClassVar[str] = "V is learnt in units of reward, from 0"

    lam: float = 0.95
    gamma: float = 1.0
    whiten: bool = True
    epochs: int = 4
    minibatches: int = 4
    learning_rate: float = 1e-2
    value_clip: float = 0.2
    learner: ValueHead = field(init=False, repr=False, default=None)

    def __post_init__(self) -> None:
        check_options(self)
        if not (0 <= self.lam <= 1 and 0 <= self.gamma <= 1):
            raise ValueError(f"Gae: lam and gamma must lie between 0 and 1, got {self}")
        if not (self.epochs > 0 and self.minibatches > 0 and self.learning_rate > 0 and self.value_clip >= 0):
            raise ValueError(f"Gae: only value_clip of the fit's options may be 0, none negative, got {self}")
        self.learner = ValueHead(self.learning_rate)

    def __call__(self, batch: RolloutBatch) -> Credit:
        mask, hidden = batch.mask & batch.valid[:, None], batch.hidden
        places = runs(mask)
        if not places:
            return Credit(mask.double(), {"value_loss": 0.0, "explained_variance": 0.0})
        self.learner.begin(hidden, places)
        values = self.learner.values(hidden, places)
        A = generalised_advantages(batch.rewards, values, mask, self.gamma, self.lam)
        G = A + values
        (n, mean, variance), (_, _, spread) = moments(A, mask), moments(G, mask)
        explained = 1 - variance / spread if spread > 0 else 0.0

        parts = [[] for _ in range(self.minibatches)]
        for place in places:
            parts[place[0] // batch.group_size % self.minibatches].append(place)
        for part in filter(None, parts * self.epochs):
            self.learner.step(hidden, part, G, values, self.value_clip)
        if self.whiten:
            whiten_(A, mask)
        loss = 0.5 * (mean**2 + variance * (n - 1) / n)
        values = values.masked_fill_(~mask, torch.nan)
        return Credit(A, {"value_loss": loss, "explained_variance": explained}, values)

"""PRIME's advantage: process rewards of an implicit reward model that learns along with the policy."""

from dataclasses import dataclass, field
from typing import ClassVar, Literal

import torch

from methods.advantages.implicit_reward import ImplicitReward
from methods.advantages.learnt import Learning
from methods.advantages.process_rewards import largest_to_go, left_one_out, pair_accuracy, returns_
from methods.advantages.whitening import whiten_
from methods.batch import RolloutBatch
from methods.credit import Credit
from methods.options import check_options


@dataclass(eq=False)
class ImplicitPrm(Learning):
    """PRIME (arXiv:2502.01456), as in the authors' code;  q_t = log π_φ(o_t) − log π_ref(o_t), φ starting as π_ref

        r_t = q_t / (max |Σ_{s≥t} q_s| + floor), the maximum over the batch
        A_t = c_p·Σ_{s≥t} (n·r_s − Σ_j r̄_j)/(n − 1) + c_o·(n·R − Σ_j R_j)/(n − 1)

    over the n scorable completions j of the group, r̄_j the mean of r over the tokens of j (r_s − Σ_{j≠i} r̄_j/(n − 1) in
    the paper's text). Once a batch φ takes a step of AdamW on the cross-entropy of σ(β·Σ_t q_t) with correctness.

    beta, learning_rate, grad_clip  β; AdamW's; the largest norm of its gradient
    update                      after: q of φ as it stood before its step · before: of the updated φ, one more pass
    process_coef, outcome_coef  c_p, c_o; with whiten, (A − Ā)/sqrt(Var A + 1e-8) over the batch, their ratio counts
    norm, norm_floor            batch: r as above · none: r_t = β·q_t; the floor, in nats, keeps rounding errors small
    correct_reward, pass_rows   least reward of a correct completion; completions in one pass of φ, for memory

    Scope: the rollout batch. Unscorable rows get 0, have no vote and do not train φ; groups of n < 2 get 0 before
    whitening. Metrics, of φ before its step: prm_loss; prm_accuracy, the share of pairs of a right and a wrong
    completion of a group that Σ_t q_t puts in order, a tie counting half; ½ without a pair.
    """

    needs: ClassVar[frozenset[str]] = frozenset({"auxiliary", "ref_logps"})
    scope: ClassVar[str] = "batch"
    degenerate: ClassVar[str] = "their process rewards, left one out"
    absolute: ClassVar[str] = "correct is a reward of at least correct_reward"

    beta: float = 0.05
    update: Literal["after", "before"] = "after"
    learning_rate: float = 3e-4
    grad_clip: float = 10.0
    process_coef: float = 5.0
    outcome_coef: float = 5.0
    norm: Literal["batch", "none"] = "batch"
    norm_floor: float = 1e-3
    whiten: bool = True
    correct_reward: float = 1.0
    pass_rows: int = 8
    learner: ImplicitReward = field(init=False, repr=False, default=None)

    def __post_init__(self) -> None:
        check_options(self)
        positive = (self.beta, self.learning_rate, self.grad_clip, self.norm_floor, self.pass_rows)
        if not (all(x > 0 for x in positive) and self.process_coef >= 0 and self.outcome_coef >= 0):
            raise ValueError(f"ImplicitPrm: only the coefficients may be 0, no number negative, got {self}")
        self.learner = ImplicitReward(self.beta, self.learning_rate, self.grad_clip, self.pass_rows)

    def __call__(self, batch: RolloutBatch) -> Credit:
        auxiliary, inside = batch.auxiliary(), batch.mask & batch.valid[:, None]
        votes, correct = inside.any(1), batch.rewards >= self.correct_reward
        rows = votes.nonzero()[:, 0].tolist()
        q, loss = self.learner.step(auxiliary, batch, rows, correct.double())
        accuracy = pair_accuracy(*map(batch.grouped, (q.sum(1), votes & correct, votes & ~correct)))
        if self.update == "before":
            self.learner.rescore_(q, auxiliary, batch, rows)

        expected = torch.sigmoid(self.beta * (q.cumsum(1) - q)).masked_fill_(~inside, torch.nan)  # R, by o_<t
        largest = largest_to_go(q, batch.group_size)
        scale = 1 / (largest + self.norm_floor) if self.norm == "batch" else self.beta
        q *= self.process_coef * scale
        outcomes = self.outcome_coef * left_one_out(batch.rewards, batch.valid, batch.group_size)
        returns_(q, inside, outcomes, batch.group_size)  # in place: at 1024 × 2048 tokens a map is 16 MB
        if self.whiten:
            whiten_(q, inside)
        return Credit(q, {"prm_loss": loss, "prm_accuracy": accuracy}, expected)

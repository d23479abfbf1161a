"""RLPR: the likelihood that reasoning gives to the reference answer, in place of a verifier."""

from dataclasses import dataclass
from typing import ClassVar

import torch

from methods.answers import worked_answers
from methods.batch import RolloutBatch
from methods.options import check_options
from methods.work import ScoreRequest


@dataclass(frozen=True)
class Rlpr:
    """RLPR (arXiv:2506.18254):  R = (1 − f)·max(0, p̄(y* | x, z) − p̄(y* | x)) + f·format

    p̄ is the mean of π_old over the tokens of the reference answer y*, z the completion up to its answer; the
    answer itself is not read. Of several answers each follows its own reasoning, with y* in place of those before.

    separator      an answer follows its last occurrence ...
    until          ... in each stretch that this text ends, so that a text may hold several; empty: in the text
    format_weight  f in [0, 1]

    format is 1 if the completion has as many answers as the reference, none empty; else R = 0, as in the code,
    whose tags must occur once each. A reference without the separator is the answer itself; one that is missing
    or has an empty answer is an error. The authors take p̄(y* | x) from the base policy, once; here it is the
    policy's at the time, once per group. NaN stays NaN. Reward terms: ``rlpr_gain`` max(0, …), ``rlpr_format``.
    """

    separator: str = "="
    until: str = ";"
    format_weight: float = 0.1

    needs: ClassVar[frozenset[str]] = frozenset({"completions", "references", "score"})

    def __post_init__(self) -> None:
        check_options(self)
        if not self.separator:
            raise ValueError("Rlpr.separator must not be empty")
        if not 0 <= self.format_weight <= 1:
            raise ValueError(f"Rlpr.format_weight must lie between 0 and 1, got {self.format_weight}")

    def __call__(self, batch: RolloutBatch) -> RolloutBatch:
        alone, reasoned = {}, {}  # what to score, by group and reference, and by row
        for i in batch.valid.nonzero()[:, 0].tolist():
            y = self.right_answers(batch.references[i], i)
            if not all(y):
                raise ValueError(f"row {i}: empty answer in the reference {batch.references[i]!r}")
            worked = worked_answers(batch.completions[i], self.separator, self.until)
            if len(worked) == len(y) and all(answer for _, answer in worked):
                alone.setdefault((i // batch.group_size, *y), self.requests(i, [""] * len(y), y))
                reasoned[i] = self.requests(i, [working for working, _ in worked], y)

        p_alone, p = mean_probs(batch, alone), mean_probs(batch, reasoned)
        gain, form = torch.zeros_like(batch.rewards), torch.zeros_like(batch.rewards)
        for i, several in reasoned.items():
            baseline = p_alone[i // batch.group_size, *(r.target for r in several)]
            gain[i], form[i] = (p[i] - baseline).clamp(min=0), 1.0
        rewards = ((1 - self.format_weight) * gain + self.format_weight * form).where(batch.valid, torch.nan)
        return batch.with_rewards(rewards, {"rlpr_gain": gain, "rlpr_format": form})

    def right_answers(self, reference: str | None, row: int) -> list[str]:
        if reference is None:
            raise ValueError(f"row {row} has no reference to score, which Rlpr needs: choose another shaping")
        return [y for _, y in worked_answers(reference, self.separator, self.until)] or [reference]

    def requests(self, row: int, workings: list[str], answers: list[str]) -> list[ScoreRequest]:
        given, asked = "", []
        for working, answer in zip(workings, answers, strict=True):
            asked.append(ScoreRequest(row, answer, given=given + working))
            given += working + answer + self.until
        return asked


def mean_probs(batch: RolloutBatch, requests: dict) -> dict:
    """The mean probability of all tokens that each list of requests asks for."""
    scored = iter(batch.score([r for several in requests.values() for r in several]) if requests else [])
    return {key: torch.cat([next(scored) for _ in several]).exp().mean() for key, several in requests.items()}

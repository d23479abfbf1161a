"""Made-up rollouts of any size, with the signals and the work that a method asks for, and no model."""

from __future__ import annotations

import zlib
from collections.abc import Collection, Sequence

import torch
from torch import Tensor, nn

from methods import MissingSignal, RolloutBatch
from methods.batch import SIGNALS
from methods.live import LiveBatch
from methods.work import ScoreRequest

VOCABULARY = 32_000
WORDS = [",", "\n", ";", ". ", " 7", " so", " x", "+", *(f" word{k}" for k in range(1000))]
ANSWER = (VOCABULARY, WORDS.index(" 7"))  # token ids of "= 7", how every completion ends


def rollouts(rows: int, width: int, group_size: int, depth: int, needs: Collection[str]) -> RolloutBatch:
    """A batch of `rows` completions of at most `width` tokens that has what `needs` names, and nothing else.

    The same numbers every time. Lengths lie between half of `width` and all of it; rewards are 0 or 1, one
    row in 50 is unscorable. Signals have the types that the trainer gives them: float64, but `ref_logps`
    and `hidden` (rows, width, depth) float32. `probs` is not made.
    """
    draw = torch.Generator().manual_seed(0)

    def uniform(*shape: int, dtype: torch.dtype = torch.float64) -> Tensor:
        return torch.empty(shape, dtype=dtype).uniform_(generator=draw)

    lengths = (width * (1 + uniform(rows, 1)) / 2).ceil().long()
    mask = torch.arange(width) < lengths
    ids = uniform(rows, width).pow_(4).mul_(VOCABULARY).long()  # few tokens are frequent, most are rare
    ids.masked_fill_(~mask, 0).scatter_(1, lengths + torch.tensor([-2, -1]), torch.tensor([ANSWER] * rows))
    rewards = (uniform(rows) < 0.5).double().masked_fill(uniform(rows) < 0.02, torch.nan)
    prompts = [f"Question {row // group_size}?" for row in range(rows)]

    def token_texts() -> list[list[str]]:
        lists = [row[:n] for row, n in zip(ids.tolist(), lengths[:, 0].tolist(), strict=True)]
        return [["=" if i == VOCABULARY else WORDS[i % len(WORDS)] for i in row] for row in lists]

    def references() -> list[str]:  # of every group its first completion, backwards up to the answer
        firsts = ["".join([*row[-3::-1], "= 7"]) for row in token_texts()[::group_size]]
        return [firsts[row // group_size] for row in range(rows)]

    make = {
        "logps": lambda: uniform(rows, width).clamp_(min=1e-9).log_(),
        "entropies": lambda: uniform(rows, width).mul_(3),
        "sum_sq_probs": lambda: uniform(rows, width),
        "ref_logps": lambda: uniform(rows, width, dtype=torch.float32).clamp_(min=1e-9).log_(),
        "hidden": lambda: uniform(rows, width, depth, dtype=torch.float32).sub_(0.5),
        "decisive": lambda: uniform(rows, width).mul_(3).sub_(1).floor_().long(),
        "prompts": lambda: prompts,
        "completions": lambda: ["".join(row) for row in token_texts()],
        "references": references,
        "token_texts": token_texts,
    }
    return RolloutBatch.from_tensors(
        ids,
        mask,
        rewards,
        group_size,
        reward_terms={"reward": rewards},
        provider=Policy(ids, mask, prompts, needs),
        **{name: make[name]() for name in SIGNALS if name in needs and name in make},
    )


def micro_batch(batch: RolloutBatch, rows: int) -> LiveBatch:
    """The first `rows` of a batch at an optimisation step of a policy that has moved a little."""
    ids, mask = batch.completion_ids[:rows], batch.mask[:rows]
    draw = torch.Generator().manual_seed(1)
    noise = torch.empty(4, *ids.shape, dtype=torch.float64).uniform_(generator=draw)
    logps = noise[0].clamp(min=1e-9).log()
    now, reference = (logps + 0.2 * (noise[k] - 0.5) for k in (1, 2))
    return LiveBatch(ids, mask, logps, now.clamp(max=0), 3 * noise[3], reference.clamp(max=0), beta=0.04)


class Policy:
    """A provider that answers requests for work with numbers at hand, which follow from what is asked only."""

    def __init__(self, ids: Tensor, mask: Tensor, prompts: Sequence[str], needs: Collection[str]) -> None:
        self.prompts = prompts
        draw = torch.Generator().manual_seed(2)
        longest = max(map(len, WORDS)) * ids.shape[1]
        self.logps = torch.empty(1000 + longest, dtype=torch.float64).uniform_(-4, 0, generator=draw)
        self.coins = (torch.empty(2000, dtype=torch.float64).uniform_(generator=draw) < 0.5).double()
        self.sums = (ids * mask).sum(1) if "continuations" in needs else None
        self.gradients = (ids.double().sin_() * mask) if "input_gradients" in needs else None
        self.model = Scale((ids.float().sin_() - 1) * mask) if "auxiliary" in needs else None

    def signal(self, name: str) -> Tensor:
        raise MissingSignal(name)

    def score(self, requests: Sequence[ScoreRequest]) -> list[Tensor]:
        """A number for every token of a target; a text has one token a character."""
        found = []
        for request in requests:
            context = (request.prompt or self.prompts[request.row]) + request.given
            start = zlib.crc32(context.encode()) % 1000
            found.append(self.logps[start : start + len(request.target)])
        return found

    def continuations(self, rows: Sequence[int], lengths: Sequence[int], count: int) -> Tensor:
        start = (self.sums[list(rows)] + 31 * torch.tensor(lengths)) % (len(self.coins) - count)
        return self.coins.unfold(0, count, 1)[start]

    def input_gradients(self, targets: Tensor) -> Tensor:
        return self.gradients

    def auxiliary(self, batch: RolloutBatch) -> Scale:
        return self.model


class Scale(nn.Module):
    """log π_φ(o_it) = φ·f_it with one parameter φ, which starts at 1."""

    def __init__(self, features: Tensor) -> None:
        super().__init__()
        self.features = features
        self.scale = nn.Parameter(torch.ones(()))

    def logps(self, rows: Sequence[int]) -> Tensor:
        rows = list(rows)
        together = rows == list(range(rows[0], rows[0] + len(rows))) if rows else False
        return self.scale * self.features[slice(rows[0], rows[-1] + 1) if together else rows]

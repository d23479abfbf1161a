"""A policy made of hashes: every signal and all work a method may ask for, from what a row says and nothing else.

A row's answers follow from its prompt and tokens, not from where it stands, how it is padded or what is beside it,
so that permuting, padding and splitting a batch must not change a method's credit either.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from hashlib import blake2b
from random import Random

import numpy as np
import torch
from torch import Tensor, nn

from harness.suites.micro import alphabet, demonstration, make_problem
from methods import LiveBatch, MissingSignal, RolloutBatch
from methods.work import ScoreRequest

PAD, EOS = "<pad>", "<eos>"
WORDS = (PAD, EOS, *alphabet())
ID = {word: i for i, word in enumerate(WORDS)}
LIMIT = 24  # tokens of the longest completion
D = 6  # size of a hidden state


@dataclass(frozen=True)
class Row:
    """One completion.

    text    its characters; an <eos> follows, unless it is cut off at LIMIT
    hole    (start, end) of tokens that the policy did not write itself
    policy  names another policy with other signals on the same tokens; "certain" gives every token p = 1
    """

    prompt: str
    text: str
    reference: str | None
    reward: float
    hole: tuple[int, int] = (0, 0)
    policy: str = ""

    @property
    def ids(self) -> tuple[int, ...]:
        return tuple(ID[c] for c in self.text) + ((ID[EOS],) if len(self.text) < LIMIT else ())

    @property
    def mask(self) -> list[bool]:
        return [not self.hole[0] <= t < self.hole[1] for t in range(len(self.ids))]


def micro_rows(rewards: Sequence[float], group_size: int, seed: int = 0, domain: str = "math") -> list[Row]:
    """Completions of the micro suite, all different within a group: some right, some wrong, one of them cut off."""
    rng, rows = Random(seed), []
    for start in range(0, len(rewards), group_size):
        problem, texts = make_problem(domain, 2, 1, rng), []
        while len(texts) < group_size:
            text = demonstration(problem, rng, slip=0.4)[:LIMIT]
            if text not in texts:
                texts.append(text)
        texts[-1] = (texts[-1] * 4)[:LIMIT]
        own = rewards[start : start + group_size]
        rows += [Row(problem.prompt, *pair) for pair in _zip(texts, [problem.reference] * group_size, own)]
    return rows


def fake_batch(
    rows: Sequence[Row], group_size: int, *, padding: int = 0, garbage: bool = False, unjudged: bool = False
) -> RolloutBatch:
    """A batch of rows with ``padding`` further columns; ``garbage`` puts NaN and nonsense outside the mask,
    ``unjudged`` makes some continuations unscorable.
    """
    width = max(1, *(len(row.ids) for row in rows)) + padding
    ids = torch.full((len(rows), width), ID["3"] if garbage else ID[PAD])
    mask = torch.zeros(ids.shape, dtype=torch.bool)
    for i, row in enumerate(rows):
        ids[i, : len(row.ids)] = torch.tensor(row.ids, dtype=torch.int64)
        mask[i, : len(row.ids)] = torch.tensor(row.mask, dtype=torch.bool)
    provider = FakeProvider(rows, ids, mask, garbage, unjudged)
    return RolloutBatch.from_tensors(ids, mask, [r.reward for r in rows], group_size, provider=provider)


def fake_live(
    batch: RolloutBatch,
    rows: Sequence[Row],
    *,
    garbage: bool = False,
    reference: bool = True,
    **settings: float,
) -> LiveBatch:
    """The same rows after the policy has moved: ratios in and beyond any clip range, some entropies small."""
    now = [Row(row.prompt, row.text, row.reference, row.reward, row.hole, "moved") for row in rows]
    moved = FakeProvider(now, batch.completion_ids, batch.mask, False, False)
    outside = 5.0 if garbage else 0.0
    names = {"logps_now": "logps", "entropies_now": "entropies"}
    return LiveBatch(
        batch.completion_ids,
        batch.mask,
        batch.logps.where(batch.mask, outside),
        *(moved.signal(name).where(batch.mask, outside) for name in names.values()),
        batch.ref_logps.where(batch.mask, outside) if reference else None,
        **settings,
    )


class FakeProvider:
    """Signals and work of a batch whose rows are known."""

    def __init__(self, rows: Sequence[Row], ids: Tensor, mask: Tensor, garbage: bool, unjudged: bool):
        self.rows, self.ids, self.mask, self.unjudged = rows, ids, mask, unjudged
        self.outside = torch.nan if garbage else 0.0
        self.table: nn.Parameter | None = None  # of the auxiliary model, once there is one

    def signal(self, name: str) -> Tensor | list:
        texts = {
            "prompts": lambda row: row.prompt,
            "completions": lambda row: row.text,
            "references": lambda row: row.reference,
            "token_texts": lambda row: [WORDS[i] for i, kept in _zip(row.ids, row.mask) if kept],
        }
        if name in texts:
            return [texts[name](row) for row in self.rows]
        own = [_signals(row) for row in self.rows]
        if name not in own[0]:
            raise MissingSignal(name)
        first = own[0][name]
        out = torch.zeros((*self.mask.shape, *first.shape[1:]), dtype=first.dtype)
        for i, signals in enumerate(own):
            out[i, : len(signals[name])] = signals[name]
        out[~self.mask] = self.outside if out.is_floating_point() else 7 * bool(self.outside)
        return out

    def score(self, requests: list[ScoreRequest]) -> list[Tensor]:
        found = []
        for request in requests:
            row = self.rows[request.row]
            target = request.target
            ids = tuple(ID[c] for c in target) if isinstance(target, str) else tuple(target)
            if request.prompt is None and not request.given and ids == row.ids[: len(ids)]:
                found.append(_signals(row)["logps"][: len(ids)].clone())
                continue
            before = (request.prompt if request.prompt is not None else row.prompt) + request.given
            found.append(_scores(row.policy, before, ids).clone())
        return found

    def continuations(self, rows: list[int], lengths: list[int], count: int) -> Tensor:
        if any(not 0 <= length < LIMIT for length in lengths):
            raise ValueError(
                f"continuations: a prefix of {max(lengths)} tokens leaves none of {LIMIT} to sample"
            )
        out = torch.zeros(len(rows), count, dtype=torch.float64)
        for k, (row, length) in enumerate(_zip(rows, lengths)):
            key = ("continued", self.rows[row].policy, self.rows[row].prompt, self.rows[row].ids[:length])
            out[k] = torch.tensor([float(_uniform(*key, i) < _uniform(*key)) for i in range(count)])
            if self.unjudged and _uniform("unjudged", *key) < 0.5:
                out[k, : count if _uniform("all", *key) < 0.2 else 1] = torch.nan
        return out

    def input_gradients(self, targets: Tensor) -> Tensor:
        out = torch.full(self.mask.shape, self.outside, dtype=torch.float64)
        for i, row in enumerate(self.rows):
            size = len(row.ids)
            later = targets[i, :size].double().flip(0).cumsum(0).flip(0)  # targets from here on
            out[i, :size] = _signals(row)["gradients"] * later
        return out

    def auxiliary(self, batch: RolloutBatch) -> FakeAuxiliary:
        if self.table is None:
            noise = np.random.Generator(np.random.Philox(key=5)).normal(size=(len(WORDS), len(WORDS)))
            self.table = nn.Parameter(torch.from_numpy(noise))
        return FakeAuxiliary(self.table, batch, [ID[row.prompt[-1]] for row in self.rows])


@dataclass(frozen=True)
class FakeAuxiliary:
    """A bigram model, trainable; ``before``: the token before each completion."""

    table: nn.Parameter
    batch: RolloutBatch
    before: list[int]

    def parameters(self) -> list[nn.Parameter]:
        return [self.table]

    def logps(self, rows: Sequence[int]) -> Tensor:
        ids, mask = self.batch.completion_ids[list(rows)], self.batch.mask[list(rows)]
        before = torch.tensor([self.before[i] for i in rows])[:, None]
        log_probs = self.table[torch.cat([before, ids[:, :-1]], 1)].log_softmax(-1)
        return log_probs.gather(2, ids[..., None]).squeeze(2).where(mask, 0.0)


@lru_cache(maxsize=4096)
def _signals(row: Row) -> dict[str, Tensor]:
    """Everything about the tokens of one row, (n, …); the distributions agree with each other."""
    rng = np.random.Generator(np.random.Philox(key=_number("row", row.policy, row.prompt, row.ids)))
    size, ids = len(row.ids), torch.tensor(row.ids, dtype=torch.int64)
    spread = torch.from_numpy(rng.uniform(0.2, 4.0, size=(size, 1)))  # sure and unsure tokens
    logits = torch.from_numpy(rng.normal(size=(2, size, len(WORDS)))) * spread
    logits[:, torch.arange(size), ids] += 2.0
    if row.policy == "certain":
        logits = torch.full_like(logits, -torch.inf)
        logits[:, torch.arange(size), ids] = 0.0
    policy, reference = logits.log_softmax(-1)
    probs = policy.exp()
    return {
        "logps": policy[torch.arange(size), ids],
        "ref_logps": reference[torch.arange(size), ids],
        "entropies": -torch.xlogy(probs, probs).sum(-1),
        "sum_sq_probs": probs.square().sum(-1),
        "probs": probs,
        "hidden": torch.from_numpy(rng.normal(size=(size, D))).float(),
        "decisive": torch.from_numpy(rng.integers(-1, 2, size=size)),
        "gradients": torch.from_numpy(rng.normal(size=size)),
    }


@lru_cache(maxsize=4096)
def _scores(policy: str, before: str, ids: tuple[int, ...]) -> Tensor:
    """Log-probabilities of ids one after another, each from what stands before it."""
    seen, scores = _number(policy, before), []
    for i in ids:
        seen = _number(seen, i)
        scores.append(-3 * seen / 2**64)
    return torch.tensor(scores, dtype=torch.float64)


def _number(*key: object) -> int:
    return int.from_bytes(blake2b(repr(key).encode(), digest_size=8).digest())


def _uniform(*key: object) -> float:
    return _number(*key) / 2**64


def _zip(*columns):
    return zip(*columns, strict=True)

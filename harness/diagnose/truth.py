"""True credit by Monte Carlo: how much each token of a completion changed what the policy earns from there on.

    V(s_t) = E[R | the first t tokens],   Δ_t = V(s_{t+1}) − V(s_t),   t = 0 … T−1,   V(s_T) = R

Every prefix is continued in K worlds. A world is one stream of uniforms for a prompt, by position in the completion
(`harness.noise`), so in world k each prefix has one continuation. Where world k draws at s_t the very token that the
completion has there, its continuation of s_t runs through s_{t+1}: it is the same one, and not sampled again. What is
sampled are the continuations that leave the completion, K·(1 − π(o_t)) of a token on average. V̂ stays unbiased, each
V̂(s_t) is a mean over K independent continuations, and

    Δ̂_t = (1/K) Σ_k [R_k(s_{t+1}) − R_k(s_t)]

has only the noise of the worlds that leave. Its stated standard error is the root of

    (1 − π(o_t)) · (Σ_k d_k² + r²/2) / (n + 1) / K

over the n worlds that leave, with d_k their differences and r the range of R: a world leaves with the known
probability 1 − π(o_t), and the half observation of the largest difference keeps the error above 0 where none did. Both
halves of the K worlds are kept apart, so that V̂ can be scored against V̂. A world in which one of a completion's
continuations could not be judged is left out for that completion.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
import torch

from harness.errors import RunFailed
from harness.noise import uniforms
from harness.rollouts import Key, RolloutEngine
from harness.signals import completion_log_probs

WORLD = "world"  # sets this noise apart from that of the rollouts themselves

# prefixes and continuations of one prompt's completions, joined -> their rewards, NaN where one could not be judged
Judge = Callable[[list[list[int]]], Sequence[float]]


@dataclass(frozen=True)
class Truth:
    """Values along one completion of T tokens.

    values (2, T + 1): V̂ by each half of the worlds, the last entry R; errors (T,): standard errors of `deltas`;
    probs (T,): the policy's probability of each token; continuations that V̂ rests on, T·K, and how many of them were
    sampled here (a prefix that two completions of the prompt share counts once).
    """

    values: np.ndarray
    errors: np.ndarray
    probs: np.ndarray
    continuations: int
    sampled: int

    @property
    def halves(self) -> np.ndarray:
        """Δ̂ (2, T) by each half of the worlds."""
        return np.diff(self.values, axis=1)

    @property
    def deltas(self) -> np.ndarray:
        """Δ̂ (T,) by all worlds."""
        return self.halves.mean(axis=0)


def true_credit(
    engine: RolloutEngine,
    prompt: Sequence[int],
    completions: Sequence[Sequence[int]],
    rewards: Sequence[float],
    judge: Judge,
    *,
    problem: str,
    worlds: int,
    max_tokens: int,
    temperature: float = 1.0,
) -> list[Truth]:
    """`Truth` of each completion (token ids, the end included) of one prompt.

    worlds: K, even. Raises ValueError where it is not, where a completion is empty or longer than `max_tokens`, or
    where a reward is NaN: what could not be judged has no value. RunFailed where no world of a half could be judged.
    """
    if worlds < 2 or worlds % 2:
        raise ValueError(f"continuations={worlds}: expected an even number, for two halves")
    if bad := [len(ids) for ids in completions if not 0 < len(ids) <= max_tokens]:
        raise ValueError(f"a completion of {bad[0]} tokens, expected 1 to {max_tokens}")
    if not np.isfinite(rewards).all():
        raise ValueError("a completion without a verdict has no true credit: leave it out")
    noise = np.stack([uniforms(engine.seed, f"{problem}/{WORLD}", k, 0, max_tokens) for k in range(worlds)])
    drawn = [_drawn(engine, prompt, ids, noise, temperature) for ids in completions]

    # (prefix, world) -> where its outcome stands below; equal prefixes of two completions are continued once
    wanted: dict[tuple[tuple[int, ...], int], int] = {}
    left = [tokens != np.array(ids)[:, None] for ids, (tokens, _) in zip(completions, drawn, strict=True)]
    sampled = []
    for ids, own in zip(completions, left, strict=True):
        before = len(wanted)
        for t, k in np.argwhere(own).tolist():
            wanted.setdefault((tuple(ids[:t]), k), len(wanted))
        sampled.append(len(wanted) - before)
    outcomes = _outcomes(engine, prompt, list(wanted), judge, problem, max_tokens, temperature)

    known = [*rewards, *outcomes[np.isfinite(outcomes)]]
    spread = max(max(known) - min(known), 1.0)
    found = []
    for ids, reward, (_, probs), own, new in zip(completions, rewards, drawn, left, sampled, strict=True):
        earned = np.full((len(ids) + 1, worlds), float(reward))
        for t in reversed(range(len(ids))):
            earned[t] = earned[t + 1]
            for k in np.flatnonzero(own[t]).tolist():
                earned[t, k] = outcomes[wanted[tuple(ids[:t]), k]]
        judged = np.isfinite(earned).all(axis=0)
        halves = [earned[:, part] for part in np.split(np.flatnonzero(judged), [judged[: worlds // 2].sum()])]
        if not all(half.shape[1] for half in halves):
            raise RunFailed(f"problem {problem}: no world of a completion could be judged from all of its prefixes")
        values = np.stack([half.mean(axis=1) for half in halves])
        squares = (np.diff(earned[:, judged], axis=0) ** 2).sum(axis=1)
        variances = (1 - probs) * (squares + spread**2 / 2) / (own[:, judged].sum(axis=1) + 1) / judged.sum()
        found.append(Truth(values, np.sqrt(variances), probs, len(ids) * worlds, new))
    return found


def _drawn(
    engine: RolloutEngine, prompt: Sequence[int], ids: Sequence[int], noise: np.ndarray, temperature: float
) -> tuple[np.ndarray, np.ndarray]:
    """The token (T, K) that each world draws after each prefix of a completion, and the policy's probability (T,) of
    the completion's own; noise (K, ≥ T). One forward.
    """
    model, device = engine.model, engine.model.device
    rows = (list(prompt), [1] * len(prompt), list(ids), [1] * len(ids))
    places = [torch.tensor([row], device=device) for row in rows]
    training = model.training
    model.eval()
    try:
        with torch.no_grad(), torch.autocast(device.type, torch.bfloat16, enabled=engine.autocast):
            log_probs = completion_log_probs(model, *places, temperature)[0]
    finally:
        model.train(training)
    cdf = log_probs.exp().cumsum(-1)
    u = torch.from_numpy(noise[:, : len(ids)].T.copy()).to(device)
    tokens = torch.searchsorted(cdf, u * cdf[:, -1:], right=True).clamp(max=cdf.shape[1] - 1)
    probs = log_probs.exp().gather(1, places[2].T).squeeze(1)
    return tokens.cpu().numpy(), probs.cpu().numpy()


def _outcomes(
    engine: RolloutEngine,
    prompt: Sequence[int],
    wanted: Sequence[tuple[tuple[int, ...], int]],
    judge: Judge,
    problem: str,
    max_tokens: int,
    temperature: float,
) -> np.ndarray:
    """The reward (n,) of each prefix, continued in its world."""
    if not wanted:
        return np.empty(0)
    rollouts = engine.generate(
        [[*prompt, *prefix] for prefix, _ in wanted],
        [Key(f"{problem}/{WORLD}", k, 0, first=len(prefix)) for prefix, k in wanted],
        max_tokens=[max_tokens - len(prefix) for prefix, _ in wanted],
        temperature=temperature,
    )
    whole = [[*prefix, *ids] for (prefix, _), ids in zip(wanted, rollouts.ids(), strict=True)]
    return np.asarray(judge(whole), dtype=np.float64)

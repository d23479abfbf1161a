"""DAPO's dynamic sampling (arXiv:2503.14476): groups whose rewards do not differ make way for fresh prompts."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from harness.rollouts import Rollouts, rows_of

if TYPE_CHECKING:
    from harness.trainer import CreditGRPOTrainer

# (generation batch, round) → rows of the data set, every prompt as often as a group has completions
Reserve = Callable[[int, int], list[dict[str, Any]]]


def with_variance(
    trainer: CreditGRPOTrainer, inputs: list[dict[str, Any]]
) -> tuple[list[dict[str, Any]], Rollouts, dict[str, float]]:
    """Rows as many as `inputs`, their rollouts, and what it took.

    Completes and judges `inputs`, then up to `method.dynamic_sampling` rounds of the trainer's reserve, until
    there are enough groups whose rewards, before shaping, differ. If they never suffice, the first groups
    without variance fill the batch. Tokens of what is dropped are counted as extra.
    """
    size, wanted = trainer.num_generations, len(inputs) // trainer.num_generations
    batch = trainer.state.global_step * trainer.args.gradient_accumulation_steps
    batch //= trainer.args.steps_per_generation * trainer.num_iterations
    rows: list[dict[str, Any]] = []
    rollouts: list[Rollouts] = []
    varied: list[int] = []  # groups, numbered in the order they were drawn
    seen: Counter[str] = Counter()
    for turn in range(trainer.method.dynamic_sampling + 1):
        fresh = inputs if turn == 0 else trainer.reserve(batch, turn)
        drawn = trainer.completed(trainer.prompt_ids([row["prompt"] for row in fresh]), seen)
        rewards = trainer.rewards_of(fresh, drawn.ids()).unflatten(0, (-1, size))
        for group, own in enumerate(rewards, start=len(rows) // size):
            own = own[~own.isnan()]
            if len(own) > 1 and (own != own[0]).any():
                varied.append(group)
        rows += fresh
        rollouts.append(drawn)
        if len(varied) >= wanted:
            break
    uniform = [group for group in range(len(rows) // size) if group not in varied]
    chosen = sorted((varied + uniform)[:wanted])
    places = [group * size + i for group in chosen for i in range(size)]
    kept = rows_of(rollouts, places)
    trainer.work["extra_tokens"] += sum(r.tokens for r in rollouts) - kept.tokens
    counts = {"sampling_rounds": turn + 1.0, "groups_drawn": len(rows) / size}
    return [rows[i] for i in places], kept, counts

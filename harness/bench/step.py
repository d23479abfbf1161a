"""Seconds of a training step beside stock TRL, by phase, and whether the gradient is the same.

    python -m harness.bench step [policy=micro] [threads=1] [rounds=7] [steps=4]
    python -m harness.bench step policy=smollm2 rounds=7 steps=1

policy=micro (16 prompts × 8 completions, 64 tokens) or smollm2 (the settings of experiment=smollm2, in bfloat16 where
the processor computes in it): the same model, problems, rewards, batch and number of updates for all. Contestants run
in alternation, in an order drawn anew each round; a round has problems and sampling noise of its own and begins with
the same weights; its first step is to warm up and not counted. `prompts`, `completions`, `max_tokens` change the
batch, `contestants=[…]` who runs: stock_trl with its own generation; stock_trl_checkpointing, with gradient
checkpointing, TRL's default; stock_trl_cast_once, whose weights are cast to bfloat16 once a batch, not once a token;
and methods of the harness by name, with GRPO's surrogate.

Rows whose group has equal rewards have no credit, and the harness leaves them out of the loss: their share stands
beside the times, since the ratio depends on it. The last lines: a stock's time over grpo's, the median over rounds and
its range, and how far the harness's gradient of the first update lies from stock TRL's on the same completions.
"""

from __future__ import annotations

import random
import statistics
import sys
from collections import defaultdict
from dataclasses import dataclass
from functools import partial
from itertools import islice

import torch
import transformers
from hydra.utils import instantiate
from omegaconf import OmegaConf

from harness.bench.contest import (
    CAST_ONCE,
    CHECKPOINTING,
    STOCK,
    STOCKS,
    UPDATES,
    Round,
    Setting,
    gradient_distances,
    run_round,
)
from harness.bench.phases import PHASES
from harness.compose import composer
from harness.markdown import table

BATCHES = 3  # on which gradients are compared
OVERRIDES = {  # of the configuration, by policy
    "micro": ["trainer.prompts_per_step=16", "trainer.completions_per_prompt=8", "trainer.learning_rate=1e-4"],
    "smollm2": ["experiment=smollm2"],
}  # fmt: skip
CONTESTANTS = {
    "micro": [STOCK, CHECKPOINTING, "grpo", "lampo", "delta"],
    "smollm2": [STOCK, CAST_ONCE, "grpo"],
}


@dataclass
class Options:
    """What can be set on the command line; null takes the configuration's, or the policy's contestants."""

    policy: str = "micro"
    rounds: int = 7
    steps: int = 4
    threads: int = 1
    prompts: int | None = None
    completions: int | None = None
    max_tokens: int | None = None
    contestants: list[str] | None = None


def load(options: Options, seed: int) -> Setting:
    """The setting of a round, with fresh weights of the policy."""
    given = {
        "prompts_per_step": options.prompts, "completions_per_prompt": options.completions,
        "max_completion_tokens": options.max_tokens,
    }  # fmt: skip
    own = [f"trainer.{key}={value}" for key, value in given.items() if value is not None]
    with composer() as compose:
        cfg = compose([*OVERRIDES[options.policy], *own])
    suite = instantiate(cfg.suite, _convert_="all")
    problems = list(islice(suite.training(seed), (options.steps + 1) * cfg.trainer.prompts_per_step))
    t = cfg.trainer
    return Setting(
        instantiate(cfg.policy), suite, problems, t.prompts_per_step, t.completions_per_prompt,
        t.max_completion_tokens, t.learning_rate, seed,
    )  # fmt: skip


def main(arguments: list[str]) -> int:
    """Run the contestants in alternation and print medians, phases, ratios and distances of gradients."""
    options = OmegaConf.to_object(
        OmegaConf.merge(OmegaConf.structured(Options), OmegaConf.from_cli(arguments))
    )
    if options.policy not in OVERRIDES:
        print(f"policy={options.policy}: choose from {', '.join(OVERRIDES)}", file=sys.stderr)
        return 2
    torch.set_num_threads(options.threads)
    transformers.utils.logging.set_verbosity_error()
    transformers.utils.logging.disable_progress_bar()
    contestants = options.contestants or CONTESTANTS[options.policy]
    rounds: dict[str, list[Round]] = defaultdict(list)
    for number in range(options.rounds):
        for contestant in random.Random(number).sample(contestants, len(contestants)):
            rounds[contestant].append(run_round(contestant, load(options, seed=number), options.steps))
        said = ", ".join(f"{c} {statistics.median(rounds[c][-1].seconds):.2f}" for c in contestants)
        print(f"round {number + 1}/{options.rounds}, s/step: {said}", file=sys.stderr, flush=True)
    setting = load(options, seed=0)
    autocast = setting.policy.autocast
    print(
        f"policy={options.policy} in {'bfloat16' if autocast else 'float32'}: {setting.prompts}×{setting.completions} "
        f"completions of up to {setting.max_tokens} tokens, {UPDATES} updates a step, {options.threads} thread(s), "
        f"{options.rounds} rounds of {options.steps} step(s)\n"
    )
    print(_times(contestants, rounds))
    print("\nSeconds a step by phase, median over rounds; building the batch for credit is in other:\n")
    print(_phases(contestants, rounds) + "\n")
    for stock in STOCKS:
        if {stock, "grpo"} <= set(contestants):
            ratios = [
                statistics.median(theirs.seconds) / statistics.median(ours.seconds)
                for theirs, ours in zip(rounds[stock], rounds["grpo"], strict=True)
            ]
            print(
                f"{stock} / grpo, median over rounds: {statistics.median(ratios):.2f} "
                f"(lowest {min(ratios):.2f}, highest {max(ratios):.2f})"
            )
    batches = [gradient_distances(partial(load, options, seed=seed)) for seed in range(BATCHES)]
    said = "; ".join(
        f"{name} {statistics.median(own):.1e} ({min(own):.1e}-{max(own):.1e})"
        for name in batches[0]
        for own in [[one[name] for one in batches]]
    )
    print(
        "Gradient of the first update on the same completions, relative L2 distance to stock TRL's in float32, median "
        f"of {BATCHES} batches: {said}" + (", both in bfloat16" if autocast else "")
    )
    return 0


def _times(contestants: list[str], rounds: dict[str, list[Round]]) -> str:
    head = ("contestant", "median s/step", "min", "max", "tokens of a completion", "groups of equal rewards")
    rows = []
    for c in contestants:
        seconds = [value for one in rounds[c] for value in one.seconds]
        times = (f"{value:.3f}" for value in (statistics.median(seconds), min(seconds), max(seconds)))
        tokens = statistics.mean(one.tokens for one in rounds[c])
        rows.append((c, *times, f"{tokens:.0f}", f"{100 * statistics.mean(one.uniform for one in rounds[c]):.0f} %"))
    return table(head, rows)


def _phases(contestants: list[str], rounds: dict[str, list[Round]]) -> str:
    rows = [
        (c, *(f"{statistics.median(one.phases[phase] for one in rounds[c]):.3f}" for phase in PHASES))
        for c in contestants
    ]
    return table(("contestant", *PHASES), rows)

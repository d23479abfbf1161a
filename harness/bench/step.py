"""Seconds of a training step beside stock TRL, by phase.

    python -m harness.bench step [policy=micro] [threads=1] [rounds=7] [steps=4]
    python -m harness.bench step policy=smollm2 rounds=7 steps=1

policy=micro (16 prompts × 8 completions, 64 tokens) or smollm2 (the settings of experiment=smollm2, bfloat16): the
same model, problems, rewards, batch and number of updates for all. Contestants run in alternation, each round from
the same weights and in another order; the first step of a round is not counted. Stock TRL samples with its own
generation, without gradient checkpointing, and once with it, which is its default. `prompts`, `completions`,
`max_tokens` change the batch, `contestants=[…]` who runs.

Rows whose group has equal rewards have no credit, and the harness leaves them out of the loss: their share stands
beside the times, since the ratio depends on it. In bfloat16 stock TRL casts the weights anew for every token that it
samples. The last lines: stock TRL's time over grpo's, the median over rounds and its range.
"""

from __future__ import annotations

import os
import statistics
import sys
import tempfile
import time
import warnings
from collections import defaultdict
from dataclasses import dataclass, field
from itertools import islice

os.environ.setdefault("TRL_EXPERIMENTAL_SILENCE", "1")

import numpy as np
import torch
import transformers
from datasets import Dataset
from hydra.utils import instantiate
from omegaconf import OmegaConf
from trl import GRPOConfig, GRPOTrainer

from harness.bench.phases import PHASES, Phases
from harness.compose import composer
from harness.judge import Judge
from harness.load import load_method
from harness.markdown import table
from harness.policy import Policy
from harness.rollouts import RolloutEngine
from harness.suites import Problem, Suite
from harness.trainer import CreditGRPOTrainer

UPDATES = 2
STOCK, CHECKPOINTING = "stock TRL", "stock TRL, checkpointing"
OVERRIDES = {  # of the configuration, by policy
    "micro": ["trainer.prompts_per_step=16", "trainer.completions_per_prompt=8", "trainer.learning_rate=1e-4"],
    "smollm2": ["experiment=smollm2"],
}  # fmt: skip


@dataclass
class Options:
    """What can be set on the command line; null takes the configuration's."""

    policy: str = "micro"
    rounds: int = 7
    steps: int = 4
    threads: int = 1
    prompts: int | None = None
    completions: int | None = None
    max_tokens: int | None = None
    contestants: list[str] = field(default_factory=lambda: [STOCK, CHECKPOINTING, "grpo", "lampo", "delta"])


@dataclass(frozen=True)
class Setting:
    """The batch that all contestants share."""

    policy: Policy
    suite: Suite
    problems: list[Problem]
    prompts: int
    completions: int
    max_tokens: int
    learning_rate: float


class Stopwatch(transformers.TrainerCallback):
    """Seconds of every step (one rollout batch with its updates)."""

    def __init__(self) -> None:
        self.seconds: list[float] = []

    def on_step_begin(self, args, state, control, **_):
        if state.global_step % UPDATES == 0:
            self.start = time.perf_counter()

    def on_step_end(self, args, state, control, **_):
        if state.global_step % UPDATES == 0:
            self.seconds.append(time.perf_counter() - self.start)


def load(options: Options) -> Setting:
    """The setting, with fresh weights of the policy."""
    given = {
        "prompts_per_step": options.prompts, "completions_per_prompt": options.completions,
        "max_completion_tokens": options.max_tokens,
    }  # fmt: skip
    own = [f"trainer.{key}={value}" for key, value in given.items() if value is not None]
    with composer() as compose:
        cfg = compose([*OVERRIDES[options.policy], *own])
    suite = instantiate(cfg.suite, _convert_="all")
    problems = list(islice(suite.training(seed=0), (options.steps + 1) * cfg.trainer.prompts_per_step))
    t = cfg.trainer
    return Setting(
        instantiate(cfg.policy), suite, problems, t.prompts_per_step, t.completions_per_prompt,
        t.max_completion_tokens, t.learning_rate,
    )  # fmt: skip


def run_round(
    contestant: str, own: Setting, steps: int
) -> tuple[list[float], dict[str, float], tuple[float, float]]:
    """Train the setting's fresh policy for `steps` steps after one to warm up.

    Returns the seconds of each step; those of each phase per step, the first step counted; and the mean length of
    completions with the share of groups whose rewards are all equal, which have no credit.
    """
    policy, judge = own.policy, Judge(own.suite, own.problems, own.policy)
    watch, phases = Stopwatch(), Phases()
    with tempfile.TemporaryDirectory() as folder, warnings.catch_warnings():
        warnings.simplefilter("ignore")
        args = GRPOConfig(
            output_dir=folder,
            per_device_train_batch_size=own.prompts * own.completions // UPDATES,
            steps_per_generation=UPDATES,
            num_generations=own.completions,
            max_steps=(steps + 1) * UPDATES,
            max_completion_length=own.max_tokens,
            learning_rate=own.learning_rate,
            shuffle_dataset=False,
            gradient_checkpointing=contestant == CHECKPOINTING,
            bf16=policy.autocast,
            use_cpu=not torch.cuda.is_available(),
            dataloader_pin_memory=torch.cuda.is_available(),
            logging_steps=UPDATES,
            save_strategy="no",
            report_to="none",
            disable_tqdm=True,
            loss_type="grpo",
        )
        prompts = [policy.message(problem.prompt) for problem in own.problems]
        shared = {
            "args": args,
            "train_dataset": Dataset.from_dict({"prompt": prompts, "problem": range(len(prompts))}),
            "processing_class": policy.tokenizer,
            "callbacks": [watch],
        }
        if contestant in (STOCK, CHECKPOINTING):
            trainer = GRPOTrainer(policy.model, judge.reward, **shared)
        else:
            trainer = CreditGRPOTrainer(
                policy.model,
                judge.reward,
                method=load_method(contestant, ["surrogate=ppo_clip"]),
                engine=RolloutEngine(policy.model, policy.tokenizer, seed=0, autocast=policy.autocast),
                **shared,
            )
        trainer.remove_callback(transformers.PrinterCallback)
        phases.watch(trainer)
        trainer.train()
    # the optimiser's step is outside of `training_step`
    phases.seconds["other"] += sum(watch.seconds) - sum(phases.seconds.values())
    logs = [log for log in trainer.state.log_history if "frac_reward_zero_std" in log]
    keys = ("completions/mean_length", "frac_reward_zero_std")
    batch = tuple(float(np.mean([log[key] for log in logs])) for key in keys)
    return watch.seconds[1:], {name: phases.seconds[name] / len(watch.seconds) for name in PHASES}, batch


def main(arguments: list[str]) -> int:
    """Run the contestants in alternation and print medians, the ratio and the phases."""
    options = OmegaConf.to_object(
        OmegaConf.merge(OmegaConf.structured(Options), OmegaConf.from_cli(arguments))
    )
    if options.policy not in OVERRIDES:
        print(f"policy={options.policy}: choose from {', '.join(OVERRIDES)}", file=sys.stderr)
        return 2
    torch.set_num_threads(options.threads)
    transformers.utils.logging.set_verbosity_error()
    transformers.utils.logging.disable_progress_bar()
    seconds: dict[str, list[float]] = defaultdict(list)
    phases: dict[str, list[dict[str, float]]] = defaultdict(list)
    batches: dict[str, list[tuple[float, float]]] = defaultdict(list)
    medians: list[dict[str, float]] = []
    for number in range(1, options.rounds + 1):
        turn = number % len(options.contestants)
        for contestant in [*options.contestants[turn:], *options.contestants[:turn]]:
            measured, by_phase, batch = run_round(contestant, load(options), options.steps)
            seconds[contestant] += measured
            phases[contestant].append(by_phase)
            batches[contestant].append(batch)
        medians.append({c: statistics.median(seconds[c][-options.steps :]) for c in options.contestants})
        said = ", ".join(f"{c} {value:.2f}" for c, value in medians[-1].items())
        print(f"round {number}/{options.rounds}, s/step: {said}", file=sys.stderr, flush=True)
    own = load(options)
    print(
        f"policy={options.policy}{' in bfloat16' * own.policy.autocast}: {own.prompts}×{own.completions} completions "
        f"of up to {own.max_tokens} tokens, {UPDATES} updates a step, {options.threads} thread(s), {options.rounds} "
        f"rounds of {options.steps} steps\n"
    )
    rows = []
    for c in options.contestants:
        s, (length, uniform) = seconds[c], np.mean(batches[c], axis=0)
        times = (f"{value:.3f}" for value in (statistics.median(s), min(s), max(s)))
        rows.append((c, *times, f"{length:.0f}", f"{100 * uniform:.0f} %"))
    head = ("contestant", "median s/step", "min", "max", "tokens of a completion", "groups of equal rewards")
    print(table(head, rows))
    mean = {c: {p: statistics.mean(one[p] for one in phases[c]) for p in PHASES} for c in options.contestants}
    rows = [(c, *(f"{own[p]:.3f}" for p in PHASES)) for c, own in mean.items()]
    print("\nSeconds a step by phase, mean:\n\n" + table(("contestant", *PHASES), rows) + "\n")
    for stock in (STOCK, CHECKPOINTING):
        if {stock, "grpo"} <= set(options.contestants):
            ratios = [one[stock] / one["grpo"] for one in medians]
            print(
                f"{stock} / grpo, median over rounds: {statistics.median(ratios):.2f} "
                f"(lowest {min(ratios):.2f}, highest {max(ratios):.2f})"
            )
    return 0

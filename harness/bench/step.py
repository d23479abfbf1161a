"""Seconds of a training step beside stock TRL, and the share of it that credit takes.

    python -m harness.bench step [rounds=5] [steps=4] [threads=1] [prompts=16] [completions=8]

Same model (the embedded policy), problems, rewards, batch and number of updates, gradient
checkpointing off for both; stock TRL samples with its own generation. The contestants run in
alternation, each round from the same weights; the first step of a round is not counted.
"""

from __future__ import annotations

import os
import statistics
import tempfile
import time
import warnings
from collections import defaultdict
from dataclasses import dataclass
from itertools import islice

os.environ.setdefault("TRL_EXPERIMENTAL_SILENCE", "1")

import torch
import transformers
from datasets import Dataset
from omegaconf import OmegaConf
from trl import GRPOConfig, GRPOTrainer

from harness.judge import Judge
from harness.load import load_method
from harness.policy import load_policy
from harness.rollouts import RolloutEngine
from harness.suites.micro import MicroSuite
from harness.trainer import CreditGRPOTrainer

UPDATES = 2
CONTESTANTS = ("stock TRL", "grpo", "lampo", "delta")


@dataclass
class Options:
    """What can be set on the command line."""

    rounds: int = 5
    steps: int = 4
    threads: int = 1
    prompts: int = 16
    completions: int = 8
    max_tokens: int = 64


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


def run_round(contestant: str, options: Options) -> tuple[list[float], float]:
    """Train from the same weights for `options.steps` steps after one to warm up.

    Returns the seconds of each step, and the share of all of them spent on credit.
    """
    policy, suite = load_policy("micro", "micro"), MicroSuite()
    problems = list(islice(suite.training(seed=0), (options.steps + 1) * options.prompts))
    judge = Judge(suite, problems, policy)
    watch = Stopwatch()
    with tempfile.TemporaryDirectory() as folder, warnings.catch_warnings():
        warnings.simplefilter("ignore")
        args = GRPOConfig(
            output_dir=folder,
            per_device_train_batch_size=options.prompts * options.completions // UPDATES,
            steps_per_generation=UPDATES,
            num_generations=options.completions,
            max_steps=(options.steps + 1) * UPDATES,
            max_completion_length=options.max_tokens,
            learning_rate=1e-4,
            shuffle_dataset=False,
            gradient_checkpointing=False,
            bf16=False,
            logging_steps=UPDATES,
            save_strategy="no",
            report_to="none",
            disable_tqdm=True,
            loss_type="grpo",
        )
        shared = {
            "args": args,
            "train_dataset": Dataset.from_dict(
                {"prompt": [p.prompt for p in problems], "problem": range(len(problems))}
            ),
            "processing_class": policy.tokenizer,
            "callbacks": [watch],
        }
        if contestant == "stock TRL":
            trainer = GRPOTrainer(policy.model, judge.reward, **shared)
        else:
            trainer = CreditGRPOTrainer(
                policy.model,
                judge.reward,
                method=load_method(contestant, ["surrogate=ppo_clip"]),
                engine=RolloutEngine(policy.model, policy.tokenizer, seed=0),
                **shared,
            )
        trainer.remove_callback(transformers.PrinterCallback)
        trainer.train()
    credit = trainer.seconds["credit"] if contestant != "stock TRL" else 0.0
    return watch.seconds[1:], credit / sum(watch.seconds)


def main(arguments: list[str]) -> None:
    """Run the contestants in alternation and print medians, the ratio and the shares of credit."""
    options = OmegaConf.to_object(
        OmegaConf.merge(OmegaConf.structured(Options), OmegaConf.from_cli(arguments))
    )
    torch.set_num_threads(options.threads)
    transformers.utils.logging.set_verbosity_error()
    transformers.utils.logging.disable_progress_bar()
    seconds: dict[str, list[float]] = defaultdict(list)
    credit: dict[str, list[float]] = defaultdict(list)
    ratios: list[float] = []
    for number in range(1, options.rounds + 1):
        for contestant in CONTESTANTS:
            measured, share = run_round(contestant, options)
            seconds[contestant] += measured
            credit[contestant].append(share)
        latest = {c: statistics.median(seconds[c][-options.steps :]) for c in ("stock TRL", "grpo")}
        ratios.append(latest["stock TRL"] / latest["grpo"])
        print(f"round {number}/{options.rounds}: stock TRL takes {ratios[-1]:.2f} × grpo's time", flush=True)
    print(
        f"\n{options.prompts}×{options.completions} completions, {UPDATES} updates a step, "
        f"{options.threads} thread(s), {options.rounds} rounds of {options.steps} steps\n"
    )
    print(
        "| contestant | median s/step | min | max | × grpo | credit, % of step |\n|---|--:|--:|--:|--:|--:|"
    )
    grpo = statistics.median(seconds["grpo"])
    for contestant in CONTESTANTS:
        times = seconds[contestant]
        share = f"{100 * statistics.median(credit[contestant]):.2f}" if contestant != "stock TRL" else "–"
        median = statistics.median(times)
        print(
            f"| {contestant} | {median:.3f} | {min(times):.3f} | {max(times):.3f} | {median / grpo:.2f} | {share} |"
        )
    print(
        f"\nstock TRL / grpo, median over rounds: {statistics.median(ratios):.2f} "
        f"(lowest {min(ratios):.2f}, highest {max(ratios):.2f})"
    )

"""Training steps of stock TRL and of the harness from the same start: how long they take, and their gradients."""

from __future__ import annotations

import gc
import os
import tempfile
import time
import warnings
from collections.abc import Callable
from dataclasses import dataclass, replace

os.environ.setdefault("TRL_EXPERIMENTAL_SILENCE", "1")

import numpy as np
import torch
import transformers
from datasets import Dataset
from torch import Tensor
from trl import GRPOConfig, GRPOTrainer

from harness.bench.phases import PHASES, Phases
from harness.judge import Judge
from harness.load import load_method
from harness.policy import Policy
from harness.rollouts import RolloutEngine
from harness.suites import Problem, Suite
from harness.trainer import CreditGRPOTrainer

UPDATES = 2
STOCK, CHECKPOINTING, CAST_ONCE = "stock_trl", "stock_trl_checkpointing", "stock_trl_cast_once"
STOCKS = (STOCK, CHECKPOINTING, CAST_ONCE)


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
    seed: int = 0


@dataclass(frozen=True)
class Round:
    """What a contestant's steps took, the first one (to warm up) aside.

    seconds: of each step; phases: of a step by name, mean; tokens: mean length of a completion; uniform: share of
    groups whose rewards are all equal, which have no credit.
    """

    seconds: list[float]
    phases: dict[str, float]
    tokens: float
    uniform: float


class Stopwatch(transformers.TrainerCallback):
    """Seconds of every step (one rollout batch with its updates) after the first, which is to warm up."""

    def __init__(self, phases: Phases) -> None:
        self.seconds: list[float] = []
        self.phases = phases

    def on_step_begin(self, args, state, control, **_):
        if state.global_step == UPDATES:
            self.phases.seconds.clear()
        if state.global_step % UPDATES == 0:
            self.start = time.perf_counter()

    def on_step_end(self, args, state, control, **_):
        if state.global_step % UPDATES == 0 and state.global_step > UPDATES:
            self.seconds.append(time.perf_counter() - self.start)


def run_round(contestant: str, setting: Setting, steps: int) -> Round:
    """Train the setting's policy, which is changed by it, for `steps` steps after one to warm up."""
    gc.collect()  # what the contestant before this one has left is not to be cleared up on this one's time
    phases = Phases()
    watch = Stopwatch(phases)
    with tempfile.TemporaryDirectory() as folder, warnings.catch_warnings():
        warnings.simplefilter("ignore")
        trainer = _trainer(contestant, setting, folder, max_steps=(steps + 1) * UPDATES)
        trainer.add_callback(watch)
        phases.watch(trainer)
        trainer.train()
    # the optimiser's step is outside of `training_step`
    phases.seconds["other"] += sum(watch.seconds) - sum(phases.seconds.values())
    logs = [log for log in trainer.state.log_history if "frac_reward_zero_std" in log][1:]
    means = (float(np.mean([log[key] for log in logs])) for key in ("completions/mean_length", "frac_reward_zero_std"))
    return Round(watch.seconds, {name: phases.seconds[name] / steps for name in PHASES}, *means)


def gradient_distances(setting: Callable[[], Setting]) -> dict[str, float]:
    """Of the first update, before clipping, from the same completions: the gradient's relative L2 distance to that of
    stock TRL in float32. The harness's (`grpo`), and in bfloat16 stock TRL's own. `setting` gives fresh weights.
    """
    own = setting()
    completions: list[list[int]] = []

    def same_completions(prompts: list, trainer: GRPOTrainer) -> dict:
        return {"prompt_ids": trainer._tokenize_prompts(prompts)[0], "completion_ids": completions, "logprobs": None}

    ours, sampler = _first_gradient("grpo", own)
    completions += sampler.rollouts.ids()
    found = {"grpo": ours}
    if own.policy.autocast:
        found[STOCK], _ = _first_gradient(STOCK, setting(), rollout_func=same_completions)
    plain = setting()
    plain = replace(plain, policy=replace(plain.policy, autocast=False))
    exact, _ = _first_gradient(STOCK, plain, rollout_func=same_completions)
    return {name: ((gradient - exact).norm() / exact.norm()).item() for name, gradient in found.items()}


def _first_gradient(contestant: str, setting: Setting, **named) -> tuple[Tensor, GRPOTrainer]:
    kept: list[Tensor] = []

    class Keep(transformers.TrainerCallback):
        def on_pre_optimizer_step(self, args, state, control, model=None, **_):
            kept.append(torch.cat([p.grad.double().flatten() for p in model.parameters() if p.grad is not None]))

    with tempfile.TemporaryDirectory() as folder, warnings.catch_warnings():
        warnings.simplefilter("ignore")
        trainer = _trainer(contestant, setting, folder, max_steps=1, max_grad_norm=0.0, **named)
        trainer.add_callback(Keep())
        trainer.train()
    [gradient] = kept
    return gradient, trainer


def _trainer(
    contestant: str, setting: Setting, folder: str, max_steps: int, max_grad_norm: float = 1.0, **named
) -> GRPOTrainer:
    policy, judge = setting.policy, Judge(setting.suite, setting.problems, setting.policy)
    args = GRPOConfig(
        output_dir=folder,
        seed=setting.seed,
        per_device_train_batch_size=setting.prompts * setting.completions // UPDATES,
        steps_per_generation=UPDATES,
        num_generations=setting.completions,
        max_steps=max_steps,
        max_completion_length=setting.max_tokens,
        learning_rate=setting.learning_rate,
        max_grad_norm=max_grad_norm,
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
    prompts = [policy.message(problem.prompt) for problem in setting.problems]
    shared = {
        "args": args,
        "train_dataset": Dataset.from_dict({"prompt": prompts, "problem": range(len(prompts))}),
        "processing_class": policy.tokenizer,
    }
    if contestant in STOCKS:
        trainer = GRPOTrainer(policy.model, judge.reward, **shared, **named)
    else:
        engine = RolloutEngine(policy.model, policy.tokenizer, seed=setting.seed, autocast=policy.autocast)
        method = load_method(contestant, ["surrogate=ppo_clip"])
        trainer = CreditGRPOTrainer(policy.model, judge.reward, method=method, engine=engine, **shared)
    if contestant == CAST_ONCE:
        generate = trainer._generate

        def cast_once(*arguments, **also):  # an outer autocast keeps the weights that inner ones have cast
            with torch.autocast(trainer.accelerator.device.type, torch.bfloat16, enabled=policy.autocast):
                return generate(*arguments, **also)

        trainer._generate = cast_once
    trainer.remove_callback(transformers.PrinterCallback)
    return trainer

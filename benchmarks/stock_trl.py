"""One run as a script around stock TRL: what the harness's sweep is compared with in speed (`harness.bench sweep`).

    python benchmarks/stock_trl.py grpo 0 --steps 8

A method that TRL has itself, as such scripts are written: TRL's trainer, its own generation, one process a run,
the base policy, learning curve and end point evaluated by `model.generate`. Problems, rewards, base policy, batch,
updates and evaluations are those of `python -m harness method=<method> seed=<seed>` with one temperature, which also
keeps completions and a checkpoint; the harness's library gives problems and verdicts, nothing else. Prints one line of
JSON.
"""

from __future__ import annotations

import argparse
import itertools
import json
import tempfile
import time
import warnings

import torch
import transformers
from datasets import Dataset
from trl import GRPOConfig, GRPOTrainer

from harness.judge import Judge
from harness.policy import load_policy
from harness.suites.micro import MicroSuite

METHODS = {  # the settings of the presets of the same names
    "grpo": {"loss_type": "grpo", "epsilon": 0.2},
    "dr_grpo": {"loss_type": "dr_grpo", "epsilon": 0.2, "scale_rewards": "none"},
    "cispo": {"loss_type": "cispo", "epsilon_high": 5.0},
    "sapo": {"loss_type": "sapo", "sapo_temperature_pos": 1.0, "sapo_temperature_neg": 1.05},
}
PROMPTS, GROUP, UPDATES, TOKENS = 12, 8, 2, 64


def accuracy(policy, suite, problems, samples: int, temperature: float) -> float:
    """Mean accuracy of sampled completions, or of greedy ones at temperature 0."""
    asked = [problem for problem in problems for _ in range(samples)]
    tokenizer, right = policy.tokenizer, 0
    how = {"do_sample": temperature > 0, **({"temperature": temperature} if temperature else {})}
    for start in range(0, len(asked), 512):
        own = asked[start : start + 512]
        batch = tokenizer([problem.prompt for problem in own], return_tensors="pt", padding=True)
        with torch.no_grad():
            ids = policy.model.generate(**batch, **how, max_new_tokens=TOKENS, pad_token_id=tokenizer.pad_token_id)
        texts = tokenizer.batch_decode(ids[:, batch["input_ids"].shape[1] :], skip_special_tokens=True)
        right += sum(bool(verdict.correct) for verdict in suite.judge(own, texts))
    return right / len(asked)


class Curve(transformers.TrainerCallback):
    """Accuracy every so many steps, and at the end."""

    def __init__(self, evaluate, every: int) -> None:
        self.evaluate, self.every, self.points = evaluate, every, {0: evaluate("curve")}

    def on_step_end(self, args, state, control, model=None, **_):
        step, within = divmod(state.global_step, UPDATES)
        if within == 0 and step % self.every == 0:
            model.eval()
            self.points[step] = self.evaluate("curve")
            model.train()


def main() -> None:
    options = argparse.ArgumentParser()
    options.add_argument("method", choices=METHODS)
    options.add_argument("seed", type=int)
    for name, value in {"steps": 60, "every": 6, "curve": 24, "validation": 24, "test": 64, "threads": 2}.items():
        options.add_argument(f"--{name}", type=int, default=value)
    given = options.parse_args()
    start = time.perf_counter()
    warnings.simplefilter("ignore")
    transformers.utils.logging.set_verbosity_error()
    transformers.utils.logging.disable_progress_bar()
    torch.set_num_threads(given.threads)
    transformers.set_seed(given.seed)
    policy, suite = load_policy("micro", "micro"), MicroSuite()
    problems = list(itertools.islice(suite.training(given.seed), given.steps * PROMPTS))
    sets = {split: suite.evaluation(split, getattr(given, split)) for split in ("curve", "validation", "test")}

    def evaluate(split: str, temperature: float = 1.0, samples: int = 4) -> float:
        return accuracy(policy, suite, sets[split], samples, temperature)

    base = {"validation": evaluate("validation"), "test": evaluate("test"), "greedy": evaluate("test", 0.0, 1)}
    curve = Curve(evaluate, given.every)
    with tempfile.TemporaryDirectory() as folder:
        args = GRPOConfig(
            output_dir=folder, seed=given.seed, per_device_train_batch_size=PROMPTS * GROUP // UPDATES,
            steps_per_generation=UPDATES, num_generations=GROUP, max_steps=given.steps * UPDATES,
            max_completion_length=TOKENS, learning_rate=1.5e-4, lr_scheduler_type="constant", shuffle_dataset=False,
            gradient_checkpointing=False, bf16=False, use_cpu=True, logging_steps=UPDATES, report_to="none",
            save_strategy="no", disable_tqdm=True, dataloader_pin_memory=False, **METHODS[given.method],
        )  # fmt: skip
        data = Dataset.from_dict({"prompt": [p.prompt for p in problems], "problem": range(len(problems))})
        trainer = GRPOTrainer(
            policy.model, Judge(suite, problems, policy).reward, args, train_dataset=data,
            processing_class=policy.tokenizer, callbacks=[curve],
        )  # fmt: skip
        trainer.remove_callback(transformers.PrinterCallback)
        trainer.train()
    policy.model.eval()
    evaluate("validation")
    found = {"base": base, "test": evaluate("test"), "greedy": evaluate("test", 0.0, 1), "curve": curve.points}
    print(json.dumps({"method": given.method, "seed": given.seed, **found, "seconds": time.perf_counter() - start}))


if __name__ == "__main__":
    main()

"""Two updates of a method by one process, or by several under `accelerate launch`: data_parallel.py OUT KIND.

Run by test_data_parallel.py. OUT: where rank 0 writes the first batch's credit and completions and the final weights;
KIND: a loss type, or "straddling" for a batch whose groups would lie on two processes.
"""

import os
import sys

import torch
import transformers
from datasets import Dataset
from safetensors.torch import save_file
from trl import GRPOConfig

from harness import CreditGRPOTrainer, load_method
from harness.rollouts import RolloutEngine
from tests.harness.conftest import make_policy

GROUP, PROMPTS = 4, ["1+2?", "7*8-3?", "1+2?", "9-4?"]  # one prompt twice: its groups lie on different processes


def digits(prompts, completions, **_):
    """One prompt's group has no differences, so that only one process has rows without credit."""
    shares = [sum(c in "01234" for c in text) / max(1, len(text)) for text in completions]
    return [0.5 if prompt.startswith("9") else share for prompt, share in zip(prompts, shares, strict=True)]


class LastCredit(transformers.TrainerCallback):
    """Completions and credit of every batch, which all processes have alike."""

    seen: dict[str, torch.Tensor]

    def on_step_end(self, args, state, control, **_):
        if state.global_step == 1:
            ids = self.trainer.gathered(self.trainer.rollouts.completion_ids)
            count = torch.tensor([self.trainer.accelerator.num_processes])
            self.seen = {"credit": self.trainer.credited[1].values, "ids": ids, "processes": count}


def main(out: str, kind: str) -> None:
    transformers.set_seed(0)
    processes = int(os.environ.get("WORLD_SIZE", 1))
    rows = GROUP * len(PROMPTS) // processes - 2 * (kind == "straddling")
    policy = make_policy()
    args = GRPOConfig(
        out + ".run", per_device_train_batch_size=rows, num_generations=GROUP, max_steps=2, max_completion_length=12,
        learning_rate=0.3, shuffle_dataset=False, bf16=False, use_cpu=True, report_to="none", save_strategy="no",
        gradient_checkpointing=False, optim="sgd", max_grad_norm=1e9, disable_tqdm=True, lr_scheduler_type="constant",
        loss_type="grpo" if kind == "straddling" else kind, dataloader_pin_memory=False,
    )  # fmt: skip
    seen = LastCredit()
    trainer = CreditGRPOTrainer(
        policy.model, digits, args, method=load_method("lampo_delta", [f"surrogate.loss_type={args.loss_type}"]),
        engine=RolloutEngine(policy.model, policy.tokenizer, seed=0), callbacks=[seen],
        train_dataset=Dataset.from_dict({"prompt": PROMPTS * 2}), processing_class=policy.tokenizer,
    )  # fmt: skip
    seen.trainer = trainer
    trainer.train()
    if trainer.accelerator.is_main_process:
        weights = {f"weights.{name}": p.detach() for name, p in policy.model.named_parameters()}
        save_file({k: v.contiguous() for k, v in (seen.seen | weights).items()}, out)


if __name__ == "__main__":
    main(*sys.argv[1:])

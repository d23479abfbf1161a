"""Make the embedded base policy: a small Qwen3-architecture character model, imitation-trained on
flawed demonstrations of the micro suite.

    python -m harness.pretrain                              # the shipped weights
    python -m harness.pretrain seed=1 out=policies/seed-1   # another base policy

Left out on purpose: no validation set and no early stopping (the demonstrations are endless, so
nothing is seen twice), and no curriculum: horizons and levels alternate from the first step.
"""

from __future__ import annotations

import json
import math
import sys
import time
from dataclasses import asdict, dataclass
from pathlib import Path
from random import Random

import torch
from omegaconf import OmegaConf
from tokenizers import Regex, Tokenizer, decoders, models, pre_tokenizers
from transformers import PreTrainedTokenizerFast, Qwen3Config, Qwen3ForCausalLM

from harness.suites.micro import DOMAINS, SPLIT_PERCENT, alphabet, demonstration, make_problem

PAD, EOS = "<pad>", "<eos>"


@dataclass
class Pretraining:
    """What can be set on the command line, as `key=value`."""

    seed: int = 0
    out: str = "harness/assets/micro"
    steps: int = 2500
    tokens_per_step: int = 6144
    learning_rate: float = 3e-3
    slip: float = 0.02
    horizons: tuple[int, ...] = (1, 2, 4)
    level_two: float = 0.1  # share of problems at level 2
    hidden: int = 96
    layers: int = 3
    heads: int = 4
    intermediate: int = 256
    max_positions: int = 512
    threads: int = 1


def character_tokenizer() -> PreTrainedTokenizerFast:
    """One token per character of the suite's alphabet, plus padding and end of sequence."""
    vocabulary = {token: i for i, token in enumerate([PAD, EOS, *alphabet()])}
    tokenizer = Tokenizer(models.WordLevel(vocabulary, unk_token=PAD))
    tokenizer.pre_tokenizer = pre_tokenizers.Split(Regex("."), behavior="isolated")
    tokenizer.decoder = decoders.Fuse()
    return PreTrainedTokenizerFast(
        tokenizer_object=tokenizer, pad_token=PAD, eos_token=EOS, padding_side="left", truncation_side="left"
    )


def demonstrations(config: Pretraining, rng: Random, tokens: int) -> list[tuple[str, str]]:
    """Prompt and flawed solution, of training problems only, until about `tokens` tokens are together.

    All are of one horizon and level, so that rows are of similar length and little is padding.
    """
    pairs, total = [], 0
    low, high = SPLIT_PERCENT["train"]
    horizon, level = rng.choice(config.horizons), 2 if rng.random() < config.level_two else 1
    while total < tokens:
        problem = make_problem(rng.choice(list(DOMAINS)), horizon, level, rng)
        if not low <= int(problem.hash, 16) % 100 < high:
            continue
        pairs.append((problem.prompt, demonstration(problem, rng, config.slip)))
        total += len(problem.prompt) + len(pairs[-1][1]) + 1
    return pairs


def collate(tokenizer: PreTrainedTokenizerFast, pairs: list[tuple[str, str]]) -> dict[str, torch.Tensor]:
    """Right-padded ids `(B, T)`, mask, and labels on the solution and its end only."""
    prompts = tokenizer([p for p, _ in pairs])["input_ids"]
    solutions = tokenizer([s for _, s in pairs])["input_ids"]
    rows = [p + s + [tokenizer.eos_token_id] for p, s in zip(prompts, solutions, strict=True)]
    width = max(map(len, rows))
    ids = torch.full((len(rows), width), tokenizer.pad_token_id)
    labels = torch.full((len(rows), width), -100)
    for i, (row, prompt) in enumerate(zip(rows, prompts, strict=True)):
        ids[i, : len(row)] = torch.tensor(row)
        labels[i, len(prompt) : len(row)] = torch.tensor(row[len(prompt) :])
    return {"input_ids": ids, "attention_mask": (ids != tokenizer.pad_token_id).long(), "labels": labels}


def pretrain(config: Pretraining) -> None:
    """Train by next-token prediction and write model, tokenizer and the command to `config.out`."""
    torch.set_num_threads(config.threads)
    torch.manual_seed(config.seed)
    rng = Random(f"pretrain/{config.seed}")
    tokenizer = character_tokenizer()
    model = Qwen3ForCausalLM(
        Qwen3Config(
            vocab_size=len(tokenizer),
            hidden_size=config.hidden,
            intermediate_size=config.intermediate,
            num_hidden_layers=config.layers,
            num_attention_heads=config.heads,
            num_key_value_heads=config.heads,
            head_dim=config.hidden // config.heads,
            max_position_embeddings=config.max_positions,
            tie_word_embeddings=True,
            initializer_range=0.05,
            pad_token_id=tokenizer.pad_token_id,
            eos_token_id=tokenizer.eos_token_id,
            bos_token_id=None,
        )
    )
    parameters = sum(p.numel() for p in model.parameters())
    print(f"{parameters:,} parameters, {len(tokenizer)} tokens, {config.steps} steps", flush=True)
    optimizer = torch.optim.AdamW(
        model.parameters(), lr=config.learning_rate, weight_decay=0.01, betas=(0.9, 0.98)
    )
    warmup = 100
    schedule = torch.optim.lr_scheduler.LambdaLR(
        optimizer,
        lambda step: min(1.0, (step + 1) / warmup) * (0.5 + 0.5 * math.cos(math.pi * step / config.steps)),
    )
    start = time.perf_counter()
    for step in range(1, config.steps + 1):
        batch = collate(tokenizer, demonstrations(config, rng, config.tokens_per_step))
        loss = model(**batch).loss
        loss.backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()
        schedule.step()
        optimizer.zero_grad()
        if step % 100 == 0 or step == config.steps:
            elapsed = time.perf_counter() - start
            left = elapsed / step * (config.steps - step)
            print(f"step {step}/{config.steps}  loss {loss.item():.4f}  {left:.0f} s left", flush=True)
    out = Path(config.out)
    model.save_pretrained(out)
    tokenizer.save_pretrained(out)
    chosen = [argument for argument in sys.argv[1:] if not argument.startswith("out=")]
    record = {"command": " ".join(["python -m harness.pretrain", *chosen]), **asdict(config)}
    del record["out"]
    record |= {"torch": torch.__version__, "parameters": parameters, "final_loss": round(loss.item(), 4)}
    (out / "pretrain.json").write_text(json.dumps(record, indent=2) + "\n")
    print(f"written to {out}")


def main(arguments: list[str]) -> None:
    """Parse `key=value` arguments and pretrain."""
    if {"-h", "--help"} & set(arguments):
        print(__doc__)
        print(OmegaConf.to_yaml(OmegaConf.structured(Pretraining)))
        return
    config = OmegaConf.merge(OmegaConf.structured(Pretraining), OmegaConf.from_cli(arguments))
    pretrain(OmegaConf.to_object(config))


if __name__ == "__main__":
    main(sys.argv[1:])

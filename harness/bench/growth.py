"""How a training step's time grows with the group, the length of completions and the size of the model.

    python -m harness.bench growth [rounds=7] [steps=2] [threads=1] [out=results/growth]

One of the three is varied at a time, the others stay at 8 completions of each of 8 prompts, at most 64 tokens, and a
hidden size of 96. The policies are random and the reward is the share of the digits 0 to 4 in a completion: so lengths
vary, groups have both good and bad completions, and nothing depends on what a small model has learnt. A random policy
ends of itself sooner or later: the limit is varied, and the mean length that comes of it is what is drawn. GRPO by the
harness and by stock TRL (without gradient checkpointing) take turns, each first in every other round. Prints medians
and the exponents of a power law fitted to them; writes growth.png, .svg and .csv.
"""

from __future__ import annotations

import statistics
import sys
from dataclasses import dataclass
from itertools import islice
from pathlib import Path

import matplotlib
import numpy as np
import pandas as pd
import torch
import transformers
from matplotlib.axis import Axis
from matplotlib.figure import Figure
from matplotlib.ticker import FixedLocator, FuncFormatter, NullLocator
from omegaconf import OmegaConf
from transformers import Qwen3Config, Qwen3ForCausalLM

from harness.bench.contest import STOCK, Setting, run_round
from harness.compare.plots import COLOURS, STYLE, save
from harness.markdown import table
from harness.policy import Policy
from harness.pretrain import character_tokenizer
from harness.suites import Problem, Verdict
from harness.suites.micro import MicroSuite

PROMPTS = 8
VARIED = {  # what is varied: what is on the axis (`_axis`), and values
    "completions": ("group size G", (4, 8, 16, 32)),
    "max_tokens": ("mean length, tokens", (16, 32, 64, 128)),
    "hidden": ("parameters", (64, 96, 192, 384)),
}
USUAL = {"completions": 8, "max_tokens": 64, "hidden": 96}
CONTESTANTS = (STOCK, "grpo")


@dataclass
class Options:
    """What can be set on the command line."""

    rounds: int = 7
    steps: int = 2
    threads: int = 1
    out: str = "results/growth"


class Digits(MicroSuite):
    """The micro suite's problems with a reward that a random policy earns in part."""

    def verify(self, problem: Problem, completion: str) -> Verdict:
        share = sum(letter in "01234" for letter in completion) / max(1, len(completion))
        return Verdict(share, share > 0.3, completion)


def setting(completions: int, max_tokens: int, hidden: int, steps: int, seed: int) -> Setting:
    """A random policy of this hidden size (three layers, heads of 24) before a batch of this size."""
    tokenizer = character_tokenizer()
    with torch.random.fork_rng():
        torch.manual_seed(0)
        model = Qwen3ForCausalLM(
            Qwen3Config(
                vocab_size=len(tokenizer), hidden_size=hidden, intermediate_size=3 * hidden, num_hidden_layers=3,
                num_attention_heads=hidden // 24 or 1, num_key_value_heads=hidden // 24 or 1, head_dim=24,
                max_position_embeddings=512, tie_word_embeddings=True, pad_token_id=tokenizer.pad_token_id,
                eos_token_id=tokenizer.eos_token_id, bos_token_id=None,
            )
        )  # fmt: skip
    suite = Digits()
    problems = list(islice(suite.training(seed), (steps + 1) * PROMPTS))
    policy = Policy("random", model.eval(), tokenizer)
    return Setting(policy, suite, problems, PROMPTS, completions, max_tokens, 1e-4, seed)


def measured(options: Options) -> pd.DataFrame:
    """Rows varied, value, parameters, contestant, seconds (the median of a round's steps), tokens, round."""
    rows = []
    for number in range(options.rounds):
        for varied, (_, values) in VARIED.items():
            for value in values:
                sizes = USUAL | {varied: value}
                for contestant in CONTESTANTS[:: -1 if number % 2 else 1]:
                    own = setting(**sizes, steps=options.steps, seed=number)
                    parameters = sum(p.numel() for p in own.policy.model.parameters())
                    one = run_round(contestant, own, options.steps)
                    seconds = statistics.median(one.seconds)
                    rows.append((varied, value, parameters, contestant, seconds, one.tokens, number))
        print(f"round {number + 1}/{options.rounds}", file=sys.stderr, flush=True)
    return pd.DataFrame(rows, columns=["varied", "value", "parameters", "contestant", "seconds", "tokens", "round"])


def _axis(varied: str, own: pd.DataFrame) -> pd.Series:
    """What a setting's times are drawn over."""
    return own[{"completions": "value", "max_tokens": "tokens", "hidden": "parameters"}[varied]]


def main(arguments: list[str]) -> int:
    options = OmegaConf.to_object(
        OmegaConf.merge(OmegaConf.structured(Options), OmegaConf.from_cli(arguments))
    )
    torch.set_num_threads(options.threads)
    transformers.utils.logging.set_verbosity_error()
    transformers.utils.logging.disable_progress_bar()
    frame = measured(options)
    keys = ["varied", "value", "parameters", "contestant"]
    measures = {"seconds": "median", "tokens": "mean"}
    medians = frame.groupby(keys, sort=False, as_index=False).agg(measures)
    wide = medians.pivot(index=keys[:3], columns="contestant", values=[*measures]).reset_index()
    wide = wide.set_index("varied").loc[list(VARIED)].reset_index()
    rows = [
        (
            one["varied", ""], f"{one['parameters', '']:,}" if one["varied", ""] == "hidden" else str(one["value", ""]),
            *(f"{one['tokens', c]:.0f}" for c in CONTESTANTS), *(f"{one['seconds', c]:.3f}" for c in CONTESTANTS),
            f"{one['seconds', STOCK] / one['seconds', 'grpo']:.2f}",
        )
        for _, one in wide.iterrows()
    ]  # fmt: skip
    head = ("varied", "value", *(f"{c}, tokens" for c in CONTESTANTS), *(f"{c}, s/step" for c in CONTESTANTS))
    print(table((*head, "stock / grpo"), rows))
    for varied, (name, _) in VARIED.items():
        exponents = []
        for contestant in CONTESTANTS:
            own = medians[(medians["varied"] == varied) & (medians["contestant"] == contestant)]
            exponents.append(np.polyfit(np.log(_axis(varied, own).astype(float)), np.log(own["seconds"]), 1)[0])
        said = ", ".join(f"{c} {value:.2f}" for c, value in zip(CONTESTANTS, exponents, strict=True))
        print(f"exponent of {name}: {said}")
    Path(options.out).mkdir(parents=True, exist_ok=True)
    for path in save(_figure(medians), frame, Path(options.out), "growth"):
        print(path)
    return 0


def _figure(medians: pd.DataFrame) -> Figure:
    with matplotlib.rc_context(STYLE):
        figure = Figure(figsize=(7.5, 2.8), layout="constrained")
        for ax, (varied, (name, _)) in zip(figure.subplots(1, 3, sharey=True), VARIED.items(), strict=True):
            for contestant, colour in zip(CONTESTANTS, COLOURS, strict=False):
                own = medians[(medians["varied"] == varied) & (medians["contestant"] == contestant)]
                ax.plot(_axis(varied, own), own["seconds"], color=colour, marker="o", markersize=3, label=contestant)
            ax.set_xscale("log")
            ax.set_yscale("log")
            ax.set_xlabel(name)
            seen = medians[medians["varied"] == varied]
            _ticks(ax.xaxis, _axis(varied, seen), at_most=5)
        _ticks(ax.yaxis, medians["seconds"], at_most=8)
        figure.axes[0].set_ylabel("seconds a step")
        figure.axes[0].legend()
    return figure


def _ticks(axis: Axis, values: pd.Series, at_most: int) -> None:
    """Powers of two over the range of the values, as plain numbers."""
    powers = np.arange(np.floor(np.log2(values.min())), np.ceil(np.log2(values.max())) + 1)
    axis.set_major_locator(FixedLocator(2.0 ** powers[:: int(np.ceil(len(powers) / at_most))]))
    axis.set_major_formatter(FuncFormatter(lambda value, _: f"{value / 1e6:.2g} M" if value > 1e4 else f"{value:.3g}"))
    axis.set_minor_locator(NullLocator())

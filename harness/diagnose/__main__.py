"""Measure the token credit of methods against its true value, on the same rollouts of a frozen policy.

    python -m harness.diagnose methods=[grpo,lampo,delta,oracle] suite.horizon=1
    python -m harness.diagnose methods=[grpo,delta] checkpoint=results/late/grpo-1a2b/seed-0/checkpoint/checkpoint-60

Nothing is trained. The policy completes a set of training problems; every prefix of every completion is valued by
continuations (harness/diagnose/truth.py), so that the worth of each token is known up to a stated error; then every
method gives its credit to the same completions and is scored (harness/diagnose/fidelity.py says how).

    methods=[NAMES]        presets. Default: [grpo,lampo,delta,lampo_delta,oracle,random_advantage]
    prompts=64             training problems, the domains in turn
    completions=8          of each; a group
    continuations=32       of each prefix, an even number: two halves
    prompts_per_batch=8    what a method sees at once (DelTA's centroids are those of a batch); divides prompts
    seeds=1                repetitions: seed, seed + 1, …, each with problems, rollouts and continuations of its own;
                           from two on every interval is over seeds
    reinforce=128          further training problems, for the large-sample REINFORCE gradient
    warm_up=128            further training problems, which a method that learns (a critic, a reward model) sees first
    held_out=24            problems of each domain's curve split, on which a small step is tried
    step_length=0.1        of that step: the Euclidean norm of the change of all parameters
    gradients=true         false: leave out what takes gradients of the whole policy, as for a large one
    checkpoint=FOLDER      weights to diagnose in place of the policy's own: a run's checkpoint/checkpoint-<updates>, of
                           which a run keeps all with trainer.checkpoints_kept=0
    out=FOLDER             default: <results_dir>/diagnosis/<policy>-<hash of weights and settings>

Everything else is a key or group of `python -m harness` (its --help lists them), such as suite.horizon=1, policy=hf,
trainer.temperature=0.7, seed=3 (the first seed of rollouts, continuations and the order of problems; for a checkpoint
not the one that it was trained on).

Writes to the folder, one line a prompt as it goes: seed-<n>/truth.jsonl; at the end fidelity.csv, credit.jsonl,
diagnosis.md, diagnosis.html and heatmap_<n>.png/.svg/.csv, and interaction.csv where the methods hold a 2×2 of two
advantages and two weightings. The same command goes on where it was interrupted. The number of continuations is printed
before they are sampled. Exit codes: 0 written, 1 the verifier failed too often, 2 refused.
"""

from __future__ import annotations

import hashlib
import json
import shlex
import sys
import warnings
from collections.abc import Sequence
from dataclasses import dataclass, field, fields
from pathlib import Path
from typing import Any

import torch
import transformers
from hydra.utils import instantiate
from omegaconf import DictConfig, OmegaConf
from omegaconf.errors import OmegaConfBaseException

from harness.check import check, check_parts
from harness.compose import composer
from harness.diagnose import report
from harness.diagnose.kept import read_config
from harness.diagnose.look import Sizes, begin, measure
from harness.errors import ConfigError, RunFailed
from harness.evaluation import BadVerdict, TooManyVerifierErrors
from harness.policy import Policy
from harness.run import seed_everything

CONFIG = "diagnosis.json"
OWN = {  # keys of the harness that this command sets itself
    "method": "methods=[…]", "method.dynamic_sampling": "no fresh prompts", "trainer.updates_per_step": "no updates",
    "trainer.prompts_per_step": "prompts_per_batch=", "trainer.completions_per_prompt": "completions=",
}  # fmt: skip


@dataclass
class Options:
    """The command line, as described at the top of this file."""

    methods: list[str] = field(
        default_factory=lambda: ["grpo", "lampo", "delta", "lampo_delta", "oracle", "random_advantage"]
    )
    prompts: int = 64
    completions: int = 8
    continuations: int = 32
    prompts_per_batch: int = 8
    seeds: int = 1
    reinforce: int = 128
    warm_up: int = 128
    held_out: int = 24
    step_length: float = 0.1
    gradients: bool = True
    checkpoint: str | None = None
    out: str | None = None


def parse(arguments: Sequence[str]) -> tuple[Options, list[str]]:
    """The command's own options, and overrides for the harness's configuration. Raises ConfigError."""
    names = [entry.name for entry in fields(Options)]
    own = [text for text in arguments if text.partition("=")[0] in names]
    try:
        merged = OmegaConf.merge(OmegaConf.structured(Options), OmegaConf.from_cli(own))
        options: Options = OmegaConf.to_object(merged)
    except OmegaConfBaseException as error:
        raise ConfigError(f"cannot read {' '.join(own)}: {str(error).splitlines()[0]}") from error
    least_of = {"prompts": 2, "completions": 2, "continuations": 2, "prompts_per_batch": 1, "seeds": 1, "warm_up": 0}
    for name, least in least_of.items():
        if getattr(options, name) < least:
            raise ConfigError(f"{name}={getattr(options, name)}: expected at least {least}")
    if options.continuations % 2:
        raise ConfigError(f"continuations={options.continuations}: expected an even number, for two halves")
    if options.prompts % options.prompts_per_batch:
        raise ConfigError(
            f"prompts_per_batch={options.prompts_per_batch} does not divide prompts={options.prompts}"
        )
    if options.gradients and min(options.prompts, options.reinforce) < 3 * options.prompts_per_batch:
        raise ConfigError("gradients take three batches: prompts and reinforce of 3·prompts_per_batch at least")
    if options.gradients and options.held_out < 1:
        raise ConfigError(f"held_out={options.held_out}: expected at least 1, or gradients=false")
    if not options.methods or len(set(options.methods)) < len(options.methods):
        raise ConfigError(f"methods={options.methods}: name each preset once, at least one")
    rest = [text for text in arguments if text not in own]
    for text in rest:
        if (key := text.partition("=")[0]) in OWN:
            raise ConfigError(f"{text}: give {OWN[key]} instead")
    overrides = [
        f"trainer.prompts_per_step={options.prompts_per_batch}",
        f"trainer.completions_per_prompt={options.completions}",
        "trainer.updates_per_step=1",
        *([f"policy.path={options.checkpoint}"] if options.checkpoint else []),
        *rest,
    ]
    return options, overrides


def refuse_seen(options: Options, seed: int) -> None:
    """Raise ConfigError if the checkpoint's run was trained on one of the seeds: on these very problems."""
    path = Path(options.checkpoint or "", "..", "..", "config.yaml").resolve()
    if options.checkpoint and path.is_file():
        own = read_config(path).get("seed")
        if own in range(seed, seed + options.seeds):
            raise ConfigError(
                f"checkpoint={options.checkpoint} was trained on seed {own}, whose problems it would be diagnosed on: "
                f"give another seed=, such as seed={own + 1000}"
            )


def configurations(options: Options, overrides: list[str]) -> dict[str, DictConfig]:
    """Name of a preset -> its checked configuration. Raises ConfigError."""
    found = {}
    with composer() as compose:
        for name in options.methods:
            found[name] = compose([f"method={name}", *overrides, "method.dynamic_sampling=0"])
    for cfg in found.values():
        check(cfg)
        check_parts(cfg, "method")
    if next(iter(found.values())).policy.get("lora"):
        raise ConfigError("policy.lora: a diagnosis takes copies of whole weights: merge the adapter, give checkpoint=")
    return found


def diagnose(options: Options, overrides: list[str], command: str) -> report.Written:
    """Draw, value, score and write."""
    cfgs = configurations(options, overrides)
    cfg = next(iter(cfgs.values()))
    refuse_seen(options, cfg.seed)
    torch.set_num_threads(cfg.trainer.threads)
    transformers.utils.logging.set_verbosity_error()
    transformers.utils.logging.disable_progress_bar()
    warnings.filterwarnings("ignore", message=".*gradient_checkpointing` is deprecated", category=FutureWarning)
    seed_everything(cfg.seed)
    policy: Policy = instantiate(cfg.policy)
    policy.model.to("cuda" if torch.cuda.is_available() else "cpu")
    suite = instantiate(cfg.suite, _convert_="all")
    settings = _settings(options, cfg, policy)
    folder = Path(options.out) if options.out else Path(cfg.results_dir, "diagnosis", _name(policy, settings))
    _claim(folder, settings)
    sizes = Sizes(
        prompts=options.prompts, completions=options.completions, continuations=options.continuations,
        prompts_per_batch=options.prompts_per_batch, reinforce=options.reinforce * options.gradients,
        warm_up=options.warm_up, held_out=options.held_out, step_length=options.step_length,
    )  # fmt: skip
    seeds = range(cfg.seed, cfg.seed + options.seeds)
    looks = [begin(seed, cfgs, policy, suite, sizes) for seed in seeds]
    tokens = sum(look.tokens for look in looks)
    tell(
        f"{'seeds' if options.seeds > 1 else 'seed'} {', '.join(map(str, seeds))}: {options.prompts} prompts × "
        f"{options.completions} completions, {tokens} tokens × {options.continuations} = "
        f"{tokens * options.continuations} continuations at most; one that runs through the completion is not sampled "
        "again"
    )
    for number, look in enumerate(looks, start=1):
        where = f"seed {look.seed} ({number}/{len(looks)}): " if len(looks) > 1 else ""
        own = folder / f"seed-{look.seed}"
        measure(look, policy, suite, sizes, own, lambda text, where=where: tell(where + text))
    return report.write(folder, looks, options.warm_up, command)


def tell(text: str) -> None:
    print(text, file=sys.stderr, flush=True)


def _settings(options: Options, cfg: DictConfig, policy: Policy) -> dict[str, Any]:
    """What decides rollouts and their true credit; methods and places may differ between commands."""
    trainer = {name: cfg.trainer[name] for name in ("temperature", "max_completion_tokens")}
    names = ("prompts", "completions", "continuations", "prompts_per_batch")
    own = {name: getattr(options, name) for name in names}
    suite = OmegaConf.to_container(cfg.suite, resolve=True)
    return {"policy": policy.hash, "suite": suite, "seed": cfg.seed, **trainer, **own}


def _name(policy: Policy, settings: dict[str, Any]) -> str:
    text = json.dumps(settings, sort_keys=True)
    return f"{policy.name}-{hashlib.sha256(text.encode()).hexdigest()[:8]}"


def _claim(folder: Path, settings: dict[str, Any]) -> None:
    """Make the folder, or refuse one that holds another diagnosis."""
    path = folder / CONFIG
    if path.exists():
        there = json.loads(path.read_text(encoding="utf-8"))
        if differing := sorted(key for key in settings if there.get(key) != settings[key]):
            raise ConfigError(f"{folder} holds a diagnosis with another {', '.join(differing)}: give another out=")
        return
    folder.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(settings, indent=2, sort_keys=True) + "\n", encoding="utf-8")


def main(arguments: Sequence[str] | None = None) -> int:
    arguments = sys.argv[1:] if arguments is None else list(arguments)
    if {"-h", "--help"} & set(arguments):
        print(__doc__)
        return 0
    try:
        options, overrides = parse(arguments)
        shown = shlex.join(text for text in arguments if not text.startswith("out="))
        written = diagnose(options, overrides, f"python -m harness.diagnose {shown}".strip())
    except ConfigError as error:
        print(f"harness.diagnose: {error}", file=sys.stderr)
        return 2
    except (RunFailed, BadVerdict, TooManyVerifierErrors) as error:
        print(f"harness.diagnose: {error}", file=sys.stderr)
        return 1
    print(written.table)
    print(f"\nwritten to {written.folder}: {', '.join(path.name for path in written.files)}")
    return 0


if __name__ == "__main__":
    sys.exit(main())

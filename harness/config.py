"""The configuration of a run: its schema, and its name on disk.

Values and their meaning stand in conf/*.yaml; here are the names, types and ranges they must keep.
"""

import hashlib
import json
import re
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import yaml
from hydra.core.config_store import ConfigStore
from hydra.core.hydra_config import HydraConfig
from hydra.core.override_parser.overrides_parser import OverridesParser
from omegaconf import DictConfig, ListConfig, OmegaConf
from omegaconf.errors import OmegaConfBaseException

from harness.errors import ConfigError
from harness.plaindata import check_nesting

_HERE = Path(__file__).resolve().parent
CONF = _HERE / "conf" if (_HERE / "conf").is_dir() else _HERE.parent / "conf"  # in a wheel | in a checkout

# Where and when a run is kept, not what it computes: no part of its label, free to differ when it is resumed.
HOUSEKEEPING = (
    "seed",
    "results_dir",
    "experiment_name",
    "label",
    "n_jobs",
    "sandbox",
    "tuned",
    "evaluation.shown_problems",
    "trainer.checkpoint_every",
    "trainer.checkpoints_kept",
    "trainer.deltas_every",
    "trainer.report_to",
    "trainer.dry_run",
)
LABEL_LENGTH = 100  # characters of preset and overrides; what does not fit becomes a hash


def at_least(low: float, why: str = "") -> Any:
    return field(metadata={"at_least": low, "why": why})


def above(low: float, why: str = "") -> Any:
    return field(metadata={"above": low, "why": why})


@dataclass
class Trainer:
    steps: int = at_least(1)
    prompts_per_step: int = at_least(1)
    completions_per_prompt: int = at_least(2, "a group of one has no baseline")
    updates_per_step: int = at_least(1)
    rows_per_pass: int | None
    learning_rate: float = at_least(0)
    temperature: float = above(0, "greedy rollouts explore nothing")
    max_completion_tokens: int = at_least(1)
    beta: float = at_least(0)
    max_grad_norm: float = above(0)
    checkpoint_every: int = at_least(1)
    checkpoints_kept: int = at_least(0)
    deltas_every: int = at_least(0)
    report_to: list[str]
    threads: int = at_least(1)
    extra: dict[str, Any]
    allow_truncated_sampling: bool
    dry_run: bool


@dataclass
class Evaluation:
    every: int = at_least(1)
    curve_problems: int = at_least(1)
    validation_problems: int = at_least(1)
    test_problems: int = at_least(1)
    curve_samples: int = at_least(1)
    test_samples: int = at_least(1)
    temperature: float = above(0)
    temperatures: list[float] = above(0)
    max_tokens: int | None
    shown_problems: int = at_least(0)
    seed: int = at_least(0)


@dataclass
class Config:
    seed: int = at_least(0)
    results_dir: str
    experiment_name: str
    label: str
    n_jobs: int
    sandbox: str
    tuned: list[str]
    suite: Any
    policy: Any
    trainer: Trainer
    evaluation: Evaluation
    method: Any = field(default_factory=lambda: {"scale": "own", "dynamic_sampling": 0})  # presets may differ


ConfigStore.instance().store(name="schema", node=Config)


def identity(cfg: DictConfig) -> dict[str, Any]:
    """Return what the run computes: the resolved configuration without `HOUSEKEEPING`.

    Values that turn with the seed are those of seed 0, so that all seeds of a setting have one label.
    """
    cfg = OmegaConf.merge(cfg, {"seed": 0})
    whole = {str(key): _plain(cfg[key]) for key in cfg if key not in (*HOUSEKEEPING, "hydra")}
    for group, _, key in (path.partition(".") for path in HOUSEKEEPING):
        if key:
            whole[group].pop(key)
    return whole


def label(cfg: DictConfig) -> str:
    """Return the chosen preset, the user's overrides and eight digits of the configuration's hash.

    `method=lampo method.advantage.temperature=0.10 seed=3` gives `lampo+advantage.temperature-0.1-<hash>`,
    the same for every spelling, order and repetition of the overrides, and safe as a directory name.
    """
    hydra = cfg.get("hydra") or (HydraConfig.instance().cfg or {}).get("hydra")  # inside a job it lies apart
    preset = hydra.runtime.choices.method if hydra else cfg.method.name
    parts = [_safe(preset), *_named(hydra)]
    shown = [part for i, part in enumerate(parts) if len("+".join(parts[: i + 1])) <= LABEL_LENGTH]
    if len(shown) < len(parts):
        shown.append(_digest(parts[len(shown) :]))
    return "+".join(shown) + "-" + _digest(identity(cfg))


def run_dir(cfg: DictConfig) -> Path:
    """Return `<results_dir>/<experiment_name>/<label>/seed-<seed>`."""
    return Path(cfg.results_dir) / cfg.experiment_name / cfg.label / f"seed-{cfg.seed}"


def refuse_other(cfg: DictConfig) -> None:
    """Raise ConfigError where the run's folder holds a run of another configuration, finished or not."""
    path = run_dir(cfg) / "config.yaml"
    try:
        if path.exists():
            check_nesting(path.read_text(encoding="utf-8"))
        old = OmegaConf.load(path) if path.exists() else None
    except (yaml.YAMLError, ValueError, RecursionError, OmegaConfBaseException, OSError) as error:
        raise ConfigError(f"{path} is damaged: delete {path.parent} to make the run anew.") from error
    if old is not None and not (OmegaConf.is_dict(old) and old):
        raise ConfigError(f"{path} is damaged: delete {path.parent} to make the run anew.")
    if old is not None and (changed := differing_keys(old, cfg)):
        raise ConfigError(
            f"{path.parent} holds a run of another configuration, which differs in {', '.join(changed)}. "
            "Choose another experiment_name or results_dir, or delete the folder."
        )


def differing_keys(old: DictConfig, new: DictConfig) -> list[str]:
    """Dotted keys whose values differ, keys that only say where a run is kept left aside."""
    a, b = flatten(OmegaConf.to_container(old)), flatten(OmegaConf.to_container(new, resolve=True))
    ignored = tuple(key for key in HOUSEKEEPING if key != "seed")
    return sorted(
        key for key in a.keys() | b.keys() if a.get(key) != b.get(key) and not key.startswith(ignored)
    )


def flatten(tree: Any, prefix: str = "") -> dict[str, Any]:
    """Nested mappings as one mapping with dotted keys; lists stay values."""
    if not isinstance(tree, dict):
        return {prefix: tree}
    return {k: v for key, sub in tree.items() for k, v in flatten(sub, f"{prefix}.{key}".lstrip(".")).items()}


def _named(hydra: DictConfig | None) -> list[str]:
    """Return `key-value` for each override of a job that changes what is computed, the method's own first."""
    overrides = OmegaConf.to_container(hydra.overrides.task, resolve=False) if hydra else []
    values = {}
    for override in OverridesParser.create().parse_overrides(overrides):
        key = override.key_or_group
        if key not in (*HOUSEKEEPING, "method", "experiment") and not override.is_hydra_override():
            short = re.sub(r"^method[./]", "", key)
            place = (short == key, short.replace("/", "."))
            values[place] = "removed" if override.is_delete() else _text(override.value())
    return [f"{_safe(key)}-{_safe(value)}" for (_, key), value in sorted(values.items())]


def _text(value: Any) -> str:
    value = _canonical(value)
    if isinstance(value, list) and not any(isinstance(item, (list, dict)) for item in value):
        return ".".join(map(_text, value))
    return value if isinstance(value, str) else json.dumps(value, sort_keys=True)


def _safe(text: str) -> str:
    """Return the text itself where every file system and command line takes it, else a hash of it."""
    return text if re.fullmatch(r"[A-Za-z0-9_.+-]{1,60}", text) else _digest(text)


def _plain(node: Any) -> Any:
    return _canonical(OmegaConf.to_container(node, resolve=True) if OmegaConf.is_config(node) else node)


def _canonical(value: Any) -> Any:
    """Return the value with 1.0 written as 1, so that two spellings of a number are one configuration."""
    if isinstance(value, dict):
        return {str(key): _canonical(item) for key, item in value.items()}
    if isinstance(value, list):
        return [_canonical(item) for item in value]
    return int(value) if isinstance(value, float) and value.is_integer() else value


def _digest(value: Any) -> str:
    return hashlib.sha256(json.dumps(value, sort_keys=True).encode()).hexdigest()[:8]


def turn(seed: int, choices: ListConfig) -> Any:
    """One of `choices`, which take turns with the seed: `${turn:${seed},[micro,micro-1]}`."""
    return choices[seed % len(choices)]


OmegaConf.register_new_resolver("turn", turn, replace=True)
OmegaConf.register_new_resolver("label", lambda *, _root_: label(_root_), replace=True)

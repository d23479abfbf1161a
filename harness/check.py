"""What a composed configuration must satisfy before anything of it runs; each refusal says what to do."""

import math
import re
from collections.abc import Iterator
from dataclasses import Field, fields, is_dataclass
from inspect import Parameter, signature
from typing import Any

from hydra.errors import InstantiationException
from hydra.utils import get_object, instantiate
from omegaconf import DictConfig, OmegaConf
from omegaconf.errors import OmegaConfBaseException

from harness.config import Config, flatten, run_dir
from harness.errors import ConfigError, nearest
from harness.sandbox import SandboxError

PARTS = ("advantage", "weighting", "shaping", "surrogate")
TRUNCATIONS = {"top_p": (1, None), "top_k": (0, -1, None), "min_p": (0, None)}  # values that truncate nothing
PLAIN = {"bool": (bool,), "int": (int,), "float": (int, float), "str": (str,)}  # annotation: types it takes

# Read by vLLM only: the rollout engine, which replaces TRL's own generation, samples the whole distribution.
GENERATION = (*TRUNCATIONS, "repetition_penalty", "generation_kwargs", "use_transformers_continuous_batching")

# Fields of trl.GRPOConfig that the harness sets, and what decides each.
OWNED = {
    "max_steps": "trainer.steps",
    "num_train_epochs": "trainer.steps",
    "per_device_train_batch_size": "trainer.prompts_per_step",
    "generation_batch_size": "trainer.prompts_per_step",
    "gradient_accumulation_steps": "trainer.updates_per_step",
    "steps_per_generation": "trainer.updates_per_step",
    "num_iterations": "trainer.updates_per_step",
    "num_generations": "trainer.completions_per_prompt",
    "learning_rate": "trainer.learning_rate",
    "temperature": "trainer.temperature",
    "max_completion_length": "trainer.max_completion_tokens",
    "beta": "trainer.beta",
    "max_grad_norm": "trainer.max_grad_norm",
    "bf16": "policy.autocast",
    "fp16": "policy.autocast",
    "use_cpu": "the hardware",
    "chat_template_kwargs": "policy.template_options",
    "save_steps": "trainer.checkpoint_every",
    "save_strategy": "trainer.checkpoint_every",
    "save_total_limit": "trainer.checkpoints_kept",
    "report_to": "trainer.report_to",
    "output_dir": "results_dir",
    "run_name": "experiment_name and label",
    "seed": "seed",
    "data_seed": "seed",
    "loss_type": "method/surrogate",
    "importance_sampling_level": "method/surrogate",
    "epsilon": "method/surrogate",
    "epsilon_high": "method/surrogate",
    "delta": "method/surrogate",
    "sapo_temperature_pos": "method/surrogate",
    "sapo_temperature_neg": "method/surrogate",
    "scale_rewards": "method/advantage",
    "reward_weights": "method/shaping",
    "mask_truncated_completions": "the method, which sees every completion",
    "shuffle_dataset": "the suite, which lays problems out in the seed's order",
    "remove_unused_columns": "the suite, whose columns rewards are computed from",
    "eval_strategy": "evaluation.every",
    "eval_steps": "evaluation.every",
    "logging_steps": "the records, which hold one line a step",
    "logging_strategy": "the records, which hold one line a step",
    "disable_tqdm": "the harness's own progress line",
    "resume_from_checkpoint": "the run's last checkpoint",
}


def check(cfg: DictConfig) -> None:
    """Check keys, values and their combinations without importing torch. Raises ConfigError."""
    _keys(cfg, Config, "")
    for group in ("method", "suite", "policy"):
        _mapping(cfg[group], group)
    for part in PARTS:
        if part not in cfg.method:
            raise ConfigError(f"method has no {part}: choose one with method/{part}=<name>.")
        _mapping(cfg.method[part], f"method.{part}")
    given = OmegaConf.masked_copy(cfg, [key for key in cfg if key not in ("hydra", "label")])
    try:
        if missing := OmegaConf.missing_keys(given):
            raise ConfigError(f"{', '.join(sorted(missing))} has no value: set it here or in its file.")
        OmegaConf.resolve(given)
        cfg.get("label")  # only the whole configuration knows it
    except OmegaConfBaseException as error:
        raise ConfigError(f"{error.full_key}: {str(error).splitlines()[0]}.") from error
    if cfg.evaluation.max_tokens is not None and cfg.evaluation.max_tokens < 1:
        raise ConfigError(f"evaluation.max_tokens={cfg.evaluation.max_tokens} must be at least 1, or null")
    known = flatten(OmegaConf.to_container(given, resolve=True))
    for key in cfg.tuned:
        if key not in known:
            raise ConfigError(f"tuned: there is no key {key}. {nearest(key, known)}")
    for key, value, spec in _values(cfg, Config, ""):
        _range(key, value, spec.metadata)
    _batch(cfg.trainer)
    _extra(cfg.trainer)
    _places(cfg)


def check_parts(cfg: DictConfig, group: str) -> None:
    """Check a method (which imports torch) or a suite by constructing its parts. Raises ConfigError."""
    parts = [f"method.{part}" for part in PARTS] if group == "method" else []
    for where in (*parts, group):
        node = OmegaConf.select(cfg, where)
        try:
            check_keys(node, where)
            instantiate(node, _convert_="all")
        except (ImportError, InstantiationException) as error:
            reason = error.__cause__ or error
            raise ConfigError(f"{where}: {str(reason).splitlines()[0]}") from error


def check_problems(cfg: DictConfig) -> None:
    """Read the problems that a run will need, and open its sandbox: what is not at hand is told before anything runs.

    Raises ConfigError.
    """
    try:
        suite = instantiate(cfg.suite, _convert_="all")
        next(suite.training(cfg.seed))
        for split in ("validation", "curve", "test"):
            suite.evaluation(split, cfg.evaluation[f"{split}_problems"])
        suite.facts()
    except (OSError, SandboxError, ValueError) as error:
        raise ConfigError(f"suite: {str(error).splitlines()[0]}") from error


def _keys(cfg: DictConfig, schema: type, prefix: str) -> None:
    known = {f"{prefix}{spec.name}": spec.type for spec in fields(schema)}
    for key in (f"{prefix}{key}" for key in cfg if key != "hydra"):
        if key not in known:
            raise ConfigError(f"There is no key {key}. {nearest(key, known)}")
        if is_dataclass(known[key]):
            _keys(cfg[key.removeprefix(prefix)], known[key], f"{key}.")


def _mapping(node: Any, name: str) -> None:
    if not OmegaConf.is_dict(node):
        choice = f"{name.replace('.', '/')}={node}"
        raise ConfigError(
            f"{name}={node} puts a value in place of all of {name}. To choose a file: {choice}."
        )


def _values(cfg: DictConfig, schema: type, prefix: str) -> Iterator[tuple[str, Any, Field]]:
    for spec in fields(schema):
        if is_dataclass(spec.type):
            yield from _values(cfg[spec.name], spec.type, f"{prefix}{spec.name}.")
        else:
            yield f"{prefix}{spec.name}", cfg[spec.name], spec


def _range(key: str, value: Any, limits: Any) -> None:
    if not limits:
        return
    why = f": {limits['why']}" if limits["why"] else ""
    several = OmegaConf.is_list(value)
    if several and not value:
        raise ConfigError(f"{key} is empty: give at least one value.")
    for number in value if several else [value]:
        if "at_least" in limits and not limits["at_least"] <= number < math.inf:
            raise ConfigError(f"{key}={number} must be at least {limits['at_least']} and finite{why}.")
        if "above" in limits and not limits["above"] < number < math.inf:
            raise ConfigError(f"{key}={number} must be greater than {limits['above']} and finite{why}.")


def _batch(trainer: DictConfig) -> None:
    rows = trainer.prompts_per_step * trainer.completions_per_prompt
    if rows % trainer.updates_per_step:
        raise ConfigError(
            f"trainer: prompts_per_step * completions_per_prompt is {rows},"
            f" which does not divide into updates_per_step={trainer.updates_per_step} equal parts."
        )
    of_an_update, at_once = rows // trainer.updates_per_step, trainer.rows_per_pass
    if at_once is not None and (at_once < 1 or of_an_update % at_once):
        raise ConfigError(
            f"trainer.rows_per_pass={at_once} does not divide the {of_an_update} completions of an update"
        )
    updates = trainer.steps * trainer.updates_per_step
    if trainer.deltas_every and updates % trainer.deltas_every:  # the last change is the whole training's
        raise ConfigError(
            f"trainer.deltas_every={trainer.deltas_every} does not divide the {updates} updates of the run,"
            f" {trainer.updates_per_step} a step."
        )


def _extra(trainer: DictConfig) -> None:
    for key, value in {**trainer.extra, **(trainer.extra.get("generation_kwargs") or {})}.items():
        if key in OWNED:
            raise ConfigError(f"trainer.extra.{key} is not yours to set: it follows from {OWNED[key]}.")
        if value not in TRUNCATIONS.get(key, (value,)) and not trainer.allow_truncated_sampling:
            raise ConfigError(
                f"trainer.extra.{key}={value} truncates the sampling of rollouts, which biases the ratio."
                " If you want it nonetheless, set trainer.allow_truncated_sampling=true."
            )
        if key in GENERATION and not trainer.extra.get("use_vllm"):
            raise ConfigError(
                f"trainer.extra.{key} is read by vLLM only (+trainer.extra.use_vllm=true):"
                " the rollout engine samples from the whole distribution."
            )
    if trainer.extra:
        from trl import GRPOConfig  # seconds, and only for those who use its fields

        known = {spec.name for spec in fields(GRPOConfig)}
        for key in trainer.extra:
            if key not in known:
                raise ConfigError(f"trainer.extra.{key} is no field of trl.GRPOConfig. {nearest(key, known)}")


def _places(cfg: DictConfig) -> None:
    if cfg.n_jobs == 0:
        raise ConfigError("n_jobs=0: give a number of worker processes, or -1 for one on every core.")
    for key in ("experiment_name", "label"):
        if not re.fullmatch(r"\w[\w.+-]*", cfg[key]):
            raise ConfigError(f"{key}={cfg[key]} names a folder: use letters, digits, '_', '.', '+', '-'.")
    if not cfg.results_dir:
        raise ConfigError(f"results_dir={cfg.results_dir!r} must name a folder.")
    try:
        run_dir(cfg).stat()
    except FileNotFoundError:
        pass
    except (OSError, ValueError) as error:  # a file in the way, a name too long, a NUL in it
        why = error.strerror if isinstance(error, OSError) else error
        raise ConfigError(f"{str(run_dir(cfg).parent)!r:.80} must name a folder: {why}.") from error


def check_keys(node: DictConfig, where: str) -> None:
    """Compare the keys of a part, and the types of plain values, with the parameters of its `_target_`."""
    if "_target_" not in node:
        raise ConfigError(f"{where} has no _target_: name the class or function it stands for.")
    try:
        parameters = signature(get_object(node["_target_"])).parameters
    except (ImportError, AttributeError, TypeError, ValueError) as error:  # not there, or not to be called
        raise ConfigError(f"{where}: {str(error).splitlines()[0]}") from error
    if any(parameter.kind is Parameter.VAR_KEYWORD for parameter in parameters.values()):
        return
    for key, value in node.items():
        if str(key).startswith("_"):
            continue
        if key not in parameters:
            raise ConfigError(f"There is no key {where}.{key}. {nearest(str(key), parameters)}")
        annotation = parameters[key].annotation
        name = getattr(annotation, "__name__", annotation)  # text where the module postpones its annotations
        if type(value) not in PLAIN.get(name, (type(value),)):
            raise ConfigError(f"{where}.{key}={value} must be of type {name}.")

"""The plan of a command that runs nothing: which runs, how many tokens, and an estimate of the GPU-hours.

Nothing is loaded: no problem, no policy. Tokens follow from the configuration and hours from tokens by the assumptions
below, which the plan prints.
"""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from dataclasses import dataclass, fields
from tempfile import TemporaryDirectory

from omegaconf import DictConfig, OmegaConf

from harness.errors import ConfigError, nearest
from harness.markdown import table

PEAK = 989e12  # FLOP/s of one H100 SXM in bfloat16, dense: NVIDIA's data sheet
TRAINING_SHARE = 0.33  # of it that an update reaches: actor updates of verl on H100 (its issue 965)
# Of it that sampling reaches, bound as it is by reading caches: vLLM gives 3,117 tokens/s of Qwen3-8B on one H100 with
# 96 answers of 8,000 tokens under way (ML.ENERGY leaderboard), 2 * 8.2e9 * 3117 / 989e12.
GENERATION_SHARE = 0.05
MEAN_LENGTH = 0.5  # of the longest completion allowed
PROMPT = 200  # tokens
STATE_BYTES = 16  # a parameter: float32 weight, gradient, and Adam's two moments
REFERENCE_BYTES = 4  # a parameter of the reference policy, where there is a KL term
GPU_BYTES = 80e9
DELTA_BYTES = 4  # a trained parameter of a kept change of the weights, in float32


@dataclass
class Cost:
    """Tokens and floating-point operations of one run."""

    sampled: float  # tokens generated for training
    trained: float  # tokens forwarded and backwarded, prompts included
    scored: float  # tokens forwarded once more: old and reference log-probs
    evaluated: float  # tokens generated for evaluation
    parameters: float | None

    def hours(self) -> float | None:
        """GPU-hours on one H100, or None where the policy's size is not configured."""
        if self.parameters is None:
            return None
        forward = 2 * self.parameters  # operations a token; a backward takes twice as many
        updates = (3 * forward * self.trained + forward * self.scored) / (TRAINING_SHARE * PEAK)
        return (updates + forward * (self.sampled + self.evaluated) / (GENERATION_SHARE * PEAK)) / 3600


def cost(cfg: DictConfig) -> Cost:
    """What one run takes, at `MEAN_LENGTH` of the longest completions."""
    t, e = cfg.trainer, cfg.evaluation
    completions = t.steps * t.prompts_per_step * t.completions_per_prompt
    length = MEAN_LENGTH * t.max_completion_tokens
    evaluated = MEAN_LENGTH * (e.max_tokens or t.max_completion_tokens)
    passes = bool(t.extra.get("use_vllm")) + (t.beta > 0)  # the rollout engine keeps the old log-probs itself
    held_out, tests = _domains(cfg)
    curve = len(range(0, t.steps + 1, e.every)) * e.curve_problems * e.curve_samples * len(held_out)
    validation = (len(e.temperatures) + 1) * e.validation_problems * e.curve_samples * len(held_out)
    tested = sum(min(e.test_problems, size or e.test_problems) for size in tests)
    # the base policy sampled, at its best temperature and greedy; the end point sampled and greedy
    test = (3 * e.test_samples + 2) * tested
    return Cost(
        sampled=completions * length,
        trained=completions * (length + PROMPT),
        scored=passes * completions * (length + PROMPT),
        evaluated=(curve + validation + test) * evaluated,
        parameters=cfg.policy.get("parameters"),
    )


def dry_run(cfgs: Sequence[DictConfig]) -> str:
    """Check every key against TRL's configuration and tell the plan. Raises ConfigError for one that TRL lacks."""
    for cfg in cfgs:
        _check_against_trl(cfg)
    groups: dict[tuple[str, str], list[DictConfig]] = {}
    for cfg in cfgs:
        groups.setdefault((cfg.policy.name, cfg.method.name), []).append(cfg)
    rows, total, unknown = [], 0.0, set()
    for (policy, method), own in groups.items():
        costs = [cost(cfg) for cfg in own]
        hours = [c.hours() for c in costs]
        total += sum(h for h in hours if h is not None)
        unknown |= {policy} if None in hours else set()
        rows.append(
            [
                policy,
                method,
                str(len(own)),
                _millions(sum(c.sampled for c in costs)),
                _millions(sum(c.trained for c in costs)),
                _millions(sum(c.evaluated for c in costs)),
                "–" if None in hours else _hours(sum(hours)),
            ]
        )
    head = ["policy", "method", "runs", "sampled, M tokens", "trained, M", "evaluated, M", "H100 hours"]
    names = dict.fromkeys(cfg.suite.name for cfg in cfgs)
    lines = [
        f"{len(cfgs)} runs on {', '.join(names)}; every key is one of trl.GRPOConfig's or of the harness's.",
        "",
        table(head, rows),
        "",
        f"Together about {_hours(total)} hours of one H100"
        + (f", without {', '.join(sorted(unknown))}, of unknown size" if unknown else "")
        + ". How it was made:",
        f"- completions {MEAN_LENGTH:g} of the longest allowed (max_completion_tokens), prompts {PROMPT} tokens;",
        "- an update takes 6 operations a parameter and token, a pass for old or reference log-probs 2, at "
        f"{TRAINING_SHARE:.0%} of {PEAK / 1e12:.0f} TFLOP/s;",
        f"- sampling takes 2 operations a parameter and token, at {GENERATION_SHARE:.0%};",
        "- evaluation as configured, the base policy's in every run;",
        "- extra rollouts and passes of methods that take them are not in it: see their cost in docs/methods.md.",
        *_memory(cfgs),
        *_deltas(cfgs),
        "Nothing was loaded or run. Without trainer.dry_run=true the same command runs it.",
    ]
    return "\n".join(lines)


def _check_against_trl(cfg: DictConfig) -> None:
    from hydra.utils import instantiate
    from trl import GRPOConfig

    from harness.run import trainer_settings

    known = {spec.name for spec in fields(GRPOConfig)}
    settings = trainer_settings(cfg) | instantiate(cfg.method.surrogate, _convert_="all").trainer_args()
    for key in settings:
        if key not in known:
            raise ConfigError(f"{key} is no field of trl.GRPOConfig. {nearest(key, known)}")
    with TemporaryDirectory() as folder, warnings.catch_warnings():
        warnings.simplefilter("ignore", FutureWarning)  # about a name that TRL still uses itself
        try:
            GRPOConfig(**settings | {"output_dir": folder, "bf16": False, "use_cpu": True})
        except (TypeError, ValueError) as error:
            raise ConfigError(
                f"trl.GRPOConfig refuses these settings: {str(error).splitlines()[0]}"
            ) from error


def _domains(cfg: DictConfig) -> tuple[list, list]:
    """An entry for each domain of the held-out problems and of the test, there its size or None: a mix's suites."""
    suite = OmegaConf.to_container(cfg.suite, resolve=True)
    if isinstance(suite.get("test"), dict) and "_target_" not in suite["test"]:
        return list(suite["train"]), [part.get("test_size") for part in suite["test"].values()]
    domains = list(suite.get("domains") or suite.get("tasks") or [suite["name"]])
    return domains, [suite.get("test_size")] * len(domains)


def _memory(cfgs: Sequence[DictConfig]) -> list[str]:
    """A line for each policy that is trained whole: what its state takes of one GPU, activations not counted."""
    lines = {}
    for cfg in cfgs:
        if not cfg.policy.get("parameters") or cfg.policy.get("lora"):
            continue
        reference = REFERENCE_BYTES if cfg.trainer.beta > 0 else 0
        state = (STATE_BYTES + reference) * cfg.policy.parameters
        extra = cfg.trainer.extra
        vllm = GPU_BYTES * extra.get("vllm_gpu_memory_utilization", 0.3) if extra.get("use_vllm") else 0
        text = f"- {cfg.policy.name}: weights, gradients, Adam's moments"
        text += ", reference policy" * bool(reference) + ", vLLM's share" * bool(vllm)
        text += f" take {(state + vllm) / 1e9:.0f} GB, activations not counted"
        if state + vllm > GPU_BYTES:
            text += f": more than the {GPU_BYTES / 1e9:.0f} GB of one GPU, so set policy.lora"
        lines[cfg.policy.name] = text + "."
    return list(lines.values())


def _deltas(cfgs: Sequence[DictConfig]) -> list[str]:
    """A line for each policy and way of keeping changes of the weights: what they take on disk."""
    kept: dict[tuple[str, int, int], list[DictConfig]] = {}
    for cfg in cfgs:
        if every := cfg.trainer.deltas_every:
            files = cfg.trainer.steps * cfg.trainer.updates_per_step // every
            kept.setdefault((cfg.policy.name, every, files), []).append(cfg)
    lines = []
    for (name, every, files), own in kept.items():
        whole = own[0].policy.get("parameters") if not own[0].policy.get("lora") else None
        size = DELTA_BYTES * whole / 1e9 if whole else None
        text = f"{size:,.3g} GB" if size else f"{DELTA_BYTES} bytes a trained parameter"
        lines.append(
            f"- {name}: trainer.deltas_every={every} keeps {files} files of {text} in each of {len(own)} runs"
            + (f", {size * files * len(own):,.0f} GB in all." if size else ".")
        )
    return lines


def _hours(hours: float) -> str:
    return f"{hours:,.0f}" if hours >= 10 else f"{hours:.2g}"


def _millions(tokens: float) -> str:
    return f"{tokens / 1e6:,.1f}"

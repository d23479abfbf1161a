"""The adapter to TRL: a `GRPOTrainer` whose advantages are a method's credit map.

Overrides four methods of `trl.GRPOTrainer`, always through `super()`:

- `_calculate_rewards` keeps the raw rewards in float64 (TRL's tensor is float32 and sums NaN away);
- `_generate_and_score_completions` replaces `advantages` (B,) by the credit map (B, T), before TRL
  shuffles rows into micro-batches;
- `_get_per_token_logps_and_entropies` knows its phase: old log-probs that the rollout engine kept
  cost no forward;
- `_compute_loss` leaves out rows that cannot contribute to the gradient and keeps the denominators.
"""

from __future__ import annotations

import copy
import math
import time
from collections import Counter
from collections.abc import Callable, Sequence
from typing import Any

import torch
from accelerate.utils import gather_object
from torch import Tensor, nn
from trl import GRPOConfig, GRPOTrainer
from trl.trainer.utils import is_async_callable

from harness.evaluation import EVALUATION_STEP
from harness.rollouts import Key, RolloutEngine, Rollouts
from harness.rows import as_text, checked_reward, prompt_key, trimmed
from harness.signals import PolicySignals, forward_signals
from methods import Method, RolloutBatch

COMMON_METRICS = ("advantage_rms", "credit_rms", "zero_variance_share", "unscorable")
# How a loss over some of the rows relates to the loss over all of them: by rows, by tokens, or not at all
# (loss types that divide by a count of the whole generation batch).
MEAN_OVER_ROWS = ("grpo", "sapo", "dr_grpo", "luspo")
MEAN_OVER_TOKENS = ("bnpo",)


class CreditGRPOTrainer(GRPOTrainer):
    """`trl.GRPOTrainer` with the credit of `method` (see `harness.load_method`) as its advantages.

    `engine` samples with the harness's rollout engine instead of TRL's generation. `signal_funcs` adds
    signals by name, called like TRL's reward functions: `f(prompts, completions, completion_ids,
    **columns)` gives one entry a row. The surrogate's settings are written into `args`.
    """

    def __init__(
        self,
        model: Any,
        reward_funcs: Any = None,
        args: GRPOConfig | None = None,
        *positional: Any,
        method: Method,
        engine: RolloutEngine | None = None,
        signal_funcs: dict[str, Callable[..., Sequence]] | None = None,
        **named: Any,
    ) -> None:
        args = copy.copy(args) if args else GRPOConfig(f"credit-{method.name}")
        for name, value in method.surrogate.trainer_args().items():
            setattr(args, name, value)
        if engine is not None:
            if args.world_size > 1 or named.get("tools") or named.get("environment_factory"):
                raise ValueError(
                    "the rollout engine serves one process and no tools: leave `engine` out to sample with TRL"
                )
            named["rollout_func"] = self._sample
        super().__init__(model, reward_funcs, args, *positional, **named)
        self.method = method
        self.engine = engine
        self.signal_funcs = signal_funcs or {}
        self.rollouts: Rollouts | None = None
        self.seconds = {"rollout": 0.0, "reward": 0.0, "credit": 0.0}
        self._old_logps_next = False
        self._scored: dict[str, Any] = {}

    # Rollouts

    def _sample(self, prompts: list, _: GRPOTrainer) -> dict[str, Any]:
        """TRL's `rollout_func`: complete every prompt, the rows of a group with their own noise."""
        start = time.perf_counter()
        prompt_ids, *_ = self._tokenize_prompts(prompts)
        training = self.model.training
        keys, seen = [], Counter()
        for problem in map(prompt_key, prompt_ids):  # a prompt that comes twice goes on counting its samples
            keys.append(Key(problem, seen[problem], self.state.global_step if training else EVALUATION_STEP))
            seen[problem] += 1
        self.rollouts = self.engine.generate(
            prompt_ids,
            keys,
            max_tokens=self.max_completion_length,
            temperature=self.temperature,
            keep_hidden="hidden" in self.method.needs,
        )
        self.seconds["rollout"] += time.perf_counter() - start
        return {"prompt_ids": prompt_ids, "completion_ids": self.rollouts.ids(), "logprobs": None}

    def _get_per_token_logps_and_entropies(
        self, model, input_ids, attention_mask, logits_to_keep, *rest, **named
    ):
        if self._old_logps_next and model is self.model:
            self._old_logps_next = False
            return self._kept("logps", logits_to_keep), None, None
        return super()._get_per_token_logps_and_entropies(
            model, input_ids, attention_mask, logits_to_keep, *rest, **named
        )

    def _kept(self, name: str, width: int) -> Tensor:
        """A float signal of the last rollouts, padded to `width` columns, in the precision of the loss."""
        values = getattr(self.rollouts, name).to(torch.promote_types(self.model.dtype, torch.float32))
        return nn.functional.pad(values, (0, width - values.shape[1]))

    # Rewards

    def _calculate_rewards(self, inputs, prompts, completions, completion_ids_list):
        start = time.perf_counter()
        raw: dict[int, list[float | None]] = {}
        funcs = self.reward_funcs
        self.reward_funcs = [self._recorded(i, f, raw) for i, f in enumerate(funcs)]
        try:
            single = super()._calculate_rewards(inputs, prompts, completions, completion_ids_list)
        finally:
            self.reward_funcs = funcs
        terms = single.double()
        exact = torch.full((len(prompts), len(funcs)), math.nan, dtype=torch.float64, device=terms.device)
        skipped = torch.zeros_like(exact, dtype=torch.bool)
        for i, values in raw.items():
            exact[:, i] = torch.tensor([math.nan if v is None else v for v in values], dtype=torch.float64)
            skipped[:, i] = torch.tensor([v is None for v in values])
        exact, skipped = self.accelerator.gather(exact), self.accelerator.gather(skipped)
        for i in raw:
            terms[:, i] = exact[:, i]
        # None is TRL's "does not apply to this row"; NaN is "could not be judged" and spoils the row.
        terms = terms.masked_fill(skipped, 0.0)
        total = (terms * self.reward_weights.to(terms)).sum(1).masked_fill(skipped.all(1), math.nan)
        self._scored = {
            "rewards": total,
            "terms": dict(zip(self.reward_func_names, terms.T, strict=True)),
            "prompts": prompts,
            "completions": completions,
            "completion_ids": completion_ids_list,
        }
        self.seconds["reward"] += time.perf_counter() - start
        return single

    def _recorded(self, index: int, func: Callable, raw: dict[int, list[float | None]]) -> Callable:
        """`func` with its values kept as Python floats; reward models stay as they are."""
        name = self.reward_func_names[index]
        if isinstance(func, nn.Module):
            return func
        if is_async_callable(func):

            async def recorded(**named):
                raw[index] = [checked_reward(value, name, i) for i, value in enumerate(await func(**named))]
                return raw[index]
        else:

            def recorded(**named):
                raw[index] = [checked_reward(value, name, i) for i, value in enumerate(func(**named))]
                return raw[index]

        return recorded

    # Credit

    def _generate_and_score_completions(self, inputs):
        window = self.args.steps_per_generation * self.num_iterations
        off_policy = self.args.gradient_accumulation_steps % window != 0
        self._old_logps_next = self.engine is not None and off_policy
        output = super()._generate_and_score_completions(inputs)
        if not self.model.training:
            return output
        start = time.perf_counter()
        credit = self.method.credit(self._rollout_batch(inputs, output))
        rows, width = output["completion_ids"].shape
        first = self.accelerator.process_index * rows
        precision = torch.promote_types(self.model.dtype, torch.float32)
        output["advantages"] = credit.values[first : first + rows, :width].to(precision)
        if self.rollouts is not None:
            output["sampling_entropies"] = self._kept("entropies", width)
        for name, value in credit.metrics.items():
            key = name if name in COMMON_METRICS else f"{self.method.name}/{name}"
            self._metrics["train"][key].append(value)
        self.seconds["credit"] += time.perf_counter() - start
        return output

    def _rollout_batch(self, inputs: list[dict], output: dict[str, Any]) -> RolloutBatch:
        """The batch of all processes as a method sees it."""
        width = output["completion_ids"].shape[1]
        mask = output["completion_mask"] * output.get("tool_mask", 1)
        columns = {key: [row.get(key) for row in inputs] for key in inputs[0] if key != "prompt"}
        said = {"prompts": self._scored["prompts"], "completions": self._scored["completions"]}
        calls = {**said, "completion_ids": self._scored["completion_ids"], **columns}
        known: dict[str, Any] = {
            name: gather_object([as_text(value) for value in values]) for name, values in said.items()
        }
        if "reference" in columns:
            known["references"] = gather_object(columns["reference"])
        if "ref_per_token_logps" in output:
            known["ref_logps"] = self._gathered(output["ref_per_token_logps"])
        if self.rollouts is None and "old_per_token_logps" in output:
            known["logps"] = self._gathered(output["old_per_token_logps"] * mask)
        if self.rollouts is not None:
            for name in ("logps", "entropies", "sum_sq_probs", "hidden"):
                if (value := getattr(self.rollouts, name)) is not None:
                    tail = (0, 0) * (value.dim() - 2) + (0, width - value.shape[1])
                    known[name] = self._gathered(nn.functional.pad(value, tail))

        def forward() -> dict[str, Tensor]:
            signals = forward_signals(
                self.accelerator.unwrap_model(self.model),
                *(output[k] for k in ("prompt_ids", "prompt_mask", "completion_ids", "completion_mask")),
                temperature=self.temperature,
                rows=self.args.per_device_train_batch_size,
            )
            return {name: self._gathered(value) for name, value in signals.items()}

        def per_token(func: Callable) -> Tensor:
            rows = func(**calls)
            padded = [list(row)[:width] + [0] * (width - len(row)) for row in rows]
            return self._gathered(torch.tensor(padded, device=mask.device))

        return RolloutBatch.from_tensors(
            self._gathered(output["completion_ids"]),
            self._gathered(mask).bool(),
            self._scored["rewards"],
            self.num_generations,
            reward_terms=self._scored["terms"],
            provider=PolicySignals(
                known,
                {name: lambda func=func: per_token(func) for name, func in self.signal_funcs.items()},
                forward,
            ),
        )

    def _gathered(self, values: Tensor) -> Tensor:
        """Rows of all processes, padded to a common width."""
        return self.accelerator.gather(self.accelerator.pad_across_processes(values, dim=1))

    # Loss

    def _compute_loss(self, model, inputs):
        only_credit = (
            self.beta == 0.0
            and self.top_entropy_quantile == 1.0
            and not self._entropy_bonus_enabled
            and not self.aux_loss_enabled
        )
        if "sampling_entropies" not in inputs or not self.model.training or not only_credit:
            return super()._compute_loss(model, inputs)
        keep = (inputs["advantages"] != 0).any(1)
        keep[0] |= not keep.any()  # the loss stays connected to the model
        mask, entropies = inputs["completion_mask"], inputs["sampling_entropies"]
        tokens, kept = mask.sum(), mask[keep].sum()
        rows = keep.float().mean()
        loss = super()._compute_loss(model, trimmed(inputs, keep))
        metrics = self._metrics["train"]
        left_out = (entropies * mask)[~keep].sum().item()
        metrics["entropy"][-1] = (metrics["entropy"][-1] * kept.item() + left_out) / tokens.item()
        clipped = rows if self.importance_sampling_level == "sequence" else kept / tokens
        for name in (
            "clip_ratio/low_mean",
            "clip_ratio/high_mean",
            "clip_ratio/region_mean",
            "cispo_clip_ratio",
        ):
            if values := metrics.get(name):
                values[-1] *= clipped.item()
        if (values := metrics.get("clip_ratio/low_min")) and not keep.all():
            values[-1] = 0.0
        if self.loss_type in MEAN_OVER_ROWS:
            return loss * rows
        return loss * (kept / tokens) if self.loss_type in MEAN_OVER_TOKENS else loss

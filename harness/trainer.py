"""The adapter to TRL: a `GRPOTrainer` whose advantages are a method's credit map.

Overrides methods of `trl.GRPOTrainer`, always through `super()`:

- `_calculate_rewards` keeps the raw rewards in float64 (TRL's tensor is float32 and sums NaN away);
- `_generate_and_score_completions` replaces `advantages` (B,) by the credit map (B, T), before TRL
  shuffles rows into micro-batches;
- `_get_per_token_logps_and_entropies` knows its phase: old log-probs that the rollout engine kept cost no
  forward, but in bfloat16; in the loss a live weighting sees the current ones, and a surrogate may change the ratio;
- there, too, prompts are forwarded once for all their completions (`harness.passes`);
- `_compute_loss` leaves out rows that cannot contribute to the gradient and keeps the denominators;
- a loss or gradient that is not finite is an error: TRL would train on;
- what a method has learnt is saved and loaded with the optimizer.
"""

from __future__ import annotations

import copy
import math
import time
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
from accelerate.utils import gather_object
from torch import Tensor, nn
from trl import GRPOConfig, GRPOTrainer

from harness.evaluation import EVALUATION_STEP
from harness.passes import Positioned, SharedPrompts, can_share, has_learnt_positions
from harness.policy import twin
from harness.resampling import Reserve, with_variance
from harness.rollouts import Key, RolloutEngine, Rollouts
from harness.rows import count_all_rows, finite, prompt_key, recorded, trimmed
from harness.work import rollout_batch
from methods import Credit, LiveBatch, Method

COMMON_METRICS = ("advantage_rms", "credit_rms", "zero_variance_share", "unscorable")
# How a loss over some of the rows relates to the loss over all of them: by rows, by tokens, or not at all
# (loss types that divide by a count of the whole generation batch).
MEAN_OVER_ROWS = ("grpo", "sapo", "dr_grpo", "luspo")
MEAN_OVER_TOKENS = ("bnpo",)
LEARNT = "credit.pt"  # in a checkpoint: what the method and its auxiliary model have learnt


class CreditGRPOTrainer(GRPOTrainer):
    """`trl.GRPOTrainer` with the credit of `method` (see `harness.load_method`) as its advantages.

    `engine` samples with the harness's rollout engine instead of TRL's generation. `signal_funcs` adds
    signals by name, called like TRL's reward functions: `f(prompts, completions, completion_ids,
    **columns)` gives one entry a row. `reserve(batch, round)` gives rows of the data set for dynamic sampling.
    The surrogate's settings are written into `args`.
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
        reserve: Reserve | None = None,
        **named: Any,
    ) -> None:
        args = copy.copy(args) if args else GRPOConfig(f"credit-{method.name}")
        for name, value in method.surrogate.trainer_args().items():
            setattr(args, name, value)
        if engine is not None:
            if named.get("tools") or named.get("environment_factory"):
                raise ValueError("the rollout engine serves no tools: leave `engine` out to sample with TRL")
            named["rollout_func"] = self._sample
        if method.dynamic_sampling and (engine is None or reserve is None):
            raise ValueError(
                f"method {method.name!r}: dynamic sampling takes the harness's rollout engine and fresh prompts: give "
                "engine=… and reserve=…, or load the method with dynamic_sampling=0"
            )
        rows = args.per_device_train_batch_size * args.steps_per_generation
        if args.world_size > 1 and rows % args.num_generations:
            raise ValueError(
                f"{rows} completions a process and rollout batch are no whole groups of {args.num_generations}: "
                "a group would straddle processes; make per_device_train_batch_size · steps_per_generation a multiple"
            )
        if args.world_size > 1 and method.dynamic_sampling:
            raise ValueError("dynamic sampling is done in one process only: load the method with dynamic_sampling=0")
        if any(method.state_dict().values()):
            raise ValueError(f"method {method.name!r} has learnt in another run: load it anew for this one")
        stated = getattr(method.shaping, "max_tokens", args.max_completion_length)
        if stated != args.max_completion_length:
            raise ValueError(
                f"method {method.name!r}: its shaping counts on completions of {stated} tokens at most, but "
                f"max_completion_length is {args.max_completion_length}: load it with "
                f"shaping.max_tokens={args.max_completion_length}"
            )
        if method.surrogate.changes_ratio and args.beta > 0:
            raise ValueError(
                f"method {method.name!r}: its surrogate changes the ratio, and a KL term (beta={args.beta}) would be "
                "computed from the changed one: set beta=0"
            )
        super().__init__(model, reward_funcs, args, *positional, **named)
        self.method = method
        self.reserve = reserve
        self.engine = engine
        self.signal_funcs = signal_funcs or {}
        self.rollouts: Rollouts | None = None
        self.seconds = {"rollout": 0.0, "reward": 0.0, "credit": 0.0}
        self.work: Counter[str] = Counter(extra_tokens=0, pass_tokens=0)  # beyond the batch: harness.work
        base = self.accelerator.unwrap_model(self.model)
        needs_base = "ref_logps" in method.needs and self.beta == 0.0  # else TRL has a reference model
        self.base_model = twin(base).requires_grad_(False) if needs_base else None
        self.auxiliary_model = twin(base) if "auxiliary" in method.needs else None
        self._old_logps_next = False
        self._loss_inputs: dict[str, Any] | None = None
        self._sampled: Rollouts | None = None
        self.scored: dict[str, Any] = {}
        self.credited: tuple[list[dict], Credit] | None = None  # rows of the last batch and their credit

    # Rollouts

    def _sample(self, prompts: list, _: GRPOTrainer) -> dict[str, Any]:
        """TRL's `rollout_func`: complete every prompt, the rows of a group with their own noise."""
        prompt_ids = self.prompt_ids(prompts)
        if self._sampled is None:
            of_all = gather_object([[prompt_key(ids) for ids in prompt_ids]])
            before = sum(map(Counter, of_all[: self.accelerator.process_index]), Counter())
            self._sampled = self.completed(prompt_ids, before)  # as one process would number its samples
        self.rollouts, self._sampled = self._sampled, None
        return {"prompt_ids": prompt_ids, "completion_ids": self.rollouts.ids(), "logprobs": None}

    def prompt_ids(self, prompts: list) -> list[list[int]]:
        """Token ids of prompts: texts, or conversations through the chat template."""
        return self._tokenize_prompts(prompts)[0]

    def completed(self, prompt_ids: list[list[int]], seen: Counter[str]) -> Rollouts:
        """One completion a prompt; `seen` counts how often each prompt was completed in this batch before."""
        training = self.model.training
        keys = []
        for problem in map(prompt_key, prompt_ids):  # a prompt that comes twice goes on counting its samples
            keys.append(Key(problem, seen[problem], self.state.global_step if training else EVALUATION_STEP))
            seen[problem] += 1
        return self.generated(
            prompt_ids, keys, self.max_completion_length, keep_hidden="hidden" in self.method.needs
        )

    def generated(
        self, prompts: list, keys: list[Key], limits: int | list[int], keep_hidden: bool
    ) -> Rollouts:
        """Completions by the rollout engine at the training temperature, on its clock."""
        start = time.perf_counter()
        rollouts = self.engine.generate(
            prompts, keys, max_tokens=limits, temperature=self.temperature, keep_hidden=keep_hidden
        )
        self.seconds["rollout"] += time.perf_counter() - start
        return rollouts

    def _get_per_token_logps_and_entropies(
        self, model, input_ids, attention_mask, logits_to_keep, *rest, **named
    ):
        if self._old_logps_next and model is self.model:
            self._old_logps_next = False
            return self._kept("logps", logits_to_keep), None, None
        unwrapped = self.accelerator.unwrap_model(model)
        if self.engine is not None and has_learnt_positions(unwrapped):
            model = Positioned(model)
        if can_share(unwrapped, self.accelerator.num_processes):
            model = SharedPrompts(model, logits_to_keep)
        logps, entropies, auxiliary_loss = super()._get_per_token_logps_and_entropies(
            model, input_ids, attention_mask, logits_to_keep, *rest, **named
        )
        if self._loss_inputs is not None:
            logps = self._live(self._loss_inputs, logps, entropies)
        return logps, entropies, auxiliary_loss

    def _live(self, inputs: dict[str, Any], logps: Tensor, entropies: Tensor) -> Tensor:
        """Let the method act on this micro-batch: new advantages in `inputs`, log-probs for its ratio returned."""
        mask = (inputs["completion_mask"] * inputs.get("tool_mask", 1)).bool()
        old = inputs.get("old_per_token_logps", logps).detach()
        if self.method.is_live:
            reference = inputs.get("ref_per_token_logps")
            credit = self.method.live(
                LiveBatch(
                    inputs["completion_ids"],
                    mask,
                    old.double(),
                    logps.detach().double(),
                    entropies.detach().double(),
                    None if reference is None else reference.double(),
                    self.method.surrogate.epsilon,  # TRL's are the cap with CISPO
                    self.method.surrogate.epsilon_high,
                    self.beta,
                ),
                inputs["advantages"].double().where(mask, 0.0),
            )
            inputs["advantages"] = credit.values.to(inputs["advantages"].dtype)
            self._record(credit.metrics)
        if self.method.surrogate.changes_ratio:
            logps = old + self.method.surrogate.log_ratio(logps - old, mask)
        return logps

    def _record(self, metrics: Mapping[str, float]) -> None:
        for name, value in metrics.items():
            key = name if name in COMMON_METRICS else f"{self.method.name}/{name}"
            self._metrics["train"][key].append(value)

    def _kept(self, name: str, width: int) -> Tensor:
        """A float signal of the last rollouts, padded to `width` columns, in the precision of the loss."""
        values = getattr(self.rollouts, name).to(torch.promote_types(self.model.dtype, torch.float32))
        return nn.functional.pad(values, (0, width - values.shape[1]))

    # Rewards

    def _calculate_rewards(self, inputs, prompts, completions, completion_ids_list):
        start = time.perf_counter()
        said = {"prompts": prompts, "completions": completions, "completion_ids": completion_ids_list}
        self.scored = said  # without rewards: what to look at if a reward function raises
        raw: dict[int, list[float | None]] = {}
        funcs = self.reward_funcs
        named = zip(self.reward_func_names, funcs, strict=True)
        self.reward_funcs = [recorded(f, name, i, raw) for i, (name, f) in enumerate(named)]
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
        self.scored = {
            "rewards": total,
            "terms": dict(zip(self.reward_func_names, terms.T, strict=True)),
            **said,
        }
        self.seconds["reward"] += time.perf_counter() - start
        return single

    def rewards_of(self, inputs: list[dict], completion_ids: list[list[int]]) -> Tensor:
        """Rewards (n,) float64 of completions beside the batch, each to the prompt of its row of the data set."""
        texts = self.processing_class.batch_decode(completion_ids, skip_special_tokens=True)
        if not isinstance(inputs[0]["prompt"], str):
            texts = [[{"role": "assistant", "content": text}] for text in texts]
        kept = self.scored
        self._calculate_rewards(inputs, [row["prompt"] for row in inputs], texts, completion_ids)
        rewards, self.scored = self.scored["rewards"], kept
        return rewards

    # Credit

    def _generate_and_score_completions(self, inputs):
        if self.method.dynamic_sampling and self.model.training:
            inputs, self._sampled, counts = with_variance(self, inputs)
            self._record(counts)
        window = self.args.steps_per_generation * self.num_iterations
        off_policy = self.args.gradient_accumulation_steps % window != 0
        # in bfloat16 decoding and the loss's pass differ by some hundredths, and so would every ratio from 1
        exact = self.engine is not None and not self.engine.autocast and self.model.dtype.itemsize >= 4
        self._old_logps_next = exact and off_policy
        output = super()._generate_and_score_completions(inputs)
        if not self.model.training:
            return output
        start, elsewhere = time.perf_counter(), sum(self.seconds.values())
        credit = self.method.credit(rollout_batch(self, inputs, output))
        self.credited = (inputs, credit)
        rows, width = output["completion_ids"].shape
        first = self.accelerator.process_index * rows
        precision = torch.promote_types(self.model.dtype, torch.float32)
        output["advantages"] = credit.values[first : first + rows, :width].to(precision)
        if self.rollouts is not None:
            output["sampling_entropies"] = self._kept("entropies", width)
        self._record(credit.metrics)
        # rollouts and rewards that the method asked for are on their own clocks
        self.seconds["credit"] += time.perf_counter() - start + elsewhere - sum(self.seconds.values())
        return output

    def gathered(self, values: Tensor) -> Tensor:
        """Rows of all processes, padded to a common width."""
        return self.accelerator.gather(self.accelerator.pad_across_processes(values, dim=1))

    # Loss

    def _compute_loss(self, model, inputs):
        only_credit = (
            self.beta == 0.0
            and self.top_entropy_quantile == 1.0
            and not self._entropy_bonus_enabled
            and not self.aux_loss_enabled
            and self.accelerator.num_processes == 1  # several gather the loss's rows: as many from each
        )
        if self.model.training and (self.method.is_live or self.method.surrogate.changes_ratio):
            # every row counts for a live weighting; a copy, since TRL uses `inputs` again with num_iterations > 1
            self._loss_inputs = dict(inputs)
            try:
                return super()._compute_loss(model, self._loss_inputs)
            finally:
                self._loss_inputs = None
        if "sampling_entropies" not in inputs or not self.model.training or not only_credit:
            return super()._compute_loss(model, inputs)
        keep = (inputs["advantages"] != 0).any(1)
        keep[0] |= not keep.any()  # the loss stays connected to the model
        loss = super()._compute_loss(model, trimmed(inputs, keep))
        rows, tokens = count_all_rows(
            self._metrics["train"], keep, inputs["completion_mask"], inputs["sampling_entropies"],
            sequences=self.importance_sampling_level == "sequence",
        )  # fmt: skip
        if self.loss_type in MEAN_OVER_ROWS:
            return loss * rows
        return loss * tokens if self.loss_type in MEAN_OVER_TOKENS else loss

    def training_step(self, *inputs, **named):
        return finite(super().training_step(*inputs, **named), "loss", self.accelerator.scaler)

    def _get_grad_norm(self, model, grad_norm=None):
        # before the optimizer's step, so that the weights are still whole
        return finite(super()._get_grad_norm(model, grad_norm=grad_norm), "gradient norm", self.accelerator.scaler)

    # What was learnt

    def _save_optimizer_and_scheduler(self, output_dir: str) -> None:
        super()._save_optimizer_and_scheduler(output_dir)
        if self.args.should_save:
            torch.save(self.learnt(), Path(output_dir) / LEARNT)

    def _load_optimizer_and_scheduler(self, checkpoint: str | None) -> None:
        super()._load_optimizer_and_scheduler(checkpoint)
        learns = self.method.state_dict() or self.auxiliary_model is not None
        if checkpoint is not None and learns:
            path = Path(checkpoint) / LEARNT
            if not path.exists():
                who = f"method {self.method.name!r}"
                raise ValueError(f"{checkpoint} lacks {LEARNT}, what {who} had learnt: start anew")
            self.put_back(torch.load(path, map_location=self.accelerator.device, weights_only=True))

    def learnt(self) -> dict[str, Any]:
        """A copy of what the method and its auxiliary model have learnt."""
        learnt: dict[str, Any] = {"method": self.method.state_dict()}
        if self.auxiliary_model is not None:
            learnt["auxiliary"] = copy.deepcopy(self.auxiliary_model.state_dict())
        return learnt

    def put_back(self, learnt: Mapping[str, Any]) -> None:
        """Go on from what `learnt` gave."""
        self.method.load_state_dict(learnt["method"])
        if self.auxiliary_model is not None:
            self.auxiliary_model.load_state_dict(learnt["auxiliary"])

"""What a method may ask of the policy beyond signals (`methods.work.Worker`), for one rollout batch of the adapter.

Everything is done by the policy as it stands when credit is assigned, the one that sampled the batch. What it
costs is counted in `trainer.work`: `extra_tokens`, generated beside the batch, and `pass_tokens`, tokens through
passes beside sampling and the loss; a backward pass counts as two.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from typing import TYPE_CHECKING, Any

import torch
from accelerate.utils import gather_object
from torch import Tensor, nn
from transformers import PreTrainedModel

from harness.rollouts import Key
from harness.rows import as_text, prompt_key, right_padded
from harness.signals import PolicySignals, completion_log_probs, forward_signals
from methods import RolloutBatch
from methods.work import ScoreRequest

if TYPE_CHECKING:
    from harness.trainer import CreditGRPOTrainer


def rollout_batch(
    trainer: CreditGRPOTrainer, inputs: list[dict[str, Any]], output: dict[str, Any]
) -> RolloutBatch:
    """The batch of all processes as a method sees it: `inputs` are TRL's rows, `output` what TRL made of them."""
    width = output["completion_ids"].shape[1]
    mask = output["completion_mask"] * output.get("tool_mask", 1)
    columns = {key: [row.get(key) for row in inputs] for key in inputs[0] if key != "prompt"}
    said = {"prompts": trainer.scored["prompts"], "completions": trainer.scored["completions"]}
    calls = {**said, "completion_ids": trainer.scored["completion_ids"], **columns}
    known: dict[str, Any] = {
        name: gather_object([as_text(value) for value in values]) for name, values in said.items()
    }
    if "reference" in columns:
        known["references"] = gather_object(columns["reference"])
    if "ref_per_token_logps" in output:
        known["ref_logps"] = trainer.gathered(output["ref_per_token_logps"] * mask)
    if trainer.rollouts is None and "old_per_token_logps" in output:
        known["logps"] = trainer.gathered(output["old_per_token_logps"] * mask)
    if trainer.rollouts is not None:
        for name in ("logps", "entropies", "sum_sq_probs", "hidden"):
            if (value := getattr(trainer.rollouts, name)) is not None:
                tail = (0, 0) * (value.dim() - 2) + (0, width - value.shape[1])
                known[name] = trainer.gathered(nn.functional.pad(value, tail))

    def per_token(func: Callable) -> Tensor:
        rows = func(**calls)
        padded = [list(row)[:width] + [0] * (width - len(row)) for row in rows]
        return trainer.gathered(torch.tensor(padded, device=mask.device))

    def token_texts() -> list[list[str]]:
        rows = [row[keep.bool()].tolist() for row, keep in zip(output["completion_ids"], mask, strict=True)]
        text = {i: trainer.processing_class.decode([i]) for i in {i for row in rows for i in row}}
        return gather_object([[text[i] for i in row] for row in rows])

    computable = {name: lambda func=func: per_token(func) for name, func in trainer.signal_funcs.items()}
    computable |= {"token_texts": token_texts}
    provider = PolicyWork(trainer, inputs, output, known, computable)
    if trainer.base_model is not None:
        computable["ref_logps"] = lambda: trainer.gathered(provider.base_logps())
    return RolloutBatch.from_tensors(
        trainer.gathered(output["completion_ids"]),
        trainer.gathered(mask).bool(),
        trainer.scored["rewards"],
        trainer.num_generations,
        reward_terms=trainer.scored["terms"],
        provider=provider,
    )


class PolicyWork(PolicySignals):
    """Signals and work of one rollout batch."""

    def __init__(
        self,
        trainer: CreditGRPOTrainer,
        inputs: list[dict[str, Any]],
        output: dict[str, Tensor],
        known: dict[str, Tensor | Sequence],
        computable: dict[str, Callable[[], Tensor | Sequence]],
    ) -> None:
        super().__init__(known, computable, self._forward_signals)
        self.trainer, self.inputs = trainer, inputs
        self.places = [output[k] for k in ("prompt_ids", "prompt_mask", "completion_ids", "completion_mask")]
        self.rows = trainer.args.per_device_train_batch_size  # of one pass
        self.tokens = trainer.processing_class

    @property
    def model(self) -> PreTrainedModel:
        return self.trainer.accelerator.unwrap_model(self.trainer.model)

    def _forward_signals(self) -> dict[str, Tensor]:
        self._count(self._length())
        signals = forward_signals(self.model, *self.places, self.trainer.temperature, self.rows)
        return {name: self.trainer.gathered(value) for name, value in signals.items()}

    def base_logps(self) -> Tensor:
        """Log-probs under the policy as it was before training."""
        self._count(self._length())
        names = ("logps",)
        return forward_signals(
            self.trainer.base_model, *self.places, self.trainer.temperature, self.rows, names
        )["logps"]

    def score(self, requests: list[ScoreRequest]) -> list[Tensor]:
        self._alone("score")
        prompts = self._prompts(requests)
        before = [p + self._ids(r.given) for p, r in zip(prompts, requests, strict=True)]
        targets = [self._ids(r.target) for r in requests]
        found: list[Tensor] = []
        for i in range(0, len(requests), self.rows):
            here = slice(i, i + self.rows)
            places = (*right_padded(before[here], flip=True), *right_padded(targets[here]))
            places = [place.to(self.model.device) for place in places]
            logps = forward_signals(self.model, *places, self.trainer.temperature, self.rows, ("logps",))[
                "logps"
            ]
            found += [row[: len(target)] for row, target in zip(logps, targets[here], strict=True)]
            self._count(sum(map(len, before[here] + targets[here])))
        return found

    def _prompts(self, requests: Sequence[ScoreRequest]) -> list[list[int]]:
        """Token ids of each request's prompt; one in place of a conversation is a user's message."""
        own = self._unpadded(0)
        texts = [r.prompt for r in requests if r.prompt is not None]
        chat = not isinstance(self.inputs[0]["prompt"], str)
        if chat:
            texts = [[{"role": "user", "content": text}] for text in texts]
        replaced = iter(self.trainer.prompt_ids(texts) if texts else [])
        return [own[r.row] if r.prompt is None else next(replaced) for r in requests]

    def continuations(self, rows: list[int], lengths: list[int], count: int) -> Tensor:
        self._alone("continuations")
        trainer = self.trainer
        if trainer.engine is None:
            raise ValueError(
                "continuations are sampled by the harness's rollout engine: give the trainer engine=…"
            )
        prompts, completions, limit = self._unpadded(0), self._unpadded(2), trainer.max_completion_length
        prefixes = [completions[row][:length] for row, length in zip(rows, lengths, strict=True)]
        if longest := [n for n in map(len, prefixes) if n >= limit]:
            raise ValueError(
                f"continuations: a prefix of {longest[0]} tokens leaves none of {limit} to sample"
            )
        starts = [
            prompts[row] + prefix for row, prefix in zip(rows, prefixes, strict=True) for _ in range(count)
        ]
        keys = [
            Key(f"{prompt_key(start)}/continued", k % count, trainer.state.global_step)
            for k, start in enumerate(starts)
        ]
        limits = [limit - len(prefix) for prefix in prefixes for _ in range(count)]
        rollouts = trainer.generated(starts, keys, limits, keep_hidden=False)
        trainer.work["extra_tokens"] += rollouts.tokens
        each = [(row, prefix) for row, prefix in zip(rows, prefixes, strict=True) for _ in range(count)]
        rewards = trainer.rewards_of(
            [self.inputs[row] for row, _ in each],
            [prefix + ids for (_, prefix), ids in zip(each, rollouts.ids(), strict=True)],
        )
        return rewards.unflatten(0, (-1, count))

    def input_gradients(self, targets: Tensor) -> Tensor:
        self._alone("input_gradients")
        model, look_up = self.model, self.model.get_input_embeddings()
        found = torch.zeros(targets.shape, dtype=torch.float64, device=targets.device)
        training = model.training
        model.eval()
        try:
            for rows in targets.any(1).nonzero()[:, 0].split(self.rows):
                prompt_ids, prompt_mask, ids, mask = places = [place[rows] for place in self.places]
                with torch.no_grad():
                    embedded = look_up(torch.cat([prompt_ids, ids], dim=1))
                embedded.requires_grad_()
                with torch.enable_grad():
                    log_probs = completion_log_probs(model, *places, self.trainer.temperature, embedded)
                    likelihood = log_probs.gather(2, ids[..., None]).squeeze(2)
                    chosen = likelihood.where(targets[rows], 0.0).sum()
                (gradient,) = torch.autograd.grad(chosen, embedded)
                found[rows] = (gradient * embedded.detach()).sum(-1)[:, -targets.shape[1] :].double()
                self._count(3 * int(prompt_mask.sum() + mask.sum()))
        finally:
            model.train(training)
        return found

    def auxiliary(self, batch: RolloutBatch) -> PolicyAuxiliary:
        self._alone("auxiliary")
        if self.trainer.auxiliary_model is None:
            raise LookupError(
                'the part that wants the auxiliary model must say so, needs = frozenset({"auxiliary"}): the copy is '
                "made before training starts"
            )
        return PolicyAuxiliary(self, batch.mask)

    def _alone(self, what: str) -> None:
        if self.trainer.accelerator.num_processes > 1:
            raise ValueError(f"{what} is done in one process only: start one, or choose another method")

    def _ids(self, given: Sequence[int] | str) -> list[int]:
        if not isinstance(given, str):
            return list(given)
        return self.tokens(given, add_special_tokens=False)["input_ids"] if given else []

    def _unpadded(self, place: int) -> list[list[int]]:
        ids, mask = self.places[place : place + 2]
        return [row[keep].tolist() for row, keep in zip(ids, mask.bool(), strict=True)]

    def _length(self) -> int:
        return int(self.places[1].sum() + self.places[3].sum())

    def _count(self, tokens: int) -> None:
        self.trainer.work["pass_tokens"] += tokens


class PolicyAuxiliary:
    """The trainable copy of the base policy, seen through one rollout batch (`methods.work.Auxiliary`)."""

    def __init__(self, work: PolicyWork, mask: Tensor) -> None:
        self.work, self.mask = work, mask
        self.model = work.trainer.auxiliary_model

    def parameters(self) -> Iterable[nn.Parameter]:
        return self.model.parameters()

    def logps(self, rows: Sequence[int]) -> Tensor:
        rows = list(rows)
        places = [place[rows] for place in self.work.places]
        self.work._count((3 if torch.is_grad_enabled() else 1) * int(places[1].sum() + places[3].sum()))
        log_probs = completion_log_probs(self.model, *places, self.work.trainer.temperature)
        return log_probs.gather(2, places[2][..., None]).squeeze(2).where(self.mask[rows], 0.0)

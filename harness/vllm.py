"""Evaluation where TRL samples with vLLM: the rollout engine would take hours for long answers of large models.

Without the engine there are no common random numbers, neither in training nor here; the records say so.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True)
class Completions:
    """Completions' token ids, end-of-sequence included."""

    token_ids: list[list[int]]

    def ids(self) -> list[list[int]]:
        """Token ids, row by row."""
        return self.token_ids


class VllmSampler:
    """Samples with the vLLM that `trainer` keeps at the policy's weights (TRL's `use_vllm`, either mode)."""

    def __init__(self, trainer: Any) -> None:
        self.trainer = trainer

    def generate(
        self,
        prompts: Sequence[Sequence[int]],
        keys: Sequence[Any],
        *,
        max_tokens: int,
        temperature: float,
        seed: int,
    ) -> Completions:
        """One completion of each prompt (token ids). `keys` and `seed` name noise that vLLM does not take."""
        with self._settings(temperature=temperature, max_completion_length=max_tokens):
            ids, _ = self.trainer._generate_single_turn([list(prompt) for prompt in prompts], None, {}, 1)
        return Completions([list(row) for row in ids])

    @contextmanager
    def _settings(self, **settings: Any) -> Iterator[None]:
        """vLLM reads them at every call; training's own are put back."""
        vllm = self.trainer.vllm_generation
        before = {name: getattr(vllm, name) for name in settings}
        vars(vllm).update(settings)
        try:
            yield
        finally:
            vars(vllm).update(before)

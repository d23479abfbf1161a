"""Where the time of a training step goes, for our trainer and TRL's own alike."""

from __future__ import annotations

import time
from collections import defaultdict
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

from trl import GRPOTrainer

PHASES = ("rollout", "reward", "old log-probs", "credit", "forward", "backward", "other")


class Phases:
    """Seconds of each of PHASES, each moment counted once: what runs inside another phase is not counted there."""

    def __init__(self) -> None:
        self.seconds: dict[str, float] = defaultdict(float)
        self._open: list[str] = []
        self._since = 0.0

    @contextmanager
    def phase(self, name: str) -> Iterator[None]:
        self._count()
        self._open.append(name)
        try:
            yield
        finally:
            self._count()
            self._open.pop()

    def _count(self) -> None:
        now = time.perf_counter()
        if self._open:
            self.seconds[self._open[-1]] += now - self._since
        self._since = now

    def watch(self, trainer: GRPOTrainer) -> None:
        """Time the trainer's methods from now on. What is in no other phase of a training step is `other`."""
        self._around(trainer, "training_step", lambda *_: "other")
        self._around(trainer, "_generate", lambda *_: "rollout")
        self._around(trainer, "_calculate_rewards", lambda *_: "reward")
        self._around(trainer, "_compute_loss", lambda *_: "forward")
        self._around(trainer.accelerator, "backward", lambda *_: "backward")
        if hasattr(trainer, "method"):
            self._around(trainer.method, "credit", lambda *_: "credit")
        # asked for old log-probs before the loss, for current ones within it
        self._around(
            trainer, "_get_per_token_logps_and_entropies",
            lambda *_: "forward" if "forward" in self._open else "old log-probs",
        )  # fmt: skip

    def _around(self, owner: Any, name: str, phase: Callable[..., str]) -> None:
        inner = getattr(owner, name)

        def timed(*arguments: Any, **named: Any) -> Any:
            with self.phase(phase()):
                return inner(*arguments, **named)

        object.__setattr__(owner, name, timed)

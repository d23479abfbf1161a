"""What a failed run leaves to look at: STATUS, traceback.txt, and failure.json with the batch it failed on."""

from __future__ import annotations

import json
import math
import traceback
from typing import TYPE_CHECKING, Any

from hydra.errors import InstantiationException
from omegaconf import DictConfig

from harness.errors import RunFailed, Unrecorded
from harness.records import FAILED, FAILURE, TRACEBACK, Records
from harness.rows import as_text

if TYPE_CHECKING:
    from harness.curve import LearningCurve
    from harness.judge import Judge
    from harness.trainer import CreditGRPOTrainer


def record_failure(cfg: DictConfig, records: Records, error: BaseException) -> RunFailed:
    """Write why the run failed into its folder; the error for the sweep, which names what could not be written.

    Every file is tried by itself: on a full disk a short one may fit where a long one does not.
    """
    cause = error.__cause__ if isinstance(error, InstantiationException) and error.__cause__ else error
    why = " ".join([f"{type(cause).__name__}: {cause}", *getattr(cause, "__notes__", ())])
    scene = {"error": why} | getattr(error, "scene", {}) | {"traceback": TRACEBACK}
    lost = []
    for name, text in (
        ("STATUS", f"{FAILED}: {' '.join(why.split())}\n"),
        (TRACEBACK, "".join(traceback.format_exception(error))),
        (FAILURE, json.dumps(_plain(scene), indent=1, default=repr) + "\n"),
    ):
        try:
            records.replace(name, text)
        except OSError as unwritten:
            lost.append(f"{name} could not be written: {unwritten}")
    head = f"{cfg.label} seed {cfg.seed}: {why}"
    return Unrecorded("; ".join([head, *lost])) if lost else RunFailed(head)


def set_scene(
    error: BaseException, trainer: CreditGRPOTrainer, curve: LearningCurve, judge: Judge, checkpoint: str | None
) -> None:
    """Note on `error` where training stood: step, update, what was being done, metrics so far, rows of the batch.

    A verifier's failure names its own rows (`with_rows`); any other one is shown with the last batch that was sampled.
    """
    update = trainer.state.global_step
    step = min(update // curve.updates_per_step + 1, curve.cfg.trainer.steps)
    pending = {name: sum(values) / len(values) for name, values in trainer._metrics["train"].items() if values}
    during = getattr(error, "during", None) or curve.during
    rows = getattr(error, "rows", None)
    if rows is None:
        rows = _rows(trainer) if during == "training" else []
    error.scene = {
        "step": step,
        "update": update + 1 if during == "training" else update,
        "during": during,
        "resumed_from": checkpoint,
        "metrics": pending,
        "verifier_errors": dict(judge.errors),
        "rows": rows,
    }


def _plain(value: Any) -> Any:
    """JSON has no word for what is not finite, and it is what one looks for here: as text."""
    if isinstance(value, dict):
        return {str(key): _plain(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(item) for item in value]
    return repr(value) if isinstance(value, float) and not math.isfinite(value) else value


def _rows(trainer: CreditGRPOTrainer) -> list[dict[str, Any]]:
    scored = trainer.scored
    rewards = scored["rewards"].tolist() if "rewards" in scored else [None] * len(scored.get("prompts", ()))
    return [
        {"prompt": as_text(prompt), "completion": as_text(completion), "token_ids": list(ids), "reward": reward}
        for prompt, completion, ids, reward in zip(
            scored.get("prompts", ()),
            scored.get("completions", ()),
            scored.get("completion_ids", ()),
            rewards,
            strict=False,
        )
    ]

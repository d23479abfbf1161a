"""Faults that a started command has inside: each function changes what the process will do, and returns."""

import contextlib
import os
import shutil
import signal
import threading
import time
from pathlib import Path

import psutil
import torch
import transformers

from harness.curve import LearningCurve
from harness.records import Records
from harness.rollouts import RolloutEngine
from harness.trainer import CreditGRPOTrainer


def die() -> None:
    os.kill(os.getpid(), signal.SIGKILL)


def killed(phase: str, nth: int) -> None:
    """SIGKILL in the `nth` call of what makes up a phase, in its middle where it has one."""
    owner, name, middle = PHASES[phase]
    original, calls = getattr(owner, name), [0]

    def counted(*arguments, **named):
        calls[0] += 1
        if calls[0] == nth:
            middle(original, *arguments, **named)
            die()
        return original(*arguments, **named)

    setattr(owner, name, counted)


def before(original, *arguments, **named) -> None:
    pass


def after(original, *arguments, **named) -> None:
    original(*arguments, **named)


def half_a_line(original, records, name, lines) -> None:
    """All lines, then without the second half of the last one."""
    path = records.directory / f"{name}.jsonl"
    old = path.stat().st_size if path.exists() else 0
    original(records, name, lines)
    os.truncate(path, old + (path.stat().st_size - old) // 2)


def half_a_file(original, value, path, *arguments, **named) -> None:
    original(value, path, *arguments, **named)
    os.truncate(path, os.path.getsize(path) // 2)


def half_a_state(original, state, path) -> None:
    half_a_file(original, state, path)


def before_the_exchange(original, records, name, text) -> None:
    (records.directory / f".{name}.new").write_text(text)


def half_a_folder(original, path, *arguments, **named) -> None:
    for name in sorted(os.listdir(path))[:3]:
        os.unlink(os.path.join(path, name))


PHASES = {
    "rollouts": (RolloutEngine, "generate", after),
    "update": (CreditGRPOTrainer, "training_step", after),
    "optimizer": (torch.optim.AdamW, "step", after),
    "weights": (transformers.modeling_utils, "safe_save_file", half_a_file),
    "optimizer file": (torch, "save", half_a_file),
    "trainer state": (transformers.TrainerState, "save_to_json", half_a_state),
    "old checkpoint": (shutil, "rmtree", half_a_folder),
    "lines": (Records, "append", half_a_line),
    "whole file": (Records, "replace", before_the_exchange),
    "rewinding": (Records, "rewind", after),
    "evaluation": (LearningCurve, "evaluate", after),
    "end point": (LearningCurve, "finish", before),
}


def stalls(phase: str, nth: int, marker: str) -> None:
    """A minute's sleep in the `nth` call, after the file `marker` is written: the moment for a signal from outside."""
    owner, name, middle = PHASES[phase]
    original, calls = getattr(owner, name), [0]

    def counted(*arguments, **named):
        calls[0] += 1
        if calls[0] == nth:
            middle(original, *arguments, **named)
            Path(marker).write_text("")
            time.sleep(60)
        return original(*arguments, **named)

    setattr(owner, name, counted)


def loss_is_nan_for(method: str, seed: int, nth: int) -> None:
    """In the `nth` micro-batch of one run of a sweep."""
    original, calls = CreditGRPOTrainer._compute_loss, [0]

    def spoilt(self, *arguments, **named):
        loss = original(self, *arguments, **named)
        if (self.method.name, self.args.seed) == (method, seed):
            calls[0] += 1
            loss = loss * float("nan") if calls[0] == nth else loss
        return loss

    CreditGRPOTrainer._compute_loss = spoilt


def a_worker_is_killed(seed: str) -> None:
    """As the system does when memory runs out, every time: who makes the run of `seed-<n>`, when it has new records."""

    def watch() -> None:
        seen = 0
        while True:
            time.sleep(0.02)
            for metrics in Path("results").glob(f"*/*/{seed}/metrics.jsonl"):
                if metrics.stat().st_size and metrics.stat().st_mtime_ns > seen and kill_holder(metrics.parent):
                    time.sleep(0.1)
                    seen = time.time_ns()

    threading.Thread(target=watch, daemon=True).start()


def kill_holder(run: Path) -> bool:
    """Kill the process below this one that holds a run's folder, if there is one."""
    lock = str((run / ".lock").resolve())
    for process in psutil.Process().children(recursive=True):
        with contextlib.suppress(psutil.Error):  # it has ended
            if lock in {file.path for file in process.open_files()}:
                process.kill()
                return True
    return False

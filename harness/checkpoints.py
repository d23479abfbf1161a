"""Whether a checkpoint may be taken up: whole, of this model, and without a file that could run code.

The trainer's own loading leaves out silently what is not there: without optimizer.pt it goes on with an optimizer that
knows nothing, and weights under other names keep their base values. Here that is an error.
"""

from __future__ import annotations

import errno
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from transformers import PreTrainedModel, TrainerState

# Pickles that are read with `weights_only=True`, which calls nothing but torch's own constructors.
STATES = ("optimizer.pt", "scheduler.pt", "rng_state.pth")
ARGUMENTS = "training_args.bin"  # written by the trainer and read by nobody here
WEIGHTS = ("model.safetensors", "adapter_model.safetensors")
INDEX = "model.safetensors.index.json"
LOADERS = ("_load_from_checkpoint", "_load_optimizer_and_scheduler", "_load_rng_state")  # of the trainer


def blaming(folder: Path, load: Callable[..., Any]) -> Callable[..., Any]:
    """`load`, whose failure is the checkpoint's, and no other is: the error says what to delete."""

    def loaded(*arguments: Any, **named: Any) -> Any:
        try:
            return load(*arguments, **named)
        except (MemoryError, torch.OutOfMemoryError):  # of the machine
            raise
        except Exception as error:
            if isinstance(error, OSError) and error.errno not in (None, errno.ENOENT):  # of the disk
                raise
            raise ValueError(
                f"{folder} cannot be taken up ({type(error).__name__}: {' '.join(str(error).split()):.500}): delete it "
                f"to go on from the one before or from the start, or {folder.parents[1]} to make the run anew"
            ).with_traceback(error.__traceback__) from None

    return loaded


def check_checkpoint(folder: Path, updates: int, model: PreTrainedModel) -> None:
    """Raise ValueError where `folder` is no whole checkpoint of `model` after `updates` updates."""
    state = json.loads((folder / "trainer_state.json").read_text())
    if not isinstance(state, dict) or state.get("global_step") != updates:
        raise ValueError(f"trainer_state.json does not say global_step {updates}")
    TrainerState(**state)  # as the trainer will read it
    if pickled := sorted(p.name for p in folder.glob("*.bin") if p.name != ARGUMENTS):
        raise ValueError(f"it holds {pickled[0]}, a pickle: only safetensors weights are read")
    for name in STATES:
        if not (folder / name).is_file():
            raise ValueError(f"it lacks {name}")
    found = set()
    files = [folder / name for name in WEIGHTS if (folder / name).is_file()]
    if (folder / INDEX).is_file():
        files += [folder / name for name in {*json.loads((folder / INDEX).read_text())["weight_map"].values()}]
    for file in files:
        try:
            with safe_open(file, framework="pt") as weights:
                found |= {*weights.keys()}
        except (OSError, SafetensorError) as error:
            raise ValueError(f"{file.name} cannot be read: {error}") from error
    expected, known = _names(model)
    if missing := sorted(expected - found):
        raise ValueError(f"it has no weights named {missing[0]} ({len(missing)} of {len(expected)} are missing)")
    if others := sorted(found - known):
        raise ValueError(f"it has weights named {others[0]}, which the policy has not")


def _names(model: PreTrainedModel) -> tuple[set[str], set[str]]:
    """Names that a checkpoint of the model must have, and those it may have: tied weights are stored once."""
    if hasattr(model, "peft_config"):
        from peft import get_peft_model_state_dict

        names = {*get_peft_model_state_dict(model)}
        return names, names
    return {name for name, _ in model.named_parameters()}, {*model.state_dict()}

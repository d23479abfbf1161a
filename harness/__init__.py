"""A harness that compares credit-assignment methods for reinforcement learning with verifiable rewards.

`load_method` and `CreditGRPOTrainer` are imported when first asked for: `import harness` loads no torch.
"""

from importlib import import_module
from typing import Any

_HOMES = {"load_method": "harness.load", "CreditGRPOTrainer": "harness.trainer"}

__all__ = ["CreditGRPOTrainer", "load_method"]


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(_HOMES[name]), name)


def __dir__() -> list[str]:
    return sorted([*globals(), *__all__])

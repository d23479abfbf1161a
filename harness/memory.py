"""The memory that a run takes at its highest: of the GPU if there is one, else of the process."""

from __future__ import annotations

import re
from pathlib import Path

import torch

STATUS, CLEAR = Path("/proc/self/status"), Path("/proc/self/clear_refs")


def reset_peak() -> None:
    """Count from here on: a worker process makes several runs, one after the other."""
    if torch.cuda.is_available():
        torch.cuda.reset_peak_memory_stats()
    elif CLEAR.exists():
        CLEAR.write_text("5")  # the high-water mark becomes what is resident now


def peak_mb() -> float:
    """Megabytes (10^6 bytes) at the highest since `reset_peak`; NaN where the system does not tell (not Linux)."""
    if torch.cuda.is_available():
        return torch.cuda.max_memory_allocated() / 1e6
    if not STATUS.exists():
        return float("nan")
    return int(re.search(r"VmHWM:\s+(\d+) kB", STATUS.read_text()).group(1)) * 1024 / 1e6

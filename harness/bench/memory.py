"""What a call adds to the memory of the process, at its highest. Linux with glibc."""

from __future__ import annotations

import ctypes
import gc
import re
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import TypeVar

from harness.errors import ConfigError

# For the environment of a process that measures: every block above 64 KiB is mapped by itself and unmapped when it
# is freed, so that no temporary is taken from, or stays in, memory that an earlier one has left behind.
MAPPED = {"MALLOC_MMAP_THRESHOLD_": str(1 << 16), "MALLOC_TRIM_THRESHOLD_": str(1 << 16)}
M_TRIM_THRESHOLD, M_MMAP_THRESHOLD = -1, -3  # malloc.h
Result = TypeVar("Result")


def check_system() -> None:
    """Raise ConfigError where memory cannot be measured."""
    if sys.platform != "linux" or not hasattr(ctypes.CDLL(None), "malloc_trim"):
        raise ConfigError(
            "Memory is read from /proc and freed by glibc's malloc_trim: this needs Linux with glibc."
        )


def measured(call: Callable[[], Result]) -> tuple[Result, float, int]:
    """A call's result, its seconds and the bytes that it adds to resident memory at its highest.

    Code of libraries that this call is the first to run is left out.
    """
    gc.collect()
    ctypes.CDLL(None).malloc_trim(0)
    Path("/proc/self/clear_refs").write_text("5")  # resets the high-water mark to what is resident now
    before, code, start = status("VmRSS"), status("RssFile"), time.perf_counter()
    result = call()
    seconds, highest = time.perf_counter() - start, status("VmHWM")
    return result, seconds, max(0, highest - before - (status("RssFile") - code))


def malloc_as_usual() -> None:
    """Undo `MAPPED`, for timing: the thresholds that glibc itself arrives at where blocks are large."""
    libc = ctypes.CDLL(None)
    libc.mallopt(M_MMAP_THRESHOLD, 1 << 25)
    libc.mallopt(M_TRIM_THRESHOLD, 1 << 26)


def status(name: str, file: str = "/proc/self/status") -> int:
    """A line of /proc/self/status, or of /proc/meminfo, in bytes."""
    return 1024 * int(re.search(rf"{name}:\s+(\d+) kB", Path(file).read_text()).group(1))

"""Which backend a run gets: the strongest that starts here and, tried out, does contain."""

from __future__ import annotations

import compileall
import os
from collections.abc import Iterator

from harness.errors import ConfigError, nearest
from harness.sandbox import runtime
from harness.sandbox.bubblewrap import ROOT, ROOT_FIRST, USER, Bubblewrap
from harness.sandbox.limits import Limits, SandboxError
from harness.sandbox.pool import Backend, Sandbox
from harness.sandbox.sandlock import Sandlock
from harness.sandbox.selfcheck import self_check
from harness.sandbox.unsafe import Unsafe

STRONG: tuple[Backend, ...] = (Bubblewrap(USER), Bubblewrap(ROOT), Bubblewrap(ROOT_FIRST), Sandlock())
BACKENDS: tuple[Backend, ...] = (*STRONG, Unsafe())
AUTO = "auto"
ADVICE = (
    "Install bubblewrap (Debian: apt-get install bubblewrap; it needs user namespaces, or root with the right "
    "to mount) or sandlock (pip install sandlock; it needs Linux 6.12 or later). To run programs with no "
    "sandbox at all, on a machine where that does no harm, ask for sandbox=unsafe."
)


def open_sandbox(name: str = AUTO, limits: Limits | None = None, workers: int | None = None) -> Sandbox:
    """A running sandbox of the backend named, or `auto`: of the strongest that works here.

    `unsafe` is never chosen by itself. `workers` (default: the cores that this process may use) is how many
    programs are judged at a time. Raises ConfigError for a name that does not exist, SandboxError with advice
    where no backend works.
    """
    names = {AUTO, *(backend.name for backend in BACKENDS)}
    if name not in names:
        raise ConfigError(f"sandbox={name} does not exist. {nearest(name, names)}")
    reasons = []
    for backend, outcome in survey(name, limits or Limits(), workers or cores()):
        if isinstance(outcome, Sandbox):
            return outcome
        reasons.append(f"{backend.name} ({backend.way}): {outcome}")
    raise SandboxError("no sandbox for untrusted code works here. " + "; ".join(reasons) + ". " + ADVICE)


def cores() -> int:
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def survey(name: str, limits: Limits, workers: int) -> Iterator[tuple[Backend, Sandbox | SandboxError]]:
    """The backends that `name` stands for, strongest first, each with a checked sandbox or why there is none.

    Whoever takes a sandbox from it closes it.
    """
    compileall.compile_dir(runtime.INSIDE, quiet=2)  # a read-only installation only makes starting slower
    for backend in STRONG if name == AUTO else [b for b in BACKENDS if b.name == name]:
        reason = backend.missing()
        if reason is not None:
            yield backend, SandboxError(reason)
            continue
        sandbox = Sandbox(backend, limits, workers)
        try:
            self_check(sandbox, contains=backend in STRONG)
        except SandboxError as error:
            sandbox.close()
            yield backend, error
        except BaseException:
            sandbox.close()
            raise
        else:
            yield backend, sandbox

"""The two ways a command fails, and sentences that name the nearest valid choice."""

from collections.abc import Iterable
from difflib import SequenceMatcher


class ConfigError(ValueError):
    """A key or value that is refused before anything runs; the message is meant for the user as it stands."""


class RunFailed(RuntimeError):
    """One run failed; its STATUS says why. Carries text only, so that it crosses process borders."""


class Terminated(KeyboardInterrupt):
    """SIGTERM. Like Ctrl-C no Exception, so that no run takes it for a failure of its own."""


class Unrecorded(RunFailed):
    """One run failed, and STATUS does not say why: its folder cannot be written to, or is another process's now."""


def nearest(name: str, valid: Iterable[str]) -> str:
    """Return "Did you mean …?", or where none is close the valid names if they are few.

    Dotted names are compared whole and by their last component: `temprature` finds `trainer.temperature`.
    """
    names = sorted(set(valid))
    score = {n: _likeness(name, n) for n in names}
    best = max(score.values(), default=0)
    close = sorted((n for n in names if score[n] > max(0.65, best - 0.1)), key=score.get, reverse=True)
    if close:
        return f"Did you mean {' or '.join(close[:3])}?"
    return f"Valid: {', '.join(names)}." if 0 < len(names) <= 25 else "See --help for what there is."


def _likeness(one: str, other: str) -> float:
    whole = SequenceMatcher(None, one, other).ratio()
    last = SequenceMatcher(None, one.split(".")[-1], other.split(".")[-1]).ratio()
    return max(whole, 0.95 * last)

"""What follows when the system kills a worker process of a sweep, as it does when memory runs out.

That ends all the others, and nothing says whose fault it was. So the runs that were under way are taken up again. One
that was under way twice waits until all others have ended, and is then made alone: if it is killed there too, it has
failed.
"""

from __future__ import annotations

import os
import re
import sys
from collections import Counter
from collections.abc import Callable, Sequence
from pathlib import Path

from harness.errors import RunFailed
from harness.sweep import ALONE, LATER, status

IN_VAIN = 5  # kills, between which no run was finished: then there is no room for so many worker processes


def make_all(launch: Callable[[], None], runs: Sequence[Path]) -> None:
    """Launch a sweep until every run has ended, or was killed when it was alone."""
    from joblib.externals.loky import get_reusable_executor
    from joblib.externals.loky.process_executor import TerminatedWorkerError

    def killed(later: Sequence[Path] = (), alone: Path | str = "") -> tuple[list[Path], str] | None:
        """Launch; None, or if a worker process was killed the runs that were under way, and how."""
        os.environ |= {LATER: "\n".join(map(str, later)), ALONE: str(alone)}
        before = [_begun(run) for run in runs]
        try:
            launch()
        except RunFailed:
            pass  # it has said why, and those that wait are still to be made
        except TerminatedWorkerError as error:
            begun = [run for run, then in zip(runs, before, strict=True) if _begun(run) != then]
            how = re.search(r"workers are \{(\w+\(-?\d+\))", str(error))
            return [run for run in begun if _is_interrupted(run)], how[1] if how else "no exit code"
        return None

    def done() -> int:
        return sum(status(run) == "done" for run in runs)

    began, finished = {run: _begun(run) for run in runs}, done()
    kills: Counter[Path] = Counter()
    later: list[Path] = []
    in_vain = 0  # kills since a run was finished
    while in_vain < IN_VAIN:
        # what has failed of itself is not made once more by the same command
        failed = [run for run in runs if status(run).startswith("failed") and _begun(run) != began[run]]
        if all(status(run) == "done" for run in runs if run not in (*later, *failed)):
            break
        if (found := killed([*later, *failed])) is None:
            break
        kills.update(found[0])
        in_vain, finished = (0 if done() > finished else in_vain + 1), done()
        later = [run for run in runs if kills[run] > 1]
        again = "taking the unfinished runs up again" if in_vain < IN_VAIN else "giving up: try a lower n_jobs"
        alone = f", {len(later)} of them alone, after the others" if later and in_vain < IN_VAIN else ""
        print(f"harness: a worker process was killed, out of memory perhaps; {again}{alone}", file=sys.stderr)
    if in_vain == IN_VAIN:
        return
    for run in later:
        get_reusable_executor().shutdown(kill_workers=True)  # those that wait for work have the old environment
        if (found := killed(alone=run)) and run in found[0]:
            _set_failed(run, found[1])


def _begun(run: Path) -> int | None:
    """When STATUS was last written; what it says may be left from an earlier command."""
    path = run / "STATUS"
    return path.stat().st_mtime_ns if path.exists() else None


def _is_interrupted(run: Path) -> bool:
    from harness.records import RUNNING, Records  # imports torch

    records = Records(run)
    try:
        with records.locked():
            return records.status == RUNNING
    except RunFailed:  # another command's
        return False


def _set_failed(run: Path, how: str) -> None:
    from harness.records import FAILED, Records

    memory = "; out of memory?" if how.startswith("SIGKILL") else ""
    Records(run).set_status(f"{FAILED}: worker process killed ({how.partition('(')[0]}{memory})")

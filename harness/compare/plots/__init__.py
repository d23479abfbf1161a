"""Figures of a comparison, each as PNG, SVG and the CSV of the numbers behind it, with the same stem.

In this order (`draw_all`):

1. learning_curves: mean over domains against steps, generated tokens and training time; learning_curves_steps,
   learning_curves_tokens, learning_curves_seconds: one axis, a panel for the mean and for each domain
2. endpoint: end points, one dot a seed
3. improvement: probability that one method's run ends above another's
4. pass_at_k: pass@k against k
5. tokens_to_threshold: generated tokens until the threshold is reached
6. stability: training signals against steps
7. performance_profile: share of runs above an accuracy
8. credit_heatmap: token credit of one completion under each method

Where there are many runs, worker processes draw (`drawing`); the files are the same.

A figure whose numbers were not recorded, or that has no threshold, is left out. `CAPTIONS` says of each stem
what is shown and how to read it.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from concurrent.futures import ProcessPoolExecutor
from contextlib import contextmanager
from pathlib import Path

from harness.compare.load import ALONE, WORKERS
from harness.compare.plots import curves as _curves
from harness.compare.plots.curves import learning_curves
from harness.compare.plots.endpoint import CAPTIONS as _ENDPOINT
from harness.compare.plots.endpoint import endpoint
from harness.compare.plots.heatmap import CAPTIONS as _HEATMAP
from harness.compare.plots.heatmap import credit_heatmap
from harness.compare.plots.improvement import CAPTIONS as _IMPROVEMENT
from harness.compare.plots.improvement import improvement
from harness.compare.plots.pass_at_k import CAPTIONS as _PASS
from harness.compare.plots.pass_at_k import pass_at_k
from harness.compare.plots.profile import CAPTIONS as _PROFILE
from harness.compare.plots.profile import performance_profile
from harness.compare.plots.stability import CAPTIONS as _STABILITY
from harness.compare.plots.stability import stability
from harness.compare.plots.style import BASELINE_COLOUR, COLOURS, STYLE, save, styles
from harness.compare.plots.threshold import CAPTIONS as _THRESHOLD
from harness.compare.plots.threshold import tokens_to_threshold
from harness.compare.scores import Findings

__all__ = [
    "BASELINE_COLOUR", "CAPTIONS", "COLOURS", "FIGURES", "STYLE", "draw_all", "drawing", "endpoint", "learning_curves",
    "save", "styles",
]  # fmt: skip

FIGURES = (
    learning_curves, endpoint, improvement, pass_at_k, tokens_to_threshold, stability, performance_profile,
    credit_heatmap,
)  # fmt: skip
CAPTIONS: dict[str, str] = (
    _curves.CAPTIONS | _ENDPOINT | _IMPROVEMENT | _PASS | _THRESHOLD | _STABILITY | _PROFILE | _HEATMAP
)


def draw_all(found: Findings, out: Path) -> list[Path]:
    """Draws every figure into the folder `out`, which exists; the files in the order of the list above."""
    return [path for draw in FIGURES for path in draw(found, out)]


@contextmanager
def drawing(found: Findings, out: Path) -> Iterator[Callable[[], list[Path]]]:
    """Has every figure drawn as `draw_all` does; yields a function that waits for the files.

    With many runs by worker processes, so that the caller can go on with something else meanwhile.
    """
    if len(found.records.runs) <= ALONE:
        yield lambda: draw_all(found, out)
        return
    with ProcessPoolExecutor(WORKERS, initializer=_remember, initargs=(found, out)) as pool:
        drawn = [pool.submit(_draw, place) for place in range(len(FIGURES))]
        yield lambda: [path for one in drawn for path in one.result()]


_given: list = []  # of a worker process: findings and folder, handed over once instead of with each figure


def _remember(*given: object) -> None:
    _given[:] = given


def _draw(place: int) -> list[Path]:
    return FIGURES[place](*_given)

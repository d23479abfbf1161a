"""One decision: a question with a right procedure and a tempting wrong one."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from random import Random

from harness.verifiers.worked import final_answer, work_holds


@dataclass(frozen=True)
class Item:
    """A question with the line that answers it and the line that the misconception gives.

    `right` and `wrong` part at `branch`, the character that chooses the procedure. `cases` are the
    hidden inputs and outputs of a code item.
    """

    kind: str
    question: str
    right: str
    wrong: str
    cases: tuple[tuple[int, int], ...] = ()

    @property
    def branch(self) -> int:
        """Offset of the first character at which the right line leaves the wrong one."""
        return common_prefix(self.right, self.wrong)


@dataclass(frozen=True)
class Kind:
    """A kind of decision: how its items are made, and how often the demonstrations get it wrong."""

    make: Callable[[Random, int], Item | None]
    misconception: float


@dataclass(frozen=True)
class Grade:
    """One item's verdict: right or wrong, a share in [0, 1] for graded rewards, and the answer read."""

    correct: bool
    share: float
    answer: str | None


def common_prefix(a: str, b: str) -> int:
    """Length of the longest common prefix."""
    length = 0
    for x, y in zip(a, b, strict=False):
        if x != y:
            break
        length += 1
    return length


def grade_worked(item: Item, line: str) -> Grade:
    """Right by its final answer (number or letter); half of the share is for true work by the right step."""
    answer = final_answer(line)
    correct = answer is not None and answer == final_answer(item.right)
    right_step = line.split("=")[0] == item.right.split("=")[0] and work_holds(line)
    return Grade(correct, 0.5 * correct + 0.5 * right_step, answer)

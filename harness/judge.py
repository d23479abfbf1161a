"""The judge of one run: training problems by number, and verdicts on their completions, each made once."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np

from harness.evaluation import check_error_share, check_verdicts, with_rows
from harness.policy import Policy
from harness.rows import as_text
from harness.suites import Problem, Suite, Verdict

# A batch asks for a verdict more than once: for the reward, for decisive tokens, in dynamic sampling.
KEPT_VERDICTS = 1 << 14


class Drawn:
    """Training problems by number, drawn from their stream as far as they are asked for."""

    def __init__(self, stream: Iterator[Problem]) -> None:
        self._stream = stream
        self._drawn: list[Problem] = []

    def __getitem__(self, number: int) -> Problem:
        while len(self._drawn) <= number:
            self._drawn.append(next(self._stream))
        return self._drawn[number]


class Judge:
    """Verdicts on training completions, each made once for the reward and the decisive tokens."""

    def __init__(self, suite: Suite, problems: Drawn | Sequence[Problem], policy: Policy) -> None:
        self.suite, self.problems, self.tokenizer = suite, problems, policy.tokenizer
        self.errors: Counter[str] = Counter()  # causes, one for each different completion, until they are recorded
        self._known: dict[tuple[int, str], Verdict] = {}

    def verdicts(self, problem: Sequence[int], completions: Sequence[Any]) -> list[Verdict]:
        """The verdict on each completion, a text or a conversation's last turn."""
        pairs = list(zip(problem, map(as_text, completions), strict=True))
        new = [pair for pair in dict.fromkeys(pairs) if pair not in self._known]
        if len(self._known) > KEPT_VERDICTS:
            self._known = {pair: self._known[pair] for pair in pairs if pair in self._known}
        if new:
            problems, texts = [self.problems[i] for i, _ in new], [text for _, text in new]
            judged: Sequence[Verdict] = ()
            try:
                judged = self.suite.judge(problems, texts)
                check_verdicts(judged, len(new))
            except Exception as error:
                with_rows(error, [own.prompt for own in problems], texts, judged)
                raise
            self._known |= zip(new, judged, strict=True)
            self.errors.update(verdict.error for verdict in judged if verdict.error is not None)
        return [self._known[pair] for pair in pairs]

    def reward(self, completions: list, problem: list[int], **_) -> list[float]:
        """TRL reward function: the verdict's reward, NaN where the verifier could not judge."""
        verdicts = self.verdicts(problem, completions)
        try:
            check_error_share(verdicts)
        except Exception as error:
            with_rows(error, [self.problems[i].prompt for i in problem], [*map(as_text, completions)], verdicts)
            raise
        return [verdict.reward for verdict in verdicts]

    def decisive(
        self, completions: list, completion_ids: list[list[int]], problem: list[int], **_
    ) -> list[list[int]]:
        """The verdicts' decisive characters as a sign for every token."""
        return [
            decisive_tokens(
                [len(self.tokenizer.decode([token], skip_special_tokens=True)) for token in ids], verdict
            )
            for ids, verdict in zip(completion_ids, self.verdicts(problem, completions), strict=True)
        ]


def decisive_tokens(lengths: list[int], verdict: Verdict) -> list[int]:
    """+1, -1 or 0 for every token, from the characters that each holds.

    A mark at the completion's end falls on the token that ended it.
    """
    signs = [0] * len(lengths)
    ends = np.cumsum(lengths)
    for offset, sign in verdict.decisive:
        signs[min(int(np.searchsorted(ends, offset, side="right")), len(signs) - 1)] = sign
    return signs

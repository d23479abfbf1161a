"""Evaluation by the rollout engine: avg@k, pass@k, maj@k, per domain and over all."""

from __future__ import annotations

import math
import numbers
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass, is_dataclass
from typing import Any

from harness.policy import Policy
from harness.rollouts import Key, RolloutEngine
from harness.suites import Problem, Suite, Verdict
from harness.vllm import VllmSampler

EVALUATION_STEP = -1  # in the noise key: no training rollout shares its noise with an evaluation
MAX_ERROR_SHARE = 0.1  # more unjudged completions than this fail a run


class TooManyVerifierErrors(RuntimeError):
    """The verifier could not judge a large share of completions, so scores would mean nothing."""


class BadVerdict(ValueError):
    """What the verifier returned is no verdict on the completions it was given."""


@dataclass(frozen=True)
class Sample:
    """One judged completion."""

    problem: Problem
    sample: int
    text: str
    verdict: Verdict
    tokens: int


def sample_problems(
    sampler: RolloutEngine | VllmSampler,
    policy: Policy,
    suite: Suite,
    problems: Sequence[Problem],
    *,
    samples: int,
    temperature: float,
    max_tokens: int,
    seed: int,
) -> list[Sample]:
    """`samples` judged completions of every problem; the noise depends on `seed` and the problem only."""
    requests = [(problem, i) for problem in problems for i in range(samples)]
    prompt_ids = dict(zip(problems, policy.encode([p.prompt for p in problems]), strict=True))
    rollouts = sampler.generate(
        [prompt_ids[problem] for problem, _ in requests],
        [Key(problem.hash, i, EVALUATION_STEP) for problem, i in requests],
        max_tokens=max_tokens,
        temperature=temperature,
        seed=seed,
    )
    ids = rollouts.ids()
    texts = policy.tokenizer.batch_decode(ids, skip_special_tokens=True)
    verdicts = judged(suite, [problem for problem, _ in requests], texts)
    return [
        Sample(problem, i, text, verdict, len(own))
        for (problem, i), text, verdict, own in zip(requests, texts, verdicts, ids, strict=True)
    ]


def judged(suite: Suite, problems: Sequence[Problem], completions: Sequence[str]) -> list[Verdict]:
    """The suite's verdicts, one a completion. Raises `BadVerdict` for what is none, `TooManyVerifierErrors`, or what
    the suite raises; the error carries the rows, for failure.json.
    """
    verdicts: Sequence[Verdict] = ()
    try:
        verdicts = suite.judge(problems, completions)
        check_verdicts(verdicts, len(completions))
        check_error_share(verdicts)
    except Exception as error:
        with_rows(error, [problem.prompt for problem in problems], completions, verdicts)
        raise
    return verdicts


def check_verdicts(verdicts: Sequence[Verdict], count: int) -> None:
    """Raise `BadVerdict` unless there is one sound verdict for each of `count` completions."""
    if not isinstance(verdicts, list | tuple) or len(verdicts) != count:
        given = f"{len(verdicts)} verdicts" if isinstance(verdicts, list | tuple) else repr(verdicts)
        raise BadVerdict(f"the verifier gave {given} for {count} completions")
    for place, verdict in enumerate(verdicts):
        if fault := _fault(verdict):
            raise BadVerdict(f"the verifier's verdict on completion {place}: {fault}")


def _fault(verdict: Verdict) -> str | None:
    if not isinstance(verdict, Verdict):
        return f"{verdict!r:.100} is no Verdict"
    if not isinstance(verdict.answer, str | None):
        return f"answer is {verdict.answer!r:.100}, not a text or None"
    if verdict.error is not None:
        return None if isinstance(verdict.error, str) else f"error is {verdict.error!r:.100}, not a text"
    if not isinstance(verdict.reward, numbers.Real) or not math.isfinite(verdict.reward):
        return f"reward is {verdict.reward!r:.100}: give a finite number, or Verdict.failure(why)"
    if not isinstance(verdict.correct, bool):
        return f"correct is {verdict.correct!r:.100}: give true or false, or Verdict.failure(why)"
    return None


def check_error_share(verdicts: Sequence[Verdict]) -> None:
    """Raise `TooManyVerifierErrors` when more than `MAX_ERROR_SHARE` of the verdicts are errors."""
    errors = Counter(v.error for v in verdicts if v.error is not None)
    if sum(errors.values()) > MAX_ERROR_SHARE * len(verdicts):
        cause, count = errors.most_common(1)[0]
        raise TooManyVerifierErrors(
            f"the verifier failed on {sum(errors.values())} of {len(verdicts)} completions, "
            f"{count} times with: {cause}"
        )


def with_rows(
    error: Exception, prompts: Sequence[str], completions: Sequence[str], verdicts: Any
) -> None:
    """Keep on `error` what a verifier was asked, beside what it said, as far as it said anything."""
    said = list(verdicts) if isinstance(verdicts, list | tuple) else [verdicts]
    said += [None] * (len(completions) - len(said))
    error.rows = [
        {"prompt": prompt, "completion": completion, "verdict": _verdict(own)}
        for prompt, completion, own in zip(prompts, completions, said, strict=False)
    ]


def _verdict(said: Any) -> Any:
    return asdict(said) if is_dataclass(said) and not isinstance(said, type) else repr(said)


def scores(samples: Iterable[Sample]) -> dict[str, dict]:
    """Scores by domain, and under `all` their unweighted mean over domains.

    avg: mean accuracy (avg@k); pass: the unbiased pass@k for k = 1, 2, 4, … up to the number of
    samples; maj: accuracy of the most frequent answer. Unjudged completions do not count, and are
    counted under `errors`.
    """
    by_domain: dict[str, dict[str, list[Sample]]] = {}
    for s in samples:
        by_domain.setdefault(s.problem.domain, {}).setdefault(s.problem.hash, []).append(s)
    result = {domain: _domain_scores(list(groups.values())) for domain, groups in by_domain.items()}
    return {"all": _macro_mean(list(result.values())), **result}


def _domain_scores(groups: list[list[Sample]]) -> dict:
    size = max(map(len, groups))
    ks = [2**i for i in range(size.bit_length()) if 2**i <= size]
    verdicts = [[s.verdict for s in group if s.verdict.error is None] for group in groups]
    verdicts = [group for group in verdicts if group]
    counts = [(len(group), sum(bool(v.correct) for v in group)) for group in verdicts]
    return {
        "problems": len(groups),
        "samples": size,
        "avg": _mean([c / n for n, c in counts]),
        "pass": {str(k): _mean([pass_at_k(n, c, k) for n, c in counts if n >= k]) for k in ks},
        "maj": _mean([majority(group) for group in verdicts]),
        "errors": sum(s.verdict.error is not None for group in groups for s in group),
        "length": _mean([s.tokens for group in groups for s in group]),
    }


def _macro_mean(domains: list[dict]) -> dict:
    return {
        "problems": sum(d["problems"] for d in domains),
        "samples": max(d["samples"] for d in domains),
        "avg": _mean([d["avg"] for d in domains]),
        "pass": {k: _mean([d["pass"][k] for d in domains]) for k in domains[0]["pass"]},
        "maj": _mean([d["maj"] for d in domains]),
        "errors": sum(d["errors"] for d in domains),
        "length": _mean([d["length"] for d in domains]),
    }


def pass_at_k(n: int, c: int, k: int) -> float:
    """Unbiased estimate that one of k samples is right, from c right ones of n: 1 - C(n-c, k)/C(n, k)."""
    if not 1 <= k <= n:
        raise ValueError(f"pass@{k} needs at least {k} samples, there are {n}")
    return 1.0 - math.comb(n - c, k) / math.comb(n, k)


def majority(verdicts: Sequence[Verdict]) -> float:
    """Whether the most frequent answer is right, in [0, 1]: ties count by their share of right answers.

    A completion that answers nothing has no vote, unless none has.
    """
    votes = Counter(v.answer for v in verdicts if v.answer is not None) or Counter([None])
    top = max(votes.values())
    right = {v.answer: bool(v.correct) for v in verdicts}
    if any(bool(v.correct) != right[v.answer] for v in verdicts):
        raise ValueError("one answer was judged right in one completion and wrong in another")
    return _mean([right[answer] for answer, count in votes.items() if count == top])


def _mean(values: Sequence[float]) -> float:
    return sum(values) / len(values) if values else float("nan")

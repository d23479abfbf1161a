"""One set of rollouts of a frozen policy, and the true credit of their tokens, kept prompt by prompt on disk."""

from __future__ import annotations

import json
import os
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from omegaconf import DictConfig

from harness.diagnose.fidelity import Scored
from harness.diagnose.scoring import Batch
from harness.diagnose.truth import Truth, true_credit
from harness.errors import ConfigError
from harness.judge import Judge
from harness.policy import Policy
from harness.rollouts import Key, RolloutEngine
from harness.suites import Problem

TRUTH = "truth.jsonl"  # one line a prompt, in the order of the problems


def draw(
    cfg: DictConfig,
    policy: Policy,
    engine: RolloutEngine,
    problems: Sequence[Problem],
    group: int,
    size: int,
    first: int = 0,
) -> list[Batch]:
    """Batches of `size` problems with `group` completions each, the same for the same call. first: the number by which
    the judge knows the first problem.
    """
    batches = []
    for start in range(0, len(problems), size):
        own = problems[start : start + size]
        inputs = [
            {"prompt": policy.message(p.prompt), "reference": p.reference, "problem": first + start + i}
            for i, p in enumerate(own)
            for _ in range(group)
        ]
        keys = [Key(problem.hash, sample, 0) for problem in own for sample in range(group)]
        prompts = [ids for ids in policy.encode([p.prompt for p in own]) for _ in range(group)]
        limit, temperature = cfg.trainer.max_completion_tokens, cfg.trainer.temperature
        rollouts = engine.generate(prompts, keys, max_tokens=limit, temperature=temperature, keep_hidden=True)
        batches.append(Batch(inputs, prompts, rollouts))
    return batches


def value(
    cfg: DictConfig,
    policy: Policy,
    engine: RolloutEngine,
    judge: Judge,
    problems: Sequence[Problem],
    batches: Sequence[Batch],
    worlds: int,
    folder: Path,
    tell: Callable[[str], None],
) -> list[list[dict[str, Any]]]:
    """Completions of each problem with their true credit, as they stand in TRUTH; what is there is not done again.

    A completion: ids, tokens (texts), reward, correct, marks, and unless its reward is null values, errors, probs,
    continuations, sampled (fields of `Truth`).
    """
    known = _kept(folder / TRUTH)
    rows = [ids for batch in batches for ids in batch.rollouts.ids()]
    group, start = len(rows) // len(problems), time.perf_counter()
    for number, line in enumerate(known):
        ids = [completion["ids"] for completion in line["completions"]]
        if line["problem"] != problems[number].hash or ids != rows[number * group : (number + 1) * group]:
            raise ConfigError(
                f"{folder / TRUTH} line {number + 1} holds other rollouts than this command draws here (made by "
                "another version or on another machine?): give another out=, or delete the folder"
            )
    done, tokens = 0, sum(map(len, rows[len(known) * len(rows) // len(problems) :]))
    with (folder / TRUTH).open("a", encoding="utf-8") as file:
        for number in range(len(known), len(problems)):
            own = rows[number * group : (number + 1) * group]
            line = {"problem": problems[number].hash, "domain": problems[number].domain,
                    "prompt": problems[number].prompt}  # fmt: skip
            line["completions"] = list(_valued(cfg, policy, engine, judge, problems[number], number, own, worlds))
            file.write(json.dumps(line, ensure_ascii=False) + "\n")
            file.flush()
            known.append(line)
            done += sum(map(len, own))
            left = (time.perf_counter() - start) / done * (tokens - done)
            tell(f"prompt {number + 1}/{len(problems)}: true credit, about {left:.0f} s left")
    return [line["completions"] for line in known]


def _kept(path: Path) -> list[dict[str, Any]]:
    """Whole lines; one that was cut short by an interruption is taken off."""
    if not path.exists():
        return []
    text = path.read_text(encoding="utf-8")
    whole, newline, cut = text.rpartition("\n")
    if cut:
        os.truncate(path, len((whole + newline).encode()))
    return [json.loads(line) for line in whole.split("\n") if line]  # a token may hold other line breaks


def _valued(
    cfg: DictConfig,
    policy: Policy,
    engine: RolloutEngine,
    judge: Judge,
    problem: Problem,
    number: int,
    rows: list[list[int]],
    worlds: int,
) -> Iterator[dict[str, Any]]:
    def texts(ids: list[list[int]]) -> list[str]:
        return policy.tokenizer.batch_decode(ids, skip_special_tokens=True)

    def rewards(ids: list[list[int]]) -> list[float]:
        return judge.reward(texts(ids), [number] * len(ids))

    verdicts = judge.verdicts([number] * len(rows), texts(rows))
    judged = [i for i, verdict in enumerate(verdicts) if np.isfinite(verdict.reward)]
    truths: dict[int, Truth] = {}
    if judged:
        (prompt,) = policy.encode([problem.prompt])
        own = [rows[i] for i in judged]
        limit, temperature = cfg.trainer.max_completion_tokens, cfg.trainer.temperature
        found = true_credit(
            engine, prompt, own, [verdicts[i].reward for i in judged], rewards, problem=problem.hash, worlds=worlds,
            max_tokens=limit, temperature=temperature,
        )  # fmt: skip
        truths = dict(zip(judged, found, strict=True))
    marks = judge.decisive(texts(rows), rows, [number] * len(rows))
    for i, (ids, verdict) in enumerate(zip(rows, verdicts, strict=True)):
        line = {
            "ids": ids, "tokens": [policy.tokenizer.decode([token], skip_special_tokens=True) for token in ids],
            "reward": verdict.reward if i in truths else None, "correct": verdict.correct, "marks": marks[i],
        }  # fmt: skip
        if (truth := truths.get(i)) is not None:
            line |= {name: getattr(truth, name).tolist() for name in ("values", "errors", "probs")}
            line |= {"continuations": truth.continuations, "sampled": truth.sampled}
        yield line


def scored(completions: Sequence[dict[str, Any]]) -> list[Scored]:
    """What fidelity is measured on: the completions that could be judged."""
    return [
        Scored(np.diff(np.array(line["values"]), axis=1), np.array(line["marks"]), bool(line["correct"]))
        for line in completions
        if line["reward"] is not None
    ]

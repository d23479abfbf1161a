"""A small writer of synthetic results/ trees, in the layout that runs leave behind."""

from __future__ import annotations

import itertools
import json
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest
import yaml

HASHES = {"grpo": "aaaaaaaa", "lampo": "bbbbbbbb", "delta": "cccccccc", "oracle": "dddddddd"}
BASE = {"sampled": 0.4, "greedy": 0.5, "best": 0.55}


class Tree:
    """Writes runs below `root`. Two domains, math and code; `all` is their mean."""

    def __init__(self, root: Path) -> None:
        self.root = root

    def folder(self, method: str, seed: int) -> Path:
        return self.root / f"{method}-{HASHES.get(method, 'eeeeeeee')}" / f"seed-{seed}"

    def run(
        self,
        method: str = "grpo",
        seed: int = 0,
        *,
        end: float = 0.7,
        greedy: float | None = None,
        curve: Sequence[float] = (0.4, 0.5, 0.6),
        every: int = 10,
        tokens: float = 100.0,
        seconds: float = 1.5,
        gap: float = 0.1,
        status: str = "done",
        config: dict[str, Any] | None = None,
        env: dict[str, Any] | None = None,
        base: dict[str, float] | None = None,
        problems_hash: str = "p0",
        errors: int = 0,
        unscorable: int = 0,
        domains: Sequence[str] = ("math", "code"),
        folder: Path | None = None,
        label: str | None = None,
        validation: float | None = None,
        problems: int = 4,
        samples: int = 4,
    ) -> Path:
        """One run. Accuracies are those of `all`; the first domain lies `gap` above, the last as much below.

        curve: the learning curve at steps 0, every, 2 · every, …; tokens, seconds: per training step;
        validation: accuracy after the last step (None: older records, which lack it); problems, samples: of
        samples.jsonl, per domain and per problem. label: instead of the method and its hash.
        """
        if label is not None:
            folder = folder or self.root / label / f"seed-{seed}"
        folder = folder or self.folder(method, seed)
        folder.mkdir(parents=True)
        steps = every * (len(curve) - 1)
        (folder / "STATUS").write_text(f"{status}\n")
        flat = {
            "seed": seed,
            "label": label or self.folder(method, seed).parent.name,
            "experiment_name": self.root.name,
            "results_dir": "results",
            "n_jobs": 2,
            "method.name": method,
            "method.advantage._target_": f"methods.advantages.{method}",
            "method.surrogate.epsilon": 0.2,
            "trainer.steps": steps,
            "trainer.learning_rate": 1e-4,
            "trainer.report_to": [],
            "evaluation.every": every,
        } | (config or {})
        (folder / "config.yaml").write_text(yaml.safe_dump(nest(flat)))
        plain = {"command": f"python -m harness method={method}", "commit": "c0", "policy_hash": "w0"}
        plain |= {"common_random_numbers": True} | (env or {})
        (folder / "env.json").write_text(json.dumps(plain))

        lines: list[dict[str, Any]] = []

        def evaluate(step: int, split: str, mode: str, temperature: float, value: float) -> None:
            ends = (step, split) == (steps, "test")  # of which the completions are kept
            shifts = [gap - 2 * gap * i / max(1, len(domains) - 1) for i in range(len(domains))]
            for domain, shift in zip((*domains, "all"), (*shifts, 0.0), strict=True):
                lines.append({
                    "step": step, "split": split, "mode": mode, "temperature": temperature, "domain": domain,
                    "problems": problems if ends else 64,
                    "samples": 1 if mode == "greedy" else samples if ends else 8, "avg": min(1.0, value + shift),
                    "pass": {"1": value + shift}, "maj": value + shift, "errors": errors,
                    "train_tokens": tokens * step, "train_seconds": seconds * step,
                    "problems_hash": f"{problems_hash}-{split}-{domain}", "eval_seed": 0,
                })  # fmt: skip

        for temperature in (0.3, 1.0):
            evaluate(0, "validation", "sampled", temperature, 0.5)
        for mode, value in (BASE | (base or {})).items():
            evaluate(0, "test", mode, {"sampled": 1.0, "greedy": 0.0, "best": 0.3}[mode], value)
        for i, value in enumerate(curve):
            evaluate(every * i, "curve", "sampled", 1.0, value)
        if validation is not None:
            evaluate(steps, "validation", "sampled", 1.0, validation)
        greedy = end + 0.05 if greedy is None else greedy
        evaluate(steps, "test", "sampled", 1.0, end)
        evaluate(steps, "test", "greedy", 0.0, greedy)
        (folder / "evals.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))
        with (folder / "metrics.jsonl").open("w") as file:
            for step in range(1, steps + 1):
                line = {
                    "step": step, "reward": 0.5, "grad_norm": 1.0 + (step == 3), "entropy": 1.0 / step,
                    "kl": None,
                    "truncated_share": 0.0, "zero_variance_share": 0.25, "advantage_rms": 0.9,
                    "unscorable": unscorable, "tokens": tokens * step, "seconds": seconds * step,
                    "seconds_rollout": 0.75 * seconds, "seconds_update": 0.25 * seconds,
                }  # fmt: skip
                file.write(json.dumps(line) + "\n")
        self._completions(folder, steps, {"sampled": end, "greedy": greedy}, domains, gap, problems, samples)
        return folder

    def _completions(
        self,
        folder: Path,
        steps: int,
        accuracy: dict[str, float],
        domains: Sequence[str],
        gap: float,
        problems: int,
        samples: int,
    ) -> None:
        """samples.jsonl, problems.jsonl and credit.jsonl.

        The share of right completions of a domain is its accuracy, rounded: completions are right in the order
        problem 0, 1, …, each with its first sample, then their second samples, until the share is reached.
        """
        shifts = [gap - 2 * gap * i / max(1, len(domains) - 1) for i in range(len(domains))]
        lines, tasks, credit = [], [], []
        for domain, shift in zip(domains, shifts, strict=True):
            for mode, drawn in (("sampled", samples), ("greedy", 1)):
                right = round((accuracy[mode] + shift) * problems * drawn)
                for problem, sample in itertools.product(range(problems), range(drawn)):
                    lines.append({
                        "step": steps, "split": "test", "mode": mode, "domain": domain,
                        "problem": f"{domain}-test-{problem}", "sample": sample, "text": f"1+{problem}={sample}",
                        "answer": f"{sample}", "correct": sample * problems + problem < right,
                    })  # fmt: skip
            for split, count in (("test", problems), ("train", 1)):
                for problem in range(count):
                    name = f"{domain}-{split}-{problem}"
                    tasks.append({
                        "problem": name, "split": split, "domain": domain, "prompt": f"1+{problem}",
                        "reference": f"{1 + problem}",
                    })  # fmt: skip
            for step, sample in itertools.product((1, steps), range(2)):
                credit.append({
                    "step": step, "domain": domain, "problem": f"{domain}-train-0", "sample": sample,
                    "reward": float(sample), "correct": bool(sample), "tokens": ["1", "+", "0", "=", "1"],
                    "credit": [0.1 * i * (2 * sample - 1) for i in range(5)],
                })  # fmt: skip
        for name, own in (("samples", lines), ("problems", tasks), ("credit", credit)):
            (folder / f"{name}.jsonl").write_text("".join(json.dumps(line) + "\n" for line in own))

    def sweep(self, differences: dict[str, Sequence[float]], **options: Any) -> None:
        """Runs of grpo that end at 0.7, 0.71, … by seed, and of methods that differ from it by these numbers.

        The whole learning curve after step 0 is moved by the same difference.
        """
        for method, shifts in {"grpo": [0.0] * len(next(iter(differences.values()))), **differences}.items():
            for seed, shift in enumerate(shifts):
                end, curve = 0.7 + 0.01 * seed + shift, (0.4, 0.5 + shift, 0.6 + shift)
                self.run(method, seed, **({"end": end, "curve": curve} | options))


def nest(flat: dict[str, Any]) -> dict[str, Any]:
    tree: dict[str, Any] = {}
    for key, value in flat.items():
        *parents, leaf = key.split(".")
        node = tree
        for parent in parents:
            node = node.setdefault(parent, {})
        node[leaf] = value
    return tree


@pytest.fixture
def tree(tmp_path: Path) -> Tree:
    return Tree(tmp_path / "results" / "demo")


def recount(folder: Path) -> None:
    """Have evals.jsonl say of the end point what samples.jsonl holds."""
    completions = [json.loads(line) for line in (folder / "samples.jsonl").read_text().splitlines()]
    evals = [json.loads(line) for line in (folder / "evals.jsonl").read_text().splitlines()]
    last = max(line["step"] for line in evals)
    for line in evals:
        if (line["step"], line["split"]) == (last, "test"):
            key = (line["domain"], line["mode"])
            own = Counter(one["problem"] for one in completions if (one["domain"], one["mode"]) == key)
            line |= {"problems": len(own), "samples": max(own.values(), default=0)}
    (folder / "evals.jsonl").write_text("".join(json.dumps(line) + "\n" for line in evals))

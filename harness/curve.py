"""What happens around training: one line of metrics a step, evaluations, progress."""

from __future__ import annotations

import hashlib
import math
import os
import time
from collections import Counter
from pathlib import Path
from typing import Any

from joblib import effective_n_jobs
from omegaconf import DictConfig
from transformers import TrainerCallback

from harness.evaluation import Sample, sample_problems, scores
from harness.judge import Judge
from harness.memory import peak_mb, reset_peak
from harness.policy import Policy
from harness.records import Records
from harness.rollouts import RolloutEngine
from harness.suites import Problem, Suite
from harness.vllm import VllmSampler

# Our name: TRL's. The rest of what TRL logs goes to the trackers only.
TRL_METRICS = {
    "reward": "reward",
    "reward_std": "reward_std",
    "loss": "loss",
    "grad_norm": "grad_norm",
    "entropy": "entropy",
    "kl": "kl",
    "clip_share": "clip_ratio/region_mean",
    "length_mean": "completions/mean_length",
    "length_max": "completions/max_length",
    "truncated_share": "completions/clipped_ratio",
    "advantage_rms": "advantage_rms",
    "zero_variance_share": "zero_variance_share",
    "unscorable": "unscorable",
}


class LearningCurve(TrainerCallback):
    """Writes a run's metrics and evaluations, and says how far it is.

    A step is one rollout batch with all its updates. Evaluation time is not training time. `judge` has the training
    problems, their verdicts, and the causes for which the verifier failed, which are recorded with a step and emptied.
    """

    def __init__(
        self,
        cfg: DictConfig,
        records: Records,
        suite: Suite,
        policy: Policy,
        sampler: RolloutEngine | VllmSampler,
        trainer: Any,
        judge: Judge,
    ) -> None:
        self.cfg, self.records, self.suite, self.trainer = cfg, records, suite, trainer
        self.policy, self.sampler, self.judge = policy, sampler, judge
        self.updates_per_step = cfg.trainer.updates_per_step
        self.tokens, self.seconds = 0, 0.0
        self.created = self.step_start = self.told = time.perf_counter()
        self.problems: dict[str, list[Problem]] = {}
        self.sampled: dict[tuple, list[Sample]] = {}  # of the last step and split that were evaluated
        self.during = "loading"  # what a failure interrupts: loading, training, or which evaluation

    def start(self, step: int) -> None:
        """Take up the records at `step`; evaluate the base policy if this is the beginning."""
        self.during = "taking up the records"
        self.records.rewind(step)
        reset_peak()
        if step > 0:
            self.tokens, self.seconds = self.records.totals()
        else:
            self._base_policy()
        self.started, self.start_step = time.perf_counter(), step
        self.during = "loading"

    def on_step_begin(self, args, state, control, **_):
        self.during = "training"
        if state.global_step % self.updates_per_step == 0:
            self.step_start = time.perf_counter()
            self.trainer.seconds = dict.fromkeys(self.trainer.seconds, 0.0)
            self.trainer.work = Counter(dict.fromkeys(self.trainer.work, 0))

    def on_log(self, args, state, control, logs=None, **_):
        if "loss" not in logs:  # the summary at the end of training
            return
        step = state.global_step // self.updates_per_step
        seconds = time.perf_counter() - self.step_start
        phases = self.trainer.seconds
        self.seconds += seconds
        completions = self.cfg.trainer.prompts_per_step * self.cfg.trainer.completions_per_prompt
        work = self.trainer.work
        self.tokens += round(logs["completions/mean_length"] * completions) + work["extra_tokens"]
        line = {ours: logs[theirs] for ours, theirs in TRL_METRICS.items() if theirs in logs}
        if "cispo_clip_ratio" in logs:  # another name for the share of tokens whose ratio was bounded
            line["clip_share"] = logs["cispo_clip_ratio"]
        line |= {key: value for key, value in logs.items() if key.startswith(f"{self.trainer.method.name}/")}
        if self.judge.errors:
            line["verifier_errors"] = dict(self.judge.errors)
            self.judge.errors.clear()
        line |= {"tokens": self.tokens, **work, "seconds": round(self.seconds, 4)}
        line["memory_mb"] = round(peak_mb(), 1)
        line |= {f"seconds_{name}": round(value, 4) for name, value in phases.items()}
        line["seconds_update"] = round(seconds - sum(phases.values()), 4)
        self.records.append("metrics", [{"step": step} | line])
        if step in (1, self.cfg.trainer.steps):
            self._keep_credit(step)
        if step % self.cfg.evaluation.every == 0 or step == self.cfg.trainer.steps:
            self.evaluate(step, "curve", "sampled", self.cfg.evaluation.temperature)
        self._tell(step, line)

    def on_step_end(self, args, state, control, **_):
        if state.global_step == state.max_steps:
            control.should_save = True

    def finish(self) -> None:
        """The end point: the test split, sampled and greedy, with the completions kept, and the validation split.

        Validation is what a hyper-parameter may be chosen by: its problems are not the test's.
        """
        self.during = "end point"
        last, temperature = self.cfg.trainer.steps, self.cfg.evaluation.temperature
        self.evaluate(last, "validation", "sampled", temperature)
        for mode, own in {"sampled": temperature, "greedy": 0.0}.items():
            samples = self.evaluate(last, "test", mode, own)
            head = {"step": last, "split": "test", "mode": mode}
            self.records.append("samples", (head | _sample_line(s) for s in samples))
        self._keep_problems("test", self.problems["test"])

    def evaluate(self, step: int, split: str, mode: str, temperature: float) -> list[Sample]:
        """Evaluate the policy as it is and record one line a domain."""
        e, before = self.cfg.evaluation, self.during
        self.during = f"evaluation: {split}, {mode}, temperature {temperature:g}"
        if split not in self.problems:
            self.problems[split] = self.suite.evaluation(split, getattr(e, f"{split}_problems"))
        count = 1 if mode == "greedy" else e.test_samples if split == "test" else e.curve_samples
        # the best temperature may be the usual one: the same noise would give the same completions
        asked = (step, split, count, temperature)
        if asked not in self.sampled:
            self.sampled = {of: samples for of, samples in self.sampled.items() if of[:2] == asked[:2]}
            self.sampled[asked] = sample_problems(
                self.sampler, self.policy, self.suite, self.problems[split], samples=count, temperature=temperature,
                max_tokens=e.max_tokens or self.cfg.trainer.max_completion_tokens, seed=e.seed,
            )  # fmt: skip
        samples = self.sampled[asked]
        head = {"step": step, "split": split, "mode": mode, "temperature": temperature}
        tail = {
            "train_tokens": self.tokens,
            "train_seconds": round(self.seconds, 4),
            "problems_hash": problems_hash(self.problems[split]),
            "eval_seed": e.seed,
        }
        self.records.append("evals", (head | {"domain": d} | s | tail for d, s in scores(samples).items()))
        self.during = before
        return samples

    def _keep_credit(self, step: int) -> None:
        """Some completions of the last training batch with the credit of each token, and their problems.

        It is the credit that the update began with; a live weighting acts on top of it.
        """
        rows, credit = self.trainer.credited
        scored, decode = self.trainer.scored, self.policy.tokenizer.decode
        count = self.cfg.evaluation.shown_problems * self.cfg.trainer.completions_per_prompt
        rows = rows[:count]
        numbers = [row["problem"] for row in rows]
        verdicts = self.judge.verdicts(numbers, scored["completions"][:count])
        lines, seen = [], Counter()
        for i, (number, verdict) in enumerate(zip(numbers, verdicts, strict=True)):
            problem, ids = self.judge.problems[number], scored["completion_ids"][i]
            lines.append(
                {
                    "step": step,
                    "domain": problem.domain,
                    "problem": problem.hash,
                    "sample": seen[number],
                    "reward": scored["rewards"][i].item(),
                    "correct": verdict.correct,
                    "tokens": [decode([token]) for token in ids],
                    "credit": [round(value, 6) for value in credit.values[i, : len(ids)].tolist()],
                }
            )
            seen[number] += 1
        self.records.append("credit", lines)
        self._keep_problems("train", [self.judge.problems[number] for number in dict.fromkeys(numbers)])

    def _keep_problems(self, split: str, problems: list[Problem]) -> None:
        known = {line["problem"] for line in self.records.read("problems")}
        self.records.append(
            "problems",
            (
                {
                    "problem": p.hash,
                    "split": split,
                    "domain": p.domain,
                    "prompt": p.prompt,
                    "reference": p.reference,
                }
                for p in problems
                if p.hash not in known
            ),
        )

    def _base_policy(self) -> None:
        """Before training: sampled, greedy, and at the temperature that is best on the validation split."""
        e = self.cfg.evaluation
        best = max(
            e.temperatures,
            key=lambda t: scores(self.evaluate(0, "validation", "sampled", t))["all"]["avg"],
        )
        self.evaluate(0, "test", "sampled", e.temperature)
        self.evaluate(0, "test", "greedy", 0.0)
        self.evaluate(0, "test", "best", best)
        self.evaluate(0, "curve", "sampled", e.temperature)

    def _tell(self, step: int, line: dict[str, Any]) -> None:
        """One line of progress, every five seconds and at the end."""
        now, steps = time.perf_counter(), self.cfg.trainer.steps
        if now - self.told < 5 and step < steps:
            return
        self.told = now
        left = (now - self.started) / (step - self.start_step) * (steps - step)
        name = self.cfg.label.rpartition("-")[0]
        text = f"{name} seed {self.cfg.seed}: step {step}/{steps}, reward {line.get('reward') or 0:.2f}, {left:.0f} s"
        print(text + self._sweep_progress(now - self.created, left), flush=True)

    def _sweep_progress(self, elapsed: float, left: float) -> str:
        """How far the sweep is, if this run belongs to one, guessing that its other runs take as long as this."""
        if "HARNESS_RUNS" not in os.environ:
            return " left"
        runs, began = int(os.environ["HARNESS_RUNS"]), float(os.environ["HARNESS_STARTED"])
        statuses = Path(self.cfg.results_dir).glob("*/*/seed-*/STATUS")
        try:
            done = sum(s.stat().st_mtime >= began and s.read_bytes().startswith(b"done") for s in statuses)
        except OSError:  # of a run that was deleted in this moment
            return " left in this run"
        rest = max(left, (runs - done) * (elapsed + left) / effective_n_jobs(self.cfg.n_jobs) - elapsed)
        return f" left in this run; {done} of {runs} runs done, about {math.ceil(rest / 60)} min left"


def _sample_line(sample: Sample) -> dict[str, Any]:
    verdict = sample.verdict
    return {
        "domain": sample.problem.domain,
        "problem": sample.problem.hash,
        "sample": sample.sample,
        "text": sample.text,
        "answer": verdict.answer,
        "correct": verdict.correct,
        **({"error": verdict.error} if verdict.error else {}),
        **(sample.problem.record or {}),
    }


def problems_hash(problems: list[Problem]) -> str:
    """Identifies a list of problems, so that scores on different ones are never compared."""
    return hashlib.sha256(" ".join(p.hash for p in problems).encode()).hexdigest()[:16]

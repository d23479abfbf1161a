"""A stand-in for TRL's vLLM: what the harness asks of it, and that training's settings come back."""

import json
import math
import sys
import types
from collections import Counter

import pytest
import torch

from harness.config import run_dir
from harness.evaluation import sample_problems
from harness.rollouts import Key, RolloutEngine
from harness.rows import prompt_key
from harness.run import run
from harness.suites.micro import MicroSuite
from harness.vllm import VllmSampler
from methods import Method
from tests.faults.conftest import compose, small_run
from tests.harness.conftest import make_policy
from tests.harness.test_trainer import GROUP, PROMPTS, gradient, make_trainer


class Trainer:
    """The two things of a GRPOTrainer with use_vllm that the sampler touches."""

    def __init__(self, answer):
        self.vllm_generation = types.SimpleNamespace(temperature=1.0, max_completion_length=64, top_p=1.0)
        self.calls, self.answer = [], answer

    def _generate_single_turn(self, prompt_ids, images, multimodal_fields, num_generations):
        vllm = self.vllm_generation
        self.calls.append((prompt_ids, images, num_generations, vllm.temperature, vllm.max_completion_length))
        return [self.answer(ids) for ids in prompt_ids], [[-0.1]] * len(prompt_ids)


def test_evaluation_goes_through_vllm_with_its_own_settings(policy):
    suite = MicroSuite(horizon=1)
    problems = suite.evaluation("test", 2)
    encoded = policy.encode([p.prompt for p in problems])
    rights = {tuple(ids): p.reference for p, ids in zip(problems, encoded, strict=True)}
    eos = policy.tokenizer.eos_token_id
    trainer = Trainer(lambda ids: [*policy.tokenizer(rights[tuple(ids)])["input_ids"], eos])
    samples = sample_problems(
        VllmSampler(trainer), policy, suite, problems, samples=3, temperature=0.6, max_tokens=9, seed=0
    )
    ((prompts, images, each, temperature, longest),) = trainer.calls
    assert prompts == [ids for ids in encoded for _ in range(3)]
    assert (images, each, temperature, longest) == (None, 1, 0.6, 9)
    assert all(s.verdict.correct for s in samples) and len(samples) == 3 * len(problems)
    assert samples[0].tokens == len(samples[0].text) + 1  # the end of sequence counts
    assert vars(trainer.vllm_generation) == {"temperature": 1.0, "max_completion_length": 64, "top_p": 1.0}


def test_settings_come_back_after_a_failure():
    trainer = Trainer(lambda ids: 1 / 0)
    with pytest.raises(ZeroDivisionError):
        VllmSampler(trainer).generate([[1]], [None], max_tokens=3, temperature=0.0, seed=0)
    assert trainer.vllm_generation.temperature == 1.0


SHIFT = 0.3  # by which the stand-in's log-probs lie below the policy's: another kernel, another precision


class Generation:
    """A stand-in for TRL's VLLMGeneration: the engine's completions, with log-probs of its own."""

    made = []

    def __init__(self, model, processing_class, temperature, max_completion_length, **named):
        self.engine = RolloutEngine(model, processing_class, seed=0)
        self.temperature, self.max_completion_length, self.named = temperature, max_completion_length, named
        self.synced, self.asked = 0, []
        Generation.made.append(self)

    def sync_weights(self):
        self.synced += 1

    def generate(self, prompts, images, num_generations, profiler):
        seen, keys = Counter(), []
        for name in map(prompt_key, prompts):
            keys.append(Key(name, seen[name], self.synced - 1))  # as the adapter numbers its first step
            seen[name] += 1
        drawn = self.engine.generate(
            prompts, keys, max_tokens=self.max_completion_length, temperature=self.temperature
        )
        self.asked.append((len(prompts), num_generations))
        logps = [
            [[value - SHIFT] for value in row[: len(ids)].tolist()]
            for row, ids in zip(drawn.logps, drawn.ids(), strict=True)
        ]
        return prompts, drawn.ids(), logps, None


def outputs_of(trainer):
    seen = []
    make = trainer._generate_and_score_completions
    trainer._generate_and_score_completions = lambda inputs: seen.append(make(inputs)) or seen[-1]
    trainer.train()
    return seen


def test_the_adapter_is_called_as_with_the_engine_and_the_two_log_probs_stay_apart(tmp_path, monkeypatch):
    monkeypatch.setattr("trl.trainer.grpo_trainer.VLLMGeneration", Generation)
    batches, credits = [], Method.credit

    def credit(self, batch):
        batches.append(batch)
        return credits(self, batch)

    monkeypatch.setattr(Method, "credit", credit)
    ours = make_trainer(tmp_path, make_policy())
    with_engine = outputs_of(ours)[0]
    options = {"use_vllm": True, "vllm_importance_sampling_mode": "token_truncate"}  # a ratio for every token
    theirs = make_trainer(tmp_path, make_policy(), engine=False, **options)
    with_vllm = outputs_of(theirs)[0]
    generation = Generation.made[-1]
    assert (
        generation.synced == 2 and generation.asked == [(len(PROMPTS) * GROUP, GROUP)] * 2
    )  # two batches in all

    one, other = batches[0], batches[2]  # what the method sees is the same, whoever sampled
    assert torch.equal(one.rewards, other.rewards) and torch.equal(one.completion_ids, other.completion_ids)
    torch.testing.assert_close(one.logps, other.logps, rtol=0, atol=1e-4, check_dtype=False)
    for name in ("completion_ids", "completion_mask", "advantages"):
        torch.testing.assert_close(with_vllm[name], with_engine[name])

    mask = with_vllm["completion_mask"].bool()
    old, sampling = with_vllm["old_per_token_logps"][mask], with_vllm["sampling_per_token_logps"][mask]
    torch.testing.assert_close(
        old, with_engine["old_per_token_logps"][mask], rtol=0, atol=1e-4, check_dtype=False
    )
    torch.testing.assert_close(old - sampling, torch.full_like(old, SHIFT), rtol=0, atol=1e-4)
    ratio = with_vllm["importance_sampling_ratio"][mask]
    torch.testing.assert_close(ratio, torch.full_like(ratio, math.exp(SHIFT)), rtol=0, atol=1e-4)
    # and the correction reaches the update
    norms = [trainer.state.log_history[0]["grad_norm"] for trainer in (ours, theirs)]
    assert norms[1] == pytest.approx(math.exp(SHIFT) * norms[0], rel=1e-3) and norms[0] > 0


def test_by_default_whole_sequences_are_weighed_or_dropped(tmp_path, monkeypatch):
    """TRL's own setting: one ratio a completion, and none that is above 3."""
    monkeypatch.setattr("trl.trainer.grpo_trainer.VLLMGeneration", Generation)
    monkeypatch.setattr(sys.modules[__name__], "SHIFT", 0.1)
    trainer = make_trainer(tmp_path, make_policy(), engine=False, use_vllm=True)
    batch = outputs_of(trainer)[0]
    lengths = batch["completion_mask"].sum(1, keepdim=True)
    expected = (0.1 * lengths).exp()
    expected = expected.where(expected <= 3, 0.0)
    assert 0 < expected.count_nonzero() < len(expected)
    ratio = batch["importance_sampling_ratio"]
    torch.testing.assert_close(ratio, expected, rtol=1e-3, atol=0)
    # and the correction reaches the update: as if it stood in the credit
    uncorrected = {"importance_sampling_ratio": torch.ones_like(ratio)}
    still = [torch.zeros_like(parameter) for parameter in trainer.model.parameters()]
    corrected = gradient(trainer, batch, still)
    weighed = uncorrected | {"advantages": batch["advantages"] * ratio}
    torch.testing.assert_close(corrected, gradient(trainer, batch | weighed, still), rtol=1e-4, atol=1e-7)
    assert not torch.allclose(corrected, gradient(trainer, batch | uncorrected, still))


def test_a_run_samples_and_evaluates_with_vllm(tmp_path, monkeypatch):
    monkeypatch.setattr("trl.trainer.grpo_trainer.VLLMGeneration", Generation)
    monkeypatch.setattr(sys.modules[__name__], "SHIFT", 0.1)  # whole completions stay below the bound
    cfg = compose([*small_run(tmp_path / "policy"), "+trainer.extra.use_vllm=true"], tmp_path)
    run(cfg)
    folder, generation = run_dir(cfg), Generation.made[-1]
    assert (folder / "STATUS").read_text() == "done\n"
    assert json.loads((folder / "env.json").read_text())["common_random_numbers"] is False
    metrics = [json.loads(line) for line in (folder / "metrics.jsonl").read_text().splitlines()]
    assert [line["step"] for line in metrics] == [1, 2, 3] and all(line["grad_norm"] > 0 for line in metrics)
    evals = [json.loads(line) for line in (folder / "evals.jsonl").read_text().splitlines()]
    assert {(line["step"], line["split"], line["mode"]) for line in evals} >= {
        (0, "test", "sampled"), (3, "curve", "sampled"), (3, "test", "greedy")
    }  # fmt: skip
    assert generation.synced == 4  # at every step once, and at the end point
    assert [each for _, each in generation.asked].count(4) == 3  # groups of training; evaluations ask for one each
    assert (generation.temperature, generation.max_completion_length) == (1.0, 8)

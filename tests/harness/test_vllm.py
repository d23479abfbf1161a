"""A stand-in for TRL's vLLM: what the harness asks of it, and that training's settings come back."""

import types

import pytest

from harness.evaluation import sample_problems
from harness.suites.micro import MicroSuite
from harness.vllm import VllmSampler


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

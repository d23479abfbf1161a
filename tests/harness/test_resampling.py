"""Dynamic sampling: which groups are kept, what is counted, and that the batch is trained on as it was drawn."""

from dataclasses import replace

import pytest
import torch

from harness.rollouts import RolloutEngine
from tests.harness.conftest import make_policy
from tests.harness.test_trainer import GROUP, PROMPTS, grpo, make_trainer, rollout_inputs

FRESH = {1: ["8-2-2?", "1>5,2>7?"], 2: ["7+7?"]}


def varied(prompts, completions, **_):
    """Rewards that differ within the groups of prompts without '>', and are 0 in the others."""
    return [
        0.0 if ">" in prompt or "K" in prompt else float(sum(c in "0123" for c in text) % 3) + i % 2
        for i, (prompt, text) in enumerate(zip(prompts, completions, strict=True))
    ]


def reserve(batch, turn):
    assert batch == 0
    return [{"prompt": prompt} for prompt in FRESH[turn] for _ in range(GROUP)]


def drawn(tmp_path, rounds, reward=varied):
    method = replace(grpo(), dynamic_sampling=rounds)
    trainer = make_trainer(tmp_path, make_policy(), method, reward, reserve=reserve)
    trainer.model.train()
    return trainer, trainer._generate_and_score_completions(rollout_inputs())


def prompts_of(trainer):
    return trainer.scored["prompts"][::GROUP]


def test_groups_without_variance_make_way_for_fresh_prompts(tmp_path):
    trainer, output = drawn(tmp_path, 2)
    # PROMPTS[1] and [2] have equal rewards; of round 1 one prompt varies, round 2 brings the other
    assert prompts_of(trainer) == [PROMPTS[0], PROMPTS[3], "8-2-2?", "7+7?"]
    assert (output["advantages"] != 0).any(1).unflatten(0, (4, GROUP)).any(1).all()
    metrics = trainer._metrics["train"]
    assert metrics["grpo/sampling_rounds"] == [3.0] and metrics["grpo/groups_drawn"] == [7.0]


def test_the_first_groups_fill_a_batch_that_stays_short(tmp_path):
    trainer, _ = drawn(tmp_path, 1)
    assert prompts_of(trainer) == [PROMPTS[0], PROMPTS[1], PROMPTS[3], "8-2-2?"]


def test_nothing_more_is_drawn_where_every_group_varies(tmp_path):
    trainer, _ = drawn(
        tmp_path, 2, reward=lambda completions, **_: [float(i % 2) for i in range(len(completions))]
    )
    assert prompts_of(trainer) == PROMPTS
    assert trainer.work["extra_tokens"] == 0 and trainer._metrics["train"]["grpo/groups_drawn"] == [4.0]


def test_rollouts_are_those_of_their_prompts_and_the_dropped_are_counted(tmp_path):
    trainer, output = drawn(tmp_path, 2)
    kept = [[{"prompt": prompt} for prompt in prompts_of(trainer) for _ in range(GROUP)]]
    plain = make_trainer(tmp_path, make_policy())
    plain.model.train()
    alone = plain._generate_and_score_completions(kept[0])
    assert plain.rollouts.ids() == trainer.rollouts.ids()
    assert torch.equal(alone["completion_ids"], output["completion_ids"])
    torch.testing.assert_close(alone["old_per_token_logps"], output["old_per_token_logps"], atol=1e-5, rtol=0)


def test_every_token_is_counted_once(tmp_path, monkeypatch):
    generated = []
    generate = RolloutEngine.generate

    def counted(self, *arguments, **named):
        found = generate(self, *arguments, **named)
        generated.append(found.tokens)
        return found

    monkeypatch.setattr(RolloutEngine, "generate", counted)
    trainer, _ = drawn(tmp_path, 2)
    assert len(generated) == 3
    assert trainer.work["extra_tokens"] == sum(generated) - trainer.rollouts.tokens > 0


def test_dynamic_sampling_says_what_it_needs(tmp_path):
    method = replace(grpo(), dynamic_sampling=1)
    with pytest.raises(
        ValueError, match="engine=… and reserve=…, or load the method with dynamic_sampling=0"
    ):
        make_trainer(tmp_path, make_policy(), method)

"""The shared pass gives the plain one's log-probs, entropies and gradients."""

from types import SimpleNamespace

import numpy as np
import pytest
import torch
from transformers import GPT2Config, GPT2LMHeadModel, MistralConfig, MistralForCausalLM
from trl.trainer.utils import add_fused_lm_head

from harness.passes import SharedPrompts, can_share, parts
from tests.harness.conftest import make_policy

KEPT = 9


def batch(vocabulary):
    """Six rows, three prompts of unequal length on the left, completions of 0 to 9 tokens on the right."""
    rng = torch.Generator().manual_seed(0)
    prompts = [torch.randint(3, vocabulary, (n,), generator=rng).tolist() for n in (7, 4, 1)]
    ids, mask = torch.zeros(6, 7 + KEPT, dtype=torch.long), torch.zeros(6, 7 + KEPT, dtype=torch.long)
    for row, (prompt, length) in enumerate(zip((0, 1, 0, 2, 1, 0), (9, 2, 1, 5, 0, 3), strict=True)):
        own = prompts[prompt] + torch.randint(3, vocabulary, (length,), generator=rng).tolist()
        start = 7 - len(prompts[prompt])
        ids[row, start : start + len(own)], mask[row, start : start + len(own)] = torch.tensor(own), 1
    labels = ids.masked_fill(mask == 0, -100)
    labels[:, :-KEPT] = -100
    return {"input_ids": ids, "attention_mask": mask, "labels": labels}


class Double(GPT2LMHeadModel):
    """float64 throughout: the policies' norms and rotations are float32 whatever their weights are, and so is TRL's
    fused head.
    """

    def forward(self, *arguments, fused_lm_head=False, labels=None, **named):
        output = super().forward(*arguments, **named)
        if not fused_lm_head:
            return output
        log_probs = (output.logits[:, :-1] / 0.7).log_softmax(-1)
        entropy = -(log_probs.exp() * log_probs).sum(-1)
        chosen = log_probs.gather(2, labels[:, 1:, None].clamp(min=0)).squeeze(2)
        return SimpleNamespace(log_probs=chosen.where(labels[:, 1:] != -100, 0.0), entropy=entropy)


def made(dtype):
    if dtype == torch.float32:
        model = make_policy().model
        add_fused_lm_head(model, outputs=("log_probs", "entropy"), temperature=0.7)
        return model
    torch.manual_seed(0)
    sizes = {"vocab_size": 30, "n_positions": 32, "n_embd": 32, "n_layer": 2, "n_head": 4}
    ends = {"bos_token_id": 0, "eos_token_id": 0}
    return Double(GPT2Config(**sizes, **ends, embd_pdrop=0, attn_pdrop=0, resid_pdrop=0)).double()


def passed(dtype, shared):
    model = made(dtype)
    called = SharedPrompts(model, KEPT) if shared else model
    output = called(**batch(model.config.vocab_size), fused_lm_head=True)
    log_probs, entropy = output.log_probs[:, -KEPT:], output.entropy[:, -KEPT:]
    weights = torch.linspace(-1, 2, log_probs.numel(), dtype=dtype).view_as(log_probs)
    (weights * log_probs).sum().backward()
    gradient = torch.cat([p.grad.reshape(-1) for p in model.parameters()])
    return log_probs.detach(), entropy.detach(), gradient


@pytest.mark.parametrize(("dtype", "tolerance"), [(torch.float32, 1e-5), (torch.float64, 1e-10)])
def test_the_same_numbers_and_gradient(dtype, tolerance, monkeypatch):
    monkeypatch.setattr("harness.passes.parts", lambda lengths: parts(lengths, overhead=2))
    plain, shared = passed(dtype, False), passed(dtype, True)
    inside = batch(10)["labels"][:, -KEPT:] != -100
    for ours, theirs in zip(shared[:2], plain[:2], strict=True):
        assert ours.shape == theirs.shape == (6, KEPT)
        torch.testing.assert_close(ours[inside], theirs[inside], rtol=0, atol=10 * tolerance)
    assert plain[2].norm() > 1
    assert (shared[2] - plain[2]).norm() / plain[2].norm() <= tolerance


def test_a_prompt_is_forwarded_once_and_parts_are_trimmed(monkeypatch):
    monkeypatch.setattr("harness.passes.parts", lambda lengths: parts(lengths, overhead=2))
    model, seen = make_policy().model, []
    add_fused_lm_head(model, outputs=("log_probs", "entropy"))
    model.model.register_forward_pre_hook(
        lambda _, __, named: seen.append(tuple(named["input_ids"].shape)), with_kwargs=True
    )
    SharedPrompts(model, KEPT)(**batch(model.config.vocab_size), fused_lm_head=True)
    # three prompts without their last token, then completions of 0 to 3, of 5 and of 9 tokens after it
    assert seen[0] == (3, 6) and sum(rows for rows, _ in seen[1:]) == 6
    assert seen[-1] == (1, 1 + KEPT) and max(width for _, width in seen[1:-1]) == 6


def test_padding_is_no_prompt():
    model = made(torch.float64)
    ids = torch.tensor([[0, 0, 5, 6, 7, 8], [0, 0, 5, 6, 7, 8]] * 2)  # the pad's id is also a word
    mask = torch.tensor([[1, 1, 1, 1, 1, 1], [0, 0, 1, 1, 1, 1]] * 2)
    labels = torch.where(torch.arange(6) > 3, ids, -100)
    given = {"input_ids": ids, "attention_mask": mask, "labels": labels, "fused_lm_head": True}
    shared, plain = SharedPrompts(model, 2)(**given).log_probs, model(**given).log_probs[:, -2:]
    assert (plain[0] - plain[1]).abs().min() > 1e-3
    torch.testing.assert_close(shared, plain, rtol=0, atol=1e-10)


def test_parts_by_hand():
    lengths = np.array([9, 2, 9, 1, 2])
    # cut behind the three short ones: 3·(9 − 2) = 21 tokens spared; behind the shortest 8, then 1·(2 − 1) = 1
    assert [part.tolist() for part in parts(lengths, overhead=20)] == [[3, 1, 4], [0, 2]]
    assert [part.tolist() for part in parts(lengths, overhead=0)] == [[3], [1, 4], [0, 2]]
    assert [part.tolist() for part in parts(lengths, overhead=21)] == [[3, 1, 4, 0, 2]]


@pytest.mark.parametrize(
    "changed",
    [
        {"layer_types": ["full_attention", "sliding_attention"]},
        {"_attn_implementation": "flash_attention_2"},
        {"rope_parameters": {"rope_type": "dynamic", "factor": 2.0}},
        {"rope_parameters": {"full_attention": {"rope_type": "longrope"}}},
        {"attention_dropout": 0.1},
    ],
)
def test_models_whose_pass_is_not_shared(changed):
    model = make_policy().model.train()
    assert can_share(model, 1) and not can_share(model, 2)
    for name, value in changed.items():
        setattr(model.config, name, value)
    assert not can_share(model, 1)
    if "attention_dropout" in changed:
        assert can_share(model.eval(), 1)


def test_windows_checkpointing_and_prompt_learning_are_not_shared():
    model = make_policy().model
    model.peft_config = {"default": SimpleNamespace(is_prompt_learning=True)}
    assert not can_share(model, 1)
    del model.peft_config
    model.activation_checkpointing_enable()
    assert not can_share(model, 1)
    sizes = {"hidden_size": 32, "intermediate_size": 32, "num_hidden_layers": 1, "num_attention_heads": 2}
    assert not can_share(MistralForCausalLM(MistralConfig(vocab_size=30, num_key_value_heads=1, **sizes)), 1)


def test_what_cannot_be_shared_takes_the_plain_pass():
    ids = torch.ones(2, 7 + KEPT, dtype=torch.long)
    given = {"input_ids": ids, "attention_mask": ids, "labels": ids, "fused_lm_head": True}
    calls = []
    SharedPrompts(lambda **named: calls.append(named), KEPT)(**given, pixel_values=1)
    assert len(calls) == 1 and calls[0]["pixel_values"] == 1
    without_past = SharedPrompts(lambda **named: "plain" if "labels" in named else SimpleNamespace(), KEPT)
    assert without_past(**given) == "plain"

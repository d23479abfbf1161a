import pytest
import torch
from transformers import GPT2Config, GPT2LMHeadModel

from harness.policy import Policy
from harness.rollouts import Key, RolloutEngine, sample
from tests.harness.conftest import make_policy

PROMPTS = ["3+4*2?", "1>5,2>7?", "M(CH)3;K27?", "9-2-3?"]


def requests(policy, samples=4):
    ids = policy.tokenizer(PROMPTS)["input_ids"]
    pairs = [(ids[i], Key(PROMPTS[i], j, 0)) for i in range(len(PROMPTS)) for j in range(samples)]
    return [p for p, _ in pairs], [k for _, k in pairs]


def by_key(rollouts, keys):
    return dict(zip(keys, rollouts.ids(), strict=True))


def test_a_completion_depends_on_its_key_only(policy):
    engine = RolloutEngine(policy.model, policy.tokenizer, seed=0)
    prompts, keys = requests(policy)
    whole = by_key(engine.generate(prompts, keys, max_tokens=24), keys)
    assert len({tuple(ids) for ids in whole.values()}) > len(keys) // 2  # samples do differ

    alone = engine.generate([prompts[5]], [keys[5]], max_tokens=24)
    assert alone.ids()[0] == whole[keys[5]]

    order = torch.randperm(len(keys), generator=torch.Generator().manual_seed(1)).tolist()[:7]
    shuffled = engine.generate([prompts[i] for i in order], [keys[i] for i in order], max_tokens=24)
    assert by_key(shuffled, [keys[i] for i in order]) == {keys[i]: whole[keys[i]] for i in order}

    in_chunks = RolloutEngine(policy.model, policy.tokenizer, seed=0, max_rows=3)
    assert by_key(in_chunks.generate(prompts, keys, max_tokens=24), keys) == whole


def test_another_seed_or_step_samples_other_completions(policy):
    prompts, keys = requests(policy)
    engine = RolloutEngine(policy.model, policy.tokenizer, seed=0)
    first = engine.generate(prompts, keys, max_tokens=24).ids()
    assert (
        RolloutEngine(policy.model, policy.tokenizer, seed=1).generate(prompts, keys, max_tokens=24).ids()
        != first
    )
    later = [Key(k.problem, k.sample, 1) for k in keys]
    assert engine.generate(prompts, later, max_tokens=24).ids() != first


@pytest.mark.parametrize("temperature", [1.0, 0.7])
def test_kept_signals_are_those_of_a_forward_pass(temperature):
    policy = make_policy(dtype=torch.float64)
    prompts, keys = requests(policy)
    engine = RolloutEngine(policy.model, policy.tokenizer, seed=0)
    rollouts = engine.generate(prompts, keys, max_tokens=16, temperature=temperature, keep_hidden=True)
    for row, ids in enumerate(rollouts.ids()):
        prompt = prompts[row]
        with torch.no_grad():
            output = policy.model(torch.tensor([prompt + ids]), output_hidden_states=True)
        log_probs = (output.logits[0, len(prompt) - 1 : -1] / temperature).log_softmax(-1)
        n = len(ids)
        torch.testing.assert_close(rollouts.logps[row, :n], log_probs[range(n), ids], rtol=0, atol=1e-9)
        torch.testing.assert_close(
            rollouts.entropies[row, :n], -(log_probs.exp() * log_probs).sum(-1), rtol=0, atol=1e-9
        )
        torch.testing.assert_close(
            rollouts.sum_sq_probs[row, :n], log_probs.exp().square().sum(-1), rtol=0, atol=1e-9
        )
        hidden = output.hidden_states[-1][0, len(prompt) - 1 : -1]
        torch.testing.assert_close(rollouts.hidden[row, :n], hidden, rtol=0, atol=1e-9)
        assert rollouts.mask[row].tolist() == [True] * n + [False] * (rollouts.mask.shape[1] - n)
    assert rollouts.logps[~rollouts.mask].abs().max() == 0


def test_frequencies_follow_the_distribution():
    logits = torch.tensor([[0.0, 1.0, 2.0, -1.0]])
    u = torch.rand(20_000, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    token, logp, *_ = sample(logits.expand(len(u), 4), u, 1.0)
    expected = logits.double().softmax(-1)[0]
    torch.testing.assert_close(
        torch.bincount(token, minlength=4) / len(u), expected.float(), atol=0.012, rtol=0
    )
    torch.testing.assert_close(logp, expected.log()[token])


def test_inverse_cdf_by_hand():
    # p = (.1, .2, .3, .4): cumulative .1, .3, .6, 1
    logits = torch.tensor([0.1, 0.2, 0.3, 0.4]).log().expand(5, 4)
    u = torch.tensor([0.0, 0.0999, 0.1001, 0.5999, 0.9999], dtype=torch.float64)
    token, _, entropy, squares = sample(logits, u, 1.0)
    assert token.tolist() == [0, 0, 1, 2, 3]
    assert entropy[0].item() == pytest.approx(1.2798542, abs=1e-6)
    assert squares[0].item() == pytest.approx(0.01 + 0.04 + 0.09 + 0.16, abs=1e-6)


def test_a_token_of_no_probability_is_never_drawn():
    logits = torch.tensor([[float("-inf"), 0.0, float("-inf")]]).expand(3, 3)
    token, _, entropy, _ = sample(logits, torch.tensor([0.0, 0.5, 1 - 1e-16], dtype=torch.float64), 1.0)
    assert token.tolist() == [1, 1, 1]
    assert entropy.tolist() == [0, 0, 0]


def test_logits_that_are_not_finite_are_an_error():
    with pytest.raises(FloatingPointError, match="training has diverged"):
        sample(torch.tensor([[0.0, float("nan")]]), torch.tensor([0.5], dtype=torch.float64), 1.0)


def test_greedy_takes_the_most_likely_token(policy):
    prompts, keys = requests(policy, samples=1)
    engine = RolloutEngine(policy.model, policy.tokenizer, seed=0)
    greedy = engine.generate(prompts, keys, max_tokens=8, temperature=0.0).ids()
    expected = policy.model.generate(
        torch.tensor([prompts[0]]), do_sample=False, max_new_tokens=8, pad_token_id=0, eos_token_id=1
    )[0, len(prompts[0]) :].tolist()
    assert greedy[0] == expected


def test_completions_end_at_eos_or_are_marked_truncated(policy):
    prompts, keys = requests(policy, samples=8)
    engine = RolloutEngine(policy.model, policy.tokenizer, seed=0)
    rollouts = engine.generate(prompts, keys, max_tokens=12)
    eos = policy.tokenizer.eos_token_id
    for ids, truncated in zip(rollouts.ids(), rollouts.truncated.tolist(), strict=True):
        assert eos not in ids[:-1]
        assert truncated == (ids[-1] != eos)
        assert len(ids) == 12 or not truncated
    assert 0 < rollouts.truncated.sum() < len(keys)


def test_an_empty_answer_is_the_end_token_alone(policy):
    engine = RolloutEngine(policy.model, policy.tokenizer, seed=0, eos_token_ids=range(len(policy.tokenizer)))
    prompts, keys = requests(policy)
    rollouts = engine.generate(prompts, keys, max_tokens=5)
    assert rollouts.completion_ids.shape == (16, 1)
    assert rollouts.tokens == 16


def test_each_distinct_prompt_is_prefilled_once(policy, monkeypatch):
    rows = []
    forward = policy.model.forward
    monkeypatch.setattr(
        policy.model, "forward", lambda **kw: (rows.append(len(kw["input_ids"])), forward(**kw))[1]
    )
    prompts, keys = requests(policy, samples=8)
    RolloutEngine(policy.model, policy.tokenizer, seed=0).generate(prompts, keys, max_tokens=12)
    assert rows[0] == len(PROMPTS)
    assert rows[1] <= len(prompts)
    assert rows[-1] < len(prompts)  # finished rows have left


def test_a_prompt_beyond_the_context_is_refused_by_name():
    policy = make_policy(context=16)
    engine = RolloutEngine(policy.model, policy.tokenizer, seed=0)
    with pytest.raises(ValueError, match=r"problem long.*12 tokens and 8.*context of 16"):
        engine.generate([[2] * 12], [Key("long", 0, 0)], max_tokens=8)
    with pytest.raises(ValueError, match="problem empty: its prompt has no tokens"):
        engine.generate([[]], [Key("empty", 0, 0)], max_tokens=8)


def test_training_mode_is_put_back(policy):
    policy.model.train()
    prompts, keys = requests(policy)
    RolloutEngine(policy.model, policy.tokenizer, seed=0).generate(prompts, keys, max_tokens=4)
    assert policy.model.training


def test_another_architecture_gives_the_same_guarantee(policy):
    torch.manual_seed(0)
    config = GPT2Config(
        vocab_size=len(policy.tokenizer), n_embd=32, n_layer=2, n_head=2, n_positions=64, initializer_range=0.3,
        bos_token_id=1, eos_token_id=1, pad_token_id=0,
    )  # fmt: skip
    other = Policy("gpt2", GPT2LMHeadModel(config).eval(), policy.tokenizer)
    engine = RolloutEngine(other.model, other.tokenizer, seed=0)
    prompts, keys = requests(other)
    whole = engine.generate(prompts, keys, max_tokens=20, keep_hidden=True)
    alone = engine.generate([prompts[9]], [keys[9]], max_tokens=20)
    assert alone.ids()[0] == whole.ids()[9]
    assert whole.hidden.shape == (*whole.mask.shape, 32)

import dataclasses
import math
import warnings

import pytest
import torch
from datasets import Dataset
from transformers import GPT2Config, GPT2LMHeadModel
from trl import GRPOConfig, GRPOTrainer

from harness.load import load_method
from harness.passes import has_learnt_positions
from harness.rollouts import RolloutEngine
from harness.rows import as_text, trimmed
from harness.trainer import CreditGRPOTrainer
from methods import Credit, Method, MissingSignal, Surrogate
from methods.advantages.group_mean import GroupMean
from methods.surrogates import Cispo, Sapo
from methods.weightings.uniform import Uniform
from tests.harness.conftest import make_policy

PROMPTS = ["3+4*2?", "1>5,2>7?", "M(CH)3;K27?", "9-2-3?"]
GROUP = 4


def digits(prompts, completions, **_):
    """A reward that differs within groups, but is 0 for every completion to one prompt in each half of the batch."""
    return [
        0.0 if prompt in (PROMPTS[1], PROMPTS[3]) else float(sum(c in "0123" for c in text) % 3)
        for prompt, text in zip(prompts, completions, strict=True)
    ]


def grpo(loss_type="dapo", **surrogate):
    return Method("grpo", None, GroupMean(), Uniform(), Surrogate(loss_type=loss_type, **surrogate))


def make_trainer(
    tmp_path, policy, method=None, reward=digits, cls=CreditGRPOTrainer, engine=True, reserve=None, **options
):
    options = {"temperature": 1.0, "max_completion_length": 12, "learning_rate": 1e-3} | options
    args = GRPOConfig(
        output_dir=str(tmp_path),
        per_device_train_batch_size=len(PROMPTS) * GROUP // 2,
        steps_per_generation=2,
        gradient_accumulation_steps=1,
        num_generations=GROUP,
        max_steps=4,
        logging_steps=1,
        save_strategy="no",
        report_to="none",
        shuffle_dataset=False,
        gradient_checkpointing=False,
        bf16=False,
        disable_tqdm=True,
        use_cpu=True,
        **options,
    )
    own = {"method": method or grpo(), "reserve": reserve} if cls is CreditGRPOTrainer else {}
    if cls is CreditGRPOTrainer and engine:
        own["engine"] = RolloutEngine(policy.model, policy.tokenizer, seed=0)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return cls(
            policy.model,
            reward,
            args=args,
            train_dataset=Dataset.from_dict({"prompt": PROMPTS * 4}),
            processing_class=policy.tokenizer,
            **own,
            **({"rollout_func": options["rollout_func"]} if "rollout_func" in options else {}),
        )


def rollout_inputs():
    return [{"prompt": prompt} for prompt in PROMPTS for _ in range(GROUP)]


def gradient(trainer, batch, move):
    """Gradient of the loss over the second half of `batch`, after the weights moved a little."""
    trainer.model.train()
    trainer.model.zero_grad()
    trainer.current_gradient_accumulation_steps = 1
    half = len(batch["completion_ids"]) // 2
    inputs = {k: v[half:] if isinstance(v, torch.Tensor) and v.dim() > 0 else v for k, v in batch.items()}
    with torch.no_grad():
        for parameter, delta in zip(trainer.model.parameters(), move, strict=True):
            parameter += delta
    trainer._compute_loss(trainer.model, inputs).backward()
    with torch.no_grad():
        for parameter, delta in zip(trainer.model.parameters(), move, strict=True):
            parameter -= delta
    return torch.cat([p.grad.flatten() for p in trainer.model.parameters()])


def both_gradients(tmp_path, dtype, surrogate, change=None):
    """Gradients of stock TRL and of the adapter from the same rollouts and advantages."""
    policy = make_policy(dtype=dtype)
    ours = make_trainer(tmp_path / "ours", policy, Method("m", None, GroupMean(), Uniform(), surrogate))
    ours.model.train()
    batch = ours._generate_and_score_completions(rollout_inputs())

    stock_policy = make_policy(dtype=dtype)
    stock = make_trainer(tmp_path / "stock", stock_policy, cls=GRPOTrainer, **surrogate.trainer_args())
    stock.rollout_func = lambda prompts, _: {
        "prompt_ids": stock._tokenize_prompts(prompts)[0],
        "completion_ids": ours.rollouts.ids(),
        "logprobs": None,
    }
    stock.model.train()
    stock_batch = stock._generate_and_score_completions(rollout_inputs())
    torch.testing.assert_close(
        stock_batch["advantages"][:, None].expand_as(batch["advantages"]).double() * batch["completion_mask"],
        batch["advantages"].double(), atol=1e-5, rtol=1e-5,
    )  # fmt: skip
    # TRL computes rewards and log-probs in float32 whatever the model's precision, so the gradients are
    # compared on the same advantages and old log-probs, which agree to float32.
    old = "old_per_token_logps"
    torch.testing.assert_close(
        stock_batch[old].double() * batch["completion_mask"], batch[old].double(), atol=2e-6, rtol=1e-5
    )
    stock_batch[old] = batch[old]
    stock_batch["advantages"] = batch["advantages"].sum(1) / batch["completion_mask"].sum(1)
    without_credit = (batch["advantages"][len(batch["advantages"]) // 2 :] == 0).all(1)
    assert without_credit.any() and not without_credit.all()  # of the rows below, some are left out
    if change is not None:
        batch["advantages"] = change(batch["advantages"])
    generator = torch.Generator().manual_seed(1)
    move = [torch.randn(p.shape, generator=generator, dtype=dtype) * 0.01 for p in policy.model.parameters()]
    return gradient(stock, stock_batch, move), gradient(ours, batch, move)


def relative(a, b):
    return ((a - b).norm() / a.norm()).item()


# TRL's head computes in float32 whatever the model's precision, and the parts of a shared pass come in another order:
# that these are exact in float64 is tested in test_passes, with a head that is.
@pytest.mark.parametrize(
    ("dtype", "shared", "bound"),
    [(torch.float32, True, 1e-5), (torch.float64, True, 1e-6), (torch.float64, False, 1e-10)],
)
@pytest.mark.parametrize(
    "surrogate",
    [*(Surrogate(loss_type, epsilon_high=0.28) for loss_type in ("grpo", "bnpo", "dapo", "dr_grpo")),
     Surrogate("grpo", "sequence"), Cispo(), Sapo()],
    ids=["grpo", "bnpo", "dapo", "dr_grpo", "gspo", "cispo", "sapo"],
)  # fmt: skip
def test_gradient_equals_stock_trl(tmp_path, monkeypatch, dtype, shared, bound, surrogate):
    monkeypatch.setattr("harness.trainer.can_share", lambda *_: shared)
    stock, ours = both_gradients(tmp_path, dtype, surrogate)
    assert stock.norm() > 0
    assert relative(stock, ours) <= bound


def test_gradient_differs_when_credit_is_permuted(tmp_path):
    def permute(credit):
        return credit[torch.randperm(len(credit), generator=torch.Generator().manual_seed(0))]

    stock, ours = both_gradients(tmp_path, torch.float64, Surrogate("dapo"), change=permute)
    assert relative(stock, ours) > 0.1


def test_rows_without_credit_are_left_out_and_metrics_still_count_them(tmp_path, monkeypatch):
    policy = make_policy()
    trainer = make_trainer(tmp_path, policy)
    trainer.model.train()
    batch = trainer._generate_and_score_completions(rollout_inputs())
    zero = (batch["advantages"] == 0).all(1)
    assert zero[GROUP : 2 * GROUP].all() and not zero.all()  # the group whose rewards are equal

    seen = []
    stock = GRPOTrainer._compute_loss
    monkeypatch.setattr(GRPOTrainer, "_compute_loss", lambda s, m, i: (seen.append(i), stock(s, m, i))[1])
    trainer.current_gradient_accumulation_steps = 1
    trainer._compute_loss(trainer.model, batch)
    assert len(seen[0]["completion_ids"]) == (~zero).sum()
    mask = batch["completion_mask"].bool()
    assert trainer._metrics["train"]["entropy"][-1] == pytest.approx(
        trainer.rollouts.entropies[mask].mean().item(), rel=1e-4
    )


def test_a_batch_without_any_token_to_train_on_moves_nothing(tmp_path):
    """Every completion is cut off, and TRL is asked to mask those."""
    policy = make_policy()
    trainer = make_trainer(tmp_path, policy, mask_truncated_completions=True, max_completion_length=1)
    before = [p.clone() for p in policy.model.parameters()]
    trainer.train()
    assert all(torch.equal(a, b) for a, b in zip(before, policy.model.parameters(), strict=True))


def test_learnt_positions_are_those_of_the_rollouts(tmp_path, monkeypatch):
    """GPT-2 behind prompts of unequal length: the loss's log-probs are the engine's."""
    policy = make_policy()
    torch.manual_seed(0)
    sizes = {"vocab_size": len(policy.tokenizer), "n_positions": 64, "n_embd": 32, "n_layer": 2, "n_head": 4}
    ends = {"bos_token_id": None, "eos_token_id": policy.tokenizer.eos_token_id}
    model = GPT2LMHeadModel(GPT2Config(**sizes, **ends, embd_pdrop=0, attn_pdrop=0, resid_pdrop=0))
    assert has_learnt_positions(model) and not has_learnt_positions(policy.model)
    with torch.no_grad():
        model.transformer.wpe.weight.mul_(20)  # so that a shift shows
    trainer = make_trainer(tmp_path, dataclasses.replace(policy, model=model))
    trainer.model.train()
    batch = trainer._generate_and_score_completions(rollout_inputs())
    names = [("prompt_ids", "completion_ids"), ("prompt_mask", "completion_mask")]
    ids, mask = (torch.cat([batch[name] for name in pair], dim=1) for pair in names)
    for shared in (True, False):
        monkeypatch.setattr("harness.trainer.can_share", lambda *_, shared=shared: shared)
        logps, *_ = trainer._get_per_token_logps_and_entropies(trainer.model, ids, mask, trainer.rollouts.mask.shape[1])
        torch.testing.assert_close(
            logps * trainer.rollouts.mask, trainer.rollouts.logps.float(), atol=1e-4, rtol=1e-4
        )


def test_trimming_removes_only_padding():
    inputs = {
        "prompt_ids": torch.tensor([[0, 5, 6], [0, 0, 7], [1, 2, 3]]),
        "prompt_mask": torch.tensor([[0, 1, 1], [0, 0, 1], [1, 1, 1]]),
        "completion_ids": torch.arange(12).reshape(3, 4),
        "completion_mask": torch.tensor([[1, 1, 0, 0], [1, 0, 0, 0], [1, 1, 1, 1]]),
        "num_items_in_batch": torch.tensor(7),
    }
    rows = trimmed(inputs, torch.tensor([True, True, False]))
    assert rows["prompt_ids"].tolist() == [[5, 6], [0, 7]]
    assert rows["completion_ids"].tolist() == [[0, 1], [4, 5]]
    assert rows["num_items_in_batch"] == 7


def test_equal_rewards_move_nothing(tmp_path):
    policy = make_policy()
    trainer = make_trainer(tmp_path, policy, reward=lambda completions, **_: [0.1] * len(completions))
    before = [p.clone() for p in policy.model.parameters()]
    trainer.train()
    assert all(torch.equal(a, b) for a, b in zip(before, policy.model.parameters(), strict=True))


@pytest.mark.parametrize("engine", [True, False], ids=["engine", "trl generation"])
def test_a_method_can_ask_for_every_signal_of_the_policy(tmp_path, engine):
    shapes = {}

    def curious(batch):
        for name in ("logps", "entropies", "sum_sq_probs", "hidden"):
            shapes[name] = tuple(getattr(batch, name).shape)
        shapes["texts"] = len(batch.prompts), len(batch.completions)
        return Credit.broadcast(batch.rewards * 0.0, batch.mask)

    policy = make_policy()
    method = Method("curious", None, curious, Uniform(), Surrogate())
    trainer = make_trainer(tmp_path, policy, method, engine=engine)
    trainer.model.train()
    output = trainer._generate_and_score_completions(rollout_inputs())
    n, t = output["completion_ids"].shape
    flat = dict.fromkeys(("logps", "entropies", "sum_sq_probs"), (n, t))
    assert shapes == flat | {"hidden": (n, t, 32), "texts": (n, n)}


def test_computed_signals_equal_those_the_engine_kept(tmp_path):
    from harness.signals import forward_signals

    policy = make_policy(dtype=torch.float64)
    method = Method("grpo", None, GroupMean(), Uniform(), Surrogate())
    object.__setattr__(method.weighting, "needs", frozenset({"hidden"}))
    trainer = make_trainer(tmp_path, policy, method)
    trainer.model.train()
    output = trainer._generate_and_score_completions(rollout_inputs())
    names = ("prompt_ids", "prompt_mask", "completion_ids", "completion_mask")
    computed = forward_signals(policy.model, *(output[k] for k in names), temperature=1.0, rows=5)
    for name, value in computed.items():
        torch.testing.assert_close(value, getattr(trainer.rollouts, name), atol=1e-9, rtol=0)
    torch.testing.assert_close(output["old_per_token_logps"], trainer.rollouts.logps, atol=1e-9, rtol=0)


def test_a_missing_signal_names_itself_and_who_wanted_it(tmp_path):
    def needs_decisive(batch):
        return Credit.broadcast(batch.decisive.sum(1).double(), batch.mask)

    trainer = make_trainer(
        tmp_path, make_policy(), Method("mine", None, needs_decisive, Uniform(), Surrogate())
    )
    with pytest.raises(MissingSignal, match="decisive.*'mine', advantage needs_decisive"):
        trainer.train()


@pytest.mark.parametrize(
    ("value", "message"),
    [
        (math.inf, "'bad' returned inf for completion 2"),
        ("0.5", "'bad' returned '0.5' for completion 2"),
        ([1.0], r"'bad' returned \[1.0\] for completion 2"),
    ],
)
def test_a_bad_reward_is_named(tmp_path, value, message):
    def bad(completions, **_):
        return [value if i == 2 else 0.0 for i in range(len(completions))]

    with pytest.raises(ValueError, match=message):
        make_trainer(tmp_path, make_policy(), reward=bad).train()


def test_the_wrong_number_of_rewards_is_an_error(tmp_path):
    with pytest.raises(ValueError, match="returned 15 rewards, but 16"):
        make_trainer(tmp_path, make_policy(), reward=lambda completions, **_: [0.0] * 15).train()


def scored(tmp_path, rewards):
    seen = {}

    def keep(batch):
        seen.update(rewards=batch.rewards, terms=batch.reward_terms)
        return GroupMean()(batch)

    method = Method("keep", None, keep, Uniform(), Surrogate())
    trainer = make_trainer(tmp_path, make_policy(), method, reward=rewards)
    trainer.model.train()
    output = trainer._generate_and_score_completions(rollout_inputs())
    return seen, output


def test_rewards_reach_the_method_in_float64(tmp_path):
    seen, output = scored(tmp_path, lambda completions, **_: [1e9 + 0.01 * (i % 4) for i in range(16)])
    assert seen["rewards"].dtype == torch.float64
    assert seen["rewards"][1].item() == 1e9 + 0.01  # in float32 all would be equal
    assert (output["advantages"][:, 0].reshape(4, 4).diff(dim=1) > 0).all()


def test_a_reward_that_is_nan_makes_its_row_unscorable_and_none_does_not(tmp_path):
    def first(completions, **_):
        return [math.nan if i == 0 else float(i % 2) for i in range(16)]

    def second(completions, **_):
        return [None if i == 1 else 1.0 for i in range(16)]

    seen, output = scored(tmp_path, [first, second])
    assert seen["rewards"][0].isnan()
    assert seen["rewards"][1].item() == 1.0  # the second reward does not apply: the first alone
    assert seen["rewards"][2].item() == 1.0  # 0 + 1
    assert (output["advantages"][0] == 0).all()


def test_surrogate_settings_reach_trl(tmp_path):
    method = Method("m", None, GroupMean(), Uniform(), Surrogate("dr_grpo", epsilon=0.1, epsilon_high=0.3))
    trainer = make_trainer(tmp_path, make_policy(), method)
    assert (trainer.loss_type, trainer.epsilon_low, trainer.epsilon_high) == ("dr_grpo", 0.1, 0.3)


def test_the_same_prompt_twice_in_a_batch_gets_noise_of_its_own(tmp_path):
    trainer = make_trainer(tmp_path, make_policy())
    trainer.model.train()
    trainer._generate_and_score_completions([{"prompt": PROMPTS[0]} for _ in range(2 * GROUP)])
    ids = trainer.rollouts.ids()
    assert ids[:GROUP] != ids[GROUP:]


def test_the_callers_configuration_is_not_changed(tmp_path):
    args = GRPOConfig(str(tmp_path), report_to="none", bf16=False, use_cpu=True, loss_type="dapo")
    policy = make_policy()
    data = Dataset.from_dict({"prompt": PROMPTS * 4})
    trainer = CreditGRPOTrainer(
        policy.model,
        digits,
        args,
        train_dataset=data,
        processing_class=policy.tokenizer,
        method=grpo("dr_grpo"),
    )
    assert (args.loss_type, trainer.args.loss_type) == ("dapo", "dr_grpo")


def test_conversations_reach_a_method_as_text(tmp_path):
    assert as_text("3+4") == "3+4"
    assert as_text([{"role": "user", "content": "a"}, {"role": "assistant", "content": "b"}]) == "a\nb"


def test_a_shaping_that_counts_on_another_length_is_refused(tmp_path):
    method = load_method("dapo", ["dynamic_sampling=0"])  # made for the runner's 64 tokens
    with pytest.raises(ValueError, match="64 tokens at most, but max_completion_length is 12.*shaping.max_tokens=12"):
        make_trainer(tmp_path, make_policy(), method)
    make_trainer(tmp_path, make_policy(), load_method("dapo", ["dynamic_sampling=0", "shaping.max_tokens=12"]))

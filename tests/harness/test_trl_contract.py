"""The contract with TRL: what the adapter relies on, and would silently lose if TRL changed it."""

import inspect

import torch
from trl import GRPOTrainer

from tests.harness.conftest import make_policy
from tests.harness.test_trainer import GROUP, PROMPTS, make_trainer, rollout_inputs


def test_trl_has_the_methods_that_are_overridden():
    expected = {
        "_calculate_rewards": ["self", "inputs", "prompts", "completions", "completion_ids_list"],
        "_generate_and_score_completions": ["self", "inputs"],
        "_compute_loss": ["self", "model", "inputs"],
    }
    for name, parameters in expected.items():
        assert list(inspect.signature(getattr(GRPOTrainer, name)).parameters) == parameters
    logps = inspect.signature(GRPOTrainer._get_per_token_logps_and_entropies)
    names = ["self", "model", "input_ids", "attention_mask", "logits_to_keep"]
    assert list(logps.parameters)[:5] == names


def test_trl_output_keys_and_contiguous_groups(tmp_path):
    trainer = make_trainer(tmp_path, make_policy())
    trainer.model.train()
    output = trainer._generate_and_score_completions(rollout_inputs())
    assert {
        "prompt_ids", "prompt_mask", "completion_ids", "completion_mask", "advantages", "num_items_in_batch",
        "old_per_token_logps",
    } <= output.keys()  # fmt: skip
    batches = next(iter(trainer.get_train_dataloader()))
    assert [row["prompt"] for row in batches] == [prompt for prompt in PROMPTS for _ in range(GROUP)]


def test_trl_takes_advantages_of_every_token(tmp_path):
    histories = []
    for broadcast in (False, True):

        class Trainer(GRPOTrainer):
            def _generate_and_score_completions(self, inputs, broadcast=broadcast):
                output = super()._generate_and_score_completions(inputs)
                if broadcast:
                    output["advantages"] = output["advantages"][:, None].expand_as(output["completion_ids"])
                return output

        torch.manual_seed(0)
        policy = make_policy()
        trainer = make_trainer(tmp_path, policy, cls=Trainer)
        trainer.train()
        histories.append(torch.cat([p.detach().flatten() for p in policy.model.parameters()]))
    assert torch.equal(*histories)


def test_trl_shuffles_after_scoring(tmp_path, monkeypatch):
    """Group arithmetic sees whole groups; the loss sees shuffled rows."""
    trainer = make_trainer(tmp_path, make_policy())
    rows = []
    stock = GRPOTrainer._compute_loss
    monkeypatch.setattr(GRPOTrainer, "_compute_loss", lambda s, m, i: (rows.append(i), stock(s, m, i))[1])
    trainer.train()
    decode = trainer.processing_class.decode
    pairs = zip(rows[0]["prompt_ids"], rows[0]["prompt_mask"], strict=True)
    prompts = [decode(ids[mask.bool()]) for ids, mask in pairs]
    assert prompts != sorted(prompts, key=PROMPTS.index)

"""What a method may ask of the policy: against forward passes, sums and finite differences made here."""

from dataclasses import dataclass, field

import pytest
import torch

from harness.trainer import LEARNT
from methods import Credit, Method, Surrogate
from methods.weightings.uniform import Uniform
from methods.work import ScoreRequest
from tests.harness.conftest import make_policy
from tests.harness.test_trainer import GROUP, PROMPTS, digits, make_trainer, rollout_inputs


@dataclass
class Asks:
    """An advantage that keeps the batch it was given, and gives every token the reward."""

    needs: frozenset = frozenset()
    seen: list = field(default_factory=list)

    def __call__(self, batch):
        self.seen.append(batch)
        return Credit.broadcast(batch.rewards.nan_to_num(0.0), batch.mask)


@pytest.fixture
def asked(tmp_path):
    """A rollout batch of a float64 policy, its trainer and TRL's output."""

    def make(*needs, reward=digits, **options):
        part = Asks(frozenset(needs))
        method = Method("asks", None, part, Uniform(), Surrogate())
        trainer = make_trainer(tmp_path, make_policy(dtype=torch.float64), method, reward, **options)
        trainer.model.train()
        output = trainer._generate_and_score_completions(rollout_inputs())
        return part.seen[0], trainer, output

    return make


def by_hand(trainer, prompt, target):
    """Log-probs of the token ids `target` after `prompt`, one forward of one row."""
    ids = torch.tensor([prompt + target])
    with torch.no_grad():
        logits = trainer.model(ids).logits[0, len(prompt) - 1 : -1]
    return logits.log_softmax(-1).gather(1, torch.tensor(target)[:, None]).squeeze(1)


def ids(trainer, text):
    return trainer.processing_class(text)["input_ids"]


def test_scores_equal_a_forward_of_each_alone(asked):
    batch, trainer, _ = asked()
    own = trainer.rollouts.ids()
    requests = [
        ScoreRequest(0, own[0]),
        ScoreRequest(GROUP, "3+8=11"),
        ScoreRequest(5, "1", prompt="2*2?", given="9,"),
        ScoreRequest(9, own[9][:2], given="4"),
    ]
    expected = [
        by_hand(trainer, ids(trainer, PROMPTS[0]), own[0]),
        by_hand(trainer, ids(trainer, PROMPTS[1]), ids(trainer, "3+8=11")),
        by_hand(trainer, ids(trainer, "2*2?9,"), ids(trainer, "1")),
        by_hand(trainer, ids(trainer, PROMPTS[2] + "4"), own[9][:2]),
    ]
    trainer.work.clear()
    for found, right in zip(batch.score(requests), expected, strict=True):
        torch.testing.assert_close(found, right, atol=1e-9, rtol=0)
    prompts = [len(PROMPTS[0]), len(PROMPTS[1]), len("2*2?9,"), len(PROMPTS[2]) + 1]
    assert trainer.work["pass_tokens"] == sum(prompts) + sum(map(len, expected))


def test_completions_after_other_prompts(asked):
    batch, trainer, _ = asked()
    same = batch.logps_given(batch.prompts)
    torch.testing.assert_close(same, batch.logps, atol=1e-9, rtol=0)
    other = batch.logps_given(["1+1?"] * len(batch.rewards))
    assert (other[~batch.mask] == 0).all()
    right = by_hand(trainer, ids(trainer, "1+1?"), trainer.rollouts.ids()[3])
    torch.testing.assert_close(other[3, : len(right)], right, atol=1e-9, rtol=0)


def test_continuations_go_on_from_the_prefix_and_are_judged_whole(asked):
    calls = []

    def reward(prompts, completions, completion_ids, **_):
        calls.append((prompts, completions, completion_ids))
        return [float(sum(c in "0123" for c in text)) for text in completions]

    batch, trainer, _ = asked(reward=reward)
    own, limit = trainer.rollouts.ids(), trainer.max_completion_length
    rows = [i for i, row in enumerate(own) if len(row) > 3][:3]
    trainer.work.clear()
    calls.clear()
    found = batch.continuations(rows, [0, 2, 3], 5)
    ((prompts, texts, tokens),) = calls
    assert found.shape == (3, 5) and len(texts) == 15
    for k, (row, length) in enumerate(zip(rows, [0, 2, 3], strict=True)):
        for i in range(5):
            at = 5 * k + i
            assert prompts[at] == PROMPTS[row // GROUP]
            assert tokens[at][:length] == own[row][:length] and length < len(tokens[at]) <= limit
            assert found[k, i] == sum(c in "0123" for c in texts[at])
    assert trainer.work["extra_tokens"] == sum(map(len, tokens)) - 5 * (0 + 2 + 3)
    assert len({tuple(row) for row in tokens[:5]}) > 1  # each with noise of its own
    # what else was asked for changes nothing, and a second time gives the same
    assert torch.equal(batch.continuations(rows[1:2], [2], 5), found[1:2])
    assert trainer.scored["completions"] == batch.completions  # the batch's own rewards are not forgotten


def test_a_prefix_that_leaves_nothing_to_sample_is_refused(asked):
    batch, trainer, _ = asked()
    full = [i for i, row in enumerate(trainer.rollouts.ids()) if len(row) == trainer.max_completion_length]
    with pytest.raises(ValueError, match="a prefix of 12 tokens leaves none of 12"):
        batch.continuations(full[:1], [12], 1)


def test_input_gradients_are_the_response_to_stretching_an_embedding(asked):
    batch, trainer, _ = asked()
    row, other = [i for i, row in enumerate(trainer.rollouts.ids()) if len(row) >= 6][:2]
    token = 1
    targets = torch.zeros_like(batch.mask)
    targets[row, 3:5] = targets[other, 2] = True
    found = batch.input_gradients(targets)
    prompt, own = ids(trainer, PROMPTS[row // GROUP]), trainer.rollouts.ids()[row]
    embedded = trainer.model.get_input_embeddings()(torch.tensor([prompt + own])).detach()

    def likelihood(stretch):
        moved = embedded.clone()
        moved[0, len(prompt) + token] *= stretch
        with torch.no_grad():
            log_probs = trainer.model(inputs_embeds=moved).logits[0].log_softmax(-1)
        places = [len(prompt) + 3, len(prompt) + 4]
        return sum(log_probs[place - 1, own[place - len(prompt)]] for place in places)

    # The model's norms compute in float32 whatever its precision, so the step is no smaller.
    slope = (likelihood(1 + 1e-2) - likelihood(1 - 1e-2)) / 2e-2
    assert found[row, token].item() == pytest.approx(slope.item(), rel=2e-3) and abs(slope) > 1e-2
    assert (
        found[row, 4:] == 0
    ).all()  # the last target's own embedding, and what follows, do not matter to it
    rest = [i for i in range(len(found)) if i not in (row, other)]
    assert (found[rest] == 0).all() and (found[other] != 0).any()
    assert all(parameter.grad is None for parameter in trainer.model.parameters())


def test_the_auxiliary_model_starts_as_the_policy_and_moves_alone(asked):
    batch, trainer, _ = asked("auxiliary", "ref_logps")
    auxiliary = batch.auxiliary()
    found = auxiliary.logps([4, 0])
    torch.testing.assert_close(found.detach(), batch.logps[[4, 0]], atol=1e-9, rtol=0)
    torch.testing.assert_close(batch.ref_logps, batch.logps, atol=1e-9, rtol=0)
    policy = [parameter.clone() for parameter in trainer.model.parameters()]
    optimiser = torch.optim.SGD(auxiliary.parameters(), lr=0.1)
    found.sum().backward()
    optimiser.step()
    assert (auxiliary.logps([4, 0]) - found).abs().max() > 1e-3
    assert all(torch.equal(a, b) for a, b in zip(policy, trainer.model.parameters(), strict=True))


def test_the_reference_stays_where_the_policy_began(asked):
    batch, trainer, output = asked("ref_logps")
    before = batch.logps.clone()
    with torch.no_grad():
        for parameter in trainer.model.parameters():
            parameter += 0.05
    torch.testing.assert_close(batch.ref_logps, before, atol=1e-9, rtol=0)
    assert trainer.work["pass_tokens"] == int(output["prompt_mask"].sum() + output["completion_mask"].sum())


def test_work_needs_the_engine_and_a_part_that_says_so(asked):
    batch, _, _ = asked(engine=False)
    with pytest.raises(ValueError, match="engine=…"):
        batch.continuations([0], [1], 1)
    with pytest.raises(LookupError, match='needs = .*"auxiliary"'):
        batch.auxiliary()


def test_token_texts_spell_the_completions(asked):
    batch, _, _ = asked()
    for text, pieces, length in zip(batch.completions, batch.token_texts, batch.lengths, strict=True):
        assert len(pieces) == length and "".join(pieces).startswith(text)


@dataclass
class Counts(Asks):
    """An advantage that learns: how many batches it has seen."""

    batches: int = 0

    def __call__(self, batch):
        self.batches += 1
        return super().__call__(batch)

    def state_dict(self):
        return {"batches": self.batches} if self.batches else {}

    def load_state_dict(self, state):
        self.batches = state["batches"]


def test_what_was_learnt_is_in_the_checkpoint(tmp_path):
    part = Counts(frozenset({"auxiliary"}))
    method = Method("learns", None, part, Uniform(), Surrogate())
    trainer = make_trainer(tmp_path / "first", make_policy(), method)
    with torch.no_grad():
        next(trainer.auxiliary_model.parameters()).add_(1.0)
    trainer.train()
    assert part.batches == 2
    trainer._save_checkpoint(trainer.model, None)
    (folder,) = (tmp_path / "first").glob("checkpoint-*")
    assert (folder / LEARNT).exists()

    again = Counts(frozenset({"auxiliary"}))
    second = make_trainer(
        tmp_path / "second", make_policy(), Method("learns", None, again, Uniform(), Surrogate())
    )
    second.create_optimizer_and_scheduler(4)
    second._load_optimizer_and_scheduler(str(folder))
    assert again.batches == 2
    for a, b in zip(trainer.auxiliary_model.parameters(), second.auxiliary_model.parameters(), strict=True):
        assert torch.equal(a, b)


def test_a_method_that_has_learnt_serves_no_second_run_and_a_lost_file_is_missed(tmp_path):
    part = Counts(batches=3)
    method = Method("learns", None, part, Uniform(), Surrogate())
    with pytest.raises(ValueError, match="'learns' has learnt in another run: load it anew"):
        make_trainer(tmp_path, make_policy(), method)
    part.batches = 0
    trainer = make_trainer(
        tmp_path, make_policy(), Method("m", None, Asks(frozenset({"auxiliary"})), Uniform(), Surrogate())
    )
    trainer.create_optimizer_and_scheduler(4)
    (tmp_path / "checkpoint-2").mkdir()
    with pytest.raises(ValueError, match="lacks credit.pt"):
        trainer._load_optimizer_and_scheduler(str(tmp_path / "checkpoint-2"))

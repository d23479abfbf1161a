import json

import pytest
import torch

from harness.evaluation import sample_problems, scores
from harness.policy import ASSETS, load_policy
from harness.pretrain import Pretraining, character_tokenizer, pretrain
from harness.rollouts import RolloutEngine
from harness.suites.micro import MicroSuite, alphabet


@pytest.fixture(scope="module")
def micro():
    return load_policy("micro", "micro")


def test_the_shipped_policy_is_small(micro):
    assert sum(path.stat().st_size for path in (ASSETS / "micro").iterdir()) <= 2 * 2**20
    assert sum(p.numel() for p in micro.model.parameters()) <= 500_000
    assert json.loads((ASSETS / "micro/pretrain.json").read_text())["command"].startswith(
        "python -m harness.pretrain"
    )


@pytest.mark.parametrize(("temperature", "samples"), [(1.0, 4), (0.0, 1)], ids=["sampled", "greedy"])
def test_the_shipped_policy_has_room_to_learn_in_every_domain(micro, temperature, samples):
    suite = MicroSuite(horizon=1)
    engine = RolloutEngine(micro.model, micro.tokenizer, seed=0)
    found = sample_problems(
        engine,
        suite,
        suite.evaluation("test", 64),
        samples=samples,
        temperature=temperature,
        max_tokens=24,
        seed=0,
    )
    for domain, score in scores(found).items():
        assert 0.3 <= score["avg"] <= 0.6, domain


def test_every_character_is_one_token_and_comes_back():
    tokenizer = character_tokenizer()
    text = alphabet()
    ids = tokenizer(text)["input_ids"]
    assert len(ids) == len(set(ids)) == len(text)
    assert tokenizer.decode(ids) == text
    assert {tokenizer.pad_token_id, tokenizer.eos_token_id}.isdisjoint(ids)


def test_pretraining_writes_a_policy_and_repeats_itself(tmp_path):
    hashes = []
    for folder in (tmp_path / "a", tmp_path / "b"):
        pretrain(Pretraining(out=str(folder), steps=3, tokens_per_step=300, hidden=16, heads=2, layers=1))
        hashes.append(load_policy("p", str(folder)).hash)
    assert hashes[0] == hashes[1]
    record = json.loads((tmp_path / "a/pretrain.json").read_text())
    assert record["steps"] == 3 and "out" not in record


def test_the_fingerprint_follows_the_weights(micro):
    before = micro.hash
    other = load_policy("micro", "micro")
    assert other.hash == before
    with torch.no_grad():
        next(other.model.parameters())[0, 0] += 1e-3
    assert other.hash != before


def test_an_unknown_dtype_is_named():
    with pytest.raises(ValueError, match="policy.dtype='float99' is not a torch dtype"):
        load_policy("micro", "micro", dtype="float99")

import json

import pytest
import torch
from datasets import Dataset
from trl import GRPOConfig

from harness import CreditGRPOTrainer, load_method
from harness.evaluation import sample_problems, scores
from harness.policy import ASSETS, computes_in_bfloat16, load_policy, twin
from harness.pretrain import Pretraining, character_tokenizer, pretrain
from harness.rollouts import Key, RolloutEngine
from harness.suites.micro import MicroSuite, alphabet
from tests.harness.conftest import make_policy


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
        micro,
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


@pytest.fixture
def chat_folder(tmp_path):
    """A random policy saved with a chat template in the micro suite's few characters."""
    policy = make_policy()
    turns = "{% for m in messages %}{{ m.content }};{% endfor %}"
    policy.tokenizer.chat_template = turns + "{% if add_generation_prompt %}={% if on %}={% endif %}{% endif %}"
    policy.model.save_pretrained(tmp_path / "chat")
    policy.tokenizer.save_pretrained(tmp_path / "chat")
    return tmp_path / "chat"


def test_a_chat_policy_is_asked_through_its_template(chat_folder):
    plain = load_policy("hf", str(chat_folder))
    assert not plain.chat and plain.message("1+1?") == "1+1?"
    chat = load_policy("hf", str(chat_folder), chat="auto", system="a+b", template_options={"on": True})
    assert chat.chat
    assert chat.message("1+1?") == [{"role": "system", "content": "a+b"}, {"role": "user", "content": "1+1?"}]
    assert [chat.tokenizer.decode(ids) for ids in chat.encode(["1+1?", "2?"])] == ["a+b;1+1?;==", "a+b;2?;=="]
    assert plain.tokenizer.decode(plain.encode(["2?"])[0]) == "2?"


def test_training_asks_a_chat_policy_with_the_same_tokens(chat_folder, tmp_path):
    policy = load_policy("hf", str(chat_folder), chat=True, template_options={"on": True})
    trainer = CreditGRPOTrainer(
        policy.model,
        lambda completions, **_: [0.0] * len(completions),
        method=load_method("grpo"),
        args=GRPOConfig(
            str(tmp_path),
            report_to="none",
            bf16=False,
            use_cpu=True,
            chat_template_kwargs=policy.template_options,
        ),
        train_dataset=Dataset.from_list([{"prompt": policy.message("1+1?")}] * 8),
        processing_class=policy.tokenizer,
    )
    assert trainer.prompt_ids([policy.message(p) for p in ("1+1?", "2?")]) == policy.encode(["1+1?", "2?"])


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"dtype": "float33"}, "policy.dtype='float33' is not a torch dtype"),
        ({"dtype": "load"}, "is not a torch dtype"),
        ({"chat": True}, "no chat template: set policy.chat=false"),
        ({"chat": "yes"}, "policy.chat=yes: use true, false or auto"),
        ({"autocast": "fast"}, "policy.autocast=fast: use true, false or auto"),
        ({"system": "Be brief."}, "are read with a chat template only"),
        ({"template_options": {"on": True}}, "are read with a chat template only"),
        ({"lora": {"rank": 4}}, "policy.lora: .*rank.*it takes the fields of peft.LoraConfig"),
    ],
)
def test_a_policy_that_cannot_be_asked_so_is_refused(options, message):
    with pytest.raises(ValueError, match=message):
        load_policy("micro", "micro", **options)


def test_a_policy_that_is_nowhere_is_named_with_what_to_give():
    with pytest.raises(
        OSError, match="policy.path=nowhere/at/all: no such folder.*give the folder of a model"
    ):
        load_policy("hf", "nowhere/at/all")


def test_lora_trains_the_adapters_alone_and_begins_as_the_policy_itself(micro):
    torch.manual_seed(1)
    adapted = load_policy("micro", "micro", lora={"r": 2, "target_modules": "all-linear"})
    trainable = [name for name, p in adapted.model.named_parameters() if p.requires_grad]
    assert trainable and all(".lora_" in name for name in trainable)
    engines = [RolloutEngine(p.model, p.tokenizer, seed=0) for p in (micro, adapted)]
    texts = [
        e.generate(micro.encode(["3+4*2?"] * 4), [Key("x", i, 0) for i in range(4)], max_tokens=8).texts(
            micro.tokenizer
        )
        for e in engines
    ]
    assert texts[0] == texts[1]
    first = adapted.hash
    torch.manual_seed(2)
    assert load_policy("micro", "micro", lora={"r": 2, "target_modules": "all-linear"}).hash == first
    with pytest.raises(ValueError, match="set policy.lora=null"):
        twin(adapted.model)


def test_autocast_computes_in_bfloat16_and_keeps_the_weights(micro):
    seen = []
    policy = load_policy("micro", "micro", autocast=True)
    head = policy.model.get_output_embeddings()
    head.register_forward_hook(lambda _, inputs, output: seen.append(output.dtype))
    engine = RolloutEngine(policy.model, policy.tokenizer, seed=0, autocast=policy.autocast)
    engine.generate(policy.encode(["3+4*2?"]), [Key("x", 0, 0)], max_tokens=4)
    assert set(seen) == {torch.bfloat16} and policy.model.dtype == torch.float32
    assert load_policy("micro", "micro", autocast="auto").autocast is computes_in_bfloat16()

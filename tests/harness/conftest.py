import pytest
import torch
from transformers import Qwen3Config, Qwen3ForCausalLM

from harness.policy import Policy
from harness.pretrain import character_tokenizer
from harness.suites import Problem, Verdict
from harness.suites.micro import MicroSuite


class EasySuite(MicroSuite):
    """The micro suite's problems with a reward that even a random policy earns in part."""

    def verify(self, problem: Problem, completion: str) -> Verdict:
        share = sum(c in "01234" for c in completion) / max(1, len(completion))
        return Verdict(share, share > 0.3, completion, decisive=((0, +1), (len(completion), -1)))


def make_policy(seed: int = 0, dtype: torch.dtype = torch.float32, context: int = 128) -> Policy:
    """A random Qwen3 policy over the micro suite's characters, small enough for tests."""
    tokenizer = character_tokenizer()
    torch.manual_seed(seed)
    model = Qwen3ForCausalLM(
        Qwen3Config(
            vocab_size=len(tokenizer),
            hidden_size=32,
            intermediate_size=64,
            num_hidden_layers=2,
            num_attention_heads=2,
            num_key_value_heads=1,
            head_dim=16,
            max_position_embeddings=context,
            tie_word_embeddings=True,
            initializer_range=0.3,
            pad_token_id=tokenizer.pad_token_id,
            eos_token_id=tokenizer.eos_token_id,
            bos_token_id=None,
        )
    )
    return Policy("random", model.to(dtype).eval(), tokenizer)


@pytest.fixture
def policy() -> Policy:
    return make_policy()

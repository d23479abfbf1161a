"""A causal language model whose next token depends on the last one only, so that every value is known exactly."""

from types import SimpleNamespace

import torch
from torch import nn

PAD, EOS, ASK, A, B, X, Y = range(7)
# From ASK the policy takes branch A or B; each leads to X or Y, by its own odds; X and Y stay or end.
TABLE = {
    ASK: {A: 0.3, B: 0.7}, A: {X: 0.9, Y: 0.1}, B: {X: 0.2, Y: 0.8}, X: {X: 0.25, EOS: 0.75}, Y: {Y: 0.25, EOS: 0.75},
}  # fmt: skip
VALUE = {ASK: 0.3 * 0.9 + 0.7 * 0.2, A: 0.9, B: 0.2, X: 1.0, Y: 0.0}  # P(X is reached), where R = 1
LIMIT = 6


class NoCache:
    """What is kept of the past: nothing, since nothing but the last token matters."""

    def batch_select_indices(self, rows):
        pass


class Bigram(nn.Module):
    def __init__(self):
        super().__init__()
        table = torch.full((7, 7), -torch.inf, dtype=torch.float64)
        table[PAD, PAD] = table[EOS, PAD] = 0.0
        for last, following in TABLE.items():
            for token, probability in following.items():
                table[last, token] = torch.tensor(probability, dtype=torch.float64).log()
        self.table = nn.Embedding.from_pretrained(table)
        self.head = nn.Identity()
        self.config = SimpleNamespace(get_text_config=lambda: SimpleNamespace(max_position_embeddings=64))
        self.generation_config = SimpleNamespace(eos_token_id=EOS)
        self.device = torch.device("cpu")

    def get_output_embeddings(self):
        return self.head

    def forward(self, input_ids, logits_to_keep=0, past_key_values=None, **_):
        logits = self.head(self.table(input_ids)[:, -logits_to_keep:])
        return SimpleNamespace(logits=logits, past_key_values=past_key_values or NoCache())


TOKENIZER = SimpleNamespace(eos_token_id=EOS, pad_token_id=PAD)


def judge(completions):
    return [float(X in ids) for ids in completions]


def exact(ids):
    """Δ_t by enumeration: the values of the states are known."""
    values = [VALUE[ASK], *(VALUE[token] for token in ids[:-1]), float(X in ids)]
    return [after - before for before, after in zip(values, values[1:], strict=False)]

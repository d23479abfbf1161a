import pytest
import torch

from methods import RolloutBatch
from methods.advantages.steps import states, step_ends


def completion(texts, mask=None):
    """A batch whose first row has these tokens, the texts of those in the mask."""
    mask = [1] * len(texts) if mask is None else mask
    own = [text for text, keep in zip(texts, mask, strict=True) if keep]
    ids = torch.arange(2 * len(texts)).reshape(2, -1)
    return RolloutBatch.from_tensors(ids, [mask, mask], [1.0, 0.0], 2, token_texts=[own, own])


@pytest.mark.parametrize(
    ("texts", "separator", "ends"),
    [
        (["a", ";", "b"], ";", [0, 2, 3]),
        (["a;", "b;", "c"], ";", [0, 1, 2, 3]),  # inside tokens
        (["a;b", "c"], ";", [0, 1, 2]),  # with the token it stands in
        (["a;b;c", "d"], ";", [0, 1, 2]),  # twice in one token
        (["a", ";", ";", "b"], ";", [0, 3, 4]),  # several in a row count as one
        ([";", "a", ";", "b"], ";", [0, 3, 4]),  # at the beginning no step has been taken
        (["a", "b", ";"], ";", [0, 3]),  # at the end the completion is finished
        (["a", ";", ""], ";", [0, 2, 3]),  # end of sequence: one token is left
        (["a", "\n", "\n", "b"], "\n\n", [0, 3, 4]),  # across tokens
        (["a", "\n", "b"], "\n\n", [0, 3]),
        (["a", "", ";", "b"], ";", [0, 3, 4]),
        (["a.b", ".", "c"], ".", [0, 1, 2, 3]),  # a text, no pattern
        (["a", "b"], ";", [0, 2]),
        (["a", "b", ";", *"cdefghi"], ";", [0, 3, 10]),
    ],
)
def test_where_steps_end(texts, separator, ends):
    assert step_ends(completion(texts), 0, separator) == ends


def test_ends_are_columns():
    # the tool wrote the tokens 2 and 3: the first step ends behind token 1, the second behind token 5
    batch = completion(["a", ";", "T;", "T", "b", ";", "c", "T"], [1, 1, 0, 0, 1, 1, 1, 0])
    assert step_ends(batch, 0, ";") == [0, 2, 6, 7]


def test_texts_that_are_not_the_tokens_are_refused():
    batch = completion(["a", "b", "c"])
    batch.cache["token_texts"] = [["a", "b"], ["a", "b", "c"]]
    with pytest.raises(ValueError, match="token_texts.*row 0.*2 texts for 3 tokens"):
        step_ends(batch, 0, ";")
    assert step_ends(batch, 1, ";") == [0, 3]


def named(ids, group_size, lengths):
    mask = torch.ones(len(ids), len(ids[0]))
    batch = RolloutBatch.from_tensors(ids, mask, [0.0] * len(ids), group_size)
    found = [list(states(batch, row, lengths)) for row in range(len(ids))]
    assert all([length for _, length in row] == lengths for row in found)
    return [[name for name, _ in row] for row in found]


def test_states_have_one_name_for_equal_tokens_of_a_group():
    a, b, c, d = named([[1, 2, 3], [1, 2, 4], [1, 2, 3], [9, 2, 3]], 2, [0, 1, 3])
    assert a[0] == b[0] and a[1] == b[1] and a[2] != b[2]
    assert len({*a}) == 3
    assert c[0] == d[0] and c[1] != d[1] and c[2] != d[2]
    assert not {*a, *b} & {*c, *d}  # of another group, though the tokens are equal


def test_a_name_does_not_depend_on_the_states_before_it():
    ids = [[1, 2, 3], [4, 5, 6]]
    assert named(ids, 2, [0, 1, 2])[0][2] == named(ids, 2, [2])[0][0]

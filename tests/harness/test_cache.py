import pytest
import torch
from transformers import DynamicCache
from transformers.cache_utils import DynamicLayer

from harness.cache import ROOM, RoomyLayer, roomy


def pieces(tokens, rows=3):
    return torch.randn(2, rows, 2, tokens, 4)


def test_the_same_keys_and_values_as_a_layer_that_grows():
    torch.manual_seed(0)
    start, plain = pieces(5), DynamicLayer()
    plain.update(*start)
    ours = RoomyLayer(*start)
    for step in range(2 * ROOM + 3):  # twice beyond the room
        new = pieces(1, rows=len(ours.keys))
        found, expected = ours.update(*new), plain.update(*new)
        assert all(torch.equal(a, b) for a, b in zip(found, expected, strict=True))
        assert ours.get_seq_length() == plain.get_seq_length() == 6 + step
        if step == ROOM // 2:
            for layer in (ours, plain):
                layer.batch_select_indices(torch.tensor([2, 0]))
    assert torch.equal(ours.keys, plain.keys) and torch.equal(ours.values, plain.values)


def test_a_token_is_written_into_the_room():
    layer = RoomyLayer(*pieces(5))
    before = layer.keys.data_ptr()
    for _ in range(ROOM):
        layer.update(*pieces(1))
    assert layer.keys.data_ptr() == before
    layer.update(*pieces(1))
    assert layer.keys.data_ptr() != before


def test_a_prefilled_cache_is_that_of_its_rows():
    cache = DynamicCache()
    start = pieces(4)
    cache.update(*start, 0)
    roomy(cache, torch.tensor([1, 1, 0, 2]))
    assert type(cache.layers[0]) is RoomyLayer and torch.equal(cache.layers[0].keys, start[0, [1, 1, 0, 2]])


@pytest.mark.parametrize(
    ("keys", "values"),
    [(torch.zeros(2, 2, 3, 4), torch.zeros(2, 2, 3, 6)), (torch.zeros(2, 2, 3, 4).bfloat16(), torch.zeros(2, 2, 3, 4))],
)
def test_other_layers_stay(keys, values):
    cache = DynamicCache()
    cache.update(keys, values, 0)
    cache.layers.append(DynamicLayer())  # one that is not used
    roomy(cache, torch.tensor([1]))
    assert [type(layer) for layer in cache.layers] == [DynamicLayer] * 2 and len(cache.layers[0].keys) == 1


def test_what_would_leave_the_room_behind_is_refused():
    layer = RoomyLayer(*pieces(5))
    for change in (lambda: layer.crop(-2), layer.reset, lambda: layer.reorder_cache(torch.tensor([0]))):
        with pytest.raises(NotImplementedError):
            change()

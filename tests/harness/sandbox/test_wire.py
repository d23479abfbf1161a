from collections import Counter, OrderedDict, defaultdict, namedtuple

import pytest
from hypothesis import given
from hypothesis import strategies as st

from harness.sandbox.inside.wire import MAX_DEPTH, Malformed, Reference, decode, encode

PLAIN = (
    type(None),
    bool,
    int,
    float,
    complex,
    str,
    bytes,
    bytearray,
    list,
    tuple,
    dict,
    set,
    frozenset,
    range,
)

leaves = (
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats(allow_nan=False)
    | st.complex_numbers(allow_nan=False)
    | st.text()
    | st.binary()
)
hashable = st.recursive(leaves, lambda x: st.tuples(x, x) | st.frozensets(x, max_size=3), max_leaves=6)
values = st.recursive(
    hashable | st.sets(hashable, max_size=3),
    lambda x: st.lists(x, max_size=3) | st.tuples(x, x) | st.dictionaries(hashable, x, max_size=3),
    max_leaves=12,
)


def same(one, other) -> bool:
    """Equal, and of the same exact types all the way down; sets are compared as they are."""
    if type(one) is not type(other) or one != other:
        return False
    if isinstance(one, dict):
        one, other = list(one.items()), list(other.items())
    return not isinstance(one, list | tuple) or all(map(same, one, other))


@given(values)
def test_values_arrive_as_they_were(value):
    assert same(decode(encode(value)), value)


@pytest.mark.parametrize("value", [0, -1, 127, 128, -128, -129, 10**100, -(2**64), range(3, -5, -2), bytearray(b"x"),
                                   "\ud800", float("inf"), int, str, type(None), range, object])  # fmt: skip
def test_edges(value):
    assert same(decode(encode(value)), value)


@pytest.mark.parametrize(
    ("value", "plain"),
    [
        (Counter("aab"), {"a": 2, "b": 1}),
        (OrderedDict(a=1), {"a": 1}),
        (defaultdict(list, a=[1]), {"a": [1]}),
        (namedtuple("P", "x y")(1, 2), (1, 2)),
        (type("Text", (str,), {"__eq__": lambda self, other: True, "__hash__": str.__hash__})("a"), "a"),
        (type("Number", (int,), {"__index__": lambda self: 7})(3), 3),
        (type("List", (list,), {"__iter__": lambda self: iter([9])})([1]), [1]),
    ],
)
def test_instances_of_subclasses_arrive_as_their_base(value, plain):
    assert same(decode(encode(value)), plain)


@given(st.binary(max_size=60))
def test_any_bytes_are_a_plain_value_or_malformed(data):
    try:
        value = decode(data)
    except Malformed:
        return
    assert type(value) in (*PLAIN, type, Reference)


@given(values, st.data())
def test_damaged_bytes_are_a_plain_value_or_malformed(value, data):
    sent = bytearray(encode(value))
    sent[data.draw(st.integers(0, len(sent) - 1))] = data.draw(st.integers(0, 255))
    test_any_bytes_are_a_plain_value_or_malformed.hypothesis.inner_test(bytes(sent))


@pytest.mark.parametrize(
    "data",
    [b"", b"N ", b"?", b"i\xff\xff\xff\xff", b"l\xff\xff\xff\xff", b"l\1\0\0\0", b"S\1\0\0\0l\0\0\0\0",
     b"m\1\0\0\0l\0\0\0\0N", b"rNNN", b"r" + 2 * encode(1) + encode(0), b"k\xff", b"s\1\0\0\0\xff",
     b"l\1\0\0\0" * (MAX_DEPTH + 1) + b"N"],
)  # fmt: skip
def test_malformed(data):
    with pytest.raises(Malformed):
        decode(data)


def test_what_is_no_data_becomes_a_reference_or_is_refused():
    thing = object()
    received = decode(encode([1, thing], lambda value: Reference(5) if value is thing else None))
    assert received[0] == 1 and type(received[1]) is Reference and received[1].number == 5
    assert decode(encode([1, thing], lambda _: Reference(5)), lambda number: number + 1) == [1, 6]
    for value in (thing, [lambda: 0], {1: type("int", (), {})}):
        with pytest.raises(Malformed, match="not plain data"):
            encode(value)


def test_nesting_has_an_end():
    deep = []
    for _ in range(MAX_DEPTH - 2):
        deep = [deep]
    assert decode(encode(deep)) == deep
    with pytest.raises(Malformed, match="deeper"):
        encode([[deep]])

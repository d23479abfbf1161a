"""Plain data over a pipe: the only thing that passes between a program and its judge.

Covered, by exact type: None, bool, int, float, complex, str, bytes, bytearray, list, tuple, dict, set,
frozenset, range, these classes themselves, and a *reference*, a number that stands for an object which
stays with its owner.
`encode` takes an instance of a subclass (a Counter, a namedtuple, an IntEnum) as its base type.
`decode` makes exact builtin types from any bytes, or raises `Malformed`: no class of the sender's, no
code of the sender's, no more memory than a small multiple of the bytes received.

Not covered: identity. A list that occurs twice arrives as two lists, and a cyclic one is refused.
"""

from __future__ import annotations

import struct

TYPE_CHECKING = False  # `typing` itself would cost a third of the start-up time
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any

READY = b"ready"  # a process has confined itself
REQUEST, VERDICT = b"Q", b"V"  # first byte of a judge's frame
PASSED, WRONG, RAISED, INVALID = "passed", "wrong", "raised", "invalid"  # first half of a verdict
MAX_DEPTH = 100

_U32 = struct.Struct("<I")
_F64 = struct.Struct("<d")
_C128 = struct.Struct("<dd")
_SEQUENCES = {list: b"l", tuple: b"t", set: b"S", frozenset: b"Z"}
_MAKERS = {tag: kind for kind, tag in _SEQUENCES.items()}
_BYTES = {bytes: b"b", bytearray: b"y"}
_BASES = (bool, int, float, complex, str, bytes, bytearray, list, tuple, dict, set, frozenset)
_CLASSES = (*_BASES, range, type(None), object, type)


class Malformed(ValueError):
    """The bytes are not a value, or the value cannot be sent."""


class Reference:
    """A number that stands for an object of the other side (received) or of this side (to be sent)."""

    __slots__ = ("number",)

    def __init__(self, number: int) -> None:
        self.number = number


def encode(value: Any, refer: Callable[[Any], Reference | None] = lambda _: None) -> bytes:
    """The bytes of `value`; what is not plain data becomes the reference that `refer` gives.

    Raises `Malformed` where `refer` gives None, or for nesting beyond `MAX_DEPTH`.
    """
    out = bytearray()
    _encode(value, out, refer, MAX_DEPTH)
    return bytes(out)


def _encode(value: Any, out: bytearray, refer: Callable[[Any], Reference | None], depth: int) -> None:
    if depth == 0:
        raise Malformed(f"nested deeper than {MAX_DEPTH}")
    kind = type(value)
    if kind not in _BASES:
        kind = next((base for base in _BASES if issubclass(kind, base)), kind)
    if value is None:
        out += b"N"
    elif kind is bool:
        out += b"T" if value else b"F"
    elif kind is int:
        data = int.to_bytes(value, int.bit_length(value) // 8 + 1, "little", signed=True)
        out += b"i" + _U32.pack(len(data)) + data
    elif kind is float:
        out += b"f" + _F64.pack(value)
    elif kind is complex:
        out += b"c" + _C128.pack(value.real, value.imag)
    elif kind is str:
        data = str.encode(value, "utf-8", "surrogatepass")
        out += b"s" + _U32.pack(len(data)) + data
    elif kind in _BYTES:
        out += _BYTES[kind] + _U32.pack(len(value)) + value
    elif kind in _SEQUENCES:
        out += _SEQUENCES[kind] + _U32.pack(kind.__len__(value))
        for item in kind.__iter__(value):
            _encode(item, out, refer, depth - 1)
    elif kind is dict:
        out += b"m" + _U32.pack(dict.__len__(value))
        for key, item in dict.items(value):
            _encode(key, out, refer, depth - 1)
            _encode(item, out, refer, depth - 1)
    elif kind is range:
        out += b"r"
        for item in (value.start, value.stop, value.step):
            _encode(item, out, refer, depth - 1)
    elif kind is type and value in _CLASSES:
        out += b"k" + bytes([_CLASSES.index(value)])
    else:
        reference = value if kind is Reference else refer(value)
        if reference is None:
            raise Malformed(f"{kind.__name__} is not plain data")
        out += b"h" + _U32.pack(reference.number)


def decode(data: bytes, resolve: Callable[[int], Any] = Reference) -> Any:
    """The one value in `data`, its references replaced by `resolve(number)`; `Malformed` if it is not one."""
    try:
        value, end = _decode(data, 0, resolve, MAX_DEPTH)
    except Malformed:
        raise
    except (struct.error, IndexError, TypeError, ValueError, OverflowError) as error:
        raise Malformed(f"not a value: {type(error).__name__}: {error}") from None
    if end != len(data):
        raise Malformed("bytes after the value")
    return value


def _decode(data: bytes, at: int, resolve: Callable[[int], Any], depth: int) -> tuple[Any, int]:
    if depth == 0:
        raise Malformed(f"nested deeper than {MAX_DEPTH}")
    tag, at = data[at : at + 1], at + 1
    if tag in (b"N", b"T", b"F"):
        return {b"N": None, b"T": True, b"F": False}[tag], at
    if tag == b"f":
        return _F64.unpack_from(data, at)[0], at + 8
    if tag == b"c":
        return complex(*_C128.unpack_from(data, at)), at + 16
    if tag == b"r":
        items, at = _items(data, at, 3, resolve, depth)
        return range(*items), at
    if tag == b"k":
        return _CLASSES[data[at]], at + 1
    if tag not in (b"i", b"s", b"b", b"y", b"m", b"h", *_MAKERS):
        raise Malformed(f"no value begins with {tag!r}")
    count, at = _U32.unpack_from(data, at)[0], at + 4
    if tag == b"h":
        return resolve(count), at
    if count > len(data) - at:  # every item takes a byte at least: no memory is set aside on a claim
        raise Malformed("shorter than it says")
    if tag in _MAKERS:
        items, at = _items(data, at, count, resolve, depth)
        return (items if tag == b"l" else _MAKERS[tag](items)), at
    if tag == b"m":
        items, at = _items(data, at, 2 * count, resolve, depth)
        return dict(zip(items[::2], items[1::2], strict=True)), at
    raw, at = data[at : at + count], at + count
    if tag == b"i":
        return int.from_bytes(raw, "little", signed=True), at
    if tag == b"s":
        return raw.decode("utf-8", "surrogatepass"), at
    return (raw if tag == b"b" else bytearray(raw)), at


def _items(data: bytes, at: int, count: int, resolve: Callable[[int], Any], depth: int) -> tuple[list, int]:
    items = []
    for _ in range(count):
        item, at = _decode(data, at, resolve, depth - 1)
        items.append(item)
    return items, at

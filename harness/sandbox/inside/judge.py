"""The judge's process: runs the tests, asks the program's process for values, and gives the verdict.

The program's names are `Remote`s here: calling one sends plain arguments and gets plain data back, which
the test's own assertions then compare with this interpreter's own `==`. An object that is not plain data
is a `Remote` too. It can be called, indexed, iterated, its attributes read and set; it has no truth, no
order, no hash and no equality, because those would be answers of the program to the question of whether
it is right. So a test passes only on values that the program computed without knowing what is expected.
"""

from __future__ import annotations

import builtins

from boot import Channel, boot
from wire import (
    INVALID,
    PASSED,
    RAISED,
    READY,
    REQUEST,
    VERDICT,
    WRONG,
    Malformed,
    Reference,
    decode,
    encode,
)

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator
    from typing import Any

TESTS = "<tests>"
BATCH = 100  # items of an iterator fetched at once
MAX_REASON = 300


class Undecidable(TypeError):
    """The test asks the program whether it is right."""


class Remote:
    """An object that lives in the program's process."""

    __slots__ = ("_asker", "_number")

    def __init__(self, asker: Asker, number: int) -> None:
        object.__setattr__(self, "_asker", asker)
        object.__setattr__(self, "_number", number)

    def __call__(self, *arguments: Any, **keywords: Any) -> Any:
        return self._asker.ask("call", self, list(arguments), keywords)

    def __getattr__(self, name: str) -> Any:
        if name.startswith("__"):
            raise AttributeError(name)
        return self._asker.ask("get", self, name)

    def __setattr__(self, name: str, value: Any) -> None:
        self._asker.ask("set", self, name, value)

    def __getitem__(self, key: Any) -> Any:
        return self._asker.ask("item", self, key)

    def __len__(self) -> int:
        return self._asker.ask("length", self)

    def __iter__(self) -> Iterator[Any]:
        iteration = self._asker.ask("iterate", self)
        while True:
            items = self._asker.ask("next", iteration, BATCH)
            yield from items
            if len(items) < BATCH:
                return

    def __next__(self) -> Any:
        return self._asker.ask("advance", self)

    def __repr__(self) -> str:
        return self._asker.ask("show", self)

    def _undecidable(self, *_: object) -> bool:
        raise Undecidable("the test needs the truth or equality of an object that only the program knows")

    __eq__ = __ne__ = __lt__ = __le__ = __gt__ = __ge__ = __bool__ = __contains__ = _undecidable
    __hash__ = None


class Asker:
    """Questions to the program's process."""

    def __init__(self, channel: Channel) -> None:
        self._channel = channel

    def ask(self, operation: str, *arguments: Any) -> Any:
        request = encode((operation, *arguments), self._refer)
        self._channel.send(REQUEST + request)
        match decode(self._channel.receive(), self._resolve):
            case ("value", value):
                return value
            case ("raised", str(known), str(text)):
                raise exception(known, text)
        raise Malformed("neither a value nor an exception")

    def _resolve(self, number: int) -> Remote:
        return Remote(self, number)

    def _refer(self, value: Any) -> Reference | None:
        return Reference(value._number) if type(value) is Remote else None


def exception(known: str, text: str) -> Exception:
    """A builtin exception with the program's text; one that is no `Exception` becomes a RuntimeError."""
    kind = vars(builtins).get(known)
    if not (isinstance(kind, type) and issubclass(kind, Exception)):
        kind = RuntimeError
    try:
        return kind(text)
    except TypeError:  # UnicodeDecodeError and its like are made of more than a text
        return RuntimeError(text)


def judge(asker: Asker, job: dict[str, Any]) -> tuple[str, str]:
    """Verdict and reason on one job: `program` and its `cpu` seconds, `tests`, `names`, `modules`."""
    tests = job["tests"]
    try:
        code = compile(tests, TESTS, "exec", dont_inherit=True)
        scope = {"__name__": "tests", "__builtins__": builtins}
        scope.update((name, __import__(name)) for name in job["modules"])
    except Exception as error:
        return INVALID, describe(error, tests)
    try:
        asker.ask("load", job["program"], job["cpu"])
        known = asker.ask("names", job["names"])
        scope.update((name, known[name]) for name in job["names"] if name in known)
        exec(code, scope)
    except AssertionError as error:
        return WRONG, describe(error, tests)
    except ImportError as error:
        return (INVALID if own(error) else RAISED), describe(error, tests)
    except BaseException as error:  # SystemExit too: tests that stop half-way have not passed
        return RAISED, describe(error, tests)
    return PASSED, ""


def own(error: BaseException) -> bool:
    """Whether the tests' own text raised it, not something they called."""
    trace = error.__traceback__
    while trace.tb_next is not None:
        trace = trace.tb_next
    return trace.tb_frame.f_code.co_filename == TESTS


def describe(error: BaseException, tests: str) -> str:
    """An exception in one short line, with the test's own line where it came up."""
    where, trace = "", error.__traceback__
    while trace is not None:
        if trace.tb_frame.f_code.co_filename == TESTS:
            where = f" at `{tests.splitlines()[trace.tb_lineno - 1].strip()}`"
        trace = trace.tb_next
    try:
        text = f"{type(error).__name__}: {error}"
    except Exception:  # its own text may raise: an exception class of the tests, or a text that is the program's
        text = type(error).__name__
    return ascii(text)[1:-1][:MAX_REASON] + ascii(where)[1:-1][:MAX_REASON]


def main() -> None:
    channel = boot()
    asker = Asker(channel)
    channel.send(READY)
    channel.send(VERDICT + encode(judge(asker, decode(channel.receive()))))

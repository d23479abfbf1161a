"""The untrusted process: holds the program and answers questions about it. Nothing it says is believed.

It knows no test and no expected result. Its answers are plain data; an object that is not plain data
stays here and is named by a number. Everything below may be rewritten by the program: that changes what
this process claims, and nothing else.
"""

from __future__ import annotations

import builtins
import sys

from boot import allow_cpu, boot
from wire import READY, Reference, decode, encode

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

MAX_MESSAGE = 300


class Program:
    """The program's module and the objects of it that the judge holds references to."""

    def __init__(self) -> None:
        self.module = type(sys)("solution")
        sys.modules["solution"] = self.module  # dataclasses, enums and pickles look their module up
        self.objects: list[Any] = []

    def answer(self, request: bytes) -> bytes:
        """The frame that answers one request; any exception of the program's becomes part of the answer."""
        try:
            operation, *arguments = decode(request, self.objects.__getitem__)
            result = getattr(self, "do_" + operation)(*arguments)
            return encode(("value", result), self.refer)
        except BaseException as error:  # SystemExit too: leaving is not an answer
            return encode(("raised", *describe(error)))

    def refer(self, value: Any) -> Reference:
        self.objects.append(value)
        return Reference(len(self.objects) - 1)

    def do_load(self, source: str, seconds: float | None) -> None:
        if seconds is not None:
            allow_cpu(seconds, total=True)
        exec(compile(source, "program.py", "exec", dont_inherit=True), self.module.__dict__)

    def do_names(self, names: list[str]) -> dict[str, Any]:
        return {name: self.module.__dict__[name] for name in names if name in self.module.__dict__}

    def do_call(self, function: Any, arguments: list, keywords: dict[str, Any]) -> Any:
        return function(*arguments, **keywords)

    def do_get(self, owner: Any, name: str) -> Any:
        return getattr(owner, name)

    def do_set(self, owner: Any, name: str, value: Any) -> None:
        setattr(owner, name, value)

    def do_iterate(self, owner: Any) -> Any:
        return Iteration(iter(owner))

    def do_next(self, iteration: Any, count: int) -> list:
        items = []
        for item in iteration.items:
            items.append(item)
            if len(items) == count:
                break
        return items

    def do_advance(self, owner: Any) -> Any:
        return next(owner)

    def do_item(self, owner: Any, key: Any) -> Any:
        return owner[key]

    def do_show(self, owner: Any) -> str:
        return str(owner)

    def do_length(self, owner: Any) -> int:
        return len(owner)


class Iteration:
    """An iterator in a wrapping, so that it goes out as a reference whatever its type."""

    def __init__(self, items: Any) -> None:
        self.items = items


def describe(error: BaseException) -> tuple[str, str]:
    """The nearest builtin class of an exception, and its own name and text."""
    known = next(kind.__name__ for kind in type(error).__mro__ if vars(builtins).get(kind.__name__) is kind)
    text = "" if isinstance(error, MemoryError | RecursionError) else str(error)[:MAX_MESSAGE]
    return known, f"{type(error).__name__}: {text}"


def main() -> None:
    channel = boot()
    program = Program()
    builtins.exit = builtins.quit = sys.exit  # as where `site` is loaded; many programs end by them
    channel.send(READY)
    while True:
        channel.send(program.answer(channel.receive()))

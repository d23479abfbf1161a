"""LiveCodeBench's rows as problems, with all their tests: the public ones first, then the hidden ones.

Schema: `livecodebench/code_generation_lite` and `livecodebench/code_generation`, as their own reader has it
(`lcb_runner/benchmarks/code_generation.py`, commit 9af8fc8). Hidden tests come as JSON text or, in the first
of the two, as base64 of a zlib stream of a *pickled* text. A pickle can name any function to be called, so
it is read here by an `Unpickler` that refuses every name: a text needs none.
"""

from __future__ import annotations

import base64
import binascii
import io
import json
import keyword
import pickle
import zlib
from collections.abc import Mapping
from typing import Any

from harness.suites.problem import Problem

MAX_BYTES = 1 << 28  # of a row's hidden tests, decompressed

# LiveCodeBench runs every program after these imports; starter code names `List` without importing it.
MODULES = [
    "string", "re", "datetime", "collections", "heapq", "bisect", "copy", "math", "random", "statistics", "itertools",
    "functools", "operator", "io", "sys", "json",
]  # fmt: skip
PREFIX = (
    "".join(f"from {module} import *\n" for module in [*MODULES, "builtins", "typing"])
    + "".join(f"import {module}\n" for module in MODULES)
    + "sys.setrecursionlimit(50000)\n"
)


def livecodebench(row: Mapping[str, Any], template: str, domain: str = "code") -> Problem:
    """The problem in `row`, its question put into `template` in the place of `{question}`.

    Starter code, where there is some, is part of the question. Raises KeyError for a field that is missing,
    ValueError for tests that cannot be read, that there are none of, or that are of two kinds.
    """
    name = f"LiveCodeBench {row['question_id']}"
    tests = [
        *_listed(row["public_test_cases"], f"{name}, public_test_cases"),
        *_listed(hidden(row["private_test_cases"], name), f"{name}, private_test_cases"),
    ]
    kinds = {test["testtype"] for test in tests}
    if len(kinds) != 1 or not kinds <= {"stdin", "functional"}:
        raise ValueError(f"{name}: tests of one kind are needed, stdin or functional, not {sorted(kinds)}")
    function = None
    if kinds == {"functional"}:
        function = json.loads(row["metadata"])["func_name"]
        if not function.isidentifier() or keyword.iskeyword(function):
            raise ValueError(f"{name}: its metadata name no function: {function!r}")
    question = row["question_content"].strip()
    if row["starter_code"].strip():
        question += f"\n\n```python\n{row['starter_code'].rstrip()}\n```"
    return Problem(
        prompt=template.replace("{question}", question),
        domain=domain,
        data={
            "cases": [{"input": test["input"], "output": test["output"]} for test in tests],
            "function": function,
            "prefix": PREFIX,
        },
        question=question,
    )


def hidden(text: str, name: str) -> str:
    """The JSON text of hidden tests, in whichever of the two encodings; ValueError if in neither."""
    if text.lstrip()[:1] in ("[", "{"):  # neither begins base64
        return text
    try:
        packed = base64.b64decode(text, validate=True)
        unpacked = _decompressed(packed)
        value = PlainUnpickler(io.BytesIO(unpacked)).load()
    except (binascii.Error, zlib.error, pickle.UnpicklingError, EOFError, ValueError, IndexError) as error:
        raise ValueError(f"{name}: private_test_cases cannot be read: {error}") from error
    if not isinstance(value, str):
        raise ValueError(f"{name}: private_test_cases hold a pickled {type(value).__name__}, not a text")
    return value


class PlainUnpickler(pickle.Unpickler):
    """Reads what is made of builtin data; a pickle that names a class or function, which it could call, is refused."""

    def find_class(self, module: str, name: str) -> Any:
        raise pickle.UnpicklingError(f"the pickle names {module}.{name}: refused, a text needs no such thing")

    def persistent_load(self, pid: Any) -> Any:
        raise pickle.UnpicklingError("the pickle names an object outside: refused")


def _decompressed(packed: bytes) -> bytes:
    """At most `MAX_BYTES`: a small stream can hold a terabyte of zeros."""
    stream = zlib.decompressobj()
    data = stream.decompress(packed, MAX_BYTES)
    if stream.unconsumed_tail:
        raise ValueError(f"more than {MAX_BYTES} bytes when decompressed")
    if not stream.eof:
        raise ValueError("the compressed stream breaks off")
    return data


def _listed(text: str, name: str) -> list[dict[str, str]]:
    try:
        tests = json.loads(text)
    except ValueError as error:
        raise ValueError(f"{name}: not JSON: {error}") from error
    for test in tests:
        if not all(isinstance(test[field], str) for field in ("input", "output", "testtype")):
            raise ValueError(f"{name}: a test's input, output and testtype are texts, not {test!r:.100}")
    return tests

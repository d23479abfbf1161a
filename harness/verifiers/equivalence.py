r"""Whether two LaTeX expressions are equal, asked of math-verify; run as a process of its own.

The process reads one JSON list `[reference, answer]` a line and writes one word a line. It imports
nothing of the harness, so it starts in about a second and holds little memory. Two limits are set on
it: address space, and processor seconds for each question, after which the kernel ends the process
even inside a long multiplication of integers, and also when its parent is gone.

On top of math-verify (version 0.9):
- two decimals below 1e-6 are all equal to it, since it rounds to six places: a relative test is added;
- a base is dropped by it: 52 in base 8 and 52 in base 7 differ here (a missing base is accepted);
- an expression that amounts to a single symbol is not taken for it: 2x-x is x here;
- units are left to the caller, as it takes the t of 2t for one.
"""

from __future__ import annotations

import json
import logging
import re
import resource
import signal
import sys
from functools import lru_cache
from typing import Any

RELATIVE = 1e-5  # of two numbers that math-verify calls equal after rounding
_BASE = re.compile(r"\d_\{?(\d+)\}?$")
_CONFIG: list[Any] = []


def parsed(text: str) -> Any:
    """The SymPy expression of a LaTeX formula, None where it cannot be read."""
    from math_verify import LatexExtractionConfig, LatexNormalizationConfig, parse

    if not _CONFIG:
        normalization = LatexNormalizationConfig(
            basic_latex=True, units=False, malformed_operators=True, nits=True, boxed="none", equations=False
        )
        _CONFIG.append(LatexExtractionConfig(boxed_match_priority=-1, normalization_config=normalization))
    # `$` would end the formula early and let the rest go unread.
    found = parse(
        f"${text.replace('$', '')}$", list(_CONFIG), fallback_mode="no_fallback", parsing_timeout=None
    )
    return found[0] if found else None


cached = lru_cache(maxsize=256)(parsed)


def compare(reference: str, answer: str) -> str:
    """`right`, `wrong`, `answer` (the answer cannot be read) or `reference` (the reference cannot)."""
    from math_verify import verify

    try:
        gold = cached(reference)
    except RecursionError:
        gold = None
    if gold is None:
        return "reference"
    try:
        given = parsed(answer)
    except RecursionError:
        given = None
    if given is None:
        return "answer"
    bases = [_BASE.search(text.strip()) for text in (reference, answer)]
    if all(bases) and bases[0][1] != bases[1][1]:
        return "wrong"
    try:
        if _far_apart(gold, given):
            return "wrong"
        equal = verify(gold, given, allow_set_relation_comp=True, timeout_seconds=None)
        equal = equal or _same_symbol(gold, given)
    except RecursionError:
        return "answer"
    return "right" if equal and _close(gold, given) else "wrong"


def _far_apart(gold: Any, given: Any) -> bool:
    """Whether two constants plainly differ; spares the search for a symbolic proof that they do not."""
    from sympy import Expr

    if not all(isinstance(e, Expr) and not e.free_symbols and e.is_number for e in (gold, given)):
        return False
    values = [e.evalf() for e in (gold, given)]
    if not all(value.is_number and value.is_finite for value in values):
        return False
    return bool(abs(values[0] - values[1]) > 1e-3 * max(map(abs, values)))


def _same_symbol(gold: Any, given: Any) -> bool:
    """Whether an expression amounts to the one symbol that the reference is."""
    from sympy import Expr, Symbol, simplify

    alone = isinstance(gold, Symbol) and isinstance(given, Expr) and given.free_symbols == {gold}
    return alone and simplify(given - gold) == 0


def _close(gold: Any, given: Any) -> bool:
    """Whether two numbers agree relative to their size too; true of everything else."""
    if not (getattr(gold, "is_number", False) and getattr(given, "is_number", False)):
        return True
    difference = abs((gold - given).evalf())
    return bool(difference <= RELATIVE * max(abs(gold.evalf()), abs(given.evalf())))


def main(memory_mb: int, seconds: float) -> None:
    """Answer questions until the input ends."""
    logging.disable(logging.CRITICAL)  # math-verify warns of every formula that it cannot read
    replies, sys.stdout = sys.stdout, sys.stderr  # whatever is printed below must not be taken for a reply
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    resource.setrlimit(resource.RLIMIT_AS, (memory_mb * 2**20,) * 2)
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # the parent decides when to stop
    signal.signal(signal.SIGPROF, signal.SIG_DFL)
    compare(r"\frac{1}{2}x", r"\frac{2}{4}x")  # imports, and the tables that the parser builds on first use
    print("ready", file=replies, flush=True)
    for line in sys.stdin:
        signal.setitimer(signal.ITIMER_PROF, seconds)
        try:
            word = compare(*json.loads(line))
        except MemoryError:
            word = "memory"
        except Exception as error:
            word = f"{type(error).__name__}: {error}".replace("\n", " ")[:200]
        signal.setitimer(signal.ITIMER_PROF, 0)
        print(word, file=replies, flush=True)
        if word == "memory":
            break  # what is left of the heap is not to be trusted with the next question


if __name__ == "__main__":
    main(int(sys.argv[1]), float(sys.argv[2]))

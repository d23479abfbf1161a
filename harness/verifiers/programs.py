"""The program in a completion: which of its text is code, and how code and a problem's prompt make one program.

Nothing of a completion is parsed as Python here: the parser can crash on it, and with it the harness.
"""

from __future__ import annotations

import ast
import re
from collections.abc import Sequence

from harness.verifiers.answers import after_thinking

PYTHON = ("python", "python3", "py")
FENCE = re.compile(r"([ \t]*)(`{3,}|~{3,})[ \t]*([\w+-]*)[^`]*")
# A function or class of a name, at the outermost level.
DEFINITION = r"^(?:(?:async[ \t]+)?def|class)[ \t]+{0}\b|^{0}[ \t]*="
FUTURE = re.compile(r"^from __future__ import .*\n?", re.MULTILINE)
# Where a base model that goes on after a function's body is stopped: the stop sequences of arXiv 2107.03374.
AFTER_BODY = re.compile(r"\n(?:class|def|#|if|print)")


def extract(completion: str, names: Sequence[str] = ()) -> str:
    """The code of a completion: of what comes after its thoughts (`answers.after_thinking`) the last fenced block.

    Blocks of ```python go before blocks without a language, and those of other languages do not count; one
    that is not closed ends with the text. Of several the last that defines one of `names` goes before those that
    only use them. Without a block all of the text is code.
    """
    text = after_thinking(completion) or ""
    blocks: dict[bool, list[list[str]]] = {True: [], False: []}  # by whether a block names its language
    fence, lines = None, []
    for line in text.split("\n"):
        found = FENCE.fullmatch(line)
        if fence is None:
            if found:
                fence, lines = found, []
                if found[3].lower() in ("", *PYTHON):
                    blocks[bool(found[3])].append(lines)
        elif found and found[2].startswith(fence[2]) and not found[3]:
            fence = None
        else:
            lines.append(line.removeprefix(fence[1]))
    found = ["\n".join(block) for block in blocks[True] or blocks[False]]
    definitions = [re.compile(DEFINITION.format(re.escape(name)), re.MULTILINE) for name in names]
    defining = [block for block in found if any(d.search(block) for d in definitions)]
    return (defining or found or [text])[-1]


def unfinished(prefix: str, name: str | None = None) -> tuple[str, str | None]:
    """What comes before the function without a body that `prefix` ends in, and its name; None if there is none.

    A body of a docstring or of comments is no body; that of the function `name` is none whatever is in it.
    """
    try:
        last = ast.parse(f"{prefix.rstrip()}\n    pass\n").body[-1]
    except SyntaxError:  # as after a line that opens no block
        return prefix, None
    if not isinstance(last, ast.FunctionDef | ast.AsyncFunctionDef):
        return prefix, None
    body = last.body[ast.get_docstring(last) is not None : -1]
    if body and last.name != name:
        return prefix, None
    return "".join(prefix.splitlines(keepends=True)[: last.lineno - 1]), last.name


def ahead(prefix: str, code: str) -> str:
    """`code` after `prefix`; a `from __future__ import` goes before both, where alone it may stand."""
    future = "".join(map(line_end, FUTURE.findall(code)))
    return line_end(future) + line_end(prefix) + FUTURE.sub("", code)


def indented(code: str) -> bool:
    """Whether the first line that is not blank is."""
    return code.lstrip("\n")[:1] in (" ", "\t") and bool(code.strip())


def line_end(text: str) -> str:
    return text if not text or text.endswith("\n") else text + "\n"

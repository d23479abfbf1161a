"""Where this interpreter lies, so that a backend can show it, and little else, to the code inside."""

from __future__ import annotations

import os
import sys
from pathlib import Path

INSIDE = Path(__file__).resolve().parent / "inside"


def executable() -> Path:
    """The interpreter's own file, behind virtual environments and links."""
    return Path(getattr(sys, "_base_executable", sys.executable)).resolve()


def libraries() -> list[Path]:
    """The interpreter's folders of libraries, its standard library among them."""
    folders = {Path(sys.base_prefix) / "lib", Path(os.__file__).parent.parent}
    folders |= {Path(entry).parent.parent for entry in sys.path if Path(entry).name == "lib-dynload"}
    return sorted({folder.resolve() for folder in folders if folder.is_dir()})


def closed_to_others() -> str | None:
    """Why an unprivileged user could not run the interpreter, or None if one could."""
    for path in (executable(), *libraries(), INSIDE):
        for part in (path, *path.parents):
            if not part.stat().st_mode & 0o001:
                return f"as root it gives its user id up, and {part} is closed to other users"
    return None


def start(main: str, arguments: list[str]) -> list[str]:
    """Arguments for the interpreter that run `inside`'s module `main`.

    Without `site`, so no third-party package and no user's hook; -E is left out for the hash seed's sake.
    """
    return ["-s", "-S", "-P", "-B", "-c", f"import {main}; {main}.main()", *arguments]


def environment(inside: str | os.PathLike = INSIDE) -> dict[str, str]:
    """The whole environment: the order of sets is fixed, so that a verdict can be repeated."""
    return {"PYTHONHASHSEED": "0", "PYTHONPATH": str(inside), "LC_CTYPE": "C.UTF-8"}

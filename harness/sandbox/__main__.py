"""python -m harness.sandbox: which sandbox runs get here, which others there are, and what each covers."""

from __future__ import annotations

import sys
from textwrap import indent

from harness.sandbox import bubblewrap, sandlock, unsafe
from harness.sandbox.choose import ADVICE, AUTO, survey
from harness.sandbox.limits import Limits, SandboxError

MODULES = {"bubblewrap": bubblewrap, "sandlock": sandlock, "unsafe": unsafe}


def main() -> int:
    chosen, explained = None, set()
    for name in (AUTO, "unsafe"):
        for backend, outcome in survey(name, Limits(), workers=1):
            works = not isinstance(outcome, SandboxError)
            if works:
                outcome.close()
                chosen = chosen or (backend if name == AUTO else None)
            print(f"{backend.name} ({backend.way}): {'works' if works else outcome}")
            if works and backend.name not in explained:
                explained.add(backend.name)
                print("\n" + indent(MODULES[backend.name].__doc__, "    "))
    if chosen is None:
        print(f"No sandbox for untrusted code works here. {ADVICE}")
        return 1
    print(f"Runs that ask for none by name get: {chosen.name} ({chosen.way})")
    return 0


if __name__ == "__main__":
    sys.exit(main())

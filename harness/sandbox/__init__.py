"""Running untrusted programs: does this program pass these tests?

    with open_sandbox() as sandbox:
        sandbox.run_tests("def double(x): return 2 * x", "assert double(4) == 8")   # Outcome(passed=True, …)

**The verdict.** A program cannot print, write or patch its way to a pass. It runs in one process, the tests
in another (the judge), each in a sandbox of its own; they share no memory, no file, no pipe. The program's
process answers calls, arguments and results passing as plain data, decoded into exact builtin types; it
knows no test and no expected result, and holds no channel that a verdict could come through. A pass means:
the tests ran to their end in an interpreter that the program never touched, on values that it computed
from the arguments alone. What that leaves to the program is what the tests leave to it: one that asserts
nothing about a value, or compares two values of the program's, can be satisfied by a program that knows
this in advance. An object that is not plain data stays in the program's process; asking whether it is true,
or equal to something, is refused, because the answer would be the program's own.

**The walls.** No network, no files but a scratch directory, no other processes, one process without threads,
limits on CPU, memory, files, messages and wall-clock time, an empty environment, everything discarded
after one run. How each backend does it, and what it does not cover, is said in its module:

    bubblewrap   namespaces, a filter of system calls, another user id        harness.sandbox.bubblewrap
    sandlock     Landlock and filters of system calls                         harness.sandbox.sandlock
    unsafe       limits only; must be asked for by its name                   harness.sandbox.unsafe

`python -m harness.sandbox` tries them and says which one is chosen.

**Not covered**, whatever the backend: what the tests do (they come with the data set and are trusted, if
confined); programs that need a package outside the standard library, a thread (but see
`inside/runs.py`) or a child process; tests
that look at an argument after the call (it is a copy), at identity, at what a subclass of `list` or another
builtin type adds to it (it arrives as its base), or that hand over a function of their own; side channels
in time. What counts as the program's failing and what as an error of the sandbox: a program
that does not start, answer, or end in time has failed; a sandbox that does not start, tests that are no
Python or import what is not there are a SandboxError.
"""

from harness.sandbox.choose import AUTO, open_sandbox
from harness.sandbox.limits import Limits, Outcome, SandboxError
from harness.sandbox.names import defined_names
from harness.sandbox.pool import Sandbox, Task

__all__ = ["AUTO", "Limits", "Outcome", "Sandbox", "SandboxError", "Task", "defined_names", "open_sandbox"]

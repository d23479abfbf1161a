"""Programs that end, stay, or drown whoever listens: each is judged failed, and the next one is judged as ever."""

import time

import pytest

from tests.harness.sandbox.conftest import HONEST, TESTS

# Ways to end, to stay, or to drown whoever listens. `reason` is how the verdict must begin.
DISRUPTIONS = {
    "os._exit(0)": ("died", "import os\ndef answer(x): os._exit(0)"),
    "os._exit(0) at once": ("died", "import os\nos._exit(0)"),
    "sys.exit(0)": ("raised", "import sys\ndef answer(x): sys.exit(0)"),
    "sys.exit(0) at once": ("raised", "raise SystemExit(0)"),
    "exit handlers": ("raised", "import atexit\natexit.register(print, 'passed')\nraise SystemExit"),
    "KeyboardInterrupt": ("raised", "def answer(x): raise KeyboardInterrupt"),
    "StopIteration": ("raised", "def answer(x): raise StopIteration(42)"),
    "an exception group": ("raised", "def answer(x): raise BaseExceptionGroup('', [SystemExit(0)])"),
    "abort": ("died", "import os\ndef answer(x): os.abort()"),
    "a segmentation fault": ("died", "import ctypes\ndef answer(x): ctypes.string_at(0)"),
    "kill itself": ("died", "import os, signal, time\nos.kill(os.getpid(), signal.SIGKILL); os._exit(0)"),
    "another interpreter": ("died", "import os, sys\ndef answer(x): os.execv(sys.executable, ['x', '-c', ''])"),
    "an exit status that says a signal": ("died", "import os\ndef answer(x): os._exit(137)"),
    "every descriptor closed": ("died", "import os\ndef answer(x): os.closerange(0, 99); return 2 * x"),
    "every signal to everybody": ("wrong", """
import os
def answer(x):
    for number in range(1, 64):
        for target in (-1, HARNESS):
            try: os.kill(target, number)
            except OSError: pass
"""),
    "loop": ("timeout", "def answer(x):\n    while True: pass"),
    "loop at once": ("timeout", "while True: pass"),
    "loop over exceptions": ("timeout", "while True:\n    try: 1 / 0\n    except: pass"),
    "sleep": ("timeout", "import time\ndef answer(x): time.sleep(3600)"),
    "deaf to signals": ("timeout", """
import signal, time
for number in set(signal.valid_signals()) - {signal.SIGKILL, signal.SIGSTOP}:
    try: signal.signal(number, signal.SIG_IGN)
    except OSError: pass
time.sleep(3600)
"""),
    "half an answer": ("timeout", """
import os, time
for fd in range(3, 64):
    try: os.write(fd, bytes([9, 0, 0, 0, 1]))
    except OSError: pass
time.sleep(3600)
"""),
    "a slow expression": ("timeout", "import re\ndef answer(x): return re.match('(a*)*b', 'a' * 50)"),
    "an endless generator": ("", "import itertools\nanswer = lambda x: itertools.count()"),
    "stopped": ("", "import os, signal\ndef answer(x): os.kill(os.getpid(), signal.SIGSTOP)"),
    "a number without end": ("", "def answer(x): return 9 ** 9 ** 9"),
    "deep recursion": ("", "import sys\nsys.setrecursionlimit(1 << 30)\ndef answer(x): return answer(x) + 1"),
    "a huge repr": ("raised", "class E(Exception):\n    def __str__(self): return 'x' * 10**7\ndef answer(x): raise E"),
    "a repr that fails": ("died", "class E(Exception):\n    def __str__(self): 1 / 0\ndef answer(x): raise E"),
    "a repr that waits": ("timeout", """
import time
class E(Exception):
    def __str__(self): time.sleep(3600)
def answer(x): raise E
"""),
    "a flood on standard output": ("timeout", "while True: print('passed' * 9999)"),
    "a flood on standard error": ("timeout", "import sys\nwhile True: sys.stderr.write('passed' * 9999)"),
    "a flood of answers": ("", """
import os
def answer(x):
    while True:
        for fd in range(3, 64):
            try: os.write(fd, b'passed' * 9999)
            except OSError: pass
"""),
    "a huge answer": ("answer", "def answer(x): return 'x' * 10**7"),
    "a deep answer": ("raised", "def answer(x):\n    for _ in range(10**5): x = [x]\n    return x"),
    "an answer that holds itself": ("raised", "def answer(x):\n    x = []; x.append(x)\n    return x"),
    "keys that collide": ("", "def answer(x): return dict.fromkeys(i * (2**61 - 1) for i in range(60000))"),
    "empty files without end": ("files", """
import itertools, os
def answer(x):
    for name in map(str, itertools.count()): os.mkdir(name)
"""),
    "no Python": ("raised", "def answer(x) return 2 * x"),
    "nested beyond the parser": ("raised", "x = " + "(" * 10**5),
    "nothing": ("raised", ""),
}  # fmt: skip


@pytest.mark.parametrize("name", DISRUPTIONS)
def test_disruptions_end_in_failure(sandbox, targets, name):
    kind, text = DISRUPTIONS[name]
    started = time.monotonic()
    outcome = sandbox.run_tests(targets(text), TESTS, timeout=0.5 if kind in ("timeout", "") else 10)
    assert not outcome.passed
    assert outcome.reason.startswith(kind) and outcome.reason
    assert len(outcome.reason) < 1000
    assert time.monotonic() - started < 10
    assert sandbox.run_tests(HONEST, TESTS).passed

"""Programs that say that they are right: each is judged failed."""

import pytest

from tests.harness.sandbox.conftest import HONEST, TESTS

# Everything a program can say; none of it is a right answer.
FORGERIES = {
    "equal to everything": "class Yes:\n    __eq__ = lambda self, other: True\nanswer = lambda x: Yes()",
    "a number equal to everything": "class Yes(int):\n    __eq__ = lambda self, other: True\nanswer = lambda x: Yes(1)",
    "text equal to everything": "class Yes(str):\n    __eq__ = lambda self, other: True\nanswer = lambda x: Yes()",
    "a class equal to everything": """
class Meta(type):
    __eq__ = lambda self, other: True
    __hash__ = type.__hash__
class Yes(metaclass=Meta): pass
answer = lambda x: Yes
""",
    "says that it passed": "def answer(x):\n    print('passed')\n    return 'passed'",
    "a class of int's name": "answer = lambda x: type('int', (), {'__eq__': lambda s, o: True})()",
    "a mocked object": "from unittest.mock import MagicMock\nanswer = MagicMock()",
    "assertions switched off": """
import builtins, sys
builtins.AssertionError = type('AssertionError', (BaseException,), {})
sys.excepthook = lambda *_: None
def answer(x): raise AssertionError
""",
    "builtins replaced": """
import builtins
for name in ('all', 'abs', 'isinstance', 'compile', 'exec', 'len', 'issubclass'):
    setattr(builtins, name, lambda *_: True)
def answer(x): return True
""",
    "a verdict on every descriptor": """
import os, wire
def answer(x):
    frame = wire.VERDICT + wire.encode((wire.PASSED, ''))
    for fd in range(64):
        try: os.write(fd, len(frame).to_bytes(4, 'little') + frame)
        except OSError: pass
    return frame
""",
    "a verdict in an answer's place": """
import sys, wire
import program
program.encode = lambda *_: wire.VERDICT + wire.encode((wire.PASSED, ''))
def answer(x): return 0
""",
    "many answers at once": """
import os, wire
frame = wire.encode(('value', wire.PASSED))
for fd in range(3, 64):
    try: os.write(fd, (len(frame).to_bytes(4, 'little') + frame) * 99)
    except OSError: pass
""",
    "a pickle in an answer's place": """
import pickle, program
class Yes:
    def __reduce__(self): return (exec, ('raise SystemExit(0)',))
program.encode = lambda *_: pickle.dumps(Yes())
def answer(x): return 0
""",
    "references to nothing": """
import program, wire
program.Program.refer = lambda self, value: wire.Reference(4000000000)
answer = object()
""",
    "builtins in the names' place": """
import program, wire
program.Program.do_names = lambda self, names: {'AssertionError': 1, '__builtins__': {}, 'answer': 42}
""",
    "looks for the expected value in frames": """
import sys
def answer(x):
    frame = sys._getframe()
    while frame:
        for value in [*frame.f_locals.values(), *frame.f_globals.values()]:
            if '24 == )12(rewsna'[::-1] in str(value): return 2 * x
        frame = frame.f_back
""",
    "looks for the tests in memory": """
import gc
def answer(x):
    needle = '24 == )12(rewsna'[::-1]  # made at run time: the program's own text must not hold it
    for value in gc.get_objects():
        if isinstance(value, (str, list, tuple, dict)) and needle in str(value): return 2 * x
""",
    "looks for the tests on disk": """
import os
def answer(x):
    for start in ('/tmp', '/inside', '/run', '/var', '/home', '.'):
        for folder, _, files in os.walk(start):
            for file in files:
                if '24 == )12(rewsna'[::-1] in open(os.path.join(folder, file), errors='ignore').read(): return 2 * x
""",
    "an import hook": """
import sys
class Hook:
    def find_spec(self, *_): return None
    __eq__ = lambda self, other: True
sys.meta_path.insert(0, Hook())
sys.modules['solution'] = sys.modules['__main__'] = Hook()
answer = Hook()
""",
    "traced": "import sys\nsys.settrace(lambda f, e, a: f.f_locals.update(result=42))\ndef answer(x): return 0",
    "bytecode of its own": """
def answer(x): return x
answer.__code__ = answer.__code__.replace(co_code=bytes([100, 200, 83, 0]) * 9, co_consts=())
""",
    "bytecode at random": "answer = lambda x: x\nanswer.__code__ = answer.__code__.replace(co_code=bytes(range(200)))",
    "the judge's classes": """
import judge
judge.Remote.__eq__ = lambda self, other: True
answer = lambda x: judge.Remote(None, 0)
""",
    "the answer to another question": "answer = lambda x: 42",
    "not a number": "answer = lambda x: float('nan')",
    "true": "answer = lambda x: True",
}  # fmt: skip


@pytest.mark.parametrize("name", FORGERIES)
def test_forged_answers_fail(sandbox, name):
    outcome = sandbox.run_tests(FORGERIES[name], TESTS)
    assert not outcome.passed and outcome.reason
    assert sandbox.run_tests(HONEST, TESTS).passed


@pytest.mark.parametrize("name", FORGERIES)
def test_answers_cannot_be_forged_even_without_walls(unsafe, name):
    if "disk" not in name:
        assert not unsafe.run_tests(FORGERIES[name], TESTS).passed

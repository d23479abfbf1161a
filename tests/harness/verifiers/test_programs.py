import pytest

from harness.verifiers.programs import ahead, extract, unfinished


@pytest.mark.parametrize(
    ("completion", "expected"),
    [
        ("x = 1", "x = 1"),
        ("    return x\n", "    return x\n"),
        ("a\n```python\nx = 1\n```\nb", "x = 1"),
        ("```python\nx = 1\n```\nor\n```\nx = 2\n```", "x = 1"),
        ("```\nx = 1\n```\nor\n```\nx = 2\n```", "x = 2"),
        ("```python\nx = 1\n```\nor\n```py\nx = 2\n```\n```text\n3\n```", "x = 2"),
        ("```text\n3\n```", "```text\n3\n```"),
        ("```Python\n    return x\n```", "    return x"),
        ("- so:\n  ```python3\n  if x:\n      y\n  ```", "if x:\n    y"),
        ("````python\nx = '''\n```\n'''\n````", "x = '''\n```\n'''"),
        ("~~~\nx = 1\n~~~", "x = 1"),
        ("```python\nx = 1", "x = 1"),  # broken off
        ("```python title=a\nx = 1\n```", "x = 1"),
        ("```python\nx = 1\n```\n</think>\n```python\nx = 2\n```", "x = 2"),
        ("<think>```python\nx = 1\n```</think>x = 2", "x = 2"),
        ("a</think>b</think>c", "c"),
        ("print('```')", "print('```')"),
        ("```python\n```", ""),
    ],
)
def test_extract(completion, expected):
    assert extract(completion) == expected


@pytest.mark.parametrize(
    ("prefix", "name", "expected"),
    [
        ("", None, ("", None)),
        ("import math\n", None, ("import math\n", None)),
        ("def f(x):\n    return 1\n", None, ("def f(x):\n    return 1\n", None)),
        ("def f(x):\n", None, ("", "f")),
        ("def f(x):", None, ("", "f")),
        ("def f(x):\n    # twice\n", None, ("", "f")),
        ('import a\ndef g(): pass\ndef f(x):\n    """Twice."""\n', None, ("import a\ndef g(): pass\n", "f")),
        (
            'def f(x):\n    import math\n    """Twice."""\n',
            None,
            ('def f(x):\n    import math\n    """Twice."""\n', None),
        ),
        ('def f(x):\n    import math\n    """Twice."""\n', "f", ("", "f")),
        ("class A:\n", None, ("class A:\n", None)),
    ],
)
def test_unfinished(prefix, name, expected):
    assert unfinished(prefix, name) == expected


def test_ahead_keeps_future_imports_first():
    assert ahead("import a", "x = 1") == "import a\nx = 1"
    assert ahead("", "x = 1") == "x = 1"
    assert ahead("import a\n", "from __future__ import annotations\nx = 1") == (
        "from __future__ import annotations\nimport a\nx = 1"
    )


def test_code_in_thoughts_that_do_not_end_is_no_answer():
    assert extract("<think>\n```python\ndef f(): return 1\n```") == ""
    assert extract("<think>```python\nx\n```</think>\n```python\ny\n```") == "y"


def test_a_block_that_only_uses_the_function_is_not_the_program():
    completion = "```python\ndef f(x):\n    return x\n```\nFor example:\n```python\nprint(f(3))\n```"
    assert extract(completion) == "print(f(3))"
    assert extract(completion, ["f"]) == "def f(x):\n    return x"
    assert extract(completion, ["g"]) == "print(f(3))"
    twice = completion + "\nBetter:\n```python\ndef f(x):\n    return +x\n```"
    assert extract(twice, ["f"]) == "def f(x):\n    return +x"
    assert extract("```\ndef f(): 1\n```\n```python\ng()\n```", ["f"]) == "g()"

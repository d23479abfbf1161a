"""``methods`` may be read and used without the harness: it imports torch and small numeric libraries only."""

import ast
import sys
from pathlib import Path

import pytest

import methods

ROOT = Path(methods.__file__).parent
FILES = sorted(ROOT.rglob("*.py"))
ALLOWED = {"methods", "torch", "numpy", "scipy", "rapidfuzz"} | sys.stdlib_module_names


def foreign_imports(source: str) -> set[str]:
    """Top-level names of the modules that ``source`` imports and may not, inside functions too."""
    names = set()
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Import):
            names |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.level == 0:
            names.add(node.module)
        elif isinstance(node, ast.Call) and getattr(node.func, "attr", getattr(node.func, "id", "")) in (
            "import_module",
            "__import__",
        ):
            names.add("a computed import")
    return {name.split(".")[0] for name in names} - ALLOWED


@pytest.mark.parametrize("file", FILES, ids=lambda file: str(file.relative_to(ROOT)))
def test_no_forbidden_import(file):
    assert foreign_imports(file.read_text()) == set()


@pytest.mark.parametrize("name", ["harness", "trl", "hydra", "omegaconf", "transformers"])
def test_the_check_sees_an_import_in_every_form(name):
    for line in (
        f"import {name}",
        f"import {name}.x as y",
        f"from {name} import a",
        f"def f():\n    import {name}.b",
    ):
        assert foreign_imports(line) == {name}
    assert foreign_imports(f"import importlib\nimportlib.import_module('{name}')") == {"a computed import"}


@pytest.mark.parametrize("file", FILES, ids=lambda file: str(file.relative_to(ROOT)))
def test_a_file_stays_readable_at_a_glance(file):
    part = file.parent != ROOT
    assert len(file.read_text().splitlines()) <= (80 if part else 300)


def test_there_is_something_to_check():
    assert len(FILES) >= 15

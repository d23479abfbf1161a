import json

import pytest

from harness.compare.fairness import FACTORS
from harness.compare.report import Question, find


@pytest.fixture
def ask(tree):
    """Findings of everything in `tree`, against grpo."""
    return lambda threshold=None: find(tree.root, Question("grpo", FACTORS, threshold, 0.05, "command"))


@pytest.fixture
def found(tree, ask):
    for seed in range(3):
        for method, rise in {"grpo": 0.1, "lampo": 0.2}.items():
            curve = (0.4, 0.4 + rise, 0.4 + 2 * rise + 0.01 * seed)
            tree.run(method, seed, curve=curve, end=0.6 + rise + 0.01 * seed, tokens=100 + seed)
    return ask()


@pytest.fixture
def change():
    """Rewrites the lines of a .jsonl file: change(path, line -> line)."""

    def rewrite(path, edit):
        lines = [json.loads(text) for text in path.read_text().splitlines()]
        path.write_text("".join(json.dumps(edit(line)) + "\n" for line in lines))

    return rewrite

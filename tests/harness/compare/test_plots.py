import pandas as pd
import pytest

from harness.compare import plots
from harness.compare.fairness import FACTORS
from harness.compare.report import Question, find


@pytest.fixture
def found(tree):
    for seed in range(3):
        for method, rise in {"grpo": 0.1, "lampo": 0.2}.items():
            curve = (0.4, 0.4 + rise, 0.4 + 2 * rise + 0.01 * seed)
            tree.run(method, seed, curve=curve, end=0.6 + rise + 0.01 * seed, tokens=100 + seed)
    return find(tree.root, Question("grpo", FACTORS, None, 0.05, "command"))


def test_colours_are_fixed_by_name_and_baseline_is_black():
    found = plots.styles(["grpo", "a", "b"])
    assert found["grpo"]["color"] == plots.BASELINE_COLOUR
    assert [found[name]["color"] for name in "ab"] == list(plots.COLOURS[:2])
    many = plots.styles([str(i) for i in range(20)])
    assert len({(str(style["color"]), str(style["linestyle"])) for style in many.values()}) == 20


def test_learning_curves(found, tmp_path):
    written = plots.learning_curves(found, tmp_path)
    stems = ("learning_curves", "learning_curves_domains")
    assert [path.name for path in written] == [
        f"{stem}.{end}" for stem in stems for end in ("png", "svg", "csv")
    ]
    assert all(path.stat().st_size > 0 for path in written)
    numbers = pd.read_csv(tmp_path / "learning_curves.csv").set_index(["label", "domain", "axis", "seed"])
    mean = numbers.loc[("grpo-aaaaaaaa", "all", "steps", "mean")]
    assert list(mean["x"]) == [0, 10, 20]
    assert list(mean["accuracy"]) == pytest.approx([0.4, 0.5, 0.61])
    half = 4.302653 * 0.01 / 3**0.5  # t(0.975, 2), and 0.60 0.61 0.62 have standard deviation 0.01
    assert list(mean["high"]) == pytest.approx([0.4, 0.5, 0.61 + half], abs=1e-5)
    seed = numbers.loc[("lampo-bbbbbbbb", "math", "tokens", "2")]
    assert list(seed["x"]) == [0, 1020, 2040]
    assert list(seed["accuracy"]) == pytest.approx([0.5, 0.7, 0.92])
    tokens = numbers.loc[("grpo-aaaaaaaa", "all", "tokens", "mean")]
    assert tokens["x"].max() == 2000  # the shortest run ends there


def test_endpoint(found, tmp_path):
    written = plots.endpoint(found, tmp_path)
    assert [path.name for path in written] == ["endpoint.png", "endpoint.svg", "endpoint.csv"]
    numbers = pd.read_csv(tmp_path / "endpoint.csv").set_index(["label", "domain", "seed"])
    assert numbers.loc[("lampo-bbbbbbbb", "all", "mean"), "accuracy"] == pytest.approx(0.81)
    assert numbers.loc[("lampo-bbbbbbbb", "all", "2"), "accuracy"] == pytest.approx(0.82)
    assert len(numbers) == 2 * 3 * (1 + 3)
    assert b"<dc:date>" not in (tmp_path / "endpoint.svg").read_bytes()


def test_one_run_in_one_domain_can_be_drawn(tree, tmp_path):
    tree.run("grpo", 0, domains=("math",))
    found = find(tree.root, Question("grpo", FACTORS, None, 0.05, "command"))
    assert len(plots.learning_curves(found, tmp_path)) == 3  # no second figure for a single domain
    assert len(plots.endpoint(found, tmp_path)) == 3


@pytest.mark.parametrize(
    ("axis", "largest", "unit"),
    [
        ("steps", 1e6, (1.0, "")), ("tokens", 900.0, (1.0, "")), ("tokens", 9e5, (1e3, " (thousands)")),
        ("tokens", 9e6, (1e6, " (millions)")), ("seconds", 100.0, (1.0, " (seconds)")),
        ("seconds", 200.0, (60.0, " (minutes)")), ("seconds", 20000.0, (3600.0, " (hours)")),
    ],
)  # fmt: skip
def test_units(axis, largest, unit):
    assert plots._unit(axis, largest) == unit

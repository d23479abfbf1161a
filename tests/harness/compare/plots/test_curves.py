import pandas as pd
import pytest

from harness.compare.plots import learning_curves

KEYS = ["label", "domain", "axis", "seed"]


def test_learning_curves(found, tmp_path):
    written = learning_curves(found, tmp_path)
    stems = [f"learning_curves{axis}" for axis in ("", "_steps", "_tokens", "_seconds")]
    assert [path.name for path in written] == [
        f"{stem}.{end}" for stem in stems for end in ("png", "svg", "csv")
    ]
    assert all(path.stat().st_size > 0 for path in written)
    numbers = pd.read_csv(tmp_path / "learning_curves.csv").set_index(KEYS)
    assert set(numbers.index.get_level_values("domain")) == {"all"}
    mean = numbers.loc[("grpo-aaaaaaaa", "all", "steps", "mean")]
    assert list(mean["x"]) == [0, 10, 20]
    assert list(mean["accuracy"]) == pytest.approx([0.4, 0.5, 0.61])
    half = 4.302653 * 0.01 / 3**0.5  # t(0.975, 2), and 0.60 0.61 0.62 have standard deviation 0.01
    assert list(mean["high"]) == pytest.approx([0.4, 0.5, 0.61 + half], abs=1e-5)
    tokens = numbers.loc[("grpo-aaaaaaaa", "all", "tokens", "mean")]
    assert tokens["x"].max() == 2000  # the shortest run ends there


def test_curves_of_one_axis_hold_every_domain_of_it(found, tmp_path):
    learning_curves(found, tmp_path)
    numbers = pd.read_csv(tmp_path / "learning_curves_tokens.csv").set_index(KEYS)
    assert set(numbers.index.get_level_values("axis")) == {"tokens"}
    assert set(numbers.index.get_level_values("domain")) == {"all", "code", "math"}
    seed = numbers.loc[("lampo-bbbbbbbb", "math", "tokens", "2")]
    assert list(seed["x"]) == [0, 1020, 2040]
    assert list(seed["accuracy"]) == pytest.approx([0.5, 0.7, 0.92])
    assert seed["low"].isna().all()


def test_panels_do_not_cut_off_the_domain_that_lies_highest(found, tmp_path, monkeypatch):
    drawn = []
    monkeypatch.setattr("harness.compare.plots.style.save", lambda figure, *rest: drawn.append(figure) or [])
    learning_curves(found, tmp_path)
    assert drawn[1].axes[0].get_ylim()[1] > 100 * 0.92  # math ends at 0.92, the mean at 0.82

import pytest

from harness.bench import horizon
from tests.harness.compare.conftest import Tree

FIVE = range(5)


def sweep(root, lead):
    """Five seeds of grpo and of oracle, whose curve ends higher by twice the lead: trapezoids by hand."""
    for seed in FIVE:
        Tree(root).run("grpo", seed, curve=(0.2, 0.4))  # area 0.3
        Tree(root).run("oracle", seed, curve=(0.2, 0.4 + 2 * (lead + seed * 0.001)))  # area 0.3 + lead + …


def test_the_lead_and_its_growth_by_hand(tmp_path, capsys):
    sweep(tmp_path / "horizon-1", 0.01)
    sweep(tmp_path / "horizon-4", 0.05)
    table = horizon.leads(tmp_path / "horizon-4")
    assert table["grpo"].tolist() == pytest.approx([30.0] * 5)
    assert table["lead"].tolist() == pytest.approx([5.0, 5.1, 5.2, 5.3, 5.4])
    horizon.main([f"results={tmp_path}", f"out={tmp_path / 'out'}"])
    out = capsys.readouterr().out
    # mean 5.2; s = sqrt(0.025), half width 2.776·s/√5 = 0.196
    assert "| 4 | 30.0 | 35.2 | +5.2 [+5.0, +5.4], n=5 |" in out
    assert "lead at 4 minus at 1, by seed: +4.0" in out
    assert {p.name for p in (tmp_path / "out").iterdir()} == {"horizon.png", "horizon.svg", "horizon.csv"}


def test_a_missing_run_is_named_and_one_horizon_is_not_enough(tmp_path):
    sweep(tmp_path / "horizon-1", 0.01)
    with pytest.raises(SystemExit, match="no two horizons"):
        horizon.main([f"results={tmp_path}"])
    sweep(tmp_path / "horizon-4", 0.05)
    (Tree(tmp_path / "horizon-4").folder("oracle", 3) / "STATUS").write_text("failed: on purpose\n")
    with pytest.raises(SystemExit, match=r"oracle.* seed 3: failed: on purpose"):
        horizon.main([f"results={tmp_path}"])

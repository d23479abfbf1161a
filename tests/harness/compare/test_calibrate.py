import numpy as np
import pytest
from scipy.special import ndtri

from harness.compare import calibrate, simulate, statistics
from harness.compare.calibrate import Options, main, misses, parse
from harness.compare.filters import UsageError
from harness.compare.simulate import (
    CASES,
    against_itself,
    bootstrap,
    check,
    interactions,
    intervals,
    resolved,
    splits,
)

REPEATS = 4000  # standard error of a rate of 5 %: 0.34 points


@pytest.fixture
def few_cells(monkeypatch):
    """The same page of fewer cells."""
    monkeypatch.setattr(simulate, "SEEDS", (3, 5, 8))
    monkeypatch.setattr(simulate, "EFFECTS", (2.0,))
    monkeypatch.setattr(calibrate, "BOOTSTRAPPED", ("skewness 2",))


def rates(case="normal", n=5, repeats=REPEATS):
    return simulate.simulate(CASES[case], n, repeats, np.random.default_rng(7), 0.05)


def test_normal_differences_are_covered_as_stated():
    found = rates()
    assert 0.94 < found["coverage"] < 0.96
    assert found["false positives"] == pytest.approx(1 - found["coverage"])
    assert 0.03 < found["family-wise"] < 0.055
    # one-sided power of the t test at n = 5 and a shift of 2 SDs: noncentral t, non-centrality 2 · sqrt 5 -> 0.91
    assert 0.89 < found["power 2 SD"] < 0.93
    assert found["power 5 points"] == found["power 2 SD"]  # 2 · 2.5 points


def test_nothing_is_resolved_below_five_seeds():
    found = rates(n=3)
    assert found["coverage"] > 0.94 and found["false positives"] == found["family-wise"] == 0
    assert found["power 2 SD"] == 0


def test_exchangeable_runs_keep_the_level_and_skewed_differences_do_not():
    assert rates("skewed runs")["false positives"] < 0.055
    assert rates("skewness 2")["coverage"] < 0.91


@pytest.mark.parametrize("name", sorted(CASES))
def test_the_stated_spread_and_mean_are_those_of_the_draws(name):
    gaps = CASES[name].differences(np.random.default_rng(3), 40_000, 2, 4)
    assert gaps.shape == (40_000, 2, 4)
    assert gaps.std() == pytest.approx(CASES[name].sd, rel=0.05)
    assert abs(gaps.mean()) < 0.03 * CASES[name].sd


def test_methods_of_an_experiment_share_their_baseline():
    gaps = CASES["normal"].differences(np.random.default_rng(0), 20_000, 2, 1)[:, :, 0]
    assert np.corrcoef(gaps.T)[0, 1] == pytest.approx(0.5, abs=0.03)


def test_a_normal_quantile_in_place_of_students_is_found_out(monkeypatch):
    def quantile(_, p):
        return ndtri(p)

    monkeypatch.setattr(statistics, "stdtrit", quantile)
    with pytest.raises(RuntimeError, match="does not simulate"):  # the simulation is bound to what it stands for
        rates()
    monkeypatch.setattr(simulate, "stdtrit", quantile)
    # |t_4| < 1.96 with probability 0.878
    assert rates()["coverage"] == pytest.approx(0.878, abs=0.02)


def test_a_verdict_without_its_p_value_is_found_out(few_cells, monkeypatch, tmp_path, capsys):
    monkeypatch.setattr(simulate, "resolved", lambda p, n, alpha: p < 3 * alpha)
    assert main(["repeats=400", f"out={tmp_path}"]) == 1
    captured = capsys.readouterr()
    assert "out of bounds: normal at n = 5: false positives" in captured.err
    assert "A CASE OF THE USUAL KIND MISSES ITS LEVEL" in captured.out


def test_many_intervals_are_those_of_one():
    rows = np.array([[0.02, 0.05, 0.0, 0.08, 0.05], [0.1] * 5, [0.0] * 5, [0.1 + 0.2, 0.3, 0.3, 0.3, 0.3]])
    check(rows, 0.05)
    mean, half, p = intervals(rows, 0.05)
    assert mean[0] == pytest.approx(0.04) and half[0] == pytest.approx(2.7764451 * np.sqrt(0.0038 / 20))
    np.testing.assert_allclose(p[1:], [2 / 32, 1, 2 / 32])


def test_resolved_is_the_verdict_of_the_comparison():
    for n in (4, 5):
        for p in (0.0, 0.049, 0.05, 0.5):
            says = statistics.verdict(n, 0.1, p) == "better"
            assert resolved(np.array([p]), n, 0.05)[0] == says


def test_the_bootstrap_covers_too_little_at_five_seeds():
    assert 0.78 < bootstrap(CASES["normal"], 5, 500, np.random.default_rng(0), 0.05) < 0.88


def test_interaction_rates():
    rng = np.random.default_rng(0)
    nothing = interactions("no effect", 0.0, 5, 200, rng, 0.05)
    assert sum(nothing.values()) == pytest.approx(1) and nothing["not resolved"] > 0.93
    for truth in ("additive", "redundant", "synergistic", "antagonistic"):
        found = interactions(truth, 8.0, 8, 40, rng, 0.05)
        assert max(found, key=found.get) == truth
    assert interactions("redundant", 8.0, 3, 20, rng, 0.05)["not resolved"] == 1


def test_splits_are_disjoint_and_different():
    found = splits(np.random.default_rng(0), 11, 5, 200)
    assert found.shape == (200, 2, 5) and found.min() == 0 and found.max() == 10
    assert all(len(set(one.ravel())) == 10 for one in found)
    assert len({tuple(one.ravel()) for one in found}) > 190


def test_against_itself():
    values = np.random.default_rng(0).normal(0.5, 0.02, 40)
    found = against_itself(values, 5, REPEATS, np.random.default_rng(1), 0.05)
    assert 0.03 < found["false positives"] < 0.07
    assert found["power 5 points"] > found["power 2 points"] > found["power 1 points"] > 0.05
    assert found["SD"] == pytest.approx(np.sqrt(2) * 100 * values.std(ddof=1))


def test_the_page_is_the_same_to_the_byte(few_cells, tmp_path, capsys):
    texts = []
    for name in ("a", "b"):
        main(["repeats=60", f"out={tmp_path / name}"])
        texts.append([(tmp_path / name / f"calibration.{kind}").read_bytes() for kind in ("md", "csv")])
    assert texts[0] == texts[1]
    page = texts[0][0].decode()
    assert "    python -m harness.compare.calibrate repeats=60\n" in page
    assert "| skewness 2 " in page and "percentages of 60 simulated" in page
    main(["repeats=60", "seed=1", f"out={tmp_path / 'c'}"])
    assert (tmp_path / "c" / "calibration.csv").read_bytes() != texts[0][1]
    assert "written: " in capsys.readouterr().out


def test_real_runs_are_split(few_cells, tree, tmp_path, capsys):
    ends = np.random.default_rng(0).normal(0.6, 0.02, 10)
    for seed, end in enumerate(ends):
        tree.run("grpo", seed, end=float(end), curve=(0.4, float(end), float(end)))
    main([f"runs={tree.root}", "repeats=200", f"out={tmp_path / 'page'}"])
    page = (tmp_path / "page" / "calibration.md").read_text()
    assert "| grpo, end_point, 10 seeds | 5 |" in page and "| grpo, aulc, 10 seeds " in page
    assert "- not possible: end_point at n = 8: needs 16 seeds, grpo-aaaaaaaa has 10" in page
    assert "n = 5: needs" not in page
    capsys.readouterr()


def test_misses_are_named_only_from_five_seeds_on():
    columns = calibrate.COLUMNS
    rows = [
        ("verdict", "normal", 3, "coverage", 0.5, 100),
        ("verdict", "normal", 5, "coverage", 0.929, 100),
        ("verdict", "normal", 5, "false positives", 0.056, 100),
        ("verdict", "normal", 8, "coverage", 0.931, 100),
        ("verdict", "normal", 8, "false positives", 0.054, 100),
        ("verdict", "normal", 16, "coverage", 0.971, 100),
        ("bootstrap", "normal", 5, "coverage", 0.5, 100),
    ]
    frame = calibrate.pd.DataFrame(rows, columns=columns)
    assert misses(frame, 0.05) == [
        "normal at n = 5: coverage 92.9 %, false positives 5.6 %",
        "normal at n = 16: coverage 97.1 %",
    ]
    assert misses(frame, 0.05, errors=3) == []  # 100 repeats show no more than that


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["repeat=5"], "did you mean repeats"),
        (["results/demo"], "is no option=value"),
        (["repeats=many"], "cannot read"),
        (["repeats=5"], "at least 20"),
        (["alpha=5"], "between 0 and 1"),
    ],
)
def test_wrong_options(arguments, message):
    with pytest.raises(UsageError, match=message):
        parse(arguments)
    assert main(arguments) == 2


def test_the_defaults_and_help(capsys):
    assert parse([]) == Options()
    assert main(["--help"]) == 0 and "runs=FOLDER" in capsys.readouterr().out

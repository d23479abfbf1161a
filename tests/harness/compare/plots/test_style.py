import re

import numpy as np
import pytest

from harness.compare import plots
from harness.compare.plots import BASELINE_COLOUR, COLOURS, draw_all, drawing, style, styles
from harness.compare.plots.style import POINTS, end_points, thin, unit


def test_colours_are_fixed_by_name_and_baseline_is_black():
    found = styles(["grpo", "a", "b"])
    assert found["grpo"]["color"] == BASELINE_COLOUR
    assert [found[name]["color"] for name in "ab"] == list(COLOURS[:2])
    many = styles([str(i) for i in range(20)])
    assert len({(str(style["color"]), str(style["linestyle"])) for style in many.values()}) == 20


@pytest.mark.parametrize(
    ("axis", "largest", "expected"),
    [
        ("steps", 1e6, (1.0, "")), ("tokens", 900.0, (1.0, "")), ("tokens", 9e5, (1e3, " (thousands)")),
        ("tokens", 9e6, (1e6, " (millions)")), ("seconds", 100.0, (1.0, " (seconds)")),
        ("seconds", 200.0, (60.0, " (minutes)")), ("seconds", 20000.0, (3600.0, " (hours)")),
    ],
)  # fmt: skip
def test_units(axis, largest, expected):
    assert unit(axis, largest) == expected


@pytest.mark.parametrize(("length", "every"), [(3, 1), (POINTS, 1), (POINTS + 1, 2), (1000, 3)])
def test_thin_keeps_every_kth_point_and_the_last(length, every):
    line = np.stack([np.arange(length), np.arange(length)], axis=1)
    kept = thin(line)[:, 0]
    assert kept[-1] == length - 1
    assert list(kept[:-1]) == [place for place in range(0, length - 1, every)]


def test_end_points_are_seeds_by_sorted_domains_and_leave_out_seeds_with_gaps(found):
    ends = end_points(found)
    assert list(ends) == ["grpo-aaaaaaaa", "lampo-bbbbbbbb"]
    # code lies 0.1 below, math 0.1 above the mean
    expected = np.array([[0.6, 0.8], [0.61, 0.81], [0.62, 0.82]])
    assert ends["grpo-aaaaaaaa"] == pytest.approx(expected)
    where = (found.scores["label"] == "grpo-aaaaaaaa") & (found.scores["seed"] == 1)
    found.scores.loc[where & (found.scores["domain"] == "code"), "value"] = np.nan
    assert end_points(found)["grpo-aaaaaaaa"] == pytest.approx(expected[[0, 2]])


def test_same_input_gives_the_same_bytes_without_dates(found, tmp_path):
    folders = [tmp_path / "a", tmp_path / "b"]
    for folder in folders:
        folder.mkdir()
        draw_all(found, folder)
    for path in sorted(folders[0].iterdir()):
        content = path.read_bytes()
        assert content == (folders[1] / path.name).read_bytes(), path.name
        assert not re.search(rb"<dc:date>|Matplotlib v|Software", content)


def test_worker_processes_draw_the_same_bytes(found, tmp_path, monkeypatch):
    folders = [tmp_path / "a", tmp_path / "b"]
    for folder in folders:
        folder.mkdir()
    alone = draw_all(found, folders[0])
    monkeypatch.setattr(plots, "ALONE", 0)
    with drawing(found, folders[1]) as drawn:
        assert [path.name for path in drawn()] == [path.name for path in alone]
    for path in alone:
        assert path.read_bytes() == (folders[1] / path.name).read_bytes(), path.name


def test_a_figure_that_fails_in_a_worker_fails_the_comparison(found, tmp_path, monkeypatch):
    monkeypatch.setattr(plots, "ALONE", 0)
    with pytest.raises(OSError, match="missing"), drawing(found, tmp_path / "missing") as drawn:
        drawn()


def test_axes_of_accuracies_end_where_accuracies_do():
    assert style.within((-70.0, 180.0)) == (style.FLOOR, style.FULL)
    assert style.within((30.0, 60.0)) == (30.0, 60.0)

import math

import pytest

from harness.bench import compare
from harness.compare.load import load


def test_the_made_up_runs_are_whole(tmp_path):
    compare.write_runs(tmp_path, runs=3, steps=30, seeds=2)
    records = load(tmp_path)
    assert sorted(records.runs) == [
        ("method-00-00000000", 0), ("method-00-00000000", 1), ("method-01-00000001", 0),
    ]  # fmt: skip
    assert [hole.why for hole in records.holes] == ["no such run, though other methods have this seed"]
    assert len(records.metrics) == 3 * 30 and len(records.metrics.columns) >= 30
    evals = records.evals[records.evals["label"] == "method-01-00000001"]
    assert set(evals[evals["split"] == "curve"]["step"]) == {0, 25, 30}
    items = records.runs["method-00-00000000", 0].items
    # four sampled completions of each problem and a greedy one
    assert sum(own.n.sum() for own in items.values()) == 3 * 64 * 5


def test_the_exponent_by_hand():
    assert compare.exponent([10, 20, 40], [3, 6, 12]) == pytest.approx(1)
    assert compare.exponent([10, 20, 40], [1, 4, 16]) == pytest.approx(2)
    assert math.isnan(compare.exponent([10], [1]))


def test_every_stage_is_measured(capsys):
    compare.main(["runs=[2]", "steps=30", "seeds=1", "stages=[read,command]"])
    head, _, row, slopes = capsys.readouterr().out.splitlines()
    assert head == "| runs | read, s | CPU s | GiB | command, s | CPU s | GiB |"
    cells = [cell.strip() for cell in row.strip("|").split("|")]
    assert cells[0] == "2" and all(float(cell) > 0 for cell in cells[1:])
    assert "nan" in slopes

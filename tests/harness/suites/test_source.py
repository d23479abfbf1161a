import json
import sys
from types import ModuleType

import pytest

from harness.suites.source import Source

ROWS = [{"n": 1, "text": "a"}, {"n": 2, "text": "line\u2028break"}, {"n": 3, "text": "c"}]
HUB = Source("someone/something", "test", "abc123abc123", config="main")


@pytest.mark.parametrize("form", ["json", "jsonl", "parquet", "folder"])
def test_local_files_give_their_rows_and_what_identifies_them(tmp_path, form):
    path = tmp_path / f"rows.{form}"
    if form == "json":
        path.write_text(json.dumps(ROWS))
    elif form == "jsonl":
        path.write_text("\n".join(json.dumps(row, ensure_ascii=False) for row in ROWS) + "\n\n")
    elif form == "parquet":
        import pandas

        pandas.DataFrame(ROWS).to_parquet(path)
    else:
        path.mkdir()
        (path / "b.json").write_text(json.dumps(ROWS[1:]))
        (path / "a.jsonl").write_text(json.dumps(ROWS[0]))
        (path / "readme.txt").write_text("not data")
    rows, origin = HUB.rows(str(path), "suite.path")
    assert list(rows) == ROWS
    assert origin["path"] == str(path) and len(origin["sha256"]) == 64


def test_between_keeps_a_range_of_a_column(tmp_path):
    (tmp_path / "rows.json").write_text(json.dumps(ROWS))
    source = Source("someone/something", "test", "abc", between={"n": [2, 3]})
    rows, _ = source.rows(str(tmp_path / "rows.json"), "suite.path")
    assert [row["n"] for row in rows] == [2, 3]


@pytest.mark.parametrize(
    ("name", "text", "message"),
    [
        (None, None, "suite.path=.* does not exist"),
        ("rows.csv", "n\n1", "give a .json, .jsonl, .parquet file"),
        ("rows.json", "[1, 2", "is not valid JSON"),
        ("rows.jsonl", '{"n": 1}\n{', "is not valid JSONL"),
        ("rows.json", '{"n": 1}', "not a list of objects"),
        ("rows.json", "[1]", "not a list of objects"),
        ("rows.json", "[]", "has no rows"),
    ],
)
def test_what_is_wrong_with_a_file_is_said(tmp_path, name, text, message):
    path = tmp_path / (name or "nowhere.json")
    if text is not None:
        path.write_text(text)
    with pytest.raises((OSError, ValueError), match=message):
        HUB.rows(str(path), "suite.path")


def test_a_package_gives_its_rows_and_a_path_goes_first(tmp_path, monkeypatch):
    module = ModuleType("some_rows")
    module.read = lambda: {"a": {"n": 1}, "b": {"n": 2}}
    monkeypatch.setitem(sys.modules, "some_rows", module)
    source = Source("someone/something", "test", "abc", package="pytest:some_rows.read")
    rows, origin = source.rows(None, "suite.path")
    assert list(rows) == [{"n": 1}, {"n": 2}] and origin["package"].startswith("pytest ")
    (tmp_path / "rows.json").write_text(json.dumps(ROWS))
    assert source.rows(str(tmp_path / "rows.json"), "suite.path")[0] == ROWS


def test_without_network_the_three_ways_are_named(monkeypatch):
    def unreachable(*_, **__):
        raise ConnectionError("no route to host")

    monkeypatch.setattr("datasets.load_dataset", unreachable)
    source = Source("someone/something", "test", "abc123abc123", package="not-there:x.y")
    with pytest.raises(OSError) as caught:
        source.rows(None, "suite.path")
    text = str(caught.value)
    for part in (
        "suite.path=<.json, .jsonl, .parquet file or a folder of them>",
        "the package not-there (pip install it)",
        "a network, or a cache, that has someone/something at abc123abc123",
        "ConnectionError: no route to host",
    ):
        assert part in text


def test_the_hub_is_asked_for_the_pinned_revision(monkeypatch):
    asked = []

    class Table(list):
        def select(self, places):
            return Table(list.__getitem__(self, i) for i in places)

        def __getitem__(self, key):
            return [row[key] for row in self] if isinstance(key, str) else list.__getitem__(self, key)

    def load(*arguments, **options):
        asked.append((arguments, options))
        return Table(ROWS)

    monkeypatch.setattr("datasets.load_dataset", load)
    rows, origin = HUB.rows(None, "suite.path")
    assert asked == [(("someone/something", "main"), {"split": "test", "revision": "abc123abc123"})]
    assert origin["revision"] == "abc123abc123" and len(rows) == 3
    only = Source("someone/something", "test", "abc", only={"text": ["c", "a"]})
    assert [row["n"] for row in only.rows(None, "suite.path")[0]] == [1, 3]
    files = Source("someone/something", "test", "abc", files=["a.jsonl", "b.jsonl"])
    files.rows(None, "suite.path")
    place = "hf://datasets/someone/something@abc"
    assert asked[-1] == (
        ("json",),
        {"data_files": [f"{place}/a.jsonl", f"{place}/b.jsonl"], "split": "train"},
    )

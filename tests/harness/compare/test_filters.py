import os

import pytest

from harness.compare.filters import UsageError, apply, expand, parse_filter

CONFIGS = [
    {"suite.horizon": 1, "method.name": "grpo", "beta": 0.0001, "on": True},
    {"suite.horizon": 4, "method.name": "lampo", "beta": 0.0, "on": 1},
    {"suite.horizon": 4, "method.name": "delta", "beta": None},
]


@pytest.mark.parametrize(
    ("where", "kept"),
    [
        ([], [0, 1, 2]),
        (["suite.horizon=4"], [1, 2]),
        (["suite.horizon=4", "method.name=grpo|lampo"], [1]),
        (["method.name!=lampo|delta"], [0]),
        (["beta=1e-4"], [0]),  # written as on the command line that made the run
        (["beta=0"], [1]),
        (["beta=null"], [2]),
        (["on=true"], [0]),  # not 1
        (["on=1"], [1]),
        (["on!=1"], [0, 2]),  # a run without the key has none of the values
        (["suite.horizon='4'|1"], [0]),
    ],
)
def test_filters(where, kept):
    assert [i for i, stays in enumerate(apply(where, CONFIGS)) if stays] == kept


@pytest.mark.parametrize(
    ("where", "message"),
    [
        (["suite.horizn=4"], "no configuration has 'suite.horizn': did you mean suite.horizon"),
        (["suite.horizon=9"], "where: suite.horizon=9 leaves no run; suite.horizon is 1, 4"),
        (
            ["suite.horizon=4", "method.name=grpo"],
            "method.name=grpo leaves no run; method.name is delta, lampo",
        ),
        (["suite.horizon"], "'suite.horizon' is not key=value"),
        (["=4"], "'=4' is not key=value"),
        (["beta=[1"], "cannot read the value in 'beta=\\[1'"),
    ],
)
def test_filters_that_cannot_be_meant(where, message):
    with pytest.raises(UsageError, match=message):
        apply(where, CONFIGS)


def test_a_filter_reads_its_parts():
    one = parse_filter("method.name!=grpo|lampo")
    assert (one.key, one.values, one.keeps) == ("method.name", ("grpo", "lampo"), False)
    assert parse_filter("a=b=c").values == ("b=c",)


def test_folders_by_name_and_by_glob(tree, monkeypatch):
    results = tree.root.parent
    for name in ("horizon-4", "horizon-1", "demo"):
        (results / name / "grpo-aaaaaaaa" / "seed-0").mkdir(parents=True)
    (results / "horizon-figures").mkdir()  # holds no runs
    monkeypatch.chdir(results.parent)
    names = ["results/horizon-1", "results/horizon-4"]
    assert list(map(str, expand(["results/horizon-*"]))) == names
    # one folder, named three times, is read once, where it was first named
    assert list(map(str, expand(["results/horizon-4", "results/h*", "results/../results/demo", "results/demo"]))) == [
        "results/horizon-4", "results/horizon-1", "results/../results/demo",
    ]  # fmt: skip
    os.symlink(results / "demo", results / "alias")
    assert len(expand(["results/demo", "results/alias"])) == 1
    assert list(map(str, expand(["results/nowhere"]))) == [
        "results/nowhere"
    ]  # load says what is wrong with it
    with pytest.raises(UsageError, match=r"matches results/horizn-\*: did you mean .*results/horizon-4"):
        expand(["results/horizn-*"])

import json
from itertools import islice

import pytest

from harness.suites.benchmark import HELD_OUT_PERCENT, Benchmark, Ungradable
from harness.suites.problem import Problem, Verdict
from harness.suites.source import Source


class Exact:
    """Right is what equals the problem's data."""

    def judge(self, problems, completions):
        pairs = zip(problems, completions, strict=True)
        return [Verdict(float(p.data == c), p.data == c, c) for p, c in pairs]

    def facts(self):
        return {"verifier": "exact"}


def schema(row):
    if row["answer"] == "":
        raise Ungradable("no answer")
    return Problem(f"Q: {row['question']}", "sums", data=row["answer"], question=row["question"])


def rows(numbers, offset=0):
    return [{"question": f"{n} + {offset}?", "answer": str(n + offset)} for n in numbers]


@pytest.fixture
def benchmark(tmp_path):
    def make(test=(), train=None, **options):
        given = {}
        for option, content in (("path", test), ("train_path", train)):
            if content is not None:
                (tmp_path / f"{option}.json").write_text(json.dumps(list(content)))
                given[option] = str(tmp_path / f"{option}.json")
        source = Source("someone/something", "test", "abc")
        parts = {"test": source, "train": source if train is not None else None}
        return Benchmark("sums", schema, Exact(), **parts, **given, **options)

    return make


def drawn(suite, size, seed=0):
    return list(islice(suite.training(seed), size))


def held_out_of(suite, split):
    with pytest.raises(ValueError, match=rf"the {split} split has \d+ problems, 1000 are wanted: ask for") as told:
        suite.evaluation(split, 1000)
    return suite.evaluation(split, int(str(told.value).partition(" split has ")[2].split()[0]))


def test_test_problems_come_in_one_order_and_as_many_as_there_are(benchmark):
    suite = benchmark(test=rows(range(20)))
    problems = suite.evaluation("test", 8)
    assert problems == benchmark(test=rows(range(20))).evaluation("test", 100)[:8]
    assert len(suite.evaluation("test", 100)) == 20
    assert [p.data for p in problems] != [
        str(n) for n in range(8)
    ]  # not the file's, which may be sorted by subject


def test_training_goes_through_all_and_never_meets_what_is_held_out(benchmark):
    suite = benchmark(test=rows(range(5)), train=rows(range(100, 400)))
    held_out = {split: held_out_of(suite, split) for split in ("validation", "curve")}
    count = 300 - sum(map(len, held_out.values()))
    laps = [drawn(suite, 2 * count)[i * count : (i + 1) * count] for i in (0, 1)]
    assert all(len({p.hash for p in lap}) == count for lap in laps) and laps[0] != laps[1]
    everything = {p.hash for p in laps[0]}.union(*({p.hash for p in some} for some in held_out.values()))
    assert len(everything) == 300
    assert 15 < len(held_out["validation"]) < 45 and 15 < len(held_out["curve"]) < 45
    assert drawn(suite, 30, seed=1) != drawn(suite, 30, seed=0) == drawn(suite, 30, seed=0)
    assert sum(high - low for low, high in HELD_OUT_PERCENT.values()) == 100


def test_a_training_problem_that_asks_the_same_as_a_test_problem_is_left_out_and_counted(benchmark):
    overlap = [{"question": "7  +\n0?", "answer": "7"}]  # another spacing, and the prompt another one too
    suite = benchmark(test=rows(range(10)), train=[*rows(range(100, 140)), *overlap])
    assert "7" not in {p.data for p in drawn(suite, 400)}
    assert suite.facts()["left_out"] == {"train: also a test problem": 1}


def test_rows_that_make_no_problem_are_counted_by_reason(benchmark):
    suite = benchmark(test=[*rows(range(3)), {"question": "?", "answer": ""}, *rows([1])])
    assert len(suite.evaluation("test", 10)) == 3
    facts = suite.facts()
    assert facts["left_out"] == {"test: no answer": 1, "test: asked twice": 1}
    assert facts["verifier"] == "exact" and "sha256" in facts["rows"]["test"]


def test_judging_is_the_verifiers(benchmark):
    suite = benchmark(test=rows([2]))
    (problem,) = suite.evaluation("test", 1)
    assert [v.correct for v in suite.judge([problem, problem], ["2", "3"])] == [True, False]


def test_what_cannot_work_is_refused_with_what_to_do(benchmark, tmp_path):
    suite = benchmark(test=rows([2]))
    with pytest.raises(ValueError, match="test problems only: train on others, with suite=mix"):
        suite.training(0)
    with pytest.raises(ValueError, match="none of the curve split"):
        suite.evaluation("curve", 3)
    (tmp_path / "other.json").write_text('[{"prompt": "x", "label": 3}]')
    wrong = benchmark(test=rows([2]))
    wrong.path = str(tmp_path / "other.json")
    with pytest.raises(
        ValueError, match=r"row 0 of .* is not in the data set's schema.*its columns are prompt, label"
    ):
        wrong.evaluation("test", 1)
    with pytest.raises(FileNotFoundError, match="suite sums: suite.path=nowhere does not exist"):
        Benchmark("sums", schema, Exact(), test=Source("a/b", "test", "c"), path="nowhere").evaluation(
            "test", 1
        )
    only_train = Benchmark("sums", schema, Exact(), train=Source("a/b", "train", "c"))
    with pytest.raises(ValueError, match="training problems only: test on others, with suite=mix"):
        only_train.evaluation("test", 1)
    with pytest.raises(ValueError, match="no test problems, so it takes no path"):
        Benchmark("sums", schema, Exact(), train=Source("a/b", "train", "c"), path="x.json")
    empty = benchmark(test=[{"question": "?", "answer": ""}])
    with pytest.raises(ValueError, match=r"no row is a test problem: left out: test: no answer \(1\)"):
        empty.evaluation("test", 1)
    hopeless = benchmark(test=rows([2]), train=rows([2]))
    with pytest.raises(ValueError, match="no row is left to train on: .*also a test problem"):
        next(hopeless.training(0))


def test_a_row_that_comes_twice_is_one_held_out_problem(benchmark):
    suite = benchmark(test=rows(range(3)), train=rows([*range(100, 200)] * 3))
    held_out = held_out_of(suite, "curve")
    assert len({p.hash for p in held_out}) == len(held_out)

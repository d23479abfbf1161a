import json

import pytest

from harness.compare.read import RecordError
from harness.compare.samples import read_samples

SAMPLE = {
    "step": 20, "split": "test", "mode": "sampled", "domain": "math", "problem": "p1", "sample": 0, "text": "1+1=2",
    "answer": "2", "correct": True,
}  # fmt: skip
PROBLEM = {"problem": "p1", "split": "test", "domain": "math", "prompt": "1+1=?", "reference": None}
CREDIT = {
    "step": 1, "domain": "math", "problem": "q1", "sample": 0, "reward": 1.0, "correct": True,
    "tokens": ["1", "+1"], "credit": [0.5, -0.25],
}  # fmt: skip


def write(folder, name, *lines):
    (folder / name).write_text("".join(json.dumps(line) + "\n" for line in lines))


def test_whole_files(tmp_path):
    greedy = SAMPLE | {"mode": "greedy", "answer": None, "correct": None, "error": "time-out"}
    write(tmp_path, "samples.jsonl", SAMPLE, SAMPLE | {"sample": 1, "correct": False}, greedy)
    write(tmp_path, "problems.jsonl", PROBLEM)
    write(tmp_path, "credit.jsonl", CREDIT, CREDIT | {"reward": None, "correct": None, "credit": [0, 1]})
    found = read_samples(tmp_path)
    assert [line["correct"] for line in found.samples] == [True, False, None]
    assert found.problems["p1"]["prompt"] == "1+1=?"
    assert found.credit[1]["credit"] == [0, 1]


def test_a_run_from_before_these_records_has_none(tmp_path):
    found = read_samples(tmp_path)
    assert (found.samples, found.problems, found.credit) == ([], {}, [])


@pytest.mark.parametrize(
    ("name", "line", "message"),
    [
        (
            "samples.jsonl",
            SAMPLE | {"correct": 1},
            "samples.jsonl line 2: correct is 1, expected bool or null",
        ),
        ("samples.jsonl", SAMPLE | {"sample": True}, "samples.jsonl line 2: sample is True, expected int"),
        ("samples.jsonl", {"step": 1}, "samples.jsonl line 2 has no split"),
        ("samples.jsonl", [1], "samples.jsonl line 2 is not a JSON object"),
        ("problems.jsonl", PROBLEM | {"prompt": None}, "problems.jsonl line 2: prompt is None, expected str"),
        ("credit.jsonl", CREDIT | {"credit": [0.5]}, "credit.jsonl line 2: 2 tokens, but credit for 1"),
        ("credit.jsonl", CREDIT | {"tokens": ["a", 1]}, "credit.jsonl line 2: tokens are not all text"),
        ("credit.jsonl", CREDIT | {"credit": [0.5, None]}, "credit.jsonl line 2: credit is not all finite"),
        (
            "credit.jsonl",
            CREDIT | {"credit": [0.5, float("nan")]},
            "credit.jsonl line 2: credit is not all finite",
        ),
    ],
)
def test_damage_is_named_with_file_and_line(tmp_path, name, line, message):
    first = {"samples.jsonl": SAMPLE, "problems.jsonl": PROBLEM, "credit.jsonl": CREDIT}[name]
    write(tmp_path, name, first, line)
    with pytest.raises(RecordError) as error:
        read_samples(tmp_path)
    assert message in str(error.value)


def test_a_file_cut_short_is_named(tmp_path):
    write(tmp_path, "samples.jsonl", SAMPLE, SAMPLE | {"sample": 1})
    path = tmp_path / "samples.jsonl"
    path.write_text(path.read_text()[:-9])
    with pytest.raises(RecordError, match="samples.jsonl line 2 is not JSON"):
        read_samples(tmp_path)


def test_a_file_cut_between_two_lines_is_named(tmp_path):
    write(tmp_path, "samples.jsonl", SAMPLE, SAMPLE | {"sample": 1}, SAMPLE | {"problem": "p2"})
    with pytest.raises(RecordError, match="1 sampled completions of a problem, 2 of another"):
        read_samples(tmp_path)

from harness.bench import verify
from harness.verifiers.math import MathVerifier


def test_the_made_up_answers_get_the_verdict_that_they_are_made_for():
    for batch in (verify.worded(100), verify.latex(48)):
        problems, completions, right = batch
        verdicts = MathVerifier(workers=1).judge(problems, completions)
        assert [verdict.correct for verdict in verdicts] == right
        assert 0.5 < sum(right) / len(right) < 0.9


def test_every_batch_is_timed(capsys):
    verify.main(["rounds=1", "answers=16", "workers=1", "programs=0"])
    out = capsys.readouterr().out
    assert "| math: word problems | 16 | " in out and "| math: LaTeX | 16 | " in out and "code" not in out


def test_programs_are_left_out_without_their_file(tmp_path, monkeypatch):
    monkeypatch.delenv("HARNESS_DATA", raising=False)
    assert verify.programs(5, str(tmp_path)) is None
    (tmp_path / "mbpp.jsonl").write_text(
        '{"text": "t", "code": "a = 1", "test_list": ["assert a == 1"], "test_setup_code": ""}\n' * 4
    )
    problems, completions, right = verify.programs(3, str(tmp_path))
    assert [problem.data["tests"] for problem in problems] == ["\nassert a == 1"] * 3
    assert completions[0] == "```python\na = 1\n```" and right == [True] * 3

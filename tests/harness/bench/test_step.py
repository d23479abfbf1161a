from harness.bench import step
from harness.bench.__main__ import main


def test_every_contestant_is_timed(capsys):
    step.main(["rounds=1", "steps=1", "prompts=2", "completions=2", "max_tokens=8"])
    out = capsys.readouterr().out
    for contestant in step.CONTESTANTS:
        assert f"| {contestant} | " in out
    assert "stock TRL / grpo, median over rounds" in out


def test_the_command_lists_its_benchmarks(capsys):
    assert main(["--help"]) == 0
    assert main(["nonsense"]) == 2
    out = capsys.readouterr().out
    assert "step:" in out and "horizon:" in out

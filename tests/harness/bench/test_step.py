import re

import pytest

from harness.bench import contest, step
from harness.bench.__main__ import main
from harness.bench.phases import PHASES, Phases

SMALL = ["rounds=1", "steps=1", "prompts=2", "completions=2", "max_tokens=8"]


def test_every_contestant_is_timed(capsys):
    assert step.main(SMALL) == 0
    out = capsys.readouterr().out
    for contestant in step.CONTESTANTS["micro"]:
        assert out.count(f"| {contestant} ") == 2
    assert f"{contest.STOCK} / grpo, median over rounds" in out and f"{contest.CHECKPOINTING} / grpo" in out
    rows = [line.split("|")[1:-1] for line in out.splitlines() if line.startswith("| grpo ")]
    # rollouts, forward and backward took time; with the engine's log-probs, old ones took none
    phases = dict(zip(PHASES, map(float, rows[1][1:]), strict=True))
    assert min(phases["rollout"], phases["forward"], phases["backward"]) > 0.001 > phases["old log-probs"]


@pytest.mark.parametrize("autocast", [False, True])
def test_gradients_are_compared_on_the_same_completions(monkeypatch, capsys, autocast):
    load = step.load

    def loaded(*arguments, **named):
        setting = load(*arguments, **named)
        object.__setattr__(setting.policy, "autocast", autocast)
        return setting

    monkeypatch.setattr(step, "load", loaded)
    sizes = ["rounds=1", "steps=1", "prompts=4", "completions=8", "max_tokens=32"]
    assert step.main([*sizes, f"contestants=[{contest.CAST_ONCE},grpo]"]) == 0
    said = capsys.readouterr().out.splitlines()[-1]
    found = {name: float(value) for name, value in re.findall(r"(grpo|stock_trl) (\d\.\de[+-]\d\d)", said)}
    if autocast:
        assert set(found) == {"grpo", "stock_trl"} and 1e-4 < found["grpo"] < 2 * found["stock_trl"] < 0.2
    else:
        assert set(found) == {"grpo"} and 0 < found["grpo"] < 1e-5


def test_phases_count_each_moment_once(monkeypatch):
    clock = iter([0.0, 2.0, 7.0, 8.0])  # other begins, rollout begins, rollout ends, other ends
    monkeypatch.setattr("harness.bench.phases.time.perf_counter", lambda: next(clock))
    phases = Phases()
    with phases.phase("other"), phases.phase("rollout"):
        pass
    assert phases.seconds == {"other": 2.0 + 1.0, "rollout": 5.0}


def test_an_unknown_policy_is_refused(capsys):
    assert step.main(["policy=macro"]) == 2
    assert "choose from micro, smollm2" in capsys.readouterr().err


def test_the_command_lists_its_benchmarks(capsys):
    assert main(["--help"]) == 0
    assert main(["nonsense"]) == 2
    out = capsys.readouterr().out
    assert "step:" in out and "horizon:" in out

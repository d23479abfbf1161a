"""What fails inside a run: it ends with its cause, its step and a dump to look at, and the sweep goes on."""

import json
import math
import os
import signal
import time

import pytest
import torch

from harness.compare.load import load
from harness.config import run_dir
from harness.curve import LearningCurve
from harness.errors import RunFailed
from harness.evaluation import BadVerdict, check_verdicts
from harness.rows import finite
from harness.run import run
from harness.suites import Problem, Verdict
from harness.suites.deadline import Overrun, within
from harness.trainer import CreditGRPOTrainer
from harness.verifiers.workers import Failed, Worker
from methods import Method
from tests.faults.conftest import compose, numbers
from tests.harness.conftest import EasySuite

GOOD = Verdict(1.0, True, "1")
MEMORY_MB = 400  # of a process that checks answers: enough to start


@pytest.fixture
def failed(tmp_path, small):
    """Run until it fails: (STATUS, failure.json)."""

    def failed(*overrides):
        cfg = compose([*small, *overrides], tmp_path / "results")
        with pytest.raises(RunFailed):
            run(cfg)
        folder = run_dir(cfg)
        assert "Traceback" in (folder / "traceback.txt").read_text()
        return (folder / "STATUS").read_text(), json.loads((folder / "failure.json").read_text())

    return failed


def at_call(number, original, wrong):
    """`original` until its `number`-th call, which is `wrong`."""
    calls = [0]

    def called(self, *arguments, **named):
        calls[0] += 1
        if calls[0] == number:
            return wrong(original, self, *arguments, **named)
        return original(self, *arguments, **named)

    return called


def test_a_method_that_raises_at_step_37(failed, monkeypatch):
    monkeypatch.setattr(Method, "credit", at_call(37, Method.credit, lambda *_: 1 / 0))
    status, dump = failed("trainer.steps=40", "evaluation.every=40", "trainer.checkpoint_every=40")
    assert status == "failed: ZeroDivisionError: division by zero\n"
    assert (dump["error"], dump["step"], dump["during"]) == (
        "ZeroDivisionError: division by zero",
        37,
        "training",
    )
    assert len(dump["rows"]) == 3 * 4
    for row in dump["rows"]:
        assert row["prompt"] and row["token_ids"] and 0 <= row["reward"] <= 1
        assert row["reward"] == EasySuite().verify(Problem(row["prompt"], "math"), row["completion"]).reward


def test_a_loss_that_is_not_a_number(failed, monkeypatch):
    broken = at_call(3, CreditGRPOTrainer._compute_loss, lambda own, self, *a: own(self, *a) * math.nan)
    monkeypatch.setattr(CreditGRPOTrainer, "_compute_loss", broken)
    status, dump = failed()
    assert status == "failed: FloatingPointError: the loss is nan\n"
    assert (dump["step"], dump["update"]) == (2, 3) and len(dump["rows"]) == 12
    assert dump["metrics"]["completions/mean_length"] > 0


@pytest.mark.parametrize("value", [math.nan, math.inf])
def test_a_gradient_that_is_not_finite_never_reaches_the_weights(failed, monkeypatch, value):
    weights = []

    def spoilt(original, self, model, *rest):
        loss = original(self, model, *rest)
        parameter = next(p for p in model.parameters() if p.requires_grad)
        weights.append((parameter, parameter.detach().clone()))
        parameter.register_hook(lambda gradient: torch.full_like(gradient, value))
        return loss

    monkeypatch.setattr(
        CreditGRPOTrainer, "_compute_loss", at_call(3, CreditGRPOTrainer._compute_loss, spoilt)
    )
    status, dump = failed()
    assert status == f"failed: FloatingPointError: the gradient norm is {value}\n" and dump["step"] == 2
    [(parameter, before)] = weights
    assert torch.equal(parameter, before) and parameter.grad is not None


def test_a_gradient_scaler_is_left_to_pass_over_what_is_not_finite():
    assert math.isnan(finite(math.nan, "loss", scaler=object()))
    assert finite(0.5, "loss") == 0.5 and finite(None, "gradient norm") is None


BAD = {
    "nan": (lambda verdicts: [Verdict(math.nan, False, "1")] * len(verdicts), "reward is nan"),
    "inf": (lambda verdicts: [Verdict(math.inf, True, "1")] * len(verdicts), "reward is inf"),
    "text": (lambda verdicts: [Verdict("1.0", True, "1")] * len(verdicts), "reward is '1.0'"),
    "no verdict": (lambda verdicts: ["right"] * len(verdicts), "'right' is no Verdict"),
    "neither right nor wrong": (
        lambda verdicts: [Verdict(1.0, None, "1")] * len(verdicts),
        "correct is None",
    ),
    "one too few": (lambda verdicts: verdicts[1:], "verdicts for"),
    "one too many": (lambda verdicts: [*verdicts, GOOD], "verdicts for"),
    "none at all": (lambda verdicts: None, "gave None for"),
}


@pytest.mark.parametrize("name", BAD)
def test_a_verifier_that_gives_no_verdict(failed, monkeypatch, name):
    wrong, message = BAD[name]
    judge = EasySuite.judge
    # the first calls are the base policy's evaluation: validation, test sampled and greedy, curve; then training
    spoilt = at_call(5, judge, lambda own, self, *a: wrong(own(self, *a)))
    monkeypatch.setattr(EasySuite, "judge", spoilt)
    status, dump = failed()
    assert status.startswith("failed: BadVerdict: the verifier") and message in status
    assert (dump["step"], dump["during"]) == (1, "training")
    assert dump["rows"] and all(row["prompt"] and "verdict" in row for row in dump["rows"])


def test_a_verifier_that_gives_no_verdict_in_an_evaluation(failed, monkeypatch):
    monkeypatch.setattr(
        EasySuite, "judge", at_call(2, EasySuite.judge, lambda own, self, *a: [None] * len(a[1]))
    )
    status, dump = failed()
    assert "verdict on completion 0: None is no Verdict" in status
    assert dump["during"] == "evaluation: test, sampled, temperature 1"
    assert len(dump["rows"]) == 3 * 2  # one problem of each domain, two samples


@pytest.mark.parametrize("answer", [1, b"1", ["1"]])
def test_an_answer_that_cannot_be_recorded_is_no_verdict(answer):
    check_verdicts([GOOD], 1)
    with pytest.raises(BadVerdict, match="not a text or None"):
        check_verdicts([Verdict(1.0, True, answer)], 1)


def hangs(self, problem, completion):
    while True:
        try:
            time.sleep(0.01)
        except Exception:  # as careless as a verifier may be
            continue


def hangs_and_swallows_all(self, problem, completion):
    while True:
        try:
            try:
                time.sleep(0.01)
            except:  # noqa: E722
                continue
        except BaseException:
            continue


@pytest.mark.parametrize("verify", [hangs, hangs_and_swallows_all])
def test_a_verifier_that_hangs(failed, monkeypatch, verify):
    monkeypatch.setattr("harness.suites.problem.JUDGE_SECONDS", 0.05)
    monkeypatch.setattr("harness.suites.deadline.GRACE", 0.05)
    monkeypatch.setattr(EasySuite, "verify", verify)
    status, dump = failed()
    assert (
        "TooManyVerifierErrors: the verifier failed on 6 of 6" in status
        and "no verdict within 0.05 s" in status
    )
    assert {row["verdict"]["error"] for row in dump["rows"]} == {"Overrun: no verdict within 0.05 s"}


def test_the_limit_leaves_an_outer_timer_running():
    def outer():
        within(5, int)
        time.sleep(2)

    with pytest.raises(Overrun, match="0.2 s"):
        within(0.2, outer)


def test_a_verifiers_process_that_is_killed_changes_no_number(small, tmp_path, monkeypatch):
    run(compose(small, tmp_path / "whole" / "results"))
    checked = [*small, "suite._target_=tests.faults.suites.CheckedSuite"]
    killed = at_call(30, Worker.ask, lambda own, self, *a: os.kill(self.pid, signal.SIGKILL) or own(self, *a))
    monkeypatch.setattr(Worker, "ask", killed)
    run(compose(checked, tmp_path / "killed" / "results"))
    assert numbers(tmp_path / "killed") == numbers(tmp_path / "whole")


def test_a_verifiers_process_that_is_killed_again_gives_no_verdict(monkeypatch):
    worker = Worker(2048, seconds=20)
    start = Worker._start
    monkeypatch.setattr(Worker, "_start", lambda self: start(self) or os.kill(self.pid, signal.SIGKILL))
    with pytest.raises(Failed, match=r"the checking process died \(SIGKILL\)"):
        worker.ask(("x", "x"))
    assert worker.pid is None


@pytest.mark.long
def test_a_verifiers_process_that_exceeds_its_memory():
    worker = Worker(MEMORY_MB, seconds=20)
    assert worker.ask(("x", "x")) == "right"
    with pytest.raises(Failed, match=f"out of memory .{MEMORY_MB} MB"):
        worker.ask(("x", f"({'+'.join(f'x^{i}' for i in range(400))})^{{40}}"))
    assert worker.pid is None
    assert worker.ask(("x", "2x-x")) == "right"
    worker.close()


def test_the_sweep_goes_on_and_compare_shows_the_hole(nursery, small, tmp_path):
    arguments = ["-m", "method=grpo,delta", "seed=0,1", *small]
    code, out = nursery.run(arguments, tmp_path / "whole")
    assert code == 0, out
    cwd = tmp_path / "failed"
    code, out = nursery.run(arguments, cwd, ["loss_is_nan_for", "delta", 1, 2])
    assert code == 1 and "Traceback" not in out, out
    assert "3 done, 0 skipped (done before), 1 not finished" in out
    assert "seed-1: failed: FloatingPointError: the loss is nan" in out
    [hole] = load(cwd / "results" / "sweep").holes
    assert hole.label.startswith("delta") and hole.seed == 1
    assert hole.why == "failed: FloatingPointError: the loss is nan" and "mend the cause" in hole.todo
    code, out = nursery.run(arguments, cwd)
    assert code == 0 and "1 done, 3 skipped" in out
    assert load(cwd / "results" / "sweep").holes == []
    assert numbers(cwd) == numbers(tmp_path / "whole")


@pytest.mark.long
def test_a_run_whose_worker_process_is_killed_every_time_has_failed_and_the_others_are_made(
    nursery, small, tmp_path
):
    arguments = ["-m", "seed=0,1", *small]
    code, out = nursery.run(arguments, tmp_path / "whole")
    assert code == 0, out
    cwd, why = tmp_path / "killed", "failed: worker process killed (SIGKILL; out of memory?)"
    code, out = nursery.run([*arguments, "n_jobs=2"], cwd, ["a_worker_is_killed", "seed-0"], seconds=280)
    assert code == 1 and "Traceback" not in out, out
    assert "a worker process was killed, out of memory perhaps; taking the unfinished runs up again" in out
    assert "1 done, 0 skipped (done before), 1 not finished" in out and f"seed-0: {why}" in out
    [hole] = load(cwd / "results" / "sweep").holes
    assert (hole.seed, hole.why) == (0, why)
    code, out = nursery.run(arguments, cwd)
    assert code == 0 and "1 done, 1 skipped" in out, out
    assert numbers(cwd) == numbers(tmp_path / "whole")


def test_the_curve_says_what_it_was_at(small, tmp_path):
    seen = []
    cfg = compose(small, tmp_path)
    original = LearningCurve.evaluate

    def evaluate(self, *arguments):
        before = self.during
        found = original(self, *arguments)
        seen.append((before, self.during == before))
        return found

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(LearningCurve, "evaluate", evaluate)
        run(cfg)
    assert {now for _, now in seen} == {True}
    assert {before for before, _ in seen} == {"taking up the records", "training", "end point"}

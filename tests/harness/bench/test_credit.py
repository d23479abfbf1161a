import json
import os
import re
import subprocess
import sys
from dataclasses import asdict, replace

import pytest
import torch

from harness.bench import credit
from harness.bench.credit import Cell, exponents, main, measure, over, parse, run_cell, table
from harness.bench.memory import MAPPED
from harness.bench.synthetic import rollouts
from harness.config import CONF
from harness.errors import ConfigError
from methods import Method
from methods.batch import SIGNALS

MB = 10**6
SMALL = Cell("grpo", 8, 16, hidden=4, group=4, live_rows=4, threads=1)

PEAKS = """
import torch
from harness.bench.memory import measured

def block(n):  # of 8n bytes
    return torch.ones(n, dtype=torch.float64)

def freed_before_another():
    x = block(2_000_000)
    small = block(100_000)  # in a common heap what is below it would stay
    del x
    return block(3_000_000)

def one_after_another():
    for _ in range(5):
        block(2_000_000)

def two_at_a_time():
    return block(2_000_000) + block(1)

block(4_000_000)  # 32 MB that are free again
for call in (lambda: block(2_000_000), lambda: block(2_000_000)[0], freed_before_another, one_after_another,
             two_at_a_time, lambda: None):
    measured(call)  # code
    print(measured(call)[2])
"""  # fmt: skip


def test_the_peak_of_a_call_is_that_of_its_blocks():
    done = subprocess.run(
        [sys.executable, "-c", PEAKS],
        env=os.environ | MAPPED, cwd=CONF.parent, capture_output=True, text=True, check=True,
    )  # fmt: skip
    peaks = [int(line) / MB for line in done.stdout.split()]
    # the result counts; freed before the end still counts; 24.8 after 16.8; 16 five times; 16 and a sum of 16; nothing
    assert peaks == pytest.approx([16, 16, 24.8, 16, 32, 0], rel=0.03, abs=0.3)


def test_a_cell_has_time_memory_and_the_largest_input():
    found = measure(SMALL)
    assert found.keys() == {"seconds", "peak", "largest"}
    assert 0 < found["seconds"] < 10 and found["peak"] >= 0
    assert found["largest"] == 8 * 16 * 8, "token ids, int64"
    found = measure(Cell("delta", 8, 16, hidden=4, group=4, live_rows=4, threads=1))
    assert found["largest"] == 8 * 16 * 4 * 4, "hidden, float32"


def test_a_live_method_is_measured_at_its_own_stage_too(monkeypatch):
    calls = []

    def live(self, now, values):
        calls.append((now, values))

    monkeypatch.setattr(Method, "live", live)
    monkeypatch.setattr(Method, "is_live", property(lambda self: True))
    found = measure(SMALL)
    assert found["live"].keys() == {"seconds", "peak", "largest"}
    assert found["live"]["largest"] == 4 * 16 * 8, "float64 log-probs of the micro-batch"
    now, values = calls[0]
    assert values.shape == now.logps.shape == now.ref_logps.shape == (4, 16)
    assert (now.logps_now <= 0).all() and (now.entropies_now >= 0).all()


def test_only_what_a_method_needs_is_made():
    batch = rollouts(8, 16, 4, 5, {"logps", "token_texts", "score"})
    assert batch.cache.keys() == {"logps", "token_texts"}
    assert batch.provider.model is batch.provider.gradients is batch.provider.sums is None
    everything = rollouts(8, 16, 4, 5, {*SIGNALS, "continuations", "input_gradients", "auxiliary"})
    assert everything.cache.keys() == SIGNALS.keys() - {"probs"}
    assert everything.hidden.shape == (8, 16, 5) and everything.hidden.dtype == torch.float32
    assert everything.logps.dtype == everything.entropies.dtype == torch.float64
    assert set(everything.decisive.unique().tolist()) == {-1, 0, 1}
    assert [len(row) for row in everything.token_texts] == everything.lengths.tolist()
    assert ["".join(row) for row in everything.token_texts] == everything.completions
    assert all(text.endswith("= 7") for text in everything.completions + everything.references)
    assert all(text.count("=") == 1 for text in everything.completions + everything.references)
    assert everything.references[0] == everything.references[3] != everything.references[4]
    assert everything.prompts[0] == everything.prompts[3] != everything.prompts[4]
    assert ((everything.lengths >= 8) & (everything.lengths <= 16)).all()
    again = rollouts(8, 16, 4, 5, {"hidden"})
    assert torch.equal(again.completion_ids, everything.completion_ids)
    assert torch.equal(again.hidden, rollouts(8, 16, 4, 5, {"hidden"}).hidden)


def test_work_is_answered_in_the_right_shape_by_what_is_asked():
    batch = rollouts(8, 16, 4, 5, {"score", "continuations", "input_gradients", "auxiliary"})
    given = batch.logps_given(["another prompt"] * 8)
    assert ((given < 0) == batch.mask).all()
    assert not torch.equal(given, batch.logps_given(["a third"] * 8))
    rewards = batch.continuations([0, 1, 1], [3, 4, 5], 9)
    assert rewards.shape == (3, 9) and set(rewards.flatten().tolist()) == {0.0, 1.0}
    assert torch.equal(rewards[:1], batch.continuations([0], [3], 9))
    assert ((batch.input_gradients(batch.mask) != 0) <= batch.mask).all()
    auxiliary = batch.auxiliary()
    assert auxiliary.logps([2, 3]).shape == (2, 16) and (auxiliary.logps([3, 1]) <= 0).all()
    auxiliary.logps([0, 1]).sum().backward()
    assert all(parameter.grad is not None for parameter in auxiliary.parameters())


def test_the_command_prints_a_table_and_its_progress(capfd):
    arguments = ["methods=[grpo]", "sizes=[16x8,8x8]", "hidden=4", "group=4"]
    assert main(arguments) == 0
    out = capfd.readouterr().out
    assert "[1/2] grpo 8×8: " in out and "[2/2] grpo 16×8: " in out
    heads = "| method | 8×8: s | 8×8: MB | 8×8: × | 16×8: s | 16×8: MB | 16×8: × | time exponent | memory exponent |"
    assert heads in out and "\n| grpo | " in out
    assert "hidden size 4" in out and "Method.live" not in out


def test_a_method_that_fails_is_in_the_table_and_is_not_tried_any_larger(monkeypatch, capfd):
    monkeypatch.setattr(credit, "load_method", lambda name: 1 / 0)
    credit.child(json.dumps(asdict(SMALL)))
    out, err = capfd.readouterr()
    assert json.loads(out) == {"error": "ZeroDivisionError: division by zero"} and "Traceback" in err

    answer = "print('noise'); print('{\"error\": \"E: a | b\"}')"
    monkeypatch.setattr(credit, "CHILD", [sys.executable, "-c", answer])
    assert main(["methods=[grpo,rloo]", "largest=16x16", "hidden=4", "group=4"]) == 1
    out = capfd.readouterr().out
    assert "[4/6] rloo 4×4: E: a | b" in out and "8×8:" not in out.partition("Groups of")[0]
    assert "| grpo | failed: E: a \\| b |  |  |  |  |  |  |  |  | –, – | –, – |" in out


@pytest.mark.parametrize(
    ("answer", "limit", "says"),
    [
        ("import os, signal; os.kill(os.getpid(), signal.SIGKILL)", 60, "ended with -9, .* memory runs out"),
        ("raise SystemExit(3)", 60, "ended with 3$"),
        ("import time; time.sleep(60)", 1, "took over 1 s"),
    ],
)
def test_a_process_that_ends_without_an_answer(monkeypatch, answer, limit, says):
    monkeypatch.setattr(credit, "CHILD", [sys.executable, "-c", answer])
    [(key, error)] = run_cell(SMALL, limit).items()
    assert key == "error" and re.search(says, error)


def test_inputs_that_do_not_fit_are_not_made(monkeypatch):
    monkeypatch.setattr(credit, "status", lambda *_: 12 * MB)
    # 1024·2048 tokens of 1536 float32, and five maps of 8 bytes: 2097152·(6144 + 40) = 12.97e9
    with pytest.raises(ConfigError, match=r"inputs take 13.0 GB, 0.0 GB are free"):
        measure(replace(SMALL, method="delta", rows=1024, width=2048, hidden=1536))


def result(seconds, peak, largest=10 * MB):
    return {"seconds": seconds, "peak": peak * MB, "largest": largest}


CELLS = {
    "lean": [result(0.5, 5), result(2.0, 20)],
    "fat": [result(0.25, 2), result(4.0, 31)],
    "broken": [{"error": "E: why"}],
}


def test_the_table_by_hand():
    # from 4×8 to 8×16 tokens grow by 4: lean 2/0.5 = 4 = 4^1, 20/5 = 4^1; fat 16 = 4^2, 31/2 = 15.5 = 4^1.977
    assert table(CELLS, [(4, 8), (8, 16)]).splitlines()[2:] == [
        "| lean | 0.5 | 5.0 | 0.50 | 2 | 20.0 | 2.00 | 1.00 | 1.00 |",
        "| fat | 0.25 | 2.0 | 0.20 | 4 | 31.0 | **3.10** | 2.00 | 1.98 |",
        "| broken | failed: E: why |  |  |  |  |  | – | – |",
    ]
    assert table({"lean": [result(0.5, 5)]}, [(4, 8)]).splitlines() == [
        "| method | 4×8: s | 4×8: MB | 4×8: × |",
        "|---|--:|--:|--:|",
        "| lean | 0.5 | 5.0 | 0.50 |",
    ]
    nearly = {"nearly": [result(1, 20.4)], "just": [result(1, 20.6)]}
    assert over(nearly) == "Over 2× the largest input at the largest size: just (2.1×)."
    assert over(CELLS) == "Over 2× the largest input at the largest size: fat (3.1×)."
    assert over({"lean": CELLS["lean"]}) == "None of 1 over 2× the largest input at the largest size."


def test_no_exponent_where_there_is_nothing_to_measure():
    found = [result(1, 0), result(1, 0.5), result(1, 2), result(1, 16)]
    assert exponents(found, [1, 8, 64, 512], "peak", 1e6) == "–, –, 1.00"  # 16/2 = 8 = 8^1


def test_options():
    _, methods, sizes = parse([])
    assert methods == sorted(path.stem for path in (CONF / "method").glob("*.yaml"))
    assert sizes == [(256, 512), (512, 1024), (1024, 2048)]
    assert parse(["largest=64x32"])[2] == [(16, 8), (32, 16), (64, 32)]
    assert parse(["sizes=[64x32,32x8]", "methods=[lampo]"])[1:] == (["lampo"], [(32, 8), (64, 32)])


@pytest.mark.parametrize(
    ("argument", "says"),
    [
        ("methods=[lampoo]", "There is no method named lampoo. Did you mean lampo"),
        ("method=[lampo]", "There is no option method. Did you mean methods"),
        ("lampo", "There is no option lampo. "),
        ("threads=0", "threads=0 must be at least 1"),
        ("threads=x", "threads: "),
        ("group=1", "group=1 must be at least 2"),
        ("largest=1024", "1024 is no size"),
        ("largest=1000x2048", "1000x2048 is no size here: .* multiples of 64 and 16,"),
        ("sizes=[24x8]", "24x8 is no size here: .* multiples of 16 and 4,"),
        ("sizes=[16x0]", "16x0 is no size"),
    ],
)
def test_options_that_are_refused(argument, says, capsys):
    assert main([argument]) == 2
    out, err = capsys.readouterr()
    assert out == "" and err.count("\n") == 1 and re.match(f"harness.bench credit: {says}", err)


def test_elsewhere_than_on_linux_it_says_so(monkeypatch, capsys):
    monkeypatch.setattr(sys, "platform", "darwin")
    assert main([]) == 2
    assert "needs Linux with glibc" in capsys.readouterr().err

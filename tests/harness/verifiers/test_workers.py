import os
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest

from harness.verifiers import equivalence, workers
from harness.verifiers.workers import Failed, Pool, Worker


def alive(pid):
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    return True


def test_replies_in_order_and_nothing_left_behind():
    pool = Pool(2, memory_mb=2048, seconds=5)
    replies = pool.ask([("x", "2x-x"), ("x", "2x"), ("x", ")("), (")(", "x")])
    assert replies == ["right", "wrong", "answer", "reference"]
    pids = [worker.pid for worker in pool.workers if worker.pid]
    assert pids and all(alive(pid) for pid in pids)
    pool.close()
    assert not any(alive(pid) for pid in pids)
    assert pool.ask([("x", "3x-2x")]) == ["right"]  # starts anew
    pool.close()


def test_a_worker_knows_no_torch():
    worker = Worker(memory_mb=2048, seconds=5)
    assert worker.ask(("x", "x")) == "right"
    assert "torch" not in Path(f"/proc/{worker.pid}/maps").read_text()
    worker.close()


def test_the_time_limit_ends_the_process_and_says_so():
    worker = Worker(memory_mb=2048, seconds=0.5)
    worker.ask(("x", "x"))
    pid = worker.pid
    with pytest.raises(Failed, match=r"time limit of 0.5 s"):
        worker.ask(("5", "9^{9^{9^9}}"))
    assert not alive(pid)
    assert worker.ask(("x", "2x-x")) == "right"
    worker.close()


def test_the_memory_limit_is_a_failure():
    worker = Worker(memory_mb=20, seconds=5)
    with pytest.raises(Failed):
        worker.ask(("x", "x"))
    assert worker.pid is None


def test_a_worker_is_renewed_before_it_grows(monkeypatch):
    monkeypatch.setattr(workers, "QUESTIONS", 2)
    worker = Worker(memory_mb=2048, seconds=5)
    pids = []
    for _ in range(3):
        worker.ask(("x", "x"))
        pids.append(worker.pid)
    assert pids[0] == pids[1] != pids[2] and not alive(pids[0])
    worker.close()


def test_a_stopped_worker_is_given_up_by_the_clock(monkeypatch):
    worker = Worker(memory_mb=2048, seconds=0.1)
    worker.ask(("x", "x"))
    os.kill(worker.pid, signal.SIGSTOP)
    with pytest.raises(Failed, match="no reply within 5.5 s"):
        worker.ask(("x", "x"))
    assert worker.pid is None


def test_an_interrupted_start_leaves_no_reply_for_the_next_question(monkeypatch):
    worker = Worker(memory_mb=2048, seconds=5)

    def interrupted(self, seconds):
        raise KeyboardInterrupt

    with monkeypatch.context() as patch, pytest.raises(KeyboardInterrupt):
        patch.setattr(Worker, "_line", interrupted)
        worker.ask(("x", "x"))
    assert [worker.ask(("x", "2x")), worker.ask(("x", "2x-x"))] == ["wrong", "right"]
    worker.close()


def test_an_interrupt_does_not_wait_for_replies():
    pool = Pool(2, memory_mb=2048, seconds=20)
    assert pool.ask([("x", "2x-x"), ("x", "2x")]) == ["right", "wrong"]
    busy = [worker.pid for worker in pool.workers if worker.pid]
    threading.Timer(0.5, os.kill, (os.getpid(), signal.SIGINT)).start()
    start = time.monotonic()
    with pytest.raises(KeyboardInterrupt):
        pool.ask([("5", f"9^{{9^{{9^{n}}}}}") for n in range(7, 10)])
    assert time.monotonic() - start < 3
    assert not any(alive(pid) for pid in busy)
    assert pool.ask([("x", "2x"), ("x", "2x-x")]) == ["wrong", "right"]
    pool.close()


def test_one_pool_for_equal_limits():
    assert workers.shared_pool(1, 2048, 5.0) is workers.shared_pool(1, 2048, 5.0)
    assert workers.shared_pool(1, 2048, 5.0) is not workers.shared_pool(1, 2048, 6.0)


@pytest.mark.parametrize("end", ["exit", "kill"])
def test_no_process_outlives_its_parent(end):
    code = (
        "import sys, os, signal; from harness.verifiers.workers import shared_pool;"
        "pool = shared_pool(1, 2048, 5.0); assert pool.ask([('x', 'x')]) == ['right'];"
        "print(pool.workers[0].pid, flush=True);"
    ) + ("os.kill(os.getpid(), signal.SIGKILL)" if end == "kill" else "")
    out = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True).stdout
    pid = int(out)
    for _ in range(100):
        if not alive(pid):
            break
        time.sleep(0.1)
    assert not alive(pid)


def test_a_forked_child_uses_processes_of_its_own():
    pool = workers.shared_pool(1, 2048, 4.0)
    assert pool.ask([("x", "x")]) == ["right"]
    child = os.fork()
    if child == 0:
        os._exit(0 if not workers._pools else 1)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
    assert pool.ask([("x", "2x-x")]) == ["right"]
    pool.close()


@pytest.mark.parametrize(
    ("reference", "answer", "reply"),
    [
        ("x+1", "1+x", "right"), ("0.333333", "1/3", "right"), ("0.0000672", "0.0000671", "wrong"),
        ("52_{8}", "52_{7}", "wrong"),
        ("52_{8}", "52", "right"), ("2", r"\sqrt{5}", "wrong"), ("1", r"\sin^2 x + \cos^2 x", "right"),
        (r"\frac{0}{0}", "5", "wrong"),
        ("5", r"\frac{5}{0}", "wrong"), ("5$ or $6", "5", "wrong"), (")(", "5", "reference"),
        ("5", ")(", "answer"), ("i", "-i", "wrong"),
        ("1+i", "i+1", "right"), ("x", "2x-x", "right"), ("0.0010001", "0.0010004", "wrong"),
        ("2x+y=5", "5", "wrong"), ("x", "2x", "wrong"), ("x", "2y-y", "wrong"),
    ],
)  # fmt: skip
def test_compare(reference, answer, reply):
    assert equivalence.compare(reference, answer) == reply

"""Two CPU processes (gloo) give the same credit and the same update as one process with the whole batch."""

import os
import socket
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file

from tests.harness.conftest import make_policy

SCRIPT, ROOT = Path(__file__).with_name("data_parallel.py"), Path(__file__).parents[2]


def free_port():
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


def launched(processes, out, kind):
    # what `accelerate launch` starts for several GPUs of a machine; for CPUs it would ask for MPI
    launch = ["-m", "torch.distributed.run", "--nproc_per_node", str(processes), "--master_port", str(free_port())]
    command = [sys.executable, *(launch if processes > 1 else []), str(SCRIPT), str(out), kind]
    env = os.environ | {"OMP_NUM_THREADS": "1", "PYTHONPATH": str(ROOT), "ACCELERATE_USE_CPU": "true"}
    return subprocess.run(command, cwd=out.parent, env=env, capture_output=True, text=True, timeout=240, check=False)


@pytest.mark.parametrize("kind", ["grpo", "dapo"])
def test_two_processes_are_one(tmp_path, kind):
    found = []
    for processes in (1, 2):
        out = tmp_path / f"{processes}.safetensors"
        ended = launched(processes, out, kind)
        assert ended.returncode == 0, ended.stderr[-2000:]
        found.append(load_file(out))
    one, two = found
    assert (one["processes"].item(), two["processes"].item()) == (1, 2)
    assert torch.equal(one["ids"], two["ids"])  # common random numbers hold across processes
    torch.testing.assert_close(one["credit"], two["credit"], rtol=1e-5, atol=1e-6)
    assert one["credit"].any()
    names = [name for name in one if name.startswith("weights.")]
    whole, parted = (torch.cat([own[name].flatten() for name in names]) for own in found)
    base = dict(make_policy().model.named_parameters())
    before = torch.cat([base[name.removeprefix("weights.")].detach().flatten() for name in names])
    assert (whole - before).norm() > 0.01
    assert (whole - parted).norm() / (whole - before).norm() < 1e-4


def test_a_group_on_two_processes_is_refused(tmp_path):
    ended = launched(2, tmp_path / "out.safetensors", "straddling")
    assert ended.returncode != 0 and "a group would straddle processes" in ended.stderr

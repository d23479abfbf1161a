"""A disk that is full or read-only, and two commands in one folder: a clear error or a clean recovery."""

import contextlib
import errno
import json
import os
import shutil
import subprocess

import pytest

from harness.compare.__main__ import main as compare
from harness.compare.load import load
from harness.config import run_dir
from harness.curve import LearningCurve
from harness.deltas import KeptDeltas
from harness.errors import RunFailed, Unrecorded
from harness.records import Records
from harness.run import run
from tests.faults.conftest import compose, numbers, runs
from tests.harness.compare.conftest import Tree


@contextlib.contextmanager
def mounted(path, options):
    """A file system of its own in memory; skipped where this may not be mounted (the tests without it stay)."""
    path.mkdir(parents=True, exist_ok=True)
    made = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", options, "tmpfs", str(path)], capture_output=True, text=True
    )
    if made.returncode:
        pytest.skip(f"mounting a tmpfs is not allowed here: {made.stderr.strip()}")
    try:
        yield path
    finally:
        subprocess.run(["umount", "-l", str(path)], check=True)


@pytest.mark.parametrize(
    ("kilobytes", "begun", "last"),
    [(24, [], 0), (150, ["checkpoint-2"], 0), (400, ["checkpoint-2", "checkpoint-4"], 2)],
)
def test_a_disk_that_fills_up_and_is_cleared(nursery, sweep, whole, tmp_path, kilobytes, begun, last):
    """Too small for the records, for a first checkpoint, for a second one beside it: `begun` and the `last` whole."""
    with mounted(tmp_path / "results", "size=8m") as disk:
        filler = disk / "filler"
        filler.write_bytes(b"0" * (8192 - kilobytes) * 1024)
        code, out = nursery.run(sweep, tmp_path)
        assert code == 1 and "2 not finished" in out, out
        assert "No space left on device" in out or "error code 28" in out.lower() or "os error 28" in out, out
        for folder in runs(tmp_path).values():
            assert not (folder / "STATUS").exists() or (folder / "STATUS").read_text().strip() != "done"
        first = runs(tmp_path)["delta/seed-0"]
        assert sorted(path.name for path in first.glob("checkpoint/*")) == begun
        assert (Records(first).last_checkpoint() or (0, None))[0] == last
        filler.unlink()
        code, out = nursery.run(sweep, tmp_path)
        assert code == 0, out
        assert numbers(tmp_path) == whole


def test_a_read_only_folder(nursery, sweep, tmp_path):
    with mounted(tmp_path / "results", "size=1m") as disk:
        subprocess.run(["mount", "-o", "remount,ro", str(disk)], check=True)
        code, out = nursery.run(sweep, tmp_path)
    assert code == 1 and "Read-only file system" in out and "Traceback" not in out, out
    assert "harness: " in out and "2 not finished" in out


def test_a_comparison_on_a_full_and_on_a_read_only_disk(tmp_path, capsys):
    tree = Tree(tmp_path / "results" / "demo")
    tree.sweep({"lampo": [0.02, 0.05]})
    with mounted(tmp_path / "out", "size=32m") as disk:
        command = [f"runs={tree.root}", f"out={disk}"]
        assert compare(command) == 0
        before = {path: path.read_bytes() for path in disk.rglob("*") if path.is_file()}
        tree.run("delta")
        takes = sum(map(len, before.values()))
        for left in (0, takes // 2, takes * 9 // 10):  # too little for the first file, for half, for the last ones
            filler = disk / "filler"
            filler.write_bytes(b"0" * (shutil.disk_usage(disk).free - left))
            capsys.readouterr()
            assert compare(command) == 2
            assert "No space left on device" in (said := capsys.readouterr().err) and said.startswith("harness.compare")
            filler.unlink()
            assert {path: path.read_bytes() for path in disk.rglob("*") if path.is_file()} == before
        subprocess.run(["mount", "-o", "remount,ro", str(disk)], check=True)
        assert compare(command) == 2 and "Read-only file system" in capsys.readouterr().err
        subprocess.run(["mount", "-o", "remount,rw", str(disk)], check=True)
        assert compare(command) == 0
        assert (disk / "comparison.csv").read_bytes() != before[disk / "comparison.csv"]


@pytest.fixture
def cfg(small, tmp_path):
    return compose(small, tmp_path / "results")


def no_space(*_, **__):
    raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))


def test_a_run_that_cannot_even_write_its_status_says_so_to_the_sweep(cfg, monkeypatch, whole_run):
    with monkeypatch.context() as patch:
        patch.setattr(Records, "append", lambda *_: patch.setattr(Records, "replace", no_space) or no_space())
        with pytest.raises(Unrecorded) as caught:
            run(cfg)
    assert "OSError: [Errno 28] No space left on device; STATUS could not be written: [Errno 28]" in str(
        caught.value
    )
    assert Records(run_dir(cfg)).status == "running"  # what `compare` shows as a hole
    run(cfg)
    assert read(run_dir(cfg)) == whole_run


def test_a_folder_that_cannot_be_made(cfg, tmp_path):
    (tmp_path / "results").write_text("a file")
    with pytest.raises(Unrecorded, match="cannot be written: .*Not a directory"):
        run(cfg)


@pytest.mark.parametrize("file", ["metrics", "evals"])
def test_a_line_that_did_not_fit(cfg, monkeypatch, whole_run, file):
    """The first half of a line reaches the disk, then it is full."""
    append = Records.append

    def half(self, name, lines):
        append(self, name, lines)
        if name == file and len(self.read("metrics")) == 2:
            path = self.directory / f"{name}.jsonl"
            os.truncate(path, path.stat().st_size - 20)
            no_space()

    with monkeypatch.context() as patch:
        patch.setattr(Records, "append", half)
        with pytest.raises(RunFailed, match="No space left"):
            run(cfg)
    [hole] = load(run_dir(cfg).parents[1]).holes
    assert hole.why.startswith("failed: OSError")
    run(cfg)
    assert read(run_dir(cfg)) == whole_run


def read(folder):
    cwd = folder.parents[3]
    return next(iter(numbers(cwd).values()))


@pytest.fixture(scope="module")
def whole_run(small, tmp_path_factory):
    cfg = compose(small, tmp_path_factory.mktemp("one") / "results")
    run(cfg)
    return read(run_dir(cfg))


def test_two_commands_in_one_folder(nursery, sweep, whole, tmp_path):
    pids = [nursery.start(sweep, tmp_path) for _ in range(2)]
    codes = [nursery.wait(pid) for pid in pids]
    assert 0 in codes and {*codes} <= {0, 1}, nursery.log.read_text()
    assert "Traceback" not in nursery.log.read_text()
    code, out = nursery.run(sweep, tmp_path)
    assert code == 0 and "2 skipped (done before)" in out
    assert numbers(tmp_path) == whole


def test_a_run_that_another_command_has_just_finished_is_left_alone(cfg, monkeypatch):
    run(cfg)
    before = {path: path.stat().st_mtime_ns for path in run_dir(cfg).rglob("*") if path.name != ".lock"}
    statuses = iter(["running", "done"])
    monkeypatch.setattr(Records, "status", property(lambda self: next(statuses)))
    run(cfg)
    after = {path: path.stat().st_mtime_ns for path in run_dir(cfg).rglob("*") if path.name != ".lock"}
    assert after == before


@pytest.mark.parametrize(
    ("damage", "says"),
    [
        (lambda folder: (folder / "optimizer.pt").unlink(), "it lacks optimizer.pt"),
        (lambda folder: (folder / "rng_state.pth").unlink(), "it lacks rng_state.pth"),
        (lambda folder: os.truncate(folder / "optimizer.pt", 999), "optimizer.pt|PytorchStreamReader|failed"),
        (lambda folder: os.truncate(folder / "model.safetensors", 999), "model.safetensors cannot be read"),
        (lambda folder: (folder / "model.safetensors").unlink(), "it has no weights named"),
        (lambda folder: renamed(folder / "model.safetensors"), "it has no weights named"),
        (lambda folder: resized(folder / "model.safetensors"), "size mismatch"),
        (lambda folder: (folder / "trainer_state.json").write_text('{"global_step": 7}'), "global_step 2"),
        (lambda folder: (folder / "trainer_state.json").write_text('{"global_step": 2, "new": 1}'), "new"),
        (lambda folder: (folder / "trainer_state.json").write_text("[]"), "global_step 2"),
    ],
    ids=[
        "no optimizer", "no random state", "optimizer cut", "weights cut", "no weights", "weights renamed",
        "weights resized", "other step", "unknown field", "no mapping",
    ],
)  # fmt: skip
def test_a_checkpoint_that_is_damaged_or_of_another_version(cfg, stopped, damage, says):
    folder = stopped(cfg) / "checkpoint" / "checkpoint-2"
    damage(folder)
    with pytest.raises(
        RunFailed, match=rf"checkpoint-2 cannot be taken up .*(?:{says}).*: delete it to go on"
    ):
        run(cfg)
    assert Records(run_dir(cfg)).status.startswith("failed: ")


def failing(original, when, error):
    """`original`, which raises `error` where `when` says so of its arguments."""

    def failing(*arguments, **named):
        if when(*arguments, **named):
            raise error
        return original(*arguments, **named)

    return failing


def test_a_disk_that_is_full_at_the_end_point_is_not_the_checkpoints_fault(cfg, monkeypatch, whole_run):
    """After the last step only the end point is missing: whoever deleted this checkpoint would train anew."""
    for error, raised in ((KeyboardInterrupt(), KeyboardInterrupt), (OSError(errno.ENOSPC, "full"), RunFailed)):
        with monkeypatch.context() as patch:
            last = failing(Records.append, lambda self, name, lines: name == "samples", error)
            patch.setattr(Records, "append", last)
            with pytest.raises(raised) as caught:
                run(cfg)
    assert "full" in str(caught.value) and "delete" not in str(caught.value)
    scene = json.loads((run_dir(cfg) / "failure.json").read_text())
    assert (scene["during"], scene["update"], scene["rows"]) == ("end point", 6, [])
    assert scene["resumed_from"].endswith("checkpoint-6")
    run(cfg)
    assert read(run_dir(cfg)) == whole_run


@pytest.mark.parametrize(
    ("owner", "name"), [(LearningCurve, "on_train_begin"), (LearningCurve, "start"), (KeptDeltas, "start")]
)
def test_what_fails_beside_a_checkpoint_is_not_its_fault(small, stopped, tmp_path, monkeypatch, owner, name):
    """As a tracker that begins, or what is kept of the weights, may."""
    cfg = compose([*small, "trainer.deltas_every=1", "trainer.max_grad_norm=2.0"], tmp_path / "results")
    stopped(cfg)
    with monkeypatch.context() as patch:
        patch.setattr(owner, name, no_space)
        with pytest.raises(RunFailed, match="No space left") as caught:
            run(cfg)
    assert "delete" not in str(caught.value)
    run(cfg)
    assert Records(run_dir(cfg)).status == "done"


def test_without_a_damaged_checkpoint_the_run_starts_anew(cfg, stopped, whole_run):
    shutil.rmtree(stopped(cfg) / "checkpoint" / "checkpoint-2")  # the only one that is kept
    run(cfg)
    assert read(run_dir(cfg)) == whole_run


def renamed(path):
    """Weights under the names of another version, which the trainer's own loading passes over silently."""
    from safetensors.torch import load_file, save_file

    save_file({f"transformer.{name}": value for name, value in load_file(path).items()}, path)


def resized(path):
    from safetensors.torch import load_file, save_file

    save_file({name: value[:1].clone() for name, value in load_file(path).items()}, path)

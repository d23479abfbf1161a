import os
import shutil
import socket
import tempfile
from pathlib import Path

import pytest

from harness.sandbox import Limits, Sandbox, SandboxError, open_sandbox

LIMITS = Limits(wall_seconds=20, cpu_seconds=10, memory_mb=256, scratch_mb=4, answer_mb=2)

# What hostile programs are judged by, and what an honest one says to it.
TESTS = "assert answer(21) == 42\nassert answer(4) == 8"
HONEST = "def answer(x):\n    return 2 * x\n"


def opened(name: str) -> Sandbox:
    """The named sandbox with two workers; the test is skipped, with the reason, where it cannot be started.

    One that starts and then judges wrongly, or does not contain, is a failure.
    """
    try:
        return open_sandbox(name, LIMITS, workers=2)
    except SandboxError as error:
        if "in it: " in str(error) or "passes in it" in str(error) or "does not contain" in str(error):
            raise
        pytest.skip(str(error))


@pytest.fixture(scope="session")
def sandbox():
    with opened("auto") as sandbox:
        yield sandbox


@pytest.fixture(scope="session", params=["bubblewrap", "sandlock"])
def strong(request):
    with opened(request.param) as sandbox:
        yield sandbox


@pytest.fixture(scope="session")
def unsafe():
    with opened("unsafe") as sandbox:
        yield sandbox


@pytest.fixture
def outside():
    """A folder with one file, both open to every user: nothing but the sandbox keeps a program off them."""
    folder = Path(tempfile.mkdtemp(prefix="outside-"))
    folder.chmod(0o777)
    (folder / "canary").write_text("alive")
    (folder / "canary").chmod(0o666)
    yield folder
    shutil.rmtree(folder)


@pytest.fixture
def targets(outside, monkeypatch):
    """What an escape would reach: open files, servers that listen, a secret in the environment."""
    monkeypatch.setenv("HOSTILE_SECRET", "1")
    with (
        socket.create_server(("127.0.0.1", 0)) as tcp,
        socket.socket(socket.AF_UNIX) as named,
        socket.socket(socket.AF_UNIX) as abstract,
    ):
        port = tcp.getsockname()[1]
        named.bind(str(outside / "socket"))
        (outside / "socket").chmod(0o777)
        abstract.bind(f"\0hostile-{port}")
        for server in (named, abstract):
            server.listen()
        known = {"FOLDER": str(outside), "HARNESS": str(os.getpid()), "PORT": str(port)}
        before = sorted(os.listdir(outside))

        def fill(text: str) -> str:
            for name, value in known.items():
                text = text.replace(name, value)
            return text

        yield fill
    assert sorted(os.listdir(outside)) == before
    assert (outside / "canary").read_text() == "alive"
    assert (outside / "canary").stat().st_mode & 0o777 == 0o666
    assert not Path("/hostile").exists()


def descendants(pid: int) -> set[int]:
    """Processes that `pid` started, and those that these started, zombies included."""
    parents = {}
    for folder in Path("/proc").glob("[0-9]*"):
        try:
            parents[int(folder.name)] = int((folder / "stat").read_text().rpartition(")")[2].split()[1])
        except (FileNotFoundError, ProcessLookupError):
            continue  # ended meanwhile
    found: set[int] = set()
    while new := {child for child, parent in parents.items() if parent in found | {pid}} - found:
        found |= new
    return found


def exists(pid: int) -> bool:
    return os.path.exists(f"/proc/{pid}")

"""Programs that try the walls: each is judged failed, and what it reaches for is as it was.

An escape is followed by `return 2 * x`, the right answer: it would pass if it succeeded.
"""

from textwrap import indent

import pytest

from tests.harness.sandbox.conftest import HONEST, TESTS

LIBC = "import ctypes, os\nlibc = ctypes.CDLL(None, use_errno=True)\n"
CHECK = "\nif result < 0: raise OSError(ctypes.get_errno(), 'refused')"

ESCAPES = {
    # files
    "read a file outside": "open('FOLDER/canary').read()",
    "overwrite a file outside": "open('FOLDER/canary', 'w').write('dead')",
    "make a file outside": "open('FOLDER/new', 'x')",
    "list a folder outside": "import os; os.listdir('FOLDER')",
    "rename a file outside": "import os; os.rename('FOLDER/canary', 'FOLDER/other')",
    "remove a file outside": "import os; os.remove('FOLDER/canary')",
    "change a mode outside": "import os; os.chmod('FOLDER/canary', 0o777)",
    "change times outside": "import os; os.utime('FOLDER/canary', (0, 0))",
    "read through a symbolic link": "import os; os.symlink('FOLDER/canary', 'link'); open('link').read()",
    "write through a symbolic link": "import os; os.symlink('FOLDER', 'link'); open('link/new', 'w')",
    "read through a hard link": "import os; os.link('FOLDER/canary', 'link'); open('link').read()",
    "read a file by dots": "open('../../../../../..FOLDER/canary').read()",
    "read the password file": "open('/etc/passwd').read()",
    "write to the root folder": "open('/hostile', 'w')",
    "write to the interpreter": "import os; open(os.__file__, 'a')",
    "write to the judge's code": "import wire; open(wire.__file__, 'a')",
    "shared memory": "from multiprocessing.shared_memory import SharedMemory; SharedMemory(create=True, size=99)",
    "a device node": "import os; os.mknod('disk', 0o60666, os.makedev(254, 0)); open('disk', 'rb').read(1)",
    "fill the scratch directory": "for i in range(40): open(f'file{i}', 'wb').write(bytes(1 << 20))",
    "a file beyond the limit": "open('large', 'wb').truncate(1 << 40)",
    "more open files than allowed": "files = [open('/dev/null') for _ in range(1000)]",
    # processes
    "see processes": "import os; os.listdir('/proc')",
    "read another's memory": "open('/proc/HARNESS/mem', 'rb').read(1)",
    "read the first process's command": "open('/proc/1/cmdline').read()",
    "start a process": "import subprocess; subprocess.run(['/bin/sh', '-c', 'true'])",
    "fork": "import os\nif os.fork() == 0: os._exit(0)",
    "fork bomb": "import os\nwhile True: os.fork()",
    "thread bomb": "import threading, time\nfor _ in range(9): threading.Thread(target=time.sleep, args=[9]).start()",
    "multiprocessing": "import multiprocessing as m; p = m.Process(target=print); p.start(); p.join()",
    "signal the harness": "import os; os.kill(HARNESS, 15)",
    "limit the harness": "import resource; resource.prlimit(HARNESS, resource.RLIMIT_CPU, (1, 1))",
    "slow the harness": "import os; os.setpriority(os.PRIO_PROCESS, HARNESS, 19)",
    "pin the harness": "import os; os.sched_setaffinity(HARNESS, {0})",
    "trace the harness": LIBC + "result = libc.ptrace(16, HARNESS, 0, 0)" + CHECK,
    "read the harness's memory": LIBC + "result = libc.process_vm_readv(HARNESS, 0, 0, 0, 0, 0)" + CHECK,
    "a handle on the harness": "import os; os.pidfd_open(HARNESS)",
    # network
    "TCP": "import socket; socket.create_connection(('127.0.0.1', PORT))",
    "UDP": "import socket; socket.socket(type=socket.SOCK_DGRAM).sendto(b'x', ('127.0.0.1', PORT))",
    "listen": "import socket; s = socket.socket(); s.bind(('127.0.0.1', 0)); s.listen()",
    "name lookup": "import socket; socket.getaddrinfo('example.org', 80)",
    "a socket in a folder": "import socket; socket.socket(socket.AF_UNIX).connect('FOLDER/socket')",
    "an abstract socket": "import socket; socket.socket(socket.AF_UNIX).connect(chr(0) + 'hostile-PORT')",
    "the machine's host": "import socket; socket.socket(40, socket.SOCK_STREAM).connect((2, 1))",
    "a raw socket": "import socket; socket.socket(socket.AF_PACKET, socket.SOCK_RAW)",
    # privileges and limits
    "become root": "import os; os.setresuid(0, 0, 0); os.setgroups([0])",
    "a user namespace": LIBC + "result = libc.unshare(0x10000000)" + CHECK,
    "a clone into namespaces": LIBC + "result = libc.syscall(56, 0x10000000 | 17, 0, 0, 0, 0)" + CHECK,
    "mount": LIBC + "result = libc.mount(b'none', b'/tmp', b'tmpfs', 0, 0)" + CHECK,
    "another root": "import os; os.chroot('/')",
    "io_uring": LIBC + "result = libc.syscall(425, 8, ctypes.create_string_buffer(999))" + CHECK,
    "the kernel's keys": LIBC + "result = libc.syscall(250, 0, -3, 1, 0, 0)" + CHECK,
    "memory by another name": "import os; os.memfd_create('x')",
    "more memory": "import resource; resource.setrlimit(resource.RLIMIT_AS, (-1, -1))",
    "memory at once": "x = bytearray(1 << 34)",
    "memory bit by bit": "x = ['x']\nwhile True: x += x",
    "the environment": "import os; os.environ['HOSTILE_SECRET']",
}  # fmt: skip


def program(action: str) -> str:
    return "def answer(x):\n" + indent(action, "    ") + "\n    return 2 * x\n"


@pytest.mark.parametrize("name", ESCAPES)
def test_escapes_are_contained(strong, targets, name):
    outcome = strong.run_tests(targets(program(ESCAPES[name])), TESTS, timeout=10)
    assert not outcome.passed
    assert outcome.reason.partition(":")[0] in ("raised", "died"), outcome
    assert strong.run_tests(HONEST, TESTS).passed


def test_escapes_would_pass_were_they_not_contained(unsafe, targets):
    """The programs above do what they say: without a sandbox they reach their targets."""
    for name in ("read a file outside", "list a folder outside", "TCP", "a socket in a folder"):
        assert unsafe.run_tests(targets(program(ESCAPES[name])), TESTS).passed, name

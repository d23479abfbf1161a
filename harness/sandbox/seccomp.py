"""A filter of system calls, as the kernel reads it: what a test program never needs is refused with EPERM.

A second lock behind the namespaces. It takes away what namespaces do not cover (sockets of every family,
VSOCK included, memory outside the limits) and most of the kernel's surface for breaking out of them
(new namespaces, mounts, tracing, io_uring, bpf, keys).
"""

from __future__ import annotations

import platform
import struct

# Offsets in struct seccomp_data, codes of classic BPF, results.
NUMBER, ARCHITECTURE, FIRST_ARGUMENT = 0, 4, 16
LOAD, EQUAL, AT_LEAST, ANY_BIT, RETURN = 0x20, 0x15, 0x35, 0x45, 0x06
ALLOW, KILL, ERRNO = 0x7FFF0000, 0x80000000, 0x00050000
EPERM, ENOSYS = 1, 38
X32 = 0x40000000  # x86-64's second numbering, which would go round the table
NEW_NAMESPACES = 0x7E020000  # the CLONE_NEW* flags
CLONE3 = 435  # its flags are in memory, where a filter cannot look: "no such call", so that libc uses clone

# Names as in the kernel's unistd.h.
DENIED = {
    "x86_64": {
        "shmget": 29, "socket": 41, "socketpair": 53, "semget": 64, "msgget": 68, "ptrace": 101,
        "pivot_root": 155, "mount": 165, "umount2": 166, "swapon": 167, "init_module": 175,
        "delete_module": 176, "mq_open": 240, "kexec_load": 246, "add_key": 248,
        "request_key": 249, "keyctl": 250, "unshare": 272, "perf_event_open": 298,
        "name_to_handle_at": 303, "open_by_handle_at": 304, "setns": 308, "process_vm_readv": 310,
        "process_vm_writev": 311, "finit_module": 313, "memfd_create": 319, "kexec_file_load": 320,
        "bpf": 321, "userfaultfd": 323,
    },
    "aarch64": {
        "pivot_root": 41, "umount2": 39, "mount": 40, "unshare": 97, "kexec_load": 104, "init_module": 105,
        "delete_module": 106, "ptrace": 117, "mq_open": 180, "msgget": 186, "semget": 190, "shmget": 194,
        "socket": 198, "socketpair": 199, "add_key": 217, "request_key": 218, "keyctl": 219,
        "swapon": 224, "perf_event_open": 241, "name_to_handle_at": 264, "open_by_handle_at": 265,
        "setns": 268, "process_vm_readv": 270, "process_vm_writev": 271, "finit_module": 273,
        "memfd_create": 279, "bpf": 280, "userfaultfd": 282, "kexec_file_load": 294,
    },
}  # fmt: skip
EVERYWHERE = {
    "pidfd_send_signal": 424, "io_uring_setup": 425, "io_uring_enter": 426, "io_uring_register": 427,
    "open_tree": 428, "move_mount": 429, "fsopen": 430, "fsmount": 432, "pidfd_open": 434,
    "pidfd_getfd": 438, "mount_setattr": 442, "memfd_secret": 447,
}  # fmt: skip
# What Landlock leaves open, for the backend that rests on it: other files' attributes, other processes'
# priorities and limits. Not for bubblewrap, where no such file or process can be named.
ATTRIBUTES = {
    "x86_64": {
        "chmod": 90, "fchmod": 91, "chown": 92, "fchown": 93, "lchown": 94, "utime": 132, "setpriority": 141,
        "sched_setparam": 142, "sched_setscheduler": 144, "setxattr": 188, "lsetxattr": 189,
        "fsetxattr": 190, "removexattr": 197, "lremovexattr": 198, "fremovexattr": 199,
        "sched_setaffinity": 203, "utimes": 235, "ioprio_set": 251, "migrate_pages": 256, "fchownat": 260,
        "futimesat": 261, "fchmodat": 268, "move_pages": 279, "utimensat": 280, "sched_setattr": 314,
    },
    "aarch64": {
        "setxattr": 5, "lsetxattr": 6, "fsetxattr": 7, "removexattr": 14, "lremovexattr": 15,
        "fremovexattr": 16, "ioprio_set": 30, "fchmod": 52, "fchmodat": 53, "fchownat": 54, "fchown": 55,
        "utimensat": 88, "sched_setparam": 118, "sched_setscheduler": 119, "sched_setaffinity": 122,
        "setpriority": 140, "migrate_pages": 238, "move_pages": 239, "sched_setattr": 274,
    },
}  # fmt: skip
ATTRIBUTES_EVERYWHERE = {
    "process_madvise": 440, "process_mrelease": 448, "fchmodat2": 452, "setxattrat": 463,
    "removexattrat": 466,
}  # fmt: skip
CLONE = {"x86_64": 56, "aarch64": 220}
LIMITS = {"x86_64": 302, "aarch64": 261}  # prlimit64: of the process itself only
AUDIT = {"x86_64": 0xC000003E, "aarch64": 0xC00000B7}


def program(attributes: bool = False) -> bytes | None:
    """The filter for this machine, or None where its system calls are not in the table."""
    machine = platform.machine()
    if machine not in DENIED or struct.calcsize("P") != 8:
        return None
    numbers = {**DENIED[machine], **EVERYWHERE}
    if attributes:
        numbers |= {**ATTRIBUTES[machine], **ATTRIBUTES_EVERYWHERE}
    return _assemble(
        [
            (LOAD, ARCHITECTURE),
            (EQUAL, AUDIT[machine], "known"),
            (RETURN, KILL),
            "known",
            (LOAD, NUMBER),
            *([(AT_LEAST, X32, "refuse")] if machine == "x86_64" else []),
            (EQUAL, CLONE3, "missing"),
            (EQUAL, CLONE[machine], "flags"),
            *([(EQUAL, LIMITS[machine], "own")] if attributes else []),
            *((EQUAL, number, "refuse") for number in sorted(numbers.values())),
            (RETURN, ALLOW),
            "flags",  # processes and threads are the process limit's matter, new namespaces are refused
            (LOAD, FIRST_ARGUMENT),
            (ANY_BIT, NEW_NAMESPACES, "refuse"),
            (RETURN, ALLOW),
            "own",
            (LOAD, FIRST_ARGUMENT),
            (EQUAL, 0, "allow"),
            (RETURN, ERRNO | EPERM),
            "allow",
            (RETURN, ALLOW),
            "missing",
            (RETURN, ERRNO | ENOSYS),
            "refuse",
            (RETURN, ERRNO | EPERM),
        ]
    )


def _assemble(lines: list[str | tuple]) -> bytes:
    """Machine code of (code, operand) and (code, operand, label to jump to if so), labels between them."""
    places: dict[str, int] = {}
    code: list[tuple] = []
    for line in lines:
        if isinstance(line, str):
            places[line] = len(code)
        else:
            code.append(line)
    data = b""
    for place, (operation, operand, *label) in enumerate(code):
        jump = places[label[0]] - place - 1 if label else 0
        data += struct.pack("<HBBI", operation, jump, 0, operand)
    return data

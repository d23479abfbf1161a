import struct

import pytest

from harness.sandbox import seccomp


def result(code: bytes, machine: str, number: int, first: int = 0) -> int:
    """What the kernel's machine for classic BPF returns for one system call."""
    data = struct.pack("<iIQQ", number, seccomp.AUDIT.get(machine, 0), 0, first)
    accumulator, place = 0, 0
    while True:
        operation, yes, no, operand = struct.unpack_from("<HBBI", code, 8 * place)
        place += 1
        if operation == seccomp.RETURN:
            return operand
        if operation == seccomp.LOAD:
            (accumulator,) = struct.unpack_from("<I", data, operand)
        else:
            holds = {
                seccomp.EQUAL: accumulator == operand,
                seccomp.AT_LEAST: accumulator >= operand,
                seccomp.ANY_BIT: bool(accumulator & operand),
            }[operation]
            place += yes if holds else no


@pytest.mark.parametrize("machine", ["x86_64", "aarch64"])
@pytest.mark.parametrize("attributes", [False, True])
def test_filter(monkeypatch, machine, attributes):
    monkeypatch.setattr(seccomp.platform, "machine", lambda: machine)
    code = seccomp.program(attributes)
    refused, missing = seccomp.ERRNO | seccomp.EPERM, seccomp.ERRNO | seccomp.ENOSYS
    denied = {**seccomp.DENIED[machine], **seccomp.EVERYWHERE}
    others = {**seccomp.ATTRIBUTES[machine], **seccomp.ATTRIBUTES_EVERYWHERE}
    for number in range(500):
        expected = refused if number in denied.values() else seccomp.ALLOW
        if attributes and number in others.values():
            expected = refused
        if number == seccomp.CLONE3:
            expected = missing
        assert result(code, machine, number) == expected, number
    clone = seccomp.CLONE[machine]
    assert result(code, machine, clone, 0x10000011) == refused  # CLONE_NEWUSER | SIGCHLD
    assert result(code, machine, clone, 0x11) == seccomp.ALLOW
    limits = seccomp.LIMITS[machine]
    assert result(code, machine, limits, 0) == seccomp.ALLOW  # the process's own
    assert result(code, machine, limits, 123) == (refused if attributes else seccomp.ALLOW)
    assert result(code, "another", 0) == seccomp.KILL
    if machine == "x86_64":
        assert result(code, machine, seccomp.X32 | 41) == refused


def test_no_filter_for_an_unknown_processor(monkeypatch):
    monkeypatch.setattr(seccomp.platform, "machine", lambda: "riscv64")
    assert seccomp.program() is None

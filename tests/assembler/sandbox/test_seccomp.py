"""The filter, run by an interpreter of classic BPF, call by call."""

from __future__ import annotations

import errno
import stat
import struct

import pytest

from assembler.sandbox.linux import MACHINES
from assembler.sandbox.seccomp import (
    _DEVICES,
    _IDENTITY,
    _NEVER,
    _OWNERS,
    _TRACING,
    Policy,
    build_filter,
)

ALLOW, NOTIFY, ERRNO = 0x7FFF0000, 0x7FC00000, 0x00050000
DONE = ERRNO
LOAD, AND, EQUAL, ANY_BIT, AT_LEAST, RETURN = 0x20, 0x54, 0x15, 0x45, 0x35, 0x06
PRETENDING = Policy(pretend_identity=True)
RECORDING = Policy(pretend_identity=True, record_owners=True)
NAMESPACE_FLAGS = [0x80, *(1 << bit for bit in range(25, 31)), 0x00020000]
MODES = [0o644, stat.S_IFREG | 0o600, stat.S_IFIFO | 0o600, stat.S_IFSOCK]


def run(program, arch, number, *arguments):
    """What the kernel would do with a call (seccomp(2), `struct seccomp_data`)."""
    padded = [*arguments, *[0] * (6 - len(arguments))]
    data = struct.pack("=iIQ6Q", number, arch, 0, *padded)
    steps = list(struct.iter_unpack("HBBI", program))
    accumulator, place = 0, 0
    while True:
        code, if_true, if_false, value = steps[place]
        place += 1
        if code == RETURN:
            return value
        if code == LOAD:
            accumulator = struct.unpack_from("=I", data, value)[0]
        elif code == AND:
            accumulator &= value
        else:
            holds = {
                EQUAL: accumulator == value,
                ANY_BIT: bool(accumulator & value),
                AT_LEAST: accumulator >= value,
            }[code]
            place += if_true if holds else if_false


class Filter:
    """One policy on one machine; calls by their names."""

    def __init__(self, machine, policy):
        self.machine = machine
        self._program = build_filter(policy, machine)

    def __call__(self, name, *arguments, arch=None, offset=0):
        number = self.machine.calls.get(name, name) + offset
        return run(self._program, arch or self.machine.audit_arch, number, *arguments)


@pytest.fixture(params=sorted(MACHINES))
def machine(request):
    return MACHINES[request.param]


@pytest.fixture
def plain(machine):
    return Filter(machine, Policy())


def error(number):
    return ERRNO | number


def test_all_that_no_build_needs_is_refused_under_every_policy(machine):
    policies = [Policy(), PRETENDING, RECORDING, Policy(sockets_stay_local=True)]
    for policy in policies:
        told = Filter(machine, policy)
        for name in {*_NEVER, *_TRACING} & machine.calls.keys():
            assert told(name) == error(errno.EPERM), name


def test_proot_reads_its_processes_memory(machine):
    told = Filter(machine, Policy(trace_others=True))
    assert {told(name) for name in _TRACING} == {ALLOW}


def test_both_machines_know_the_calls_that_must_be_refused():
    only_on_x86 = {"ioperm", "iopl"}
    for name, machine in MACHINES.items():
        missing = {*_NEVER, *_TRACING} - machine.calls.keys()
        assert missing <= (set() if name == "x86_64" else only_on_x86)


def test_both_machines_have_numbers_of_their_own_for_every_name():
    for machine in MACHINES.values():
        assert len(set(machine.calls.values())) == len(machine.calls)


def test_programs_of_other_machines_meet_a_kernel_without_calls(plain):
    for arch in (0x40000003, 0x40000028, 0xC00000F3, 0xFFFFFFFF):
        for number in (0, 20, 165):
            assert plain(number, arch=arch) == error(errno.ENOSYS)


def test_the_x32_numbers_do_not_exist(plain):
    for name in ("mount", "socket", "clone"):
        assert plain(name, offset=0x40000000) == error(errno.ENOSYS)
    assert plain(39, offset=0x40000000) == error(errno.ENOSYS)


@pytest.mark.parametrize("name", ["clone", "unshare"])
@pytest.mark.parametrize("flag", NAMESPACE_FLAGS)
def test_no_new_namespace_is_made(plain, name, flag):
    assert plain(name, flag) == error(errno.EPERM)
    assert plain(name, flag | 0x11) == error(errno.EPERM)
    assert plain(name, flag | 0xFFFF_FFFF_0000_0000) == error(errno.EPERM)


def test_processes_and_threads_are_made(plain):
    assert plain("clone", 17) == ALLOW  # SIGCHLD
    assert plain("clone", 0x003D0F00) == ALLOW  # what pthread_create(3) gives
    assert plain("unshare", 0x400) == ALLOW  # CLONE_FILES


def test_clone3_does_not_exist_so_that_clone_is_taken(plain):
    assert plain("clone3") == error(errno.ENOSYS)


def test_sockets_are_of_common_families(plain):
    for family in (1, 2, 10, 16):
        assert plain("socket", family, 1, 0) == ALLOW
    for family in (0, 3, 17, 31, 38, 40, 44, 0xFFFFFFFF):
        assert plain("socket", family, 1, 0) == error(errno.EAFNOSUPPORT)


def test_without_a_network_sockets_are_local(machine):
    told = Filter(machine, Policy(sockets_stay_local=True))
    assert told("socket", 1, 1, 0) == ALLOW
    for family in (2, 10, 16, 17, 40):
        assert told("socket", family, 1, 0) == error(errno.EAFNOSUPPORT)


def test_tracing_is_refused_where_the_machines_processes_are_in_reach(machine, plain):
    assert plain("ptrace") == ALLOW
    assert Filter(machine, Policy(refuse_tracing=True))("ptrace") == error(errno.EPERM)


def test_nobody_signals_everybody_where_the_machines_processes_are_in_reach(machine, plain):
    everybody = [0xFFFFFFFF, 0xFFFFFFFF_FFFFFFFF]  # as an int, and as a long
    told = Filter(machine, Policy(spare_others=True))
    for process in everybody:
        assert plain("kill", process, 9) == ALLOW
        assert told("kill", process, 9) == error(errno.EPERM)
    for process in (0, 1, 7, 0xFFFFFFFE):
        assert told("kill", process, 9) == ALLOW


def test_identity_and_owners_are_changed_where_nothing_is_pretended(plain):
    for name in (*_IDENTITY, *_OWNERS, *(name for name, _ in _DEVICES)):
        if name in plain.machine.calls:
            assert plain(name, 0, stat.S_IFCHR, stat.S_IFCHR) == ALLOW


@pytest.mark.parametrize("policy", [PRETENDING, RECORDING], ids=["pretend", "record"])
def test_changes_of_identity_are_told_to_succeed(machine, policy):
    told = Filter(machine, policy)
    for name in _IDENTITY:
        assert told(name, 1000) == DONE


@pytest.mark.parametrize(
    ("policy", "action"), [(PRETENDING, DONE), (RECORDING, NOTIFY)], ids=["pretend", "record"]
)
def test_changes_of_owners_are_pretended_or_recorded(machine, policy, action):
    told = Filter(machine, policy)
    for name in set(_OWNERS) & machine.calls.keys():
        assert told(name, 0, 1, 2) == action


@pytest.mark.parametrize("name", [name for name, _ in _DEVICES])
def test_device_nodes_are_pretended_and_pipes_are_made(machine, name):
    if name not in machine.calls:
        return  # aarch64 has mknodat alone
    told = Filter(machine, PRETENDING)
    before = [0] * dict(_DEVICES)[name]
    for kind in (stat.S_IFCHR, stat.S_IFBLK):
        assert told(name, *before, kind | 0o666) == DONE
    for mode in MODES:
        assert told(name, *before, mode) == ALLOW


@pytest.mark.parametrize("policy", [Policy(), PRETENDING, RECORDING])
def test_everything_else_is_allowed(machine, policy):
    told = Filter(machine, policy)
    looked_at = {
        *_NEVER, *_TRACING, *_IDENTITY, *_OWNERS, "clone", "clone3", "unshare", "socket",
        *(name for name, _ in _DEVICES),
    }  # fmt: skip
    numbers = {machine.calls[name] for name in looked_at if name in machine.calls}
    for number in set(range(1024)) - numbers:
        assert told(number, *[0xFFFFFFFF] * 6) == ALLOW


def test_a_filter_is_short_enough_for_the_kernel(machine):
    policy = Policy(True, True, True, True, True)
    assert len(build_filter(policy, machine)) // 8 <= 4096

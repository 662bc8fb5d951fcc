"""Which system calls a sandboxed command may make: a seccomp filter, as classic BPF. Pure.

A filter sees a call's number and its arguments as numbers, never what a pointer points at.
"""

from __future__ import annotations

import errno
import struct
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable

    from assembler.sandbox.linux import Machine

_LOAD, _AND = 0x20, 0x54
_EQUAL, _ANY_BIT, _AT_LEAST = 0x15, 0x45, 0x35
_RETURN = 0x06
_NUMBER, _ARCH, _ARGUMENTS = 0, 4, 16

_ALLOW = 0x7FFF0000
_NOTIFY = 0x7FC00000
_ERRNO = 0x00050000
_DONE = _ERRNO | 0
"""The call is not made, and is told to have succeeded."""
_REFUSED = _ERRNO | errno.EPERM
_UNKNOWN = _ERRNO | errno.ENOSYS

_X32 = 0x40000000
_EVERYBODY = 0xFFFFFFFF  # -1
_NEW_NAMESPACES = 0x7E020080
_FORMAT, _CHAR, _BLOCK = 0xF000, 0x2000, 0x6000
_AF_UNIX = 1
_FAMILIES = (_AF_UNIX, 2, 10, 16)
"""AF_UNIX, AF_INET, AF_INET6, AF_NETLINK."""

_NEVER = (
    "acct", "add_key", "adjtimex", "bpf", "clock_adjtime", "clock_settime", "delete_module",
    "fanotify_init", "finit_module", "fsconfig", "fsmount", "fsopen", "fspick", "init_module",
    "io_uring_enter", "io_uring_register", "io_uring_setup", "ioperm", "iopl", "kcmp",
    "kexec_file_load", "kexec_load", "keyctl", "lookup_dcookie", "mount", "mount_setattr",
    "move_mount", "open_by_handle_at", "open_tree", "open_tree_attr", "perf_event_open",
    "pidfd_getfd", "pivot_root", "quotactl", "quotactl_fd",
    "reboot", "request_key", "setns", "settimeofday", "swapoff", "swapon", "syslog", "umount2",
    "userfaultfd", "vhangup",
)  # fmt: skip
"""What no build needs and an attack may: mounts, keys, modules, other processes' memory, ..."""

_TRACING = ("process_vm_readv", "process_vm_writev")
_IDENTITY = (
    "capset", "setfsgid", "setfsuid", "setgid", "setgroups", "setregid", "setresgid", "setresuid",
    "setreuid", "setuid",
)  # fmt: skip
_OWNERS = ("chown", "fchown", "fchownat", "lchown")
_DEVICES = (("mknod", 1), ("mknodat", 2))
"""With the place of the mode among the arguments."""


@dataclass(frozen=True, slots=True)
class Policy:
    """What a filter does beyond refusing what no build needs."""

    pretend_identity: bool = False
    """Changes of identity, and device nodes, are told to succeed; nothing happens."""
    record_owners: bool = False
    """Changes of owners go to a listener, who answers them; else, pretending, they are no-ops."""
    trace_others: bool = False
    """Whether processes may read each other's memory, as proot does."""
    sockets_stay_local: bool = False
    """Only sockets of AF_UNIX can be made: for `none` where there is no network namespace."""
    spare_others: bool = False
    """No signal to all processes at once: where those of the machine are among them."""
    refuse_tracing: bool = False
    """No ptrace: where the processes of the machine are in reach."""


Step = tuple[int, int, int, int]


def build_filter(policy: Policy, machine: Machine) -> bytes:
    """Return the filter's instructions, `struct sock_filter`s."""
    steps: list[Step] = [
        (_LOAD, 0, 0, _ARCH),
        (_EQUAL, 1, 0, machine.audit_arch),
        # 32-bit programs have other numbers for everything: they are told of a kernel without them.
        (_RETURN, 0, 0, _UNKNOWN),
        (_LOAD, 0, 0, _NUMBER),
        (_AT_LEAST, 0, 1, _X32),
        (_RETURN, 0, 0, _UNKNOWN),
    ]
    calls = machine.calls
    steps += _all(_NEVER, _REFUSED, calls)
    if not policy.trace_others:
        steps += _all(_TRACING, _REFUSED, calls)
    if policy.spare_others:
        steps += _when(calls["kill"], 0, [(_EQUAL, 0, 1, _EVERYBODY)], _REFUSED)
    if policy.refuse_tracing:
        steps += _all(("ptrace",), _REFUSED, calls)
    # Its flags are behind a pointer; libc takes clone where there is no clone3.
    steps += _all(("clone3",), _UNKNOWN, calls)
    for name in ("clone", "unshare"):
        steps += _when(calls[name], 0, [(_ANY_BIT, 0, 1, _NEW_NAMESPACES)], _REFUSED)
    local = policy.sockets_stay_local
    steps += _sockets(calls["socket"], (_AF_UNIX,) if local else _FAMILIES)
    if policy.pretend_identity:
        steps += _all(_IDENTITY, _DONE, calls)
        steps += _all(_OWNERS, _NOTIFY if policy.record_owners else _DONE, calls)
        for name, argument in _DEVICES:
            if name in calls:
                steps += _devices(calls[name], argument)
    steps.append((_RETURN, 0, 0, _ALLOW))
    return b"".join(struct.pack("HBBI", *step) for step in steps)


def _all(names: Iterable[str], action: int, calls: dict[str, int]) -> list[Step]:
    steps: list[Step] = []
    for name in names:
        if name in calls:
            steps += [(_EQUAL, 0, 1, calls[name]), (_RETURN, 0, 0, action)]
    return steps


def _when(number: int, argument: int, tests: list[Step], action: int) -> list[Step]:
    """Do *action* for a call whose argument, loaded, passes the *tests*."""
    load: Step = (_LOAD, 0, 0, _ARGUMENTS + 8 * argument)
    inner = [load, *tests, (_RETURN, 0, 0, action), (_RETURN, 0, 0, _ALLOW)]
    return [(_EQUAL, 0, len(inner), number), *inner]


def _devices(number: int, argument: int) -> list[Step]:
    tests = [(_AND, 0, 0, _FORMAT), (_EQUAL, 1, 0, _CHAR), (_EQUAL, 0, 1, _BLOCK)]
    return _when(number, argument, tests, _DONE)


def _sockets(number: int, families: tuple[int, ...]) -> list[Step]:
    """Refuse sockets of other *families*, as where the kernel does not know them."""
    tests = [(_EQUAL, len(families) - place, 0, family) for place, family in enumerate(families)]
    return _when(number, 0, tests, _ERRNO | errno.EAFNOSUPPORT)

"""The system calls of a sandbox that Python 3.11 has no names for; failures are `OSError`s.

Numbers and constants are those of Linux's own headers; each function names its manual page.
"""

from __future__ import annotations

import ctypes
import os
import struct
from dataclasses import dataclass

_libc = ctypes.CDLL(None, use_errno=True)

CLONE_NEWNS = 0x00020000
CLONE_NEWCGROUP = 0x02000000
CLONE_NEWUTS = 0x04000000
CLONE_NEWIPC = 0x08000000
CLONE_NEWUSER = 0x10000000
CLONE_NEWPID = 0x20000000
CLONE_NEWNET = 0x40000000

MS_RDONLY = 1
MS_NOSUID = 2
MS_NODEV = 4
MS_NOEXEC = 8
MS_REMOUNT = 32
MS_BIND = 4096
MS_REC = 16384
MS_PRIVATE = 1 << 18
MNT_DETACH = 2

_PR_SET_PDEATHSIG = 1
_PR_SET_DUMPABLE = 4
_PR_CAPBSET_READ = 23
_PR_CAPBSET_DROP = 24
_PR_SET_CHILD_SUBREAPER = 36
_PR_SET_NO_NEW_PRIVS = 38
_SECCOMP_SET_MODE_FILTER = 1
_SECCOMP_FILTER_FLAG_NEW_LISTENER = 1 << 3
_RESOLVE_NO_MAGICLINKS = 0x02
_RESOLVE_IN_ROOT = 0x10
_LANDLOCK_SCOPE_ABSTRACT_UNIX_SOCKET = 1
_LANDLOCK_SCOPE_SIGNAL = 2
_AT_RECURSIVE = 0x8000
_MOUNT_ATTR_SET = {MS_RDONLY: 1, MS_NOSUID: 2, MS_NODEV: 4, MS_NOEXEC: 8}
_CAPABILITY_VERSION_3 = 0x20080522
_CAPABILITIES = 64
_SIOCGIFFLAGS = 0x8913
_SIOCSIFFLAGS = 0x8914
_IFF_UP = 1


@dataclass(frozen=True, slots=True)
class Machine:
    """What differs from one processor to another: `AUDIT_ARCH_...` and system call numbers."""

    audit_arch: int
    calls: dict[str, int]


_NEW_CALLS = {
    "clone3": 435,
    "fsconfig": 431,
    "fsmount": 432,
    "fsopen": 430,
    "fspick": 433,
    "io_uring_enter": 426,
    "io_uring_register": 427,
    "io_uring_setup": 425,
    "landlock_create_ruleset": 444,
    "landlock_restrict_self": 446,
    "mount_setattr": 442,
    "move_mount": 429,
    "open_tree": 428,
    "open_tree_attr": 467,
    "openat2": 437,
    "pidfd_getfd": 438,
    "quotactl_fd": 443,
}
"""Calls that came late enough to have one number everywhere."""

MACHINES = {
    "x86_64": Machine(
        0xC000003E,
        _NEW_CALLS
        | {
            "acct": 163, "add_key": 248, "adjtimex": 159, "bpf": 321, "capget": 125, "capset": 126,
            "chown": 92, "clock_adjtime": 305, "clock_settime": 227, "clone": 56,
            "delete_module": 176, "fanotify_init": 300, "fchown": 93, "fchownat": 260,
            "finit_module": 313, "init_module": 175, "ioperm": 173, "iopl": 172, "kcmp": 312,
            "kexec_file_load": 320, "kexec_load": 246, "keyctl": 250, "kill": 62, "lchown": 94,
            "lookup_dcookie": 212, "mknod": 133, "mknodat": 259, "mount": 165,
            "open_by_handle_at": 304, "perf_event_open": 298, "pivot_root": 155,
            "process_vm_readv": 310, "process_vm_writev": 311, "ptrace": 101, "quotactl": 179,
            "reboot": 169, "request_key": 249, "seccomp": 317, "setfsgid": 123, "setfsuid": 122,
            "setgid": 106, "setgroups": 116, "setns": 308, "setregid": 114, "setresgid": 119,
            "setresuid": 117, "setreuid": 113, "settimeofday": 164, "setuid": 105, "socket": 41,
            "swapoff": 168, "swapon": 167, "syslog": 103, "umount2": 166, "unshare": 272,
            "userfaultfd": 323, "vhangup": 153,
        },
    ),
    "aarch64": Machine(
        0xC00000B7,
        _NEW_CALLS
        | {
            "acct": 89, "add_key": 217, "adjtimex": 171, "bpf": 280, "capget": 90, "capset": 91,
            "clock_adjtime": 266, "clock_settime": 112, "clone": 220, "delete_module": 106,
            "fanotify_init": 262, "fchown": 55, "fchownat": 54, "finit_module": 273,
            "init_module": 105, "kcmp": 272, "kexec_file_load": 294, "kexec_load": 104,
            "keyctl": 219, "kill": 129, "lookup_dcookie": 18, "mknodat": 33, "mount": 40,
            "open_by_handle_at": 265, "perf_event_open": 241, "pivot_root": 41,
            "process_vm_readv": 270, "process_vm_writev": 271, "ptrace": 117, "quotactl": 60,
            "reboot": 142, "request_key": 218, "seccomp": 277, "setfsgid": 152, "setfsuid": 151,
            "setgid": 144, "setgroups": 159, "setns": 268, "setregid": 143, "setresgid": 149,
            "setresuid": 147, "setreuid": 145, "settimeofday": 170, "setuid": 146, "socket": 198,
            "swapoff": 225, "swapon": 224, "syslog": 116, "umount2": 39, "unshare": 97,
            "userfaultfd": 282, "vhangup": 58,
        },
    ),
}  # fmt: skip


def this_machine() -> Machine:
    """Return the processor's numbers; raise `OSError` where nobody wrote them down."""
    name = os.uname().machine
    if name not in MACHINES:
        raise OSError(f"no system call numbers are known for {name}")
    return MACHINES[name]


def _checked(result: int, what: str) -> int:
    if result < 0:
        number = ctypes.get_errno()
        raise OSError(number, os.strerror(number), what)
    return result


def _syscall(name: str, *arguments: object) -> int:
    return _checked(_libc.syscall(this_machine().calls[name], *arguments), name)


def unshare(flags: int) -> None:
    """Leave the namespaces of *flags* for new ones (unshare(2))."""
    _checked(_libc.unshare(flags), "unshare")


def mount(
    source: str | None, target: str, kind: str | None = None, flags: int = 0, options: str = ""
) -> None:
    """Mount (mount(2)); the error's file name is the target."""
    words = [os.fsencode(word) if word is not None else None for word in (source, target, kind)]
    data = os.fsencode(options) if options else None
    _checked(_libc.mount(*words, ctypes.c_ulong(flags), data), f"mount {kind or 'bind'} {target}")


def set_mount_flags(target: str, flags: int) -> None:
    """Add *flags* to a mount and to all below it (mount_setattr(2), Linux 5.12)."""
    bits = sum(bit for flag, bit in _MOUNT_ATTR_SET.items() if flags & flag)
    attributes = struct.pack("QQQQ", bits, 0, 0, 0)
    _syscall("mount_setattr", -100, os.fsencode(target), _AT_RECURSIVE, attributes, len(attributes))


def unmount(target: str) -> None:
    """Take a mount away, now from here and later for those who use it (umount2(2))."""
    _checked(_libc.umount2(os.fsencode(target), MNT_DETACH), f"unmount {target}")


def pivot_root(root: str) -> None:
    """Make *root*, a mount, the root of everybody in this mount namespace; let go of the old one.

    The old root ends up upon the new one, and is taken off there (pivot_root(2), NOTES).
    """
    os.chdir(root)
    _syscall("pivot_root", b".", b".")
    unmount(".")
    os.chdir("/")


def set_hostname(name: str) -> None:
    """Name this UTS namespace (sethostname(2))."""
    raw = name.encode()
    _checked(_libc.sethostname(raw, len(raw)), "sethostname")


def die_with_parent(signal_number: int) -> None:
    """Be sent a signal when the thread that forked this process ends (prctl(2))."""
    _prctl(_PR_SET_PDEATHSIG, signal_number)


def adopt_orphans() -> None:
    """Become the parent of descendants whose parents end (prctl(2))."""
    _prctl(_PR_SET_CHILD_SUBREAPER, 1)


def hide_memory(*, hidden: bool = True) -> None:
    """Keep other processes of the same user from looking into this one (prctl(2))."""
    _prctl(_PR_SET_DUMPABLE, int(not hidden))


def refuse_new_privileges() -> None:
    """Make set-user-ID bits and file capabilities give nothing from here on (prctl(2))."""
    _prctl(_PR_SET_NO_NEW_PRIVS, 1)


def drop_capabilities(kept: int) -> None:
    """Lose all capabilities but those in the mask *kept*, for good (capabilities(7)).

    Who may not do that has none to lose, and `refuse_new_privileges` keeps it so.
    """
    for number in range(_CAPABILITIES):
        if not kept >> number & 1 and _libc.prctl(_PR_CAPBSET_READ, number, 0, 0, 0) == 1:
            try:
                _prctl(_PR_CAPBSET_DROP, number)
            except PermissionError:
                return


def limit_capabilities(kept: int) -> None:
    """Have no other capabilities now than those in *kept* (capset(2))."""
    header = struct.pack("Ii", _CAPABILITY_VERSION_3, 0)
    sets = ctypes.create_string_buffer(24)
    _syscall("capget", header, sets)
    _, low, _, _, high, _ = struct.unpack("6I", sets.raw)
    low, high = low & kept & 0xFFFFFFFF, high & kept >> 32
    _syscall("capset", header, struct.pack("6I", low, low, 0, high, high, 0))


def install_filter(program: bytes, *, listener: bool) -> int:
    """Install a seccomp filter (seccomp(2)); return the listener's descriptor, or 0."""

    class Program(ctypes.Structure):
        _fields_ = (("length", ctypes.c_ushort), ("filter", ctypes.c_char_p))

    wrapped = Program(len(program) // 8, program)
    flags = _SECCOMP_FILTER_FLAG_NEW_LISTENER if listener else 0
    return _syscall("seccomp", _SECCOMP_SET_MODE_FILTER, flags, ctypes.byref(wrapped))


def ioctl(descriptor: int, request: int, argument: ctypes.Array[ctypes.c_char]) -> None:
    """Ask something of a descriptor, with a buffer that may be changed (ioctl(2))."""
    _checked(_libc.ioctl(descriptor, ctypes.c_ulong(request), argument), "ioctl")


def open_in_root(root: int, path: bytes, flags: int) -> int:
    """Open *path* as if the directory *root* were the root of everything (openat2(2))."""
    return _open(root, path, flags, _RESOLVE_IN_ROOT)


def open_plainly(directory: int, path: bytes, flags: int) -> int:
    """Open *path*, but by no link of /proc: those lead to what has no name here (openat2(2))."""
    return _open(directory, path, flags, _RESOLVE_NO_MAGICLINKS)


def _open(directory: int, path: bytes, flags: int, resolve: int) -> int:
    how = struct.pack("QQQ", flags | os.O_CLOEXEC, 0, resolve | _RESOLVE_NO_MAGICLINKS)
    return _syscall("openat2", directory, path, how, len(how))


def keep_to_itself() -> bool:
    """Signal, trace and reach by abstract sockets only what this process starts (landlock(7)).

    For good, and for all that it starts. Needs Linux 6.12; return whether that is so.
    """
    scopes = _LANDLOCK_SCOPE_ABSTRACT_UNIX_SOCKET | _LANDLOCK_SCOPE_SIGNAL
    attributes = struct.pack("QQQ", 0, 0, scopes)
    try:
        rules = _syscall("landlock_create_ruleset", attributes, len(attributes), 0)
    except OSError:
        return False
    try:
        _syscall("landlock_restrict_self", rules, 0)
    finally:
        os.close(rules)
    return True


def bring_up_loopback() -> None:
    """Switch on `lo`, which a new network namespace has switched off (netdevice(7))."""
    import socket

    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as any_socket:
        request = ctypes.create_string_buffer(struct.pack("16sh22x", b"lo", 0))
        ioctl(any_socket.fileno(), _SIOCGIFFLAGS, request)
        _, flags = struct.unpack_from("16sh", request.raw)
        request = ctypes.create_string_buffer(struct.pack("16sh22x", b"lo", flags | _IFF_UP))
        ioctl(any_socket.fileno(), _SIOCSIFFLAGS, request)


def _prctl(option: int, value: int) -> None:
    _checked(_libc.prctl(option, value, 0, 0, 0), f"prctl {option}")

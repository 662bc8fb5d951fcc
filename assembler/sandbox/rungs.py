"""The ways to run a command in an image, best first: what each needs of a machine, and keeps.

Nothing is concluded from settings: whoever wants to know whether one works tries it (`ladder`).
"""

from __future__ import annotations

import os
import pwd
import re
import shutil
import subprocess
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from assembler.sandbox.job import UserNamespace
from assembler.sandbox.linux import this_machine
from assembler.sandbox.records import EVERYONE, IdRanges
from assembler.sandbox.seccomp import Policy, build_filter

if TYPE_CHECKING:
    from assembler.sandbox.job import IdLine

EXACT, RECORDED, ROOT_OWNED = "exact", "recorded", "root-owned"

CAPABILITIES = {
    "CHOWN": 0, "DAC_OVERRIDE": 1, "FOWNER": 3, "FSETID": 4, "KILL": 5, "SETGID": 6, "SETUID": 7,
    "SETPCAP": 8, "NET_BIND_SERVICE": 10, "SYS_CHROOT": 18, "MKNOD": 27, "AUDIT_WRITE": 29,
    "SETFCAP": 31,
}  # fmt: skip
"""What container engines leave to root, by the numbers of capabilities(7).

But for NET_RAW: the network is the machine's own, to which one could listen by it.
"""
_SYS_ADMIN, _SETUID = 21, 7
_ESCAPES = ("SYS_CHROOT", "MKNOD")
"""What leads out of a mere chroot."""

_PROOT_VERSION = re.compile(r"(\d+)\.(\d+)")
_PROOT_NEEDED = (5, 4)


@dataclass(frozen=True, slots=True)
class Rung:
    """One way. *fidelity* is what becomes of owners: `EXACT`, `RECORDED` or `ROOT_OWNED`."""

    name: str
    about: str
    fidelity: str
    remedy: str
    isolation: str = "namespaces"
    namespace: UserNamespace | None = None
    one_id: bool = False
    """Whether its user namespace has a single id, which is that of the command's user."""
    overlay: bool = True
    devices: bool = False
    """Whether device nodes can be made."""
    program: str = ""
    """What runs the command, where it is not the kernel alone."""

    @property
    def manner(self) -> str:
        """What an unpacked root depends on beside the image."""
        if self.one_id:
            return "one"
        if self.namespace is None:
            return "own"
        lines = (*self.namespace.uids, *self.namespace.gids)
        return "map-" + "-".join(
            f"{inside:x}.{outside:x}.{count:x}" for inside, outside, count in lines
        )

    @property
    def ids(self) -> IdRanges:
        """The ids that files can be given."""
        if self.one_id or self.fidelity == ROOT_OWNED:
            return IdRanges((), ())
        if self.namespace is None:
            return EVERYONE
        lines = self.namespace.uids, self.namespace.gids
        uids, gids = (tuple((first, count) for first, _, count in part) for part in lines)
        return IdRanges(uids, gids)

    @property
    def fixed_identity(self) -> bool:
        """Whether the command has no other id than the builder, whatever it is told."""
        return self.one_id or bool(self.program)

    def namespace_for(self, uid: int, gid: int) -> UserNamespace | None:
        """Return the user namespace for a command of *uid* and *gid*."""
        if not self.one_id:
            return self.namespace
        return UserNamespace(((uid, os.geteuid(), 1),), ((gid, os.getegid(), 1),))

    def records(self, uid: int) -> bool:
        """Whether a command of *uid* may believe that it changes owners, and somebody notes it."""
        return self.fidelity == RECORDED and uid == 0

    def seccomp(self, uid: int, *, network: bool) -> bytes:
        """Return the filter of a command of *uid*."""
        policy = Policy(
            pretend_identity=self.one_id and uid == 0,
            record_owners=self.records(uid),
            sockets_stay_local=not network and self.isolation != "namespaces",
            trace_others=bool(self.program),
            spare_others=self.isolation != "namespaces",
            refuse_tracing=self.isolation == "chroot",
        )
        return build_filter(policy, this_machine())

    @property
    def capabilities(self) -> int:
        """The mask of what the command may have."""
        without = _ESCAPES if self.isolation == "chroot" else ()
        return sum(1 << bit for name, bit in CAPABILITIES.items() if name not in without)


@dataclass(frozen=True, slots=True)
class Missing:
    """A way that this machine or user does not even have to try, and why."""

    name: str
    about: str
    reason: str
    remedy: str


_ABOUT = {
    "root": "root with CAP_SYS_ADMIN: own namespaces, an overlay, true owners",
    "ranges": "a user namespace with a range of ids: an overlay, true owners",
    "recorded": "a user namespace with one id; changes of owners are written down",
    "faked": "a user namespace with one id; changes of owners are lost",
    "chroot": "root without CAP_SYS_ADMIN: an unpacked copy and chroot, true owners",
    "proot": "proot 5.4 or newer: no namespaces at all; changes of owners are lost",
}
_USERNS = (
    "allow user namespaces (Ubuntu: sysctl kernel.apparmor_restrict_unprivileged_userns=0; "
    "elsewhere sysctl user.max_user_namespaces=15000; in a container: a seccomp profile that lets "
    "unshare and mount through)"
)
REMEDIES = {
    "root": "run as root with CAP_SYS_ADMIN (a container: --cap-add SYS_ADMIN)",
    "ranges": "install newuidmap (Debian: uidmap), give the user a line in /etc/subuid and in "
    "/etc/subgid, and " + _USERNS,
    "recorded": _USERNS,
    "faked": _USERNS,
    "chroot": "run as root (a container's own will do)",
    "proot": "put proot 5.4 or newer on PATH, and allow ptrace",
}
NAMES = tuple(_ABOUT)


def all_rungs() -> list[Rung | Missing]:
    """Return all ways, best first, as this user could try them."""
    return [_root(), _ranges(), _one("recorded", RECORDED), _one("faked", ROOT_OWNED), _chroot(),
            _proot()]  # fmt: skip


def _missing(name: str, reason: str) -> Missing:
    return Missing(name, _ABOUT[name], reason, REMEDIES[name])


def _root() -> Rung | Missing:
    if os.geteuid() != 0 or not _has(_SYS_ADMIN):
        return _missing("root", "this is not root with CAP_SYS_ADMIN")
    return Rung("root", _ABOUT["root"], EXACT, REMEDIES["root"], devices=_has(27))


def _ranges() -> Rung | Missing:
    if os.geteuid() == 0 and _has(_SETUID):
        uids, gids = (_same_ids(f"/proc/self/{kind}_map") for kind in ("uid", "gid"))
        namespace = UserNamespace(uids, gids, "parent")
        return Rung("ranges", _ABOUT["ranges"], EXACT, REMEDIES["ranges"], namespace=namespace)
    if not shutil.which("newuidmap") or not shutil.which("newgidmap"):
        return _missing("ranges", "newuidmap and newgidmap are not installed")
    found = [_subordinate(Path(f"/etc/sub{kind}")) for kind in ("uid", "gid")]
    if None in found:
        return _missing("ranges", "/etc/subuid and /etc/subgid have no range for this user")
    own = os.geteuid(), os.getegid()
    uids, gids = (((0, mine, 1), (1, *line)) for mine, line in zip(own, found, strict=True) if line)
    namespace = UserNamespace(uids, gids, "helpers")
    return Rung("ranges", _ABOUT["ranges"], EXACT, REMEDIES["ranges"], namespace=namespace)


def _one(name: str, fidelity: str) -> Rung:
    return Rung(name, _ABOUT[name], fidelity, REMEDIES[name], one_id=True)


def _chroot() -> Rung | Missing:
    if os.geteuid() != 0:
        return _missing("chroot", "this is not root")
    return Rung(
        "chroot", _ABOUT["chroot"], EXACT, REMEDIES["chroot"], isolation="chroot", overlay=False
    )


def _proot() -> Rung | Missing:
    program = shutil.which("proot")
    if program is None:
        return _missing("proot", "there is no proot on PATH")
    version = _proot_version(program)
    if version is None or version < _PROOT_NEEDED:
        shown = ".".join(map(str, version)) if version else "of an unknown version"
        return _missing("proot", f"{program} is {shown}, older than 5.4")
    return Rung(
        "proot", _ABOUT["proot"], ROOT_OWNED, REMEDIES["proot"], isolation="proot", overlay=False,
        program=program,
    )  # fmt: skip


def _proot_version(program: str) -> tuple[int, int] | None:
    try:
        done = subprocess.run(
            [program, "--version"], capture_output=True, text=True, timeout=10, check=False
        )
    except (OSError, subprocess.TimeoutExpired):
        return None
    found = _PROOT_VERSION.search(done.stdout + done.stderr)
    return (int(found[1]), int(found[2])) if found else None


def _has(capability: int) -> bool:
    for line in Path("/proc/self/status").read_text(encoding="ascii", errors="replace").split("\n"):
        if line.startswith("CapEff:"):
            return bool(int(line.split()[1], 16) >> capability & 1)
    return False


def _same_ids(path: str) -> tuple[IdLine, ...]:
    """Return a map in which every id that there is here stays the same."""
    lines = [line.split() for line in Path(path).read_text(encoding="ascii").splitlines()]
    return tuple((int(first), int(first), int(count)) for first, _, count in lines)


def _subordinate(path: Path) -> tuple[int, int] | None:
    """Return the user's first range in /etc/subuid or /etc/subgid (subuid(5))."""
    uid = os.geteuid()
    try:
        names = {str(uid), pwd.getpwuid(uid).pw_name}
    except KeyError:
        names = {str(uid)}
    try:
        text = path.read_text(encoding="utf-8", errors="replace")
    except OSError:
        return None
    for line in text.splitlines():
        fields = line.split(":")
        if len(fields) == 3 and fields[0] in names and fields[1].isdigit() and fields[2].isdigit():
            return int(fields[1]), int(fields[2])
    return None

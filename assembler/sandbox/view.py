"""What a command sees of files: the image as its root, devices, and nothing else of the machine.

Runs in a new mount namespace, before the command. Sources are brought into the root while the
machine's files can still be named (`prepare`); what is shown at a path of the image is put there
once the image is the root (`arrange`), so that no link in the image leads anywhere else.
"""

from __future__ import annotations

import errno
import os
import stat
from contextlib import suppress
from typing import TYPE_CHECKING

from assembler.sandbox import linux
from assembler.sandbox.places import Places, ViewError, write_new, write_private

if TYPE_CHECKING:
    from assembler.sandbox.command import Mount
    from assembler.sandbox.job import Root, Run

OWN = "dev/.sandbox"
"""Where, in the private /dev, the sandbox keeps what is its own."""
_NODES = ("null", "zero", "full", "random", "urandom", "tty")
_LINKS = {
    "fd": "/proc/self/fd",
    "stdin": "/proc/self/fd/0",
    "stdout": "/proc/self/fd/1",
    "stderr": "/proc/self/fd/2",
    "ptmx": "pts/ptmx",
}
_READ_ONLY = ("sys", "sysrq-trigger", "irq", "bus", "fs", "driver", "dynamic_debug", "mtrr")
_MASKED = (
    "acpi", "asound", "interrupts", "kcore", "keys", "latency_stats", "sched_debug", "scsi",
    "timer_list", "timer_stats",
)  # fmt: skip
"""Of /proc: as container engines have it."""
_MASKED_SYS = (
    "devices/virtual/powercap", "firmware", "fs/bpf", "fs/pstore", "kernel/config", "kernel/debug",
    "kernel/security", "kernel/tracing",
)  # fmt: skip
"""Of /sys: what only root may read, and a command may be taken for root."""
_QUIET = linux.MS_NOSUID | linux.MS_NODEV | linux.MS_NOEXEC
_FOREIGN = linux.MS_NOSUID | linux.MS_NODEV
_NODE = linux.MS_RDONLY | linux.MS_NOSUID | linux.MS_NOEXEC
"""Of one of the machine's own nodes: it works, but its mode and owner stay as they are."""


class View:
    """The root in the making."""

    def __init__(self, run: Run) -> None:
        self._run = run
        self._mounts = sorted(run.command.mounts, key=lambda mount: mount.target.count("/"))
        self._root = ""
        self.places = Places()

    def prepare(self) -> None:
        """Mount the root and, below its /dev, all that comes from the machine."""
        linux.mount(None, "/", None, linux.MS_REC | linux.MS_PRIVATE)
        self._root = _mount_root(self._run.root)
        for name in ("dev", "proc", "sys"):
            self._own_folder(name)
        self._mount_devices()
        self._mount_sys()
        for number, mount in enumerate(self._mounts):
            if mount.source is not None:
                self._bring(number, mount)
        for number, file in enumerate(self._run.command.secrets):
            write_private(f"{self._root}/{OWN}/file-{number}", file)

    def mount_proc(self) -> bool:
        """Mount /proc, by a process of the new PID namespace; false for the machine's own.

        Where parts of the machine's /proc are covered, as in many containers, the kernel refuses
        a new one. The machine's is shown then, read-only and without the processes that there are
        now; names and arguments of those that begin later can be seen.
        """
        target = f"{self._root}/proc"
        try:
            linux.mount("proc", target, "proc", _QUIET)
        except PermissionError:
            linux.mount("/proc", target, None, linux.MS_BIND | linux.MS_REC)
            for name in filter(str.isdigit, os.listdir(target)):
                with suppress(FileNotFoundError):  # it has ended meanwhile
                    _mask(f"{target}/{name}")
            linux.set_mount_flags(target, linux.MS_RDONLY | _QUIET)
            return False
        for name in _READ_ONLY:
            path = f"{target}/{name}"
            if os.path.exists(path):
                linux.mount(path, path, None, linux.MS_BIND | linux.MS_REC)
                linux.set_mount_flags(path, linux.MS_RDONLY)
        for name in _MASKED:
            _mask(f"{target}/{name}")
        return True

    def enter(self) -> None:
        """Make the image the root of this mount namespace."""
        linux.pivot_root(self._root)
        self._root = ""

    def arrange(self) -> None:
        """Show mounts and private files at their places in the image."""
        for number, mount in enumerate(self._mounts):
            self._show(number, mount)
        for number, file in enumerate(self._run.command.secrets):
            source = f"/{OWN}/file-{number}"
            linux.mount(source, self.places.find(file.target, folder=False), None, linux.MS_BIND)

    def _show(self, number: int, mount: Mount) -> None:
        if mount.source is None:
            options = f"mode=1777,size={mount.size}" if mount.size else "mode=1777"
            target = self.places.find(mount.target, folder=True)
            linux.mount("tmpfs", target, "tmpfs", _FOREIGN, options)
            return
        source = f"/{OWN}/mount-{number}"
        target = self.places.find(mount.target, folder=os.path.isdir(source))
        linux.mount(source, target, None, linux.MS_BIND)
        linux.set_mount_flags(target, _FOREIGN | (linux.MS_RDONLY if mount.readonly else 0))
        linux.unmount(source)
        (os.rmdir if os.path.isdir(source) else os.unlink)(source)

    def _bring(self, number: int, mount: Mount) -> None:
        source = mount.source or ""
        if os.path.islink(source):
            raise ViewError(f"{source} is a symbolic link; what it leads to is not shown")
        stub = f"{self._root}/{OWN}/mount-{number}"
        if os.path.isdir(source):
            os.mkdir(stub)
        else:
            write_new(stub, b"")
        linux.mount(source, stub, None, linux.MS_BIND)

    def _own_folder(self, name: str) -> None:
        """Be sure that the root has a real folder for one of the sandbox's own mounts."""
        path = f"{self._root}/{name}"
        try:
            status = os.lstat(path)
        except FileNotFoundError:
            self.places.make(path, f"/{name}", folder=True)
            return
        if not stat.S_ISDIR(status.st_mode):
            kind = "a symbolic link" if stat.S_ISLNK(status.st_mode) else "no directory"
            raise ViewError(
                f"the image's /{name} is {kind}; no command can run in it, make it a directory"
            )

    def _mount_devices(self) -> None:
        dev = f"{self._root}/dev"
        linux.mount("tmpfs", dev, "tmpfs", _FOREIGN, "mode=755,size=64m")
        for name in _NODES:
            if os.path.exists(f"/dev/{name}"):
                write_new(f"{dev}/{name}", b"")
                _show_node(f"/dev/{name}", f"{dev}/{name}")
        for name, target in _LINKS.items():
            os.symlink(target, f"{dev}/{name}")
        for name in ("pts", "shm"):
            os.mkdir(f"{dev}/{name}")
        with suppress(OSError):  # a build has no terminal; few commands miss it
            options = "newinstance,ptmxmode=0666,mode=620"
            linux.mount("devpts", f"{dev}/pts", "devpts", _QUIET & ~linux.MS_NODEV, options)
        linux.mount("tmpfs", f"{dev}/shm", "tmpfs", _QUIET, "mode=1777,size=64m")
        os.mkdir(f"{self._root}/{OWN}", 0o755)

    def _mount_sys(self) -> None:
        """Show the machine's /sys, which nobody can write to; without it where that is refused."""
        target = f"{self._root}/sys"
        try:
            linux.mount("/sys", target, None, linux.MS_BIND | linux.MS_REC)
        except OSError:
            return
        try:
            for name in _MASKED_SYS:
                _mask(f"{target}/{name}")
            linux.set_mount_flags(target, linux.MS_RDONLY | _QUIET)
        except OSError:
            linux.unmount(target)


def link_lowers(root: Root) -> None:
    """Give the folders beneath the overlay short names in the step's own folder."""
    for number, lower in enumerate(root.lowers):
        os.symlink(lower, f"{root.step}/{number}")


def lower_names(root: Root) -> str:
    """Return the names that `link_lowers` gave, as the option `lowerdir` has them."""
    return ":".join(map(str, range(len(root.lowers))))


def show_lowers(root: Root) -> str:
    """Mount what is beneath the overlay, to be read, in a mount namespace of its own."""
    if len(root.lowers) == 1:
        return root.lowers[0]
    linux.unshare(linux.CLONE_NEWNS)
    linux.mount(None, "/", None, linux.MS_REC | linux.MS_PRIVATE)
    os.chdir(root.step)
    options = f"lowerdir={lower_names(root)}" + (",userxattr" if root.user_xattrs else "")
    linux.mount("overlay", "lower", "overlay", linux.MS_RDONLY, options)
    return f"{root.step}/lower"


def _show_node(node: str, target: str) -> None:
    linux.mount(node, target, None, linux.MS_BIND)
    linux.set_mount_flags(target, _NODE)


def _mask(path: str) -> None:
    """Have nothing at *path*, if there is something."""
    if os.path.isdir(path):
        linux.mount("tmpfs", path, "tmpfs", linux.MS_RDONLY | _QUIET, "size=0k")
    elif os.path.exists(path):
        _show_node("/dev/null", path)


def _mount_root(root: Root) -> str:
    """Mount the root; devices and set-user-ID bits in it mean nothing. Return where it is."""
    if not root.overlay:
        linux.mount(root.plain, root.plain, None, linux.MS_BIND)
        linux.set_mount_flags(root.plain, _FOREIGN)
        return root.plain
    # Relative names: a path of this machine may hold what separates options.
    os.chdir(root.step)
    options = f"lowerdir={lower_names(root)},upperdir=upper,workdir=work,"
    options += "redirect_dir=nofollow,metacopy=off,index=off" + ",userxattr" * root.user_xattrs
    try:
        # Nothing of it need survive this machine: no file is synced, whatever the command asks.
        linux.mount("overlay", "root", "overlay", _FOREIGN, f"{options},volatile")
    except OSError as error:
        if error.errno != errno.EINVAL:
            raise
        linux.mount("overlay", "root", "overlay", _FOREIGN, options)
    return f"{root.step}/root"

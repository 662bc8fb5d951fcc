"""What a command sees where nothing can be mounted: put into the root, and taken out again.

The root is a copy that only this run uses. What has to give way is kept beside it in the meantime.
"""

from __future__ import annotations

import os
import shutil
import stat
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import replace
from typing import TYPE_CHECKING

from assembler.sandbox.init import empty_stdin
from assembler.sandbox.places import Places, ViewError, write_private

if TYPE_CHECKING:
    from collections.abc import Iterator

    from assembler.sandbox.job import Run

_NODES = {
    "null": (1, 3), "zero": (1, 5), "full": (1, 7), "random": (1, 8), "urandom": (1, 9),
    "tty": (5, 0),
}  # fmt: skip


@contextmanager
def surroundings(run: Run) -> Iterator[tuple[Run, list[str]]]:
    """Yield the run as it is to be started, and the paths that were made for it in the root."""
    if run.isolation == "chroot":
        with _in_chroot(run) as made:
            yield run, made
    else:
        with _beside(run) as words:
            yield replace(run, command=replace(run.command, words=words, directory="/")), []


@contextmanager
def _in_chroot(run: Run) -> Iterator[list[str]]:
    """Change this process's root, and arrange /dev, private files and mounts there."""
    with ExitStack() as stack:
        step = os.open(run.root.step, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        stack.callback(os.close, step)
        folders = [_open_above(mount.source) for mount in run.command.mounts]
        os.chroot(run.root.plain)
        os.chdir("/")
        places = Places()
        _hide(stack, step, "/dev", "dev")
        _make_devices()
        empty_stdin()
        for number, file in enumerate(run.command.secrets):
            target = places.find(file.target, folder=False)
            _hide(stack, step, target, f"file-{number}")
            write_private(target, file)
        for number, (mount, folder) in enumerate(zip(run.command.mounts, folders, strict=True)):
            target = places.find(mount.target, folder=folder is None or folder[2])
            _hide(stack, step, target, f"mount-{number}")
            if folder is None:
                os.mkdir(target, 0o1777)
            else:
                _lend(stack, folder, target)
        yield places.made


def _lend(stack: ExitStack, folder: tuple[int, str, bool], target: str) -> None:
    """Move a file or folder of ours, on the same disk, to *target*, and back at the end.

    Unless something else is there then: a link that the command put there would be followed by
    whoever uses the cache next. What is not given back is made anew.
    """
    above, name, _ = folder
    os.rename(name, target, src_dir_fd=above)
    lent = os.lstat(target)

    def give_back() -> None:
        try:
            found = os.lstat(target)
        except OSError:
            return
        if (found.st_dev, found.st_ino, found.st_mode >> 12) == (
            lent.st_dev, lent.st_ino, lent.st_mode >> 12,
        ):  # fmt: skip
            os.rename(target, name, dst_dir_fd=above)

    stack.callback(give_back)


def _open_above(source: str | None) -> tuple[int, str, bool] | None:
    if source is None:
        return None
    if os.path.islink(source):
        raise ViewError(f"{source} is a symbolic link; what it leads to is not shown")
    above, name = os.path.split(source)
    flags = os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC
    return os.open(above, flags), name, os.path.isdir(source)


def _hide(stack: ExitStack, step: int, path: str, name: str) -> None:
    """Move *path*, where it is there, out of the root; at the end it comes back."""
    above = os.path.dirname(path)
    times = os.stat(above)

    def keep_time() -> None:
        with suppress(OSError):
            os.utime(above, ns=(times.st_atime_ns, times.st_mtime_ns))

    if os.path.lexists(path):
        os.rename(path, name, dst_dir_fd=step)
        stack.callback(keep_time)
        stack.callback(_put_back, step, name, path)
    stack.callback(_remove, path)


def _put_back(step: int, name: str, path: str) -> None:
    # Where the command removed the folder, it removed what was hidden there, too.
    with suppress(FileNotFoundError, NotADirectoryError):
        os.rename(name, path, src_dir_fd=step)


def _remove(path: str) -> None:
    if os.path.isdir(path) and not os.path.islink(path):
        shutil.rmtree(path, ignore_errors=True)
    else:
        with suppress(FileNotFoundError, NotADirectoryError):
            os.unlink(path)


def _make_devices() -> None:
    os.mkdir("/dev", 0o755)
    for name, (major, minor) in _NODES.items():
        try:
            os.mknod(f"/dev/{name}", stat.S_IFCHR | 0o666, os.makedev(major, minor))
            os.chmod(f"/dev/{name}", 0o666)  # noqa: S103 - as everywhere
        except OSError as error:
            raise ViewError(f"/dev/{name} cannot be made ({error.strerror})") from None
    os.mkdir("/dev/shm", 0o1777)  # noqa: S108 - of the sandbox
    os.mkdir("/dev/.sandbox", 0o755)


@contextmanager
def _beside(run: Run) -> Iterator[tuple[str, ...]]:
    """Have proot show everything: yield its command line."""
    proot, *words = run.command.words
    options = ["-r", run.root.plain, "-w", run.command.directory, "--kill-on-exit"]
    options += ["-0"] if run.command.uid == 0 else ["-i", f"{run.command.uid}:{run.command.gid}"]
    for path in ("/proc", "/sys", *(f"/dev/{name}" for name in _NODES)):
        options += ["-b", path]
    with ExitStack() as stack:
        for number, file in enumerate(run.command.secrets):
            place = f"{run.root.step}/file-{number}"
            write_private(place, file)
            stack.callback(os.unlink, place)
            options += ["-b", f"{place}:{file.target}"]
        for number, mount in enumerate(run.command.mounts):
            source = mount.source or f"{run.root.step}/mount-{number}"
            if mount.source is None:
                os.mkdir(source, 0o1777)
                stack.callback(shutil.rmtree, source, ignore_errors=True)
            options += ["-b", f"{source}:{mount.target}"]
        yield (proot, *options, *words)

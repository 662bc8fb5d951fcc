"""The mksquashfs process: its options, feeding it, and its failures.

Everything goes through `write_squashfs`, so that another writer could stand behind it.
"""

from __future__ import annotations

import errno
import fcntl
import os
import re
import shutil
import signal
import subprocess
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass
from typing import IO, TYPE_CHECKING

from assembler import rootinode
from assembler.errors import SquashfsError
from assembler.memorylimit import memory_limit, own_memory
from assembler.postponing import postponed
from assembler.squashmemory import MemoryPlan, plan_memory
from layers import tarstream
from layers.tree import show

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from layers.tempfiles import TempFile
    from layers.tree import Node, Tree

_OLDEST = (4, 5)
_PIPE_SIZE = 1 << 20
_STDERR_SHOWN = 4096
_PROCESSORS_MAX = 1024
"""mksquashfs starts two threads for each, and stops with an error where it cannot."""
_NO_MEMORY = ("Out of memory", "more physical memory than")
_KILLED_FIRST = 500
"""Of 1000: how much sooner than others the kernel ends it when memory runs out."""
_WARNINGS_SHOWN = 20
_PACKAGE = "install the package squashfs-tools (apt install squashfs-tools), 4.5 or newer"
_LEVELS = {"gzip": range(1, 10), "lzo": range(1, 10), "zstd": range(1, 23)}
_DEFAULT_LEVELS = {"gzip": 6, "lzo": 8, "zstd": 15}
COMPRESSIONS = ("gzip", "lzo", "xz", "lz4", "zstd")
PRESETS = {"fast": ("gzip", 1), "balanced": ("gzip", 6), "small": ("xz", None)}


@dataclass(frozen=True, slots=True)
class SquashfsOptions:
    """How to compress. `level` and `processors` of `None` leave the choice open."""

    compression: str = "gzip"
    level: int | None = None
    block_size: int = 128 * 1024
    processors: int | None = None

    def __post_init__(self) -> None:
        """Refuse what mksquashfs would refuse, with a reason."""
        if self.compression not in COMPRESSIONS:
            raise ValueError(
                f"{self.compression!r} is no compression; choose {', '.join(COMPRESSIONS)}"
            )
        levels = _LEVELS.get(self.compression)
        if self.level is not None and levels is None:
            raise ValueError(f"{self.compression} has no levels; leave --level out")
        if self.level is not None and levels is not None and self.level not in levels:
            raise ValueError(
                f"{self.compression} has levels {levels[0]} to {levels[-1]}, not {self.level}"
            )
        if not 4096 <= self.block_size <= 1 << 20 or self.block_size & (self.block_size - 1):
            raise ValueError("a block size is a power of two from 4096 to 1048576 bytes")
        if self.processors is not None and self.processors < 1:
            raise ValueError("--processors must be at least 1")
        if self.processors is not None and self.processors > _PROCESSORS_MAX:
            raise ValueError(f"--processors must be at most {_PROCESSORS_MAX}")

    def arguments(self) -> list[str]:
        """Return mksquashfs's options for this."""
        arguments = ["-comp", self.compression, "-b", str(self.block_size)]
        level = self.level or _DEFAULT_LEVELS.get(self.compression)
        if level is not None:
            arguments += ["-Xcompression-level", str(level)]
        return arguments


@dataclass(frozen=True, slots=True)
class Feed:
    """The tar for mksquashfs, planned before it starts, and its length in bytes."""

    spans: list[tarstream.Span]
    size: int
    paths: int

    @classmethod
    def of(cls, tree: Tree) -> Feed:
        """Plan the tar of *tree*."""
        spans = list(tarstream.spans(tree))
        return cls(spans, tarstream.total_size(spans), sum(1 for _ in tree.nodes()))


def find_mksquashfs() -> str:
    """Return the path of a mksquashfs that is new enough; else raise `SquashfsError`."""
    program = find_tool("mksquashfs")
    done = subprocess.run([program, "-version"], capture_output=True, text=True, check=False)
    match = re.search(r"version (\d+)\.(\d+)", done.stdout)
    if not match:
        raise SquashfsError(
            f"{program} does not tell its version (exit {done.returncode}); {_PACKAGE}"
        )
    if (int(match[1]), int(match[2])) < _OLDEST:
        raise SquashfsError(
            f"{program} is version {match[1]}.{match[2]}, too old to read a tar; {_PACKAGE}"
        )
    return program


def message_file() -> IO[bytes]:
    """Return a file for a program's messages. It takes no disk, so that a full one can be told.

    A pipe would have to be read meanwhile.
    """
    return open(os.memfd_create("messages"), "w+b")


def find_tool(name: str) -> str:
    """Return the path of one of squashfs-tools' programs."""
    program = shutil.which(name)
    if program is None:
        raise SquashfsError(f"{name} is not on PATH; {_PACKAGE}")
    return program


def write_squashfs(
    tree: Tree,
    out: TempFile,
    options: SquashfsOptions,
    epoch: int,
    progress: Callable[[int, int], None],
    warn: Callable[[str], None],
) -> None:
    """Write *tree* as a squashfs into *out*. *progress* is told of (bytes fed, of how many).

    The root directory's and the file system's times are *epoch*. On any failure `SquashfsError`
    is raised, or the `OSError` that mksquashfs met, and mksquashfs is gone.
    """
    program = find_mksquashfs()
    _drop_unreadable_attributes(tree, warn)
    feed = Feed.of(tree)
    command = [program, "-", str(out.proc_path), "-tar", "-noappend", "-quiet", "-no-progress"]
    # The root's inode has to be found and mended afterwards, so inodes stay uncompressed.
    command += [*options.arguments(), "-noI", "-mkfs-time", str(epoch)]
    # Up to version 4.6.1 a race with packed tail ends, the default for tars, loses blocks of files
    # in silence (about one large image in ten on a busy machine). Without them images are 0.1 %
    # larger.
    memory = plan_memory(
        options.compression,
        options.block_size,
        options.processors or len(os.sched_getaffinity(0)),
        feed.paths,
        own_memory(),
        memory_limit(),
    )
    command += [*memory.arguments(), "-no-tailends", "-root-mode", f"{tree.root.mode:o}"]
    with message_file() as stderr:
        with _running(command, stderr, out.fileno()) as process:
            fed = _feed(process, feed, progress)
            status = process.wait()
        if status != 0 or not fed:
            raise _failure(status, _tail(stderr), memory)
        for line in _tail(stderr).splitlines()[:_WARNINGS_SHOWN]:
            warn(f"mksquashfs: {line}")
    try:
        rootinode.settle(out.fileno(), tree.root, _ids(tree), epoch)
    except ValueError as error:
        raise SquashfsError(f"{program} wrote a squashfs that cannot be used: {error}") from None


def _drop_unreadable_attributes(tree: Tree, warn: Callable[[str], None]) -> None:
    """Remove attributes that mksquashfs would take for others: in a PAX key, "=" ends the name."""
    if not any(_unreadable(node) for node in tree.nodes()):
        return
    for path, node in tree.walk():
        for name in _unreadable(node):
            warn(
                f"{path.decode(errors='backslashreplace')}: the extended attribute "
                f"{show(name)} is left out, because mksquashfs cannot read a name with "
                '"=" from a tar'
            )
    for node in tree.nodes():
        for name in _unreadable(node):
            node.xattrs = {k: v for k, v in (node.xattrs or {}).items() if k != name} or None


def _unreadable(node: Node) -> list[bytes]:
    return sorted(name for name in node.xattrs or () if b"=" in name)


def _ids(tree: Tree) -> set[int]:
    """Return the uids and gids of everything below the root."""
    return {owner for node in tree.nodes() for owner in (node.uid, node.gid)}


@contextmanager
def _running(command: list[str], stderr: IO[bytes], out: int) -> Iterator[subprocess.Popen[bytes]]:
    """Start mksquashfs; whatever happens, it does not outlive the context."""
    # SOURCE_DATE_EPOCH would make mksquashfs lower the times of files.
    environment = {key: value for key, value in os.environ.items() if key != "SOURCE_DATE_EPOCH"}
    with ExitStack() as stack:
        with postponed():
            process = subprocess.Popen(
                command,
                stdin=subprocess.PIPE,
                stdout=subprocess.DEVNULL,
                stderr=stderr,
                env=environment,
                pass_fds=(out,),
                process_group=0,  # a Ctrl-C is ours to handle, once
            )
            stack.callback(_end, process)
        _offer_to_the_kernel(process)
        yield process


def _offer_to_the_kernel(process: subprocess.Popen[bytes]) -> None:
    """Let mksquashfs be ended before this process, which can still tell what happened."""
    with suppress(OSError), open(f"/proc/{process.pid}/oom_score_adj", "r+") as score:
        if int(score.read()) < _KILLED_FIRST:
            score.seek(0)
            score.write(str(_KILLED_FIRST))


def _end(process: subprocess.Popen[bytes]) -> None:
    if process.poll() is None:
        process.kill()
    with suppress(BrokenPipeError):
        if process.stdin is not None:
            process.stdin.close()
    process.wait()


def _feed(
    process: subprocess.Popen[bytes], feed: Feed, progress: Callable[[int, int], None]
) -> bool:
    """Send the tar; return whether all of it was taken."""
    if process.stdin is None:  # pragma: no cover - it was asked for a pipe
        return False
    pipe = process.stdin.fileno()
    with suppress(OSError):
        # Beyond the user's limit for pipes; the default works too.
        fcntl.fcntl(pipe, fcntl.F_SETPIPE_SZ, _PIPE_SIZE)
    done = 0

    def sent(count: int) -> None:
        nonlocal done
        done += count
        progress(done, feed.size)

    try:
        tarstream.send(feed.spans, pipe, sent)
        process.stdin.close()
    except BrokenPipeError:
        return False
    return True


def _failure(status: int, stderr: str, memory: MemoryPlan) -> Exception:
    for number in (errno.ENOSPC, errno.EDQUOT, errno.EFBIG):
        if os.strerror(number) in stderr:
            return OSError(number, os.strerror(number))  # `output` says whose disk it is
    if status < 0:
        name = signal.Signals(-status).name
        if -status == signal.SIGKILL:
            return SquashfsError(
                f"mksquashfs was ended by {name} (out of memory?): {memory.advice()}"
            )
        return SquashfsError(f"mksquashfs was ended by {name}; nothing was written, try again")
    if "Failed to create thread" in stderr:
        return SquashfsError(
            "mksquashfs could not start its threads: raise the limit on processes (ulimit -u, "
            f"pids.max), or take fewer by --processors 1; if that is high, {memory.advice()}"
        )
    if any(sign in stderr for sign in _NO_MEMORY):
        return SquashfsError(f"mksquashfs has not enough memory: {memory.advice()}")
    reason = " ".join(stderr.split()) or "it gave no reason"
    if status == 0:
        return SquashfsError(f"mksquashfs stopped before it had read everything: {reason}")
    return SquashfsError(f"mksquashfs failed with exit status {status}: {reason}")


def _tail(stderr: IO[bytes]) -> str:
    end = stderr.seek(0, os.SEEK_END)
    stderr.seek(max(0, end - _STDERR_SHOWN))
    return stderr.read().decode("utf-8", "replace").strip()

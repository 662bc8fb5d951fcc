"""What is inside a squashfs: unsquashfs's pseudo-file listing as a `Tree` without data."""

from __future__ import annotations

import re
import secrets
import signal
import subprocess
from contextlib import ExitStack, suppress
from typing import IO, TYPE_CHECKING, Self

from assembler.errors import GvmiError, SquashfsError
from assembler.output import STDOUT
from assembler.squashfs import find_tool, message_file
from layers.kinds import Kind
from layers.tree import Node, Tree, TreeError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

_END = b"#"
_NAME = rb"((?:[^\\ ]|\\.)+)"
_LINE = re.compile(_NAME + rb" ([A-Z]) (.*)", re.DOTALL)
_KINDS = {
    b"D": Kind.DIRECTORY,
    b"R": Kind.FILE,
    b"S": Kind.SYMLINK,
    b"C": Kind.CHAR,
    b"B": Kind.BLOCK,
    b"I": Kind.FIFO,
}
_ENTRY_LIMIT = 5_000_000
_LINE_LIMIT = 1 << 16
_MESSAGES_SHOWN = 1 << 16
_REASON_SHOWN = 500
_GRACE = 5.0
"""Seconds that unsquashfs has to end by itself, after it has written its last."""


class _Mismatch(Exception):
    """The records are not those of the entries."""


def check_contents(path: Path) -> None:
    """Unpack all files' data, without keeping them; raise `GvmiError` for damage."""
    with message_file() as stderr:
        done = subprocess.run(_command(path), stdout=subprocess.DEVNULL, stderr=stderr, check=False)
        if done.returncode != 0:
            raise _failure(path, done.returncode, stderr)


def read_tree(path: Path, inodes: int | None = None) -> tuple[Tree, dict[Node, int]]:
    """Return the tree of the squashfs at the head of *path*, and the sizes of its files in bytes.

    Raises `GvmiError` for a broken squashfs, and for one that has another number of inodes than
    *inodes*; `SquashfsError` where unsquashfs is missing or cannot read such files.
    """
    tree = Tree()
    sizes: dict[Node, int] = {}
    line = b""
    found = 0
    with _Program(path, _entries_command) as entries, _Program(path, _command) as records:
        try:
            for line in _records(records.output, _entries(entries.output, entries.mark)):
                found += _add(tree, sizes, line)
            entries.finish()
            # What follows the listing is all the files' data: nobody waits for that.
            if not records.output.readline(_LINE_LIMIT).startswith(_END):
                raise _Mismatch
        except _Mismatch:
            entries.finish()
            records.finish()
            raise _damaged(path, "unsquashfs lists it differently each time") from None
        except (ValueError, LookupError, TreeError):
            raise _damaged(path, f"unsquashfs lists {line[:100]!r}, which makes no sense") from None
    if inodes not in {found, None}:
        raise _damaged(path, f"its superblock says {inodes:,} inodes, and it has {found:,}")
    return tree, sizes


class _Program:
    """A run of unsquashfs whose output is read: not to its end, if nobody wants that."""

    def __init__(self, path: Path, command: Callable[[Path, str], list[str]]) -> None:
        self._path = path
        self.mark = f"golem-{secrets.token_hex(16)}"
        """What nobody who made the squashfs can know."""
        self._command = command(path, self.mark)

    def __enter__(self) -> Self:
        with ExitStack() as stack:
            self._messages = stack.enter_context(message_file())
            self._process = subprocess.Popen(
                self._command, stdout=subprocess.PIPE, stderr=self._messages
            )
            self._stack = stack.pop_all()
        return self

    def __exit__(self, *_: object) -> None:
        with self._stack:
            _end(self._process, wait=False)

    @property
    def output(self) -> IO[bytes]:
        """Its standard output."""
        stream = self._process.stdout
        if stream is None:
            raise ValueError("no pipe")
        return stream

    def finish(self) -> None:
        """Wait for the end of one that has nothing more to write; raise for its failure."""
        if not self.output.closed and self.output.read(1):
            return
        status = _end(self._process, wait=True)
        if status != 0:
            raise _failure(self._path, status, self._messages)


def _end(process: subprocess.Popen[bytes], *, wait: bool) -> int:
    """Make the process end; if its status is to be its own, let it *wait* a moment for that."""
    if process.stdout is not None:
        process.stdout.close()
    with suppress(subprocess.TimeoutExpired):
        return process.wait(_GRACE if wait else 0)
    process.kill()
    return process.wait()


def _entries_command(path: Path, mark: str) -> list[str]:
    """Return what writes all names, each below *mark*, to standard output."""
    program = find_tool("unsquashfs")
    return [program, "-no-progress", "-quiet", "-lln", "-d", mark, str(path.absolute())]


def _command(path: Path, _mark: str = "") -> list[str]:
    """Return what writes the listing, then all data, to standard output.

    On some errors unsquashfs removes its output by name; no one can remove this name. An option
    cannot be mistaken for the path, which begins with a slash.
    """
    program = find_tool("unsquashfs")
    return [program, "-no-progress", "-quiet", "-pf", str(STDOUT), str(path.absolute())]


def _failure(path: Path, status: int, messages: IO[bytes]) -> Exception:
    messages.seek(0)
    lines = messages.read(_MESSAGES_SHOWN).decode("utf-8", "replace").splitlines()
    reason = "; ".join(line.removeprefix("FATAL ERROR: ").strip() for line in lines if line.strip())
    reason = "".join(char if char.isprintable() else "?" for char in reason)[:_REASON_SHOWN]
    if "invalid option" in reason or "unsupported by this version" in reason:
        return SquashfsError(f"{path}: unsquashfs cannot read it: {reason}")
    if status == -signal.SIGKILL:
        return SquashfsError(
            f"{path}: unsquashfs was ended by SIGKILL (out of memory?); nothing was found out"
        )
    if status < 0:
        reason = f"unsquashfs crashed on it ({signal.Signals(-status).name})"
    return _damaged(path, reason or f"unsquashfs stops at it, with exit status {status}")


def _damaged(path: Path, reason: str) -> GvmiError:
    return GvmiError(f"{path} is not a sound .gvmi: its squashfs is damaged: {reason}")


def _entries(stream: IO[bytes], mark: str) -> Iterator[bytes]:
    """Yield `PATH`, or `PATH -> TARGET` of a link, of each entry; the root's path is empty.

    unsquashfs does not escape newlines here either, but a line without *mark* can only go on with
    the entry before it.
    """
    begin = f" {mark}".encode()
    held: bytes | None = None
    for _ in range(_ENTRY_LIMIT):
        line = stream.readline(_LINE_LIMIT)
        if not line:
            break
        _, found, rest = line.removesuffix(b"\n").partition(begin)
        if found:
            if held is not None:
                yield held
            held = rest.removeprefix(b"/")
        elif held is not None:
            held += b"\n" + line.removesuffix(b"\n")
    if held is not None:
        yield held


def _records(stream: IO[bytes], entries: Iterator[bytes]) -> Iterator[bytes]:
    """Yield the record of each of the *entries*: pseudo-file definitions, without the end mark.

    unsquashfs escapes spaces and backslashes in names, but not newlines, and none of a link's
    target; so whoever made the squashfs writes lines that look like records, or like the end. How
    many lines are a record's own is known from its entry.
    """
    for entry in entries:
        lines = [stream.readline(_LINE_LIMIT) for _ in range(entry.count(b"\n") + 1)]
        if not lines[-1]:
            raise _Mismatch
        record = b"".join(lines).removesuffix(b"\n")
        if not _fits(record, entry):
            raise _Mismatch
        yield record


def _fits(record: bytes, entry: bytes) -> bool:
    """Return whether a record is the one of *entry*."""
    match = _LINE.fullmatch(record)
    if match is None:
        return True  # told as what makes no sense
    shown = _unescape(match[1]).removeprefix(b"/")
    if match[2] == b"S":
        shown += b" -> " + match[3].split(b" ", 4)[-1]
    # The second name of a link has no target in its record.
    return shown == entry or (match[2] == b"L" and entry.startswith(shown + b" -> "))


def _add(tree: Tree, sizes: dict[Node, int], line: bytes) -> bool:
    """Add what a record tells; return whether it is a new inode, not another name of one."""
    match = _LINE.fullmatch(line)
    if match is None:
        raise ValueError("no record")
    path, letter, rest = _unescape(match[1]), match[2], match[3]
    names = [name for name in path.split(b"/") if name]
    if letter == b"L":
        target = tree.find(_unescape(rest), follow=False)
        if target is not None and target.is_directory:
            raise ValueError("a hard link to a directory")
        if target is not None and names:
            _parent(tree, names).children[names[-1]] = target
        return False
    node = _node(letter, rest)
    if node is None:
        return True
    if node.kind is Kind.FILE:
        sizes[node] = int(rest.split(b" ")[4])
    if names:
        _parent(tree, names).children[names[-1]] = node
    elif node.is_directory:
        tree.root = node
    else:
        raise ValueError("the root is not a directory")
    return True


def _node(letter: bytes, rest: bytes) -> Node | None:
    kind = _KINDS.get(letter)
    fields = rest.split(b" ", 4)
    if kind is None or len(fields) < 4:
        return None
    mtime, mode, uid, gid = int(fields[0]), int(fields[1], 8), int(fields[2]), int(fields[3])
    node = Node(kind, mode, uid, gid, mtime)
    if kind is Kind.SYMLINK:
        node.target = fields[4]
    elif kind in (Kind.CHAR, Kind.BLOCK):
        major, minor = (int(field) for field in fields[4].split(b" "))
        node.device = _device(major, minor)
    return node


def _device(major: int, minor: int) -> tuple[int, int]:
    """Undo unsquashfs 4.5's way of printing numbers over 255: the stored word, cut at bit 8."""
    if major <= 0xFFF:
        return major, minor
    word = major << 8 | minor
    return word >> 8 & 0xFFF, word & 0xFF | word >> 12 & 0xFFF00


def _parent(tree: Tree, names: list[bytes]) -> Node:
    node = tree.root
    for name in names[:-1]:
        node = node.children[name]
    if not node.is_directory:
        raise ValueError("not a directory")
    return node


def _unescape(name: bytes) -> bytes:
    return re.sub(rb"\\(.)", rb"\1", name, flags=re.DOTALL)

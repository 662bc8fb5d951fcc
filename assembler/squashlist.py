"""What is inside a squashfs: unsquashfs's pseudo-file listing as a `Tree` without data."""

from __future__ import annotations

import re
import signal
import subprocess
from contextlib import suppress
from typing import IO, TYPE_CHECKING

from assembler.errors import GvmiError, SquashfsError
from assembler.output import STDOUT
from assembler.squashfs import find_tool, message_file
from layers.kinds import Kind
from layers.tree import Node, Tree, TreeError

if TYPE_CHECKING:
    from collections.abc import Iterator
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


def check_contents(path: Path) -> None:
    """Unpack all files' data, without keeping them; raise `GvmiError` for damage."""
    with message_file() as stderr:
        done = subprocess.run(_command(path), stdout=subprocess.DEVNULL, stderr=stderr, check=False)
        if done.returncode != 0:
            raise _failure(path, done.returncode, stderr)


def read_tree(path: Path) -> tuple[Tree, dict[Node, int]]:
    """Return the tree of the squashfs at the head of *path*, and the sizes of its files in bytes.

    Raises `GvmiError` for a broken squashfs, `SquashfsError` where unsquashfs is missing or cannot
    read such files.
    """
    command = _command(path)
    tree = Tree()
    sizes: dict[Node, int] = {}
    with message_file() as stderr:
        process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=stderr)
        complete = False
        line = b""
        try:
            for line in _records(process.stdout) if process.stdout is not None else ():
                complete = line == _END
                if not complete:
                    _add(tree, sizes, line)
        except (ValueError, LookupError, TreeError):
            raise _damaged(path, f"unsquashfs lists {line[:100]!r}, which makes no sense") from None
        finally:
            # What follows the listing is all the files' data: nobody waits for that.
            status = _end(process, wait=not complete)
        if not complete:
            raise _failure(path, status, stderr)
    return tree, sizes


def _end(process: subprocess.Popen[bytes], *, wait: bool) -> int:
    """Make the process end; if its status is to be its own, let it *wait* a moment for that."""
    if process.stdout is not None:
        process.stdout.close()
    with suppress(subprocess.TimeoutExpired):
        return process.wait(_GRACE if wait else 0)
    process.kill()
    return process.wait()


def _command(path: Path) -> list[str]:
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


def _records(stream: IO[bytes]) -> Iterator[bytes]:
    """Yield the records of a listing, and its end mark.

    unsquashfs escapes spaces and backslashes, but not newlines. A line that is no record of its own
    belongs to the link's target before it, else to the name that begins the next record; where both
    are possible the listing does not tell, and the link has it.
    """
    record = held = b""
    for _ in range(_ENTRY_LIMIT):
        line = stream.readline(_LINE_LIMIT).removesuffix(b"\n")
        if not line or line.startswith(b"#"):
            break
        match = _LINE.fullmatch(held + line)
        if match is not None:
            if record:
                yield record
            record, held = held + line, b""
        elif _is_link(record) and not held:
            record += b"\n" + line
        else:
            held += line + b"\n"
    if record:
        yield record
    if held:
        raise ValueError("no record")
    if line.startswith(b"#"):
        yield _END


def _is_link(record: bytes) -> bool:
    match = _LINE.fullmatch(record)
    return match is not None and match[2] == b"S"


def _add(tree: Tree, sizes: dict[Node, int], line: bytes) -> None:
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
        return
    node = _node(letter, rest)
    if node is None:
        return
    if node.kind is Kind.FILE:
        sizes[node] = int(rest.split(b" ")[4])
    if names:
        _parent(tree, names).children[names[-1]] = node
    elif node.is_directory:
        tree.root = node
    else:
        raise ValueError("the root is not a directory")


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

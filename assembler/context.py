"""The build context: a folder, a tar on standard input, or any PyFilesystem."""

from __future__ import annotations

import os
import sys
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from fs import open_fs
from fs.errors import FSError, ResourceNotFound

from assembler.archives import is_archive, read_archive
from assembler.copysource import FolderSource, resolve, unreadable
from assembler.dockerfile.globs import GlobError
from assembler.dockerfile.ignore import Rules
from assembler.errors import BuildError
from assembler.folder import Folder
from layers.imagefs import ImageFS
from layers.regular import read_regular
from layers.spool import Spool
from layers.tree import Tree

if TYPE_CHECKING:
    from collections.abc import Iterator

    from fs.base import FS

    from layers.session import Session

DOCKERFILE = "Dockerfile"
_IGNORE = ".dockerignore"
_TEXT_LIMIT = 10_000_000
_CHUNK = 1 << 20
_LOCAL = ("osfs", "file", "zip", "tar", "mem", "temp", "oci", "oci-archive", "docker-archive")
"""Schemes of PyFilesystem that read this machine's files and connect to nothing."""
_OWN_DESCRIPTORS = ("/dev/fd/", "/dev/stdin", "/proc/self/fd/")


@dataclass(frozen=True, slots=True)
class BuildFile:
    """The Dockerfile, and the file of patterns that goes with it."""

    text: bytes
    name: str
    rules: Rules
    ignore_name: str


@dataclass(frozen=True, slots=True)
class Context:
    """An open context. *folder* is where it lies, if it is one of this machine."""

    fs: FS
    name: str
    folder: Path | None = None
    piped: bytes | None = None
    """A Dockerfile that came on standard input, without a context."""

    def build_file(self, wanted: str | None) -> BuildFile:
        """Read the Dockerfile: *wanted* (`-`: standard input), else the context's own.

        A path is looked up in this machine's folders for a context that is a folder, and in the
        context otherwise. `NAME.dockerignore` beside it goes before the context's `.dockerignore`.
        """
        if self.piped is not None:
            return BuildFile(self.piped, DOCKERFILE, Rules(), _IGNORE)
        if wanted == "-":
            text, name = _limited(_stdin(_TEXT_LIMIT), "-"), DOCKERFILE
            return BuildFile(text, name, *self._rules(None))
        if wanted is not None and self.folder is not None:
            path = Path(wanted)
            text = _read_named(path)
            with Folder(str(path.parent)) as folder:
                beside = Context(folder, str(path.parent)).read(f"{path.name}.dockerignore")
            return BuildFile(text, path.name, *self._rules(beside, f"{path.name}.dockerignore"))
        name = wanted or DOCKERFILE
        found = self.read(name)
        if found is None:
            raise BuildError(f"{self.name}/{name}: there is no such Dockerfile; name it by -f")
        beside = self.read(f"{name}.dockerignore") if self.folder else None
        return BuildFile(found, Path(name).name, *self._rules(beside, f"{name}.dockerignore"))

    def source(self, rules: Rules, ignore_name: str = _IGNORE) -> FolderSource:
        """Return what COPY reads."""
        return FolderSource(self.fs, rules, "the build context", ignore_name)

    def named_source(self, name: str) -> FolderSource:
        """Return what COPY --from=NAME reads, if this is what `--build-context` calls NAME."""
        rules, ignore_name = self._rules(None)
        return FolderSource(self.fs, rules, f"the build context {name!r}", ignore_name)

    def read(self, path: str) -> bytes | None:
        """Return a text of the context, `None` if it is not there.

        Links are followed inside the context; one that leads elsewhere is a `BuildError`.
        """
        try:
            with self.fs.openbin(self._resolved(path)) as file:
                return _limited(file.read(_TEXT_LIMIT + 1), path)
        except ResourceNotFound:
            return None
        except (OSError, FSError) as error:
            raise unreadable(path, error) from None

    def _resolved(self, path: str) -> str:
        """Return where *path* leads in a folder of this machine; other file systems know that."""
        if not isinstance(self.fs, Folder) or not self.fs.has_link(path):
            return path
        source = FolderSource(self.fs, Rules(), "the build context", _IGNORE)
        try:
            where, node = resolve(source, os.fsencode(path))
        except BuildError:
            node = None
        if node is None:
            raise BuildError(
                f"{path}: a symbolic link on its way leads to nothing in the context {self.name}; "
                "links are not followed out of it: copy the file into it, or name a Dockerfile by "
                "-f"
            )
        return os.fsdecode(where)

    def _rules(self, text: bytes | None, name: str = _IGNORE) -> tuple[Rules, str]:
        """Parse the patterns of the file *name*, or of the context's own where *text* is `None`."""
        if text is None:
            text, name = self.read(_IGNORE) or b"", _IGNORE
        try:
            return Rules.parse(text.decode("utf-8", "surrogateescape")), name
        except GlobError as error:
            raise BuildError(f"{name}: {error}") from None


@contextmanager
def open_context(text: str, session: Session) -> Iterator[Context]:
    """Open a folder, `-` (standard input: a tar, or a Dockerfile alone), or a PyFilesystem URL."""
    with ExitStack() as stack:
        if text == "-":
            yield _piped(session, stack)
            return
        path = Path(text)
        if path.is_dir():
            yield Context(stack.enter_context(Folder(text)), path.resolve().name, path)
            return
        if "://" not in text:
            raise BuildError(
                f"{text}: it is no folder; name the folder that holds the Dockerfile, - for a tar "
                "on standard input, or a URL such as zip://FILE"
            )
        scheme, _, rest = text.partition("://")
        if scheme.lower() not in _LOCAL:
            # Nobody knows where a password of an unknown scheme ends but for the last @.
            shown = f"{scheme}://***@{rest.rpartition('@')[2]}" if "@" in rest else text
            raise BuildError(
                f"{shown}: contexts are not fetched; clone or download it first "
                f"({', '.join(f'{scheme}://' for scheme in _LOCAL)} are read)"
            )
        try:
            opened = stack.enter_context(open_fs(text))
            opened.listdir("/")  # an archive is read when it is asked for something
        except Exception as error:  # each of PyFilesystem's openers has errors of its own
            raise BuildError(f"{text}: it cannot be opened as a context ({error})") from None
        yield Context(opened, Path(text.partition("://")[2]).stem or "context")


def _piped(session: Session, stack: ExitStack) -> Context:
    spool = stack.enter_context(Spool(session.store.area))
    while chunk := sys.stdin.buffer.read(_CHUNK):
        spool.append(chunk)
        session.limits.check("total_bytes", spool.size, "the context on standard input")
        session.check()
    if is_archive(spool):
        archive = stack.enter_context(read_archive(spool, "standard input", session))
        fs = stack.enter_context(ImageFS(archive.tree, session.store.area, mtime=0))
        return Context(fs, "context")
    text = _limited(spool.read_at(0, _TEXT_LIMIT + 1), "-")
    empty = stack.enter_context(ImageFS(Tree(), session.store.area, mtime=0))
    return Context(empty, "context", piped=text)


def _stdin(limit: int) -> bytes:
    return sys.stdin.buffer.read(limit + 1)


def _read_named(path: Path) -> bytes:
    """Read a Dockerfile that the user named: links are followed, shells' pipes are read."""
    try:
        if str(path).startswith(_OWN_DESCRIPTORS):
            with path.open("rb") as stream:
                return _limited(stream.read(_TEXT_LIMIT + 1), str(path))
        return _limited(read_regular(path, _TEXT_LIMIT), str(path))
    except FileNotFoundError:
        raise BuildError(f"{path}: there is no such Dockerfile; check -f") from None
    except OSError as error:
        raise BuildError(f"{path}: it cannot be read ({error.strerror})") from None


def _limited(data: bytes, name: str) -> bytes:
    if len(data) > _TEXT_LIMIT:
        raise BuildError(f"{name}: more than {_TEXT_LIMIT:,} bytes; no such file is that long")
    return data

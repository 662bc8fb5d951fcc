"""The build context: a folder, a tar on standard input, or any PyFilesystem."""

from __future__ import annotations

import sys
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from fs import open_fs
from fs.errors import FSError, ResourceNotFound

from assembler.archives import is_archive, read_archive
from assembler.copysource import FolderSource
from assembler.dockerfile.globs import GlobError
from assembler.dockerfile.ignore import Rules
from assembler.errors import BuildError
from assembler.folder import Folder
from layers.imagefs import ImageFS
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
            text, name, beside = _limited(_stdin(_TEXT_LIMIT), "-"), DOCKERFILE, None
        elif wanted is not None and self.folder is not None:
            path = Path(wanted)
            text, name = _read_file(path), path.name
            beside = path.with_name(f"{path.name}.dockerignore")
        else:
            name = wanted or DOCKERFILE
            found = self.read(name)
            if found is None:
                raise BuildError(f"{self.name}/{name}: there is no such Dockerfile; name it by -f")
            text = found
            beside = self.folder / f"{name}.dockerignore" if self.folder else None
        return BuildFile(text, Path(name).name, *self._rules(beside))

    def source(self, rules: Rules, ignore_name: str = _IGNORE) -> FolderSource:
        """Return what COPY reads."""
        return FolderSource(self.fs, rules, "the build context", ignore_name)

    def named_source(self, name: str) -> FolderSource:
        """Return what COPY --from=NAME reads, if this is what `--build-context` calls NAME."""
        rules, ignore_name = self._rules(None)
        return FolderSource(self.fs, rules, f"the build context {name!r}", ignore_name)

    def read(self, path: str) -> bytes | None:
        """Return a text of the context, `None` if it is not there."""
        try:
            with self.fs.openbin(path) as file:
                return _limited(file.read(_TEXT_LIMIT + 1), path)
        except ResourceNotFound:
            return None
        except (OSError, FSError) as error:
            raise BuildError(f"{path}: it cannot be read ({error})") from None

    def _rules(self, beside: Path | None) -> tuple[Rules, str]:
        text, name = None, _IGNORE
        if beside is not None and beside.is_file():
            text, name = _read_file(beside), beside.name
        if text is None:
            text = self.read(_IGNORE) or b""
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
        if text.startswith(("http://", "https://", "git://", "ssh://")):
            raise BuildError(f"{text}: contexts are not fetched; clone or download it first")
        try:
            opened = stack.enter_context(open_fs(text))
        except Exception as error:
            raise BuildError(f"{text}: it cannot be opened as a context ({error})") from None
        yield Context(opened, Path(text.partition("://")[2]).stem or "context")


def _piped(session: Session, stack: ExitStack) -> Context:
    spool = stack.enter_context(Spool(session.store.area))
    while chunk := sys.stdin.buffer.read(_CHUNK):
        spool.append(chunk)
        session.limits.check("total_bytes", spool.size, "the context on standard input")
        session.check()
    if is_archive(spool):
        tree = stack.enter_context(read_archive(spool, "standard input", session))
        fs = stack.enter_context(ImageFS(tree, session.store.area, mtime=0))
        return Context(fs, "context")
    text = _limited(spool.read_at(0, _TEXT_LIMIT + 1), "-")
    empty = stack.enter_context(ImageFS(Tree(), session.store.area, mtime=0))
    return Context(empty, "context", piped=text)


def _stdin(limit: int) -> bytes:
    return sys.stdin.buffer.read(limit + 1)


def _read_file(path: Path) -> bytes:
    try:
        with path.open("rb") as stream:
            return _limited(stream.read(_TEXT_LIMIT + 1), str(path))
    except FileNotFoundError:
        raise BuildError(f"{path}: there is no such Dockerfile; check -f") from None
    except OSError as error:
        raise BuildError(f"{path}: it cannot be read ({error.strerror})") from None


def _limited(data: bytes, name: str) -> bytes:
    if len(data) > _TEXT_LIMIT:
        raise BuildError(f"{name}: more than {_TEXT_LIMIT:,} bytes; no such file is that long")
    return data

"""The content store: an OCI image layout on this machine, shared by processes.

OCI image-spec v1.1, image-layout.md. A blob appears complete and verified under its digest, or not
at all; tags are entries of `index.json`, changed under a lock and replaced whole.
"""

from __future__ import annotations

import errno
import fcntl
import json
import os
import stat
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from layers.descriptor import Descriptor
from layers.digest import Digest, Verifier, verified, verify
from layers.errors import (
    DigestMismatch,
    ImageNotFound,
    LayersError,
    MalformedImage,
    MalformedLayer,
    StoreError,
)
from layers.image import Index
from layers.regular import open_regular
from layers.storetrust import check_trust, make_private
from layers.tempfiles import TempArea

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Iterable, Iterator

    from layers.spool import NamedSpool
    from layers.tempfiles import TempFile

_LAYOUT = b'{"imageLayoutVersion":"1.0.0"}'
_EMPTY_INDEX = b'{"schemaVersion":2,"manifests":[]}'
_BEGUN = {"blobs", "tmp", "lost+found"}
"""What is in a directory whose first user was killed while making the store."""
REF_NAME = "org.opencontainers.image.ref.name"
CHUNK = 1 << 18
_LOCK_FLAGS = os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC
_NOT_REGULAR = {errno.ELOOP, errno.EINVAL, errno.EISDIR, errno.ENXIO}
_REFUSALS = {
    errno.EACCES, errno.EPERM, errno.EROFS, errno.ENOTDIR, errno.EEXIST, errno.ELOOP, errno.EISDIR,
}  # fmt: skip


def default_root() -> Path:
    """Return `$XDG_CACHE_HOME/golem-assemble`, or what the specification says without it."""
    base = os.environ.get("XDG_CACHE_HOME", "")
    # The XDG base directory specification has relative paths ignored.
    if base.startswith("/"):
        return Path(base) / "golem-assemble"
    try:
        return Path.home() / ".cache" / "golem-assemble"
    except RuntimeError:
        raise StoreError(
            "this user has no home directory to keep the content store in; set XDG_CACHE_HOME, or "
            "pass a directory with --store"
        ) from None


def store_exists(root: Path) -> bool:
    """Whether there is a store at *root*; nothing and an empty directory are none.

    Raises `StoreError` where something else is, or nobody can tell.
    """
    with _opening(root):
        try:
            names = set(os.listdir(root))
        except FileNotFoundError:
            if not root.is_symlink():
                return False
            raise
    if "steps" not in names and names - _BEGUN:
        raise StoreError(
            f"{root}: not a content store, but a directory with other things in it; check --store"
        )
    return "steps" in names


@dataclass(frozen=True, slots=True)
class Remembered:
    """What a step of a build made: a layer of the store, or none."""

    layer: Descriptor | None


class ContentStore:
    """Blobs by digest, and tags."""

    def __init__(self, root: Path, warn: Callable[[str], None] | None = None) -> None:
        """Open the store at *root*, made where it is missing; leftovers of killed processes go.

        One that other users could have changed is a `StoreError`, unless *warn* is to be told.
        """
        with _opening(root):
            # Commands of RUN, and the overlays that they work in, have other working directories.
            root = root.absolute()
        self.root = root
        self._blobs = root / "blobs" / "sha256"
        self._temp = root / "tmp"
        self._steps = root / "steps"
        with _opening(root):
            root.parent.mkdir(parents=True, exist_ok=True)
            make_private(root)
            check_trust(root, warn)
            for folder in (self._blobs.parent, self._blobs, self._temp, self._steps):
                make_private(folder)
            self.area = TempArea(self._temp)
            self.area.sweep()
            self._publish_once(root / "oci-layout", _LAYOUT)
            self._publish_once(root / "index.json", _EMPTY_INDEX)

    def path(self, digest: Digest) -> Path:
        """Return where the blob is, or would be."""
        if digest.algorithm == "sha256":
            return self._blobs / digest.hex
        return self.root / "blobs" / digest.algorithm / digest.hex

    def has(self, descriptor: Descriptor) -> bool:
        """Whether the blob is here, in its full size."""
        try:
            status = self.path(descriptor.digest).lstat()
        except FileNotFoundError:
            return False
        return stat.S_ISREG(status.st_mode) and status.st_size == descriptor.size

    def open_file(self, digest: Digest) -> int:
        """Return a descriptor for reading a blob, which the caller closes.

        Raises `ImageNotFound` where there is none, `StoreError` where something else has its name.
        """
        try:
            return _open_regular(self.path(digest))
        except FileNotFoundError:
            raise ImageNotFound(f"{self.root}: blob {digest} is not there") from None

    @contextmanager
    def open_blob(self, descriptor: Descriptor) -> Iterator[Iterator[bytes]]:
        """Open a blob's chunks. What was verified on its way in is not hashed again.

        When the user of the chunks finds them broken, the blob is checked: one that was damaged
        on disk is removed, so that it can be fetched again.
        """
        with open(self.open_file(descriptor.digest), "rb", buffering=0) as file:
            try:
                yield iter(lambda: file.read(CHUNK), b"")
            except (DigestMismatch, MalformedLayer):
                self._check_health(descriptor)
                raise

    def read(self, descriptor: Descriptor) -> bytes:
        """Return a small blob whole, verified."""
        with open(self.open_file(descriptor.digest), "rb") as file:
            data = file.read()
        try:
            return verify(data, descriptor.digest, f"{self.root}: blob {descriptor.digest}")
        except DigestMismatch:
            self._check_health(descriptor)
            raise

    read_manifest = read

    def add(self, data: bytes) -> Digest:
        """Store *data* as a blob; return its digest."""
        digest = Digest.of(data)
        self.ingest(Descriptor("", digest, len(data)), [data])
        return digest

    def ingest(self, descriptor: Descriptor, chunks: Iterable[bytes]) -> None:
        """Store a blob from its chunks. What is wrong in size or digest is not kept."""
        if self.has(descriptor):
            return
        verifier = Verifier(descriptor.digest, descriptor.size, f"blob {descriptor.digest}")
        target = self.path(descriptor.digest)
        with explained(self.root):
            target.parent.mkdir(parents=True, exist_ok=True)
            with self.area.file() as temp:
                for chunk in verified(chunks, verifier):
                    temp.write(chunk)
                temp.publish(target)

    def keep(self, descriptor: Descriptor, file: NamedSpool) -> None:
        """Store a blob that was written, and hashed, into a temporary file of the store's."""
        if self.has(descriptor):
            return
        target = self.path(descriptor.digest)
        with explained(self.root):
            target.parent.mkdir(parents=True, exist_ok=True)
            file.publish(target)

    def tag(self, name: str, manifest: Descriptor) -> None:
        """Point the tag *name* at a manifest that is in the store."""
        with explained(self.root), self._locked():
            kept = [d for d in self._index().manifests if d.annotation(REF_NAME) != name]
            named = Descriptor(
                manifest.media_type,
                manifest.digest,
                manifest.size,
                manifest.platform,
                ((REF_NAME, name),),
            )
            self._write_index([*kept, named])

    def _write_index(self, manifests: Iterable[Descriptor]) -> None:
        items = [descriptor.to_json() for descriptor in manifests]
        index = json.dumps({"schemaVersion": 2, "manifests": items}, indent=1)
        with self.area.file() as temp:
            temp.write(index.encode())
            _sync(temp)
            temp.publish(self.root / "index.json")

    def untag(self, names: Collection[str]) -> None:
        """Forget tags; what they pointed at stays until somebody collects it."""
        with explained(self.root), self._locked():
            self._write_index(
                [d for d in self._index().manifests if d.annotation(REF_NAME) not in names]
            )

    def resolve(self, name: str) -> Descriptor | None:
        """Return the manifest that the tag *name* points at."""
        return self.tags().get(name)

    def tags(self) -> dict[str, Descriptor]:
        """Return all tags and the manifests that they point at."""
        named = {d.annotation(REF_NAME): d for d in self._index().manifests}
        return {name: descriptor for name, descriptor in named.items() if name}

    def blobs(self) -> Iterator[tuple[Digest, os.stat_result]]:
        """Yield every blob with what the file system knows of it."""
        for folder in sorted((self.root / "blobs").iterdir()):
            for path in sorted(folder.iterdir()):
                with suppress(FileNotFoundError, LayersError):
                    yield Digest.parse(f"{folder.name}:{path.name}"), path.lstat()

    def remove(self, digest: Digest) -> None:
        """Remove a blob; whoever does must be alone (see `alone`)."""
        with explained(self.root):
            self.path(digest).unlink(missing_ok=True)

    def remember(self, key: str, made: Remembered) -> None:
        """Note under *key*, a digest in hex, what a step made."""
        with explained(self.root), self.area.file() as temp:
            layer = made.layer.to_json() if made.layer else None
            temp.write(json.dumps({"layer": layer}).encode())
            temp.publish(self._steps / key)

    def recall(self, key: str) -> Remembered | None:
        """Return what was noted under *key*; `None` if nothing that makes sense was."""
        try:
            with open(_open_regular(self._steps / key), "rb") as file:
                layer = json.load(file)["layer"]
            return Remembered(Descriptor.from_json(layer) if layer else None)
        except (OSError, ValueError, LookupError, TypeError, LayersError):
            return None

    def forget_lost(self) -> None:
        """Remove the notes whose layers are gone."""
        for path in self._steps.iterdir():
            found = self.recall(path.name)
            if found is None or (found.layer is not None and not self.has(found.layer)):
                path.unlink(missing_ok=True)

    @contextmanager
    def in_use(self) -> Iterator[None]:
        """Keep others from removing blobs inside the block."""
        with explained(self.root), self._use_lock(fcntl.LOCK_SH):
            yield

    @contextmanager
    def alone(self) -> Iterator[None]:
        """Be sure that no other process uses the store; raise `StoreError` if one does.

        A process that is inside `in_use` itself must not ask for this.
        """
        try:
            with self._use_lock(fcntl.LOCK_EX | fcntl.LOCK_NB):
                yield
        except BlockingIOError:
            raise StoreError(
                f"{self.root}: another golem-assemble is using the store; try again when it is done"
            ) from None

    def _index(self) -> Index:
        path = self.root / "index.json"
        with open(_open_regular(path), "rb") as file:
            data = file.read()
        try:
            return Index.parse(data, str(path))
        except MalformedImage as error:
            raise StoreError(f"{error}; remove {path} to begin with no tags") from None

    @contextmanager
    def _locked(self) -> Iterator[None]:
        descriptor = os.open(self.root / "lock", _LOCK_FLAGS, 0o666)
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX)
            yield
        finally:
            os.close(descriptor)

    @contextmanager
    def _use_lock(self, how: int) -> Iterator[None]:
        descriptor = os.open(self.root / "use", _LOCK_FLAGS, 0o666)
        try:
            fcntl.flock(descriptor, how)
            yield
        finally:
            os.close(descriptor)

    def _publish_once(self, path: Path, data: bytes) -> None:
        if path.exists():
            return
        with self.area.file() as temp:
            temp.write(data)
            # A link, not a rename: of two processes that begin a store, the first one's file stays.
            try:
                temp.publish_new(path)
            except FileExistsError:
                return

    def _check_health(self, descriptor: Descriptor) -> None:
        """Remove a blob that is not what its name says, and say so."""
        path = self.path(descriptor.digest)
        verifier = Verifier(
            descriptor.digest, descriptor.size, f"{self.root}: blob {descriptor.digest}"
        )
        try:
            with open(self.open_file(descriptor.digest), "rb", buffering=0) as file:
                for _ in verified(iter(lambda: file.read(CHUNK), b""), verifier):
                    pass
        except DigestMismatch as error:
            path.unlink(missing_ok=True)
            raise StoreError(
                f"{self.root}: blob {descriptor.digest} was damaged on disk and has been removed; "
                "run the command again to fetch it anew"
            ) from error


def _open_regular(path: Path) -> int:
    """Open a file of the store; what else has its name is neither followed nor waited for."""
    try:
        return open_regular(path, follow=False)
    except OSError as error:
        if error.errno not in _NOT_REGULAR:
            raise
        raise StoreError(f"{path}: not a regular file, as the store's are; remove it") from None


def _sync(temp: TempFile) -> None:
    os.fsync(temp.fileno())


@contextmanager
def _opening(root: Path) -> Iterator[None]:
    """Turn any failure to open the store into a sentence."""
    try:
        with explained(root):
            yield
    except OSError as error:
        raise StoreError(
            f"{root}: the content store cannot be opened ({error.strerror}); name another place by "
            "--store or XDG_CACHE_HOME"
        ) from None


@contextmanager
def explained(root: Path) -> Iterator[None]:
    """Turn the operating system's refusals inside the block into a sentence about the store."""
    try:
        yield
    except LayersError:
        raise
    except OSError as error:
        if error.errno in {errno.ENOSPC, errno.EDQUOT, errno.EFBIG}:
            raise StoreError(
                f"{root}: {(error.strerror or '').lower()}; make room there, or name another place "
                "by --store"
            ) from None
        if error.errno in _REFUSALS:
            raise StoreError(
                f"{root}: the content store cannot be written ({error.strerror}); name another "
                "place by --store or XDG_CACHE_HOME"
            ) from None
        raise

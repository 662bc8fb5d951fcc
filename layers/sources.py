"""`open_image`: a reference, whatever its transport, becomes an `Image`."""

from __future__ import annotations

import os
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Protocol

from layers.abridged import abridged
from layers.archive import Archive, DockerArchive, OciArchive
from layers.descriptor import (
    Descriptor,
    Platform,
    choose_platform,
    is_attestation,
)
from layers.errors import ImageNotFound, MalformedImage, PlatformNotFound, RegistryUnavailable
from layers.image import JSON_LIMIT, Image, Index, Manifest, manifest_kind
from layers.layout import Layout, choose_tag
from layers.naming import find_stored
from layers.reference import LocalReference, Reference

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator
    from contextlib import AbstractContextManager

    from layers.digest import Digest
    from layers.registry import Registry
    from layers.session import Session

DEFAULT_PLATFORM = Platform("linux", "amd64")
_INDEX_DEPTH = 4


@dataclass(frozen=True, slots=True)
class Wanted:
    """The platform to choose, and whether somebody asked for it by name.

    What was asked for must be there; the default gives way to an image that has one platform only.
    """

    platform: Platform = DEFAULT_PLATFORM
    explicit: bool = False


class _SmallBlobs(Protocol):
    def read(self, descriptor: Descriptor) -> bytes: ...

    def read_manifest(self, descriptor: Descriptor) -> bytes: ...

    def open_blob(self, descriptor: Descriptor) -> AbstractContextManager[Iterator[bytes]]: ...


@contextmanager
def open_image(
    source: Reference | LocalReference, session: Session, wanted: Wanted | None = None
) -> Iterator[Image]:
    """Open the image that *source* names, for the platform that is *wanted*.

    A name without transport is looked up among the store's own tags and ids first, as `docker
    build` does with local images, then in its registry. The image's blobs can be read until the
    context ends.
    """
    wanted = wanted or Wanted()
    if isinstance(source, LocalReference):
        with _open_local(source, session, wanted) as image:
            yield _checked(image, wanted)
        return
    tagged = None if session.pull else find_stored(source, session.store)
    if tagged is not None:
        yield _checked(_load(str(source), tagged, session.store, wanted), wanted)
        return
    with open_remote(source, session, wanted) as image:
        yield image


@contextmanager
def open_remote(source: Reference, session: Session, wanted: Wanted) -> Iterator[Image]:
    """Open the image that a registry has under that name, whatever the store calls so."""
    with _open_registry(source, session, wanted) as image:
        yield _checked(image, wanted)


@contextmanager
def _open_local(source: LocalReference, session: Session, wanted: Wanted) -> Iterator[Image]:
    source = _located(source)
    name = str(source)
    path = Path(source.path)
    if source.transport == "oci":
        layout = Layout(path)
        chosen = choose_tag(layout.index(), source.tag, wanted.platform, name)
        yield _load(name, chosen, layout, wanted)
        return
    archive = Archive(path, f"{source.transport}:{source.path}", session.store.area, session.limits)
    try:
        if source.transport == "oci-archive":
            blobs = OciArchive(archive)
            chosen = choose_tag(blobs.index(), source.tag, wanted.platform, name)
            yield _load(name, chosen, blobs, wanted)
        else:
            saved = DockerArchive(archive)
            manifest, config = saved.load(source.tag)
            yield Image.load(name, manifest, config, saved)
    finally:
        archive.close()


def _located(source: LocalReference) -> LocalReference:
    """Return *source* with the shortest path that is there: a path may have colons in it."""
    return next((one for one in source.readings() if os.path.exists(one.path)), source)


@contextmanager
def _open_registry(source: Reference, session: Session, wanted: Wanted) -> Iterator[Image]:
    registry = _NoRegistry(source) if session.offline else _registry(source, session)
    blobs = RegistryBlobs(registry, session)
    try:
        yield _load(str(source), blobs.root(source), blobs, wanted)
    finally:
        registry.close()


def _registry(source: Reference, session: Session) -> Registry:
    from layers.registry import Patience, Registry  # oras and requests take 0.3 s to import

    return Registry(source, Patience(sleep=session.sleep))


class _Remote(Protocol):
    """What is asked of a registry."""

    def manifest(self, tag: str | None, digest: Digest | None) -> tuple[bytes, str, Digest]: ...

    def blob(self, blob: Descriptor) -> Iterator[bytes]: ...

    def clone(self) -> _Remote: ...

    def close(self) -> None: ...


class _NoRegistry:
    """Stands for the registry of *source* where none may be contacted: it has nothing."""

    def __init__(self, source: Reference) -> None:
        self._source = source

    def manifest(self, tag: str | None, digest: Digest | None) -> tuple[bytes, str, Digest]:
        raise self._refusal("it")

    def blob(self, blob: Descriptor) -> Iterator[bytes]:
        raise self._refusal(f"its blob {blob.digest}")

    def clone(self) -> _NoRegistry:
        return self

    def close(self) -> None:
        pass

    def _refusal(self, what: str) -> RegistryUnavailable:
        name = f"{self._source.familiar}:{self._source.tag}" if self._source.tag else self._source
        return RegistryUnavailable(
            f"{name}: {what} is not in the store, and --offline contacts no registry; while there "
            f"is a network, run golem-assemble pull {name}, or bring a copy along: --build-context "
            f"{name}=oci-archive:FILE"
        )


class RegistryBlobs:
    """A `BlobSource` that fetches what the store lacks and reads everything from the store."""

    def __init__(self, registry: _Remote, session: Session) -> None:
        self._registry = registry
        self._session = session

    def root(self, source: Reference) -> Descriptor:
        """Return the descriptor of what *source* points at, fetched into the store.

        A digest that the store has is not asked for again.
        """
        store = self._session.store
        if source.digest is not None:
            try:
                with open(store.open_file(source.digest), "rb") as file:
                    return Descriptor("", source.digest, os.fstat(file.fileno()).st_size)
            except ImageNotFound:
                pass
        raw, media_type, digest = self._registry.manifest(source.tag, source.digest)
        descriptor = Descriptor(media_type, digest, len(raw))
        store.ingest(descriptor, [raw])
        return descriptor

    def read(self, descriptor: Descriptor) -> bytes:
        """Return a small blob whole, verified; it stays in the store."""
        return self._kept(descriptor, self._registry.blob)

    def read_manifest(self, descriptor: Descriptor) -> bytes:
        """Return a manifest or index whole, verified; it stays in the store.

        Registries have those in another place than blobs, whatever an index says that they are.
        """
        return self._kept(descriptor, lambda one: [self._registry.manifest(None, one.digest)[0]])

    def _kept(
        self, descriptor: Descriptor, fetch: Callable[[Descriptor], Iterable[bytes]]
    ) -> bytes:
        store = self._session.store
        if descriptor.size > JSON_LIMIT:
            raise MalformedImage(
                f"{descriptor.digest}: {descriptor.size:,} bytes are no JSON document"
            )
        if not store.has(descriptor):
            store.ingest(descriptor, fetch(descriptor))
        return store.read(descriptor)

    @contextmanager
    def open_blob(self, descriptor: Descriptor) -> Iterator[Iterator[bytes]]:
        """Open a layer's chunks; it is fetched and verified first if the store lacks it."""
        store = self._session.store
        if not store.has(descriptor):
            self._session.check_layers([descriptor])
            client = self._registry.clone()
            try:
                store.ingest(descriptor, self._counted(client.blob(descriptor), descriptor.digest))
            finally:
                client.close()
        with store.open_blob(descriptor) as chunks:
            yield chunks

    def _counted(self, chunks: Iterator[bytes], digest: Digest) -> Iterator[bytes]:
        for chunk in chunks:
            self._session.check()
            self._session.observer.pulled(digest, len(chunk))
            yield chunk


def _load(name: str, root: Descriptor, blobs: _SmallBlobs, wanted: Wanted) -> Image:
    """Follow indexes from *root* to the manifest for the wanted platform, and load the image."""
    descriptor, platform = root, root.platform
    for _ in range(_INDEX_DEPTH):
        if descriptor.size > JSON_LIMIT:
            raise MalformedImage(f"{name}: a manifest of {descriptor.size:,} bytes is not read")
        what = f"{name}: manifest {descriptor.digest}"
        raw = blobs.read_manifest(descriptor)
        if manifest_kind(raw, descriptor.media_type, what) is Manifest:
            manifest = Manifest.parse(raw, what)
            if manifest.config.size > JSON_LIMIT:
                raise MalformedImage(
                    f"{name}: a config of {manifest.config.size:,} bytes is not read"
                )
            return Image.load(name, manifest, blobs.read(manifest.config), blobs, platform)
        descriptor = _choose(Index.parse(raw, what), wanted, name)
        platform = descriptor.platform or platform
    raise MalformedImage(f"{name}: indexes are nested more than {_INDEX_DEPTH} deep")


def load_image(name: str, root: Descriptor, blobs: _SmallBlobs, wanted: Wanted) -> Image:
    """Load the image that *root*, a manifest or an index among *blobs*, leads to."""
    return _checked(_load(name, root, blobs, wanted), wanted)


def _choose(index: Index, wanted: Wanted, name: str) -> Descriptor:
    found = choose_platform(index.manifests, wanted.platform)
    if found is None:
        have = sorted({str(d.platform) for d in index.manifests if not is_attestation(d)})
        raise PlatformNotFound(
            f"{name}: there is no image for {wanted.platform}; there is "
            f"{abridged(have) or 'none at all'} (choose by --platform)"
        )
    return found


def _checked(image: Image, wanted: Wanted) -> Image:
    """Refuse an image of one platform when another was asked for by name."""
    have = image.config.platform
    if wanted.explicit and have not in wanted.platform.candidates():
        raise PlatformNotFound(
            f"{image.name}: there is no image for {wanted.platform}; there is {have} "
            "(choose by --platform)"
        )
    return image

"""`load`: the images of an archive, with their names, into the store."""

from __future__ import annotations

from contextlib import closing, contextmanager
from dataclasses import dataclass
from typing import IO, TYPE_CHECKING

from assembler.errors import BuildError
from layers.archive import Archive, DockerArchive, OciArchive
from layers.descriptor import Descriptor, is_attestation
from layers.errors import InvalidReference, MalformedImage
from layers.image import Image
from layers.layout import CONTAINERD_NAME
from layers.reference import Reference
from layers.sources import load_image
from layers.store import CHUNK, REF_NAME, explained

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from layers.session import Session
    from layers.sources import Wanted


_NO_NAME = "<none>:<none>"


@dataclass(frozen=True, slots=True)
class Loaded:
    """An image that is in the store now, and a name that it has there."""

    name: Reference
    image: Image


def load(
    path: Path, shown: str, session: Session, wanted: Wanted, name: Reference | None = None
) -> list[Loaded]:
    """Put all images of the archive at *path* into the store; errors call it *shown*.

    *name* is for an archive with one image. Raises `BuildError` for an image without a name, which
    nobody could find again. Nothing gets a name before all of them are there.
    """
    with closing(Archive(path, shown, session.store.area, session.limits)) as archive:
        images = list(_images(archive, session, wanted))
        named = _named(images, shown, name)
        for image, _ in images:
            session.observer.layers_known(image.manifest.layers)
            _keep(image, session)
        for one in named:
            session.store.tag(str(one.name), _descriptor(one.image))
    return named


@contextmanager
def spooled(stream: IO[bytes], session: Session) -> Iterator[Path]:
    """Copy an archive that comes on a pipe into a file, where it can be read at any place."""
    total = 0
    with session.store.area.file() as temp:
        while chunk := stream.read(CHUNK):
            total += len(chunk)
            session.limits.check("total_bytes", total, "the archive on standard input")
            session.check()
            with explained(session.store.root):
                temp.write(chunk)
        yield temp.proc_path


def _images(
    archive: Archive, session: Session, wanted: Wanted
) -> Iterator[tuple[Image, tuple[str, ...]]]:
    """Yield each image with the names that the archive gives it."""
    if "index.json" in archive:
        yield from _of_layout(OciArchive(archive), archive.name, wanted)
    elif "manifest.json" in archive:
        saved = DockerArchive(archive)
        for tags, manifest, config in saved.images():
            yield Image.load(archive.name, manifest, config, saved), tags
    else:
        raise MalformedImage(
            f"{archive.name}: neither index.json nor manifest.json in it, so no image; for a root "
            "file system write FROM scratch and ADD"
        )


def _of_layout(
    blobs: OciArchive, shown: str, wanted: Wanted
) -> Iterator[tuple[Image, tuple[str, ...]]]:
    """Yield the images of a layout; one that has several names comes once."""
    names: dict[Descriptor, list[str]] = {}
    for entry in blobs.index().manifests:
        if not is_attestation(entry):
            plain = Descriptor(entry.media_type, entry.digest, entry.size, entry.platform)
            names.setdefault(plain, []).extend(_name_of(entry))
    for root in _of_the_platform(names, wanted):
        yield load_image(shown, root, blobs, wanted), tuple(dict.fromkeys(names[root]))


def _of_the_platform(names: dict[Descriptor, list[str]], wanted: Wanted) -> list[Descriptor]:
    """Return the entries to be loaded: of several with one name, that for the wanted platform."""
    candidates = wanted.platform.candidates()
    fitting = [one for one in names if one.platform is None or one.platform in candidates]
    taken = {name for one in fitting for name in names[one] or [""]}
    return [one for one in names if one in fitting or not taken & set(names[one] or [""])]


def _name_of(entry: Descriptor) -> list[str]:
    """Return an entry's whole name; a mere tag (`latest`) is none."""
    full = entry.annotation(CONTAINERD_NAME)
    name = full or entry.annotation(REF_NAME) or ""
    return [name] if full or ":" in name or "/" in name else []


def _named(
    images: list[tuple[Image, tuple[str, ...]]], shown: str, name: Reference | None
) -> list[Loaded]:
    if name is not None:
        if len(images) != 1:
            raise BuildError(
                f"{shown}: holds {len(images)} images, -t names one; leave it out, or use convert"
            )
        return [Loaded(name, images[0][0])]
    return [Loaded(one, image) for image, names in images for one in _parsed(names, shown)]


def _parsed(names: tuple[str, ...], shown: str) -> list[Reference]:
    try:
        found = [Reference.parse(name) for name in names if name != _NO_NAME]
    except InvalidReference as error:
        raise InvalidReference(f"{shown}: {error}; give it another name by -t") from None
    if not found:
        raise BuildError(f"{shown}: an image in it has no name; give it one by -t NAME[:TAG]")
    return [one for one in found if one.digest is None] or [_no_digest(found[0], shown)]


def _no_digest(name: Reference, shown: str) -> Reference:
    raise BuildError(f"{shown}: {name} is a name with a digest; give it another by -t NAME[:TAG]")


def _keep(image: Image, session: Session) -> None:
    """Store all blobs of an image as they are."""
    store, manifest = session.store, image.manifest
    session.check_layers(manifest.layers)
    for layer in manifest.layers:
        session.check()
        if not store.has(layer):
            with image.source.open_blob(layer) as chunks:
                store.ingest(layer, chunks)
        session.observer.layer_done(layer.digest)
    store.ingest(manifest.config, [image.config_raw])
    store.ingest(_descriptor(image), [manifest.raw])


def _descriptor(image: Image) -> Descriptor:
    manifest = image.manifest
    return Descriptor(
        manifest.media_type, manifest.digest, len(manifest.raw), image.config.platform
    )

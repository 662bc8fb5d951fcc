"""The images in the store: which there are, what they are called, what can be given back."""

from __future__ import annotations

import fnmatch
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Any, Self

from assembler.cachemounts import caches, remove_cache
from assembler.diskusage import folder_size
from assembler.errors import BuildError
from assembler.sandbox.treearea import TreeArea
from layers.descriptor import Descriptor
from layers.errors import ImageNotFound, LayersError
from layers.image import Image, Manifest
from layers.naming import find_id, find_source, id_digits
from layers.reference import LocalReference, Reference
from layers.rootfs import open_layer
from layers.sources import open_remote

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Iterable, Sequence

    from layers.digest import Digest
    from layers.session import Session
    from layers.sources import Wanted
    from layers.store import ContentStore

_FILTERS = ("reference", "label")
_SHORTEST_ID = 3


@dataclass(frozen=True, slots=True)
class StoredImage:
    """A name in the store, and the image that it stands for. *size* is that of its blobs."""

    name: Reference
    manifest: Manifest
    image: Image
    descriptor: Descriptor

    @property
    def size(self) -> int:
        """Bytes of the layers, as they lie in the store."""
        return sum(layer.size for layer in self.manifest.layers)

    def fields(self) -> dict[str, Any]:
        """Return what is shown of it, as JSON has it."""
        return {
            "repository": self.name.familiar,
            "tag": self.name.tag or "latest",
            "digest": str(self.descriptor.digest),
            "id": str(self.image.id),
            "created": self.image.config.created,
            "size": self.size,
        }


@dataclass(frozen=True, slots=True)
class Loose:
    """Something that the store can do without: a blob, a cache, an unpacked image.

    *used* is when it was last used, in seconds since 1970.
    """

    name: str
    size: int
    used: float
    remove: Callable[[], None]


@dataclass(frozen=True, slots=True)
class Share:
    """How many there are of a kind, and their bytes."""

    count: int
    size: int

    @classmethod
    def of(cls, things: Collection[Loose]) -> Self:
        """Count *things*."""
        return cls(len(things), sum(one.size for one in things))


@dataclass(frozen=True, slots=True)
class Usage:
    """How much there is; the size of *images* is that of the blobs that tags lead to."""

    images: Share
    blobs: Share
    caches: Share
    roots: Share


def stored_images(store: ContentStore, filters: Sequence[str] = ()) -> list[StoredImage]:
    """Return the tagged images by name; raise `BuildError` for an unknown filter."""
    wanted = [_parse_filter(text) for text in filters]
    found = [
        image
        for name, descriptor in sorted(store.tags().items())
        if (image := _load(store, name, descriptor)) is not None
    ]
    return [image for image in found if all(_passes(image, *one) for one in wanted)]


def named_like(images: Iterable[StoredImage], pattern: str) -> list[StoredImage]:
    """Return the images whose name is *pattern*: NAME, NAME:TAG, or either with wildcards."""
    short = pattern.removeprefix("docker.io/").removeprefix("library/")
    return [image for image in images if _passes(image, "reference", short)]


def find_stored(store: ContentStore, text: str) -> list[StoredImage]:
    """Return the image that *text* means: by its name, or else by the beginning of its id.

    An id stands for all names of its image.
    """
    images = stored_images(store)
    digits = id_digits(text, _SHORTEST_ID)
    name = "" if text.startswith("sha256:") else str(Reference.parse(text))
    found = [image for image in images if str(image.name) == name]
    if not found and digits is not None and (same := find_id(digits, store)) is not None:
        same_id = {image.image.id for image in images if image.descriptor.digest == same.digest}
        found = [image for image in images if image.image.id in same_id]
    if not found:
        raise ImageNotFound(
            f"{text}: the store has no such image (golem-assemble images lists what it has)"
        )
    return found


def add_tag(store: ContentStore, source: str, target: str) -> Reference:
    """Give an image of the store one more name."""
    name = Reference.parse(target)
    if name.digest is not None:
        raise BuildError(f"{target}: a name for an image cannot hold a digest")
    store.tag(str(name), find_stored(store, source)[0].descriptor)
    return name


def remove_tags(store: ContentStore, texts: Iterable[str]) -> list[StoredImage]:
    """Forget names; an id stands for all names of its image. Return what was forgotten."""
    gone: list[StoredImage] = []
    for text in texts:
        found = find_stored(store, text)
        store.untag([str(image.name) for image in found])
        gone += found
    return gone


def pull(name: str, session: Session, wanted: Wanted) -> StoredImage:
    """Fetch an image from its registry into the store, and name it as it is named there."""
    source = find_source(name, session.store)
    if isinstance(source, LocalReference):
        raise BuildError(f"{name}: pull fetches from registries; what is here is read as it is")
    with open_remote(source, session, wanted) as image:
        session.check_layers(image.manifest.layers)
        session.observer.layers_known(image.manifest.layers)
        for layer in image.manifest.layers:
            with open_layer(image.source, layer):
                session.observer.layer_done(layer.digest)
        manifest = image.manifest
        descriptor = Descriptor(
            manifest.media_type, manifest.digest, len(manifest.raw), image.config.platform
        )
        session.store.tag(str(source), descriptor)
        return StoredImage(source, image.manifest, image, descriptor)


def history(image: Image) -> list[dict[str, Any]]:
    """Return what made each layer, the last one first; sizes in bytes, 0 without a layer."""
    sizes = [layer.size for layer in image.manifest.layers]
    entries = []
    for item in image.config.data.get("history") or ():
        entry = item or {}
        made = not entry.get("empty_layer")
        entries.append(
            {
                "created": entry.get("created"),
                "created_by": entry.get("created_by") or "",
                "size": sizes.pop(0) if made and sizes else 0,
                "comment": entry.get("comment") or "",
            }
        )
    return entries[::-1]


def loose_blobs(store: ContentStore) -> list[Loose]:
    """Return the blobs that no tag leads to."""
    kept = _reachable(store)
    return [
        Loose(
            str(digest),
            status.st_size,
            max(status.st_atime, status.st_mtime),
            partial(store.remove, digest),
        )
        for digest, status in store.blobs()
        if digest not in kept
    ]


def loose_caches(store: ContentStore) -> list[Loose]:
    """Return the caches of RUN."""
    remove = TreeArea(store.root).remove
    return [
        Loose(cache.name, cache.size, cache.used, partial(remove_cache, cache, remove))
        for cache in caches(store.root)
    ]


def loose_roots(store: ContentStore) -> list[Loose]:
    """Return the unpacked images that RUN begins with."""
    area = TreeArea(store.root)
    return [
        Loose(
            f"unpacked {path.name}", folder_size(path), path.stat().st_atime,
            partial(area.remove, path),
        )
        for path in area.folders()
    ]  # fmt: skip


def prune(
    store: ContentStore,
    keep: int = 0,
    *,
    dry: bool = False,
    among: Collection[str] | None = None,
) -> list[Loose]:
    """Remove what is loose, that first which was not used for longest; return what goes.

    At most *keep* bytes of it are left. With *dry* nothing is removed, with *among* only what has
    one of these names. Raises `StoreError` while another process uses the store.
    """
    with store.alone():
        found = [*loose_blobs(store), *loose_caches(store), *loose_roots(store)]
        found.sort(key=lambda one: (one.used, one.name))
        left = sum(one.size for one in found)
        gone = []
        for one in found:
            if left <= keep:
                break
            gone.append(one)
            left -= one.size
        if among is not None:
            gone = [one for one in gone if one.name in among]
        if not dry:
            for one in gone:
                one.remove()
            store.forget_lost()
        return gone


def usage(store: ContentStore) -> Usage:
    """Count what is in the store."""
    blobs = Share.of(loose_blobs(store))
    total = sum(status.st_size for _, status in store.blobs())
    return Usage(
        images=Share(len(store.tags()), total - blobs.size),
        blobs=blobs,
        caches=Share.of(loose_caches(store)),
        roots=Share.of(loose_roots(store)),
    )


def _reachable(store: ContentStore) -> set[Digest]:
    """Return the digests of all that tags lead to, of indexes too."""
    found: set[Digest] = set()
    todo = list(store.tags().values())
    while todo:
        descriptor = todo.pop()
        if descriptor.digest in found:
            continue
        found.add(descriptor.digest)
        try:
            manifest = Manifest.parse(store.read(descriptor), str(descriptor.digest))
        except LayersError:
            continue  # what cannot be read leads nowhere
        found.add(manifest.config.digest)
        found |= {layer.digest for layer in manifest.layers}
    return found


def _load(store: ContentStore, name: str, descriptor: Descriptor) -> StoredImage | None:
    """Return a tagged image; `None` if the store is damaged there."""
    try:
        manifest = Manifest.parse(store.read(descriptor), name)
        config = store.read(manifest.config)
        image = Image.load(name, manifest, config, store, descriptor.platform)
        return StoredImage(Reference.parse(name), manifest, image, descriptor)
    except LayersError:
        return None


def _parse_filter(text: str) -> tuple[str, str]:
    key, equals, value = text.partition("=")
    if not equals or not value or value.startswith("=") or key not in _FILTERS:
        raise BuildError(f"--filter {text}: write it as one of {', '.join(_FILTERS)}, =, a value")
    return key, value


def _passes(image: StoredImage, key: str, value: str) -> bool:
    if key == "reference":
        name = image.name.familiar
        both = f"{name}:{image.name.tag or 'latest'}"
        return fnmatch.fnmatchcase(name, value) or fnmatch.fnmatchcase(both, value)
    label, equals, wanted = value.partition("=")
    labels = image.image.config.settings.get("Labels") or {}
    return label in labels and (not equals or labels[label] == wanted)

"""Somebody else's OCI image layout folder: read, never written (image-layout.md)."""

from __future__ import annotations

from contextlib import contextmanager
from typing import TYPE_CHECKING

from layers.descriptor import choose_platform, is_attestation
from layers.digest import Verifier, verified
from layers.errors import ImageNotFound, MalformedImage
from layers.image import JSON_LIMIT, Index, parse_object
from layers.store import CHUNK, REF_NAME

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from layers.descriptor import Descriptor, Platform


class Layout:
    """The blobs and tags of a layout folder; a `BlobSource`."""

    def __init__(self, root: Path) -> None:
        """Open the layout; what is not one is an `ImageNotFound` that says what is missing."""
        self._root = root
        if not root.is_dir():
            raise ImageNotFound(f"oci:{root}: there is no such folder")
        marker = root / "oci-layout"
        if not marker.is_file() or not (root / "index.json").is_file():
            raise ImageNotFound(
                f"oci:{root}: not an OCI image layout (it has no oci-layout or no index.json); "
                "skopeo copy ... oci:DIR makes one"
            )
        version = parse_object(_read_small(marker), str(marker)).get("imageLayoutVersion")
        if not isinstance(version, str) or not version.startswith("1."):
            raise MalformedImage(f"oci:{root}: layout version {version!r} is not 1.x")

    def index(self) -> Index:
        """Return `index.json`."""
        path = self._root / "index.json"
        return Index.parse(_read_small(path), str(path))

    @contextmanager
    def open_blob(self, descriptor: Descriptor) -> Iterator[Iterator[bytes]]:
        """Open a blob's chunks, verified as they pass."""
        what = f"oci:{self._root}: blob {descriptor.digest}"
        verifier = Verifier(descriptor.digest, descriptor.size, what)
        try:
            file = self._blob(descriptor).open("rb", buffering=0)
        except FileNotFoundError:
            raise ImageNotFound(
                f"{what} is missing; the layout is incomplete, copy it again"
            ) from None
        with file:
            yield verified(iter(lambda: file.read(CHUNK), b""), verifier)

    def read(self, descriptor: Descriptor) -> bytes:
        """Return a small blob whole, verified."""
        with self.open_blob(descriptor) as chunks:
            return b"".join(chunks)

    def _blob(self, descriptor: Descriptor) -> Path:
        return self._root / "blobs" / descriptor.digest.algorithm / descriptor.digest.hex


def choose_tag(index: Index, tag: str | None, platform: Platform, name: str) -> Descriptor:
    """Return the entry of a layout's index that *tag* names, or the only one there is.

    Where several platforms share a tag (or there is no tag), *platform* decides.
    """
    images = [d for d in index.manifests if not is_attestation(d)]
    if tag is not None:
        named = [d for d in images if _matches(d.annotation(REF_NAME), tag)]
        if not named:
            raise ImageNotFound(f"{name}: there is no tag {tag!r}; {_list_tags(images)}")
        images = named
    if len(images) == 1:
        return images[0]
    if not images:
        raise ImageNotFound(f"{name}: the layout holds no image")
    if tag is None and len({d.annotation(REF_NAME) for d in images}) > 1:
        raise ImageNotFound(f"{name}: holds several images, add :TAG; {_list_tags(images)}")
    return choose_platform(images, platform) or images[0]


def _matches(ref_name: str | None, tag: str) -> bool:
    """Whether a `ref.name` is *tag*, or a whole reference that ends in it (as BuildKit writes)."""
    return ref_name == tag or (ref_name is not None and ref_name.endswith(f":{tag}"))


def _list_tags(images: list[Descriptor]) -> str:
    tags = sorted({d.annotation(REF_NAME) or "(untagged)" for d in images})
    return f"there is {', '.join(tags[:20])}" if tags else "there is none"


def _read_small(path: Path) -> bytes:
    size = path.stat().st_size
    if size > JSON_LIMIT:
        raise MalformedImage(f"{path}: {size:,} bytes of JSON, more than {JSON_LIMIT:,}")
    return path.read_bytes()

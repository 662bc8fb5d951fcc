"""Somebody else's OCI image layout folder: read, never written (image-layout.md)."""

from __future__ import annotations

from contextlib import contextmanager
from typing import TYPE_CHECKING

from layers.abridged import abridged
from layers.choice import ambiguous, by_index, by_name, is_index, missing
from layers.descriptor import is_attestation, matching
from layers.digest import Verifier, verified
from layers.errors import ImageNotFound, MalformedImage, PlatformNotFound
from layers.image import JSON_LIMIT, Index, parse_object
from layers.regular import open_regular, read_regular
from layers.store import CHUNK, REF_NAME

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from pathlib import Path

    from layers.descriptor import Descriptor, Platform
    from layers.digest import Digest

CONTAINERD_NAME = "io.containerd.image.name"


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
            opened = open_regular(self._blob(descriptor))
        except FileNotFoundError:
            raise ImageNotFound(
                f"{what} is missing; the layout is incomplete, copy it again"
            ) from None
        except OSError as error:
            raise MalformedImage(f"{what} cannot be read ({error.strerror})") from None
        with open(opened, "rb", buffering=0) as file:
            yield verified(iter(lambda: file.read(CHUNK), b""), verifier)

    def read(self, descriptor: Descriptor) -> bytes:
        """Return a small blob whole, verified."""
        with self.open_blob(descriptor) as chunks:
            return b"".join(chunks)

    read_manifest = read

    def _blob(self, descriptor: Descriptor) -> Path:
        return self._root / "blobs" / descriptor.digest.algorithm / descriptor.digest.hex


def choose_tag(index: Index, tag: str | None, platform: Platform, name: str) -> Descriptor:
    """Return the entry of a layout's index that *tag* names, or the only one there is.

    *tag* is the end of a `ref.name`, a whole name, or `@N`. Where several platforms share a name
    (or there is none), *platform* decides; what is still several is an `AmbiguousImage`.
    """
    labels = [_label(d) for d in index.manifests]
    if tag is None:
        images = [d for d in index.manifests if not is_attestation(d)]
        if not images:
            raise ImageNotFound(f"{name}: the layout holds no image")
    elif is_index(tag):
        position = by_index(len(index.manifests), tag)
        if position is None:
            raise missing(name, labels, tag)
        return index.manifests[position]
    else:
        found = [index.manifests[i] for i in by_name([_names(d) for d in index.manifests], tag)]
        images = [d for d in found if not is_attestation(d)]
        if not images:
            raise missing(name, labels, tag)
    chosen = _choose(images, platform, name)
    if chosen is None:
        raise ambiguous(name, labels, tag)
    return chosen


def _choose(images: Sequence[Descriptor], platform: Platform, name: str) -> Descriptor | None:
    """Return the one image for *platform*; `None` where there are several of that platform."""
    groups: dict[str, dict[Digest, Descriptor]] = {}
    for image in images:
        groups.setdefault(_full_name(image), {}).setdefault(image.digest, image)
    found: dict[Digest, Descriptor] = {}
    for group in groups.values():
        alike = list(group.values())
        fit = matching(alike, platform) if len(alike) > 1 else alike
        if not fit and len(groups) > 1:
            return None
        found |= {image.digest: image for image in fit}
    if not found:
        have = sorted({str(image.platform) for image in images})
        raise PlatformNotFound(
            f"{name}: there is no image for {platform}; there is {abridged(have)} (choose by "
            "--platform)"
        )
    return next(iter(found.values())) if len(found) == 1 else None


def _names(image: Descriptor) -> list[str]:
    return [name for key in (REF_NAME, CONTAINERD_NAME) if (name := image.annotation(key))]


def _full_name(image: Descriptor) -> str:
    """Return the name that tells images apart: `ctr` has the tag alone in the other annotation."""
    return image.annotation(CONTAINERD_NAME) or image.annotation(REF_NAME) or ""


def _label(image: Descriptor) -> str:
    name = _full_name(image) or "(untagged)"
    return f"{name} ({image.platform})" if image.platform else name


def _read_small(path: Path) -> bytes:
    try:
        raw = read_regular(path, JSON_LIMIT)
    except OSError as error:
        raise MalformedImage(f"{path} cannot be read ({error.strerror})") from None
    if len(raw) > JSON_LIMIT:
        raise MalformedImage(f"{path}: more than {JSON_LIMIT:,} bytes of JSON")
    return raw

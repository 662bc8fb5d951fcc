"""What a person means by an image's name: an id, something on this machine, or a registry's image.

Docker Hub is never asked in silence for what is, or looks like, a file or a folder here.
"""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

from layers.abridged import abridged
from layers.errors import AmbiguousImage, ImageNotFound, InvalidReference, LayersError
from layers.image import Manifest
from layers.reference import (
    LocalReference,
    Reference,
    has_transport,
    parse_source,
    registry_advice,
)

if TYPE_CHECKING:
    from layers.descriptor import Descriptor
    from layers.digest import Digest
    from layers.store import ContentStore

_HEX = frozenset("0123456789abcdef")
_SHORT_ID = 12
"""Digits of an id that `images` prints; with fewer, a name may be meant that a registry has."""
_FULL_ID = 64
_LISTED = 10


def find_source(text: str, store: ContentStore) -> Reference | LocalReference:
    """Return what *text*, which somebody typed, means; raise `InvalidReference` for local things.

    A name that the store has is an image, whatever else is called so; `docker://` says so of any.
    """
    if has_transport(text):
        return parse_source(text)
    try:
        reference = Reference.parse(text)
    except InvalidReference:
        reference = None
    if reference is not None and store.resolve(str(reference)) is not None:
        return reference
    # A bare name is an image, as it is for docker, though a folder may have it too.
    if "/" in text and os.path.exists(text):
        raise InvalidReference(_advice(text))
    try:
        return parse_source(text)
    except InvalidReference:
        if os.path.exists(text):
            raise InvalidReference(_advice(text)) from None
        raise


def find_stored(source: Reference, store: ContentStore) -> Descriptor | None:
    """Return the manifest of *source* in the store: by its name, or by the id that it is.

    Raises `ImageNotFound` for a whole id that the store does not have: no registry knows ids.
    """
    if source.digest is not None:
        return None
    named = store.resolve(str(source))
    digits = _id_of(source)
    if named is not None or digits is None:
        return named
    found = find_id(digits, store)
    if found is None and len(digits) == _FULL_ID:
        raise ImageNotFound(
            f"{digits}: the store has no image of that id (golem-assemble images lists what it has)"
        )
    return found


def find_id(digits: str, store: ContentStore) -> Descriptor | None:
    """Return the manifest of the image whose id begins with *digits*; several are an error."""
    found: dict[Digest, Descriptor] = {}
    names: dict[Digest, list[str]] = {}
    for name, descriptor in sorted(store.tags().items()):
        identity = _identity(descriptor, store)
        if identity is not None and identity.hex.startswith(digits):
            found.setdefault(identity, descriptor)
            names.setdefault(identity, []).append(name)
    if len(found) > 1:
        choices = tuple(
            f"{identity.hex} ({abridged(own, most=_LISTED)})" for identity, own in names.items()
        )
        raise AmbiguousImage(
            f"{digits} is the beginning of several images' ids: {abridged(choices, most=_LISTED)}; "
            "give more digits",
            choices,
        )
    return next(iter(found.values()), None)


def id_digits(text: str, least: int) -> str | None:
    """Return the hex digits of an id of at least *least* of them; `None` for what is none."""
    digits = text.removeprefix("sha256:")
    return digits if least <= len(digits) <= _FULL_ID and set(digits) <= _HEX else None


def _id_of(source: Reference) -> str | None:
    """Return the digits that were read as a name: `0123456789ab`, or `sha256:0123456789ab`."""
    name, tag = source.familiar, source.tag or ""
    return id_digits(tag if name == "sha256" else name, _SHORT_ID)


def _identity(descriptor: Descriptor, store: ContentStore) -> Digest | None:
    try:
        return Manifest.parse(store.read(descriptor), str(descriptor.digest)).config.digest
    except LayersError:
        return None  # a store that is damaged there


def _advice(text: str) -> str:
    """Say what the path *text* is, and how it is named."""
    if os.path.isdir(text):
        return _folder_advice(text) + registry_advice(text)
    if text.endswith(".gvmi"):
        return f"{text} is a .gvmi, not an image: inspect, ls, verify and hash read it"
    return (
        f"{text} is a file: name it docker-archive:{text} if docker save wrote it, "
        f"oci-archive:{text} if it is an OCI image layout in a tar{registry_advice(text)}"
    )


def _folder_advice(text: str) -> str:
    held = set(os.listdir(text)) if os.access(text, os.R_OK) else set()
    if "oci-layout" in held:
        return f"{text} is a folder with an OCI image layout: name it oci:{text}"
    if {"manifest.json", "version"} <= held:
        return f"{text} is an image as skopeo's dir: has it; skopeo copy dir:{text} oci:DIR helps"
    if "Dockerfile" in held:
        return f"{text} is a folder with a Dockerfile: golem-assemble build {text}"
    return f"{text} is a folder, not an OCI image layout (oci:DIR)"

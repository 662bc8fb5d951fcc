"""Index, manifest, config: typed views of JSON that keep the fields they do not know.

OCI image-spec v1.1 (image-index.md, manifest.md, config.md) and Docker's schema 2. What was hashed
is what is parsed: each view is made from raw bytes and keeps them.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Protocol, Self

from layers import descriptor as media
from layers import jsontext
from layers.configcheck import check_config
from layers.descriptor import Descriptor, Platform
from layers.digest import Digest, verify
from layers.errors import MalformedImage, Unsupported

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence
    from contextlib import AbstractContextManager

JSON_LIMIT = 16 * 1024 * 1024
"""Largest manifest, index or config that is read, in bytes."""

LAYERS_MAX = 2000
"""Layers of one image; none that is in use comes near."""


def parse_object(raw: bytes, what: str) -> dict[str, Any]:
    """Parse *raw* as one JSON object; anything else is a `MalformedImage` naming *what*."""
    if len(raw) > JSON_LIMIT:
        raise MalformedImage(f"{what}: {len(raw):,} bytes of JSON, more than {JSON_LIMIT:,}")
    try:
        data = jsontext.parse(raw)
    except ValueError as error:
        raise MalformedImage(f"{what} is not valid JSON: {error}") from None
    if not isinstance(data, dict):
        raise MalformedImage(f"{what} must be a JSON object")
    return data


@dataclass(frozen=True, slots=True)
class Index:
    """An image index or Docker manifest list."""

    raw: bytes
    manifests: tuple[Descriptor, ...]

    @classmethod
    def parse(cls, raw: bytes, what: str) -> Self:
        """Read the descriptors of an index; what could be a manifest as well is refused."""
        data = parse_object(raw, what)
        _refuse_two_kinds(data, what)
        manifests = data.get("manifests")
        if not isinstance(manifests, list):
            raise MalformedImage(f"{what}: an index needs a list of manifests")
        return cls(raw, tuple(Descriptor.from_json(item) for item in manifests))


@dataclass(frozen=True, slots=True)
class Manifest:
    """An image manifest: the config and the layers, bottom first."""

    raw: bytes
    media_type: str
    config: Descriptor
    layers: tuple[Descriptor, ...]

    @classmethod
    def parse(cls, raw: bytes, what: str) -> Self:
        """Read a manifest; artifacts and schema 1 are refused with advice.

        What could be an index as well is refused, whatever it says that it is.
        """
        data = parse_object(raw, what)
        _refuse_two_kinds(data, what)
        if data.get("schemaVersion") == 1 or _kinds(data) == {"schema 1 manifest"}:
            raise Unsupported(schema_1_advice(what))
        config, layers = data.get("config"), data.get("layers")
        if not isinstance(config, dict) or not isinstance(layers, list):
            raise MalformedImage(f"{what}: a manifest needs a config and a list of layers")
        if len(layers) > LAYERS_MAX:
            raise MalformedImage(f"{what}: {len(layers)} layers, more than {LAYERS_MAX}")
        manifest = cls(
            raw=raw,
            media_type=_manifest_type(data),
            config=Descriptor.from_json(config),
            layers=tuple(Descriptor.from_json(layer) for layer in layers),
        )
        if manifest.config.media_type not in {media.OCI_CONFIG, media.DOCKER_CONFIG, ""}:
            raise Unsupported(
                f"{what} holds {manifest.config.media_type!r}, not a container image; "
                "name an image that can be run"
            )
        return manifest

    @property
    def digest(self) -> Digest:
        """The manifest's own digest."""
        return Digest.of(self.raw)


def schema_1_advice(what: str) -> str:
    """Say why a schema 1 manifest is refused, and the way out."""
    return (
        f"{what} is a Docker schema 1 manifest, a format abandoned in 2017 that cannot be verified;"
        " push the image again with a current tool (skopeo copy --format oci does it)"
    )


def manifest_kind(raw: bytes, media_type: str, what: str) -> type[Index | Manifest]:
    """Tell an index from a manifest by its content; its descriptor's *media_type* may be wrong."""
    if media_type in media.SCHEMA_1:
        raise Unsupported(schema_1_advice(what))
    data = parse_object(raw, what)
    kinds = _kinds(data)
    if not kinds:
        declared = data.get("mediaType") or media_type
        return Index if declared in media.INDEX_TYPES else Manifest
    return Index if kinds == {"index"} else Manifest


_FIELDS = {
    "manifests": "index",
    "config": "manifest",
    "layers": "manifest",
    "fslayers": "schema 1 manifest",
    "history": "schema 1 manifest",
}


def _kinds(data: Mapping[str, Any]) -> set[str]:
    """Return what a document can be taken for; Go's readers ignore the case of its keys."""
    fields = {key.lower() for key, value in data.items() if value is not None}
    return {kind for field, kind in _FIELDS.items() if field in fields}


def _refuse_two_kinds(data: Mapping[str, Any], what: str) -> None:
    """Refuse what two readers may take for different images under one digest (CVE-2021-41190)."""
    kinds = _kinds(data)
    if len(kinds) > 1:
        raise MalformedImage(
            f"{what} has the fields of {' and '.join(sorted(kinds))} at once, so that its digest "
            "stands for two things; do not trust whoever made it"
        )


def _manifest_type(data: Mapping[str, Any]) -> str:
    declared = data.get("mediaType")
    return declared if declared in media.MANIFEST_TYPES else media.OCI_MANIFEST


@dataclass(frozen=True, slots=True)
class ImageConfig:
    """An image configuration (config.md). `data` is the whole object, unknown fields included."""

    data: Mapping[str, Any]

    @classmethod
    def parse(cls, raw: bytes, what: str) -> Self:
        """Read and check what is used: see `check_config`."""
        config = cls(parse_object(raw, what))
        check_config(config.data, what)
        return config

    @property
    def platform(self) -> Platform:
        """The platform that the image is for."""
        return Platform.from_json(self.data)

    def for_platform(self, platform: Platform | None) -> ImageConfig:
        """Return the config with what an index says of its platform, where it does not itself."""
        own = {key: self.data.get(key) for key in ("os", "architecture", "variant")}
        if platform is None or (own["os"] and own["architecture"]):
            return self
        if not own["architecture"]:
            own |= {"architecture": platform.architecture, "variant": platform.variant}
        own["os"] = own["os"] or platform.os
        return ImageConfig({**self.data, **{key: value for key, value in own.items() if value}})

    @property
    def diff_ids(self) -> tuple[Digest, ...]:
        """The digests of the plain layer tars, bottom first."""
        rootfs = self.data.get("rootfs") or {}
        return tuple(Digest.parse(item) for item in rootfs.get("diff_ids") or ())

    @property
    def created(self) -> str | None:
        """RFC 3339 time of the image's making, where it says."""
        return self.data.get("created")

    @property
    def settings(self) -> Mapping[str, Any]:
        """The `config` object: what a container is started with."""
        return self.data.get("config") or {}

    @property
    def env(self) -> tuple[str, ...]:
        """`NAME=value` strings."""
        return tuple(self.settings.get("Env") or ())

    @property
    def volumes(self) -> tuple[str, ...]:
        """The volumes' paths, sorted."""
        return tuple(sorted(self.settings.get("Volumes") or ()))

    @property
    def working_dir(self) -> str:
        """The working directory; empty where unset."""
        return self.settings.get("WorkingDir") or ""

    @property
    def user(self) -> str:
        """The user, as written; empty where unset."""
        return self.settings.get("User") or ""

    def serialize(self) -> bytes:
        """Return the JSON whose digest is the image id; the same data give the same bytes."""
        return json.dumps(self.data, separators=(",", ":"), ensure_ascii=False).encode()


class BlobSource(Protocol):
    """Whatever holds blobs: a store, a layout, an archive, a registry behind a store."""

    def open_blob(self, descriptor: Descriptor) -> AbstractContextManager[Iterator[bytes]]:
        """Open the blob's chunks; whoever reads to the end has had size and digest checked."""
        ...


@dataclass(frozen=True, slots=True)
class Image:
    """An image, wherever it comes from: its name, manifest, config, and the source of its blobs."""

    name: str
    manifest: Manifest
    config: ImageConfig
    config_raw: bytes
    source: BlobSource

    @classmethod
    def load(
        cls,
        name: str,
        manifest: Manifest,
        config_raw: bytes,
        source: BlobSource,
        platform: Platform | None = None,
    ) -> Self:
        """Join a manifest and its config, which must be the one it names and agree with it.

        *platform* is what led to the manifest; a config that names none is for that one.
        """
        what = f"{name}: config {manifest.config.digest}"
        verify(config_raw, manifest.config.digest, what)
        config = ImageConfig.parse(config_raw, what).for_platform(platform)
        if len(config.diff_ids) != len(manifest.layers):
            raise MalformedImage(
                f"{name}: the manifest has {len(manifest.layers)} layers, the config "
                f"{len(config.diff_ids)} diff_ids; the image is damaged, push it again"
            )
        return cls(name, manifest, config, config_raw, source)

    @property
    def id(self) -> Digest:
        """The image id: the digest of the config."""
        return self.manifest.config.digest


def build_manifest(config: Descriptor, layers: Sequence[Descriptor]) -> bytes:
    """Return the JSON of an OCI manifest for a config and its layers, bottom first."""
    return json.dumps(
        {
            "schemaVersion": 2,
            "mediaType": media.OCI_MANIFEST,
            "config": config.to_json(),
            "layers": [layer.to_json() for layer in layers],
        },
        separators=(",", ":"),
    ).encode()

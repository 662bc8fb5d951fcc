"""Descriptors, media types and platforms (OCI image-spec v1.1, descriptor.md, image-index.md)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Self

from layers.digest import Digest
from layers.errors import MalformedImage

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

OCI_INDEX = "application/vnd.oci.image.index.v1+json"
OCI_MANIFEST = "application/vnd.oci.image.manifest.v1+json"
OCI_CONFIG = "application/vnd.oci.image.config.v1+json"
OCI_LAYER_GZIP = "application/vnd.oci.image.layer.v1.tar+gzip"
OCI_LAYER_TAR = "application/vnd.oci.image.layer.v1.tar"
DOCKER_LIST = "application/vnd.docker.distribution.manifest.list.v2+json"
DOCKER_MANIFEST = "application/vnd.docker.distribution.manifest.v2+json"
DOCKER_CONFIG = "application/vnd.docker.container.image.v1+json"
DOCKER_LAYER_GZIP = "application/vnd.docker.image.rootfs.diff.tar.gzip"
DOCKER_LAYER_TAR = "application/vnd.docker.image.rootfs.diff.tar"
SCHEMA_1 = (
    "application/vnd.docker.distribution.manifest.v1+json",
    "application/vnd.docker.distribution.manifest.v1+prettyjws",
)
INDEX_TYPES = (OCI_INDEX, DOCKER_LIST)
MANIFEST_TYPES = (OCI_MANIFEST, DOCKER_MANIFEST)

_ARCH_ALIASES = {"x86_64": "amd64", "x86-64": "amd64", "aarch64": "arm64", "i386": "386"}
_ARM_FALLBACK = {"v8": ("v8", "v7", "v6", "v5"), "v7": ("v7", "v6", "v5"), "v6": ("v6", "v5")}


@dataclass(frozen=True, slots=True)
class Platform:
    """Operating system, architecture and variant, normalised as containerd does."""

    os: str
    architecture: str
    variant: str = ""

    @classmethod
    def parse(cls, text: str) -> Self:
        """Read `OS/ARCH[/VARIANT]`, or `ARCH` alone for linux."""
        parts = text.lower().split("/")
        if not all(parts) or len(parts) > 3:
            raise ValueError(f"{text!r} is not a platform: expected OS/ARCH[/VARIANT]")
        if len(parts) == 1:
            parts = ["linux", parts[0]]
        return cls.of(*parts)

    @classmethod
    def of(cls, os: str, architecture: str, variant: str = "") -> Self:
        """Normalise the parts: `x86_64` is amd64, `armhf` is arm/v7, arm64/v8 is arm64."""
        architecture = _ARCH_ALIASES.get(architecture, architecture)
        if architecture in {"armhf", "armel"}:
            architecture, variant = "arm", "v7" if architecture == "armhf" else "v6"
        if (architecture, variant) in {("arm64", "8"), ("arm64", "v8"), ("amd64", "v1")}:
            variant = ""
        if architecture == "arm":
            variant = f"v{variant}" if variant.isdigit() else variant or "v7"
        return cls(os, architecture, variant)

    @classmethod
    def from_json(cls, data: Mapping[str, Any]) -> Self:
        """Read a descriptor's `platform` object, or an image config."""
        parts = [data.get(key) for key in ("os", "architecture", "variant")]
        if not all(isinstance(part, str | None) for part in parts):
            raise MalformedImage("os, architecture and variant of a platform must be strings")
        return cls.of(*(part or "" for part in parts))

    def candidates(self) -> tuple[Platform, ...]:
        """Return what can run here, best first: arm/v7 also runs v6 and v5."""
        if self.architecture == "arm":
            variants = _ARM_FALLBACK.get(self.variant, (self.variant,))
            return tuple(Platform(self.os, "arm", variant) for variant in variants)
        if self.variant:
            return (self, Platform(self.os, self.architecture))
        return (self,)

    @property
    def is_unknown(self) -> bool:
        """Whether this marks an attestation rather than an image."""
        return self.os == "unknown" or self.architecture == "unknown"

    def __str__(self) -> str:
        return "/".join(part for part in (self.os, self.architecture, self.variant) if part)


@dataclass(frozen=True, slots=True)
class Descriptor:
    """Where content is and what it promises to be: media type, digest, size in bytes."""

    media_type: str
    digest: Digest
    size: int
    platform: Platform | None = None
    annotations: tuple[tuple[str, str], ...] = ()
    urls: tuple[str, ...] = ()

    @classmethod
    def from_json(cls, data: object) -> Self:
        """Read one descriptor; sizes must be sane integers, digests well-formed."""
        if not isinstance(data, dict):
            raise MalformedImage(f"a descriptor must be an object, not {data!r:.80}")
        size = data.get("size")
        if not isinstance(size, int) or isinstance(size, bool) or not 0 <= size < 1 << 63:
            raise MalformedImage(
                f"descriptor {data.get('digest')!r:.100}: size {size!r:.40} is no size"
            )
        platform = data.get("platform")
        return cls(
            media_type=_string(data, "mediaType"),
            digest=Digest.parse(data.get("digest")),
            size=size,
            platform=Platform.from_json(platform) if isinstance(platform, dict) else None,
            annotations=_annotations(data.get("annotations")),
            urls=tuple(url for url in _list(data.get("urls")) if isinstance(url, str)),
        )

    def annotation(self, name: str) -> str | None:
        """Return the value of one annotation."""
        return dict(self.annotations).get(name)

    def to_json(self) -> dict[str, Any]:
        """Return the descriptor as a JSON object with its keys in the specification's order."""
        data: dict[str, Any] = {
            "mediaType": self.media_type,
            "digest": str(self.digest),
            "size": self.size,
        }
        if self.platform:
            platform = {"architecture": self.platform.architecture, "os": self.platform.os}
            if self.platform.variant:
                platform["variant"] = self.platform.variant
            data["platform"] = platform
        if self.annotations:
            data["annotations"] = dict(self.annotations)
        return data


def choose_platform(descriptors: Iterable[Descriptor], platform: Platform) -> Descriptor | None:
    """Return the first descriptor of the best platform that *platform* can run (image-index.md)."""
    return next(iter(matching(descriptors, platform)), None)


def matching(descriptors: Iterable[Descriptor], platform: Platform) -> list[Descriptor]:
    """Return all descriptors of the best platform that *platform* can run.

    A descriptor without a platform matches when nothing better does, as in containerd;
    attestations never match (image-index.md; BuildKit's attestation storage).
    """
    images = [d for d in descriptors if not is_attestation(d)]
    for candidate in platform.candidates():
        found = [d for d in images if d.platform == candidate]
        if found:
            return found
    return [d for d in images if d.platform is None]


def is_attestation(descriptor: Descriptor) -> bool:
    """Whether the descriptor is a provenance or SBOM statement rather than an image."""
    if descriptor.annotation("vnd.docker.reference.type") == "attestation-manifest":
        return True
    return descriptor.platform is not None and descriptor.platform.is_unknown


def _string(data: Mapping[str, Any], key: str) -> str:
    value = data.get(key, "")
    if not isinstance(value, str):
        raise MalformedImage(f"descriptor {data.get('digest')!r:.100}: {key} must be a string")
    return value


def _list(value: object) -> list[Any]:
    return value if isinstance(value, list) else []


def _annotations(value: object) -> tuple[tuple[str, str], ...]:
    if not isinstance(value, dict):
        return ()
    return tuple((k, v) for k, v in value.items() if isinstance(k, str) and isinstance(v, str))

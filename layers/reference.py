"""References: how people name images (distribution/reference's grammar, Docker Hub's rules)."""

from __future__ import annotations

import re
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Self

from layers.digest import Digest
from layers.errors import InvalidReference, MalformedImage

if TYPE_CHECKING:
    from collections.abc import Iterator

DOCKER_HUB = "docker.io"
_COMPONENT = r"[a-z0-9]+(?:(?:\.|_|__|-+)[a-z0-9]+)*"
_REPOSITORY = re.compile(rf"{_COMPONENT}(?:/{_COMPONENT})*")
_LABEL = r"[A-Za-z0-9](?:[A-Za-z0-9-]*[A-Za-z0-9])?"
_HOST = re.compile(rf"(?:{_LABEL}(?:\.{_LABEL})*|\[[0-9a-fA-F:]+\])(?::[0-9]+)?")
_TAG = re.compile(r"[A-Za-z0-9_][A-Za-z0-9._-]{0,127}")
_LOCAL_TRANSPORTS = ("oci", "oci-archive", "docker-archive")
_OTHER_TRANSPORTS = (
    "dir", "docker-daemon", "containers-storage", "ostree", "atomic", "sif", "tarball",
)  # fmt: skip
_REGISTRY_PREFIXES = ("docker://", "docker-image://")
_PATH_STARTS = ("/", "./", "../", "~/")
_FILE_ENDINGS = (".tar", ".tgz", ".tar.gz", ".tar.xz", ".tar.zst", ".gvmi")
_NAME_LIMIT = 255
_SOURCE_INDEX = re.compile(r"@[0-9]{1,9}")


@dataclass(frozen=True, slots=True)
class Reference:
    """An image in a registry: `host/repository[:tag][@digest]`, Docker Hub's defaults filled in."""

    host: str
    repository: str
    tag: str | None = None
    digest: Digest | None = None

    @classmethod
    def parse(cls, text: str) -> Self:
        """Read a reference as `docker pull` does: `latest` where there is no tag and no digest."""
        rest, digest = _split_digest(text)
        rest, tag = _split_tag(rest)
        host, repository = _split_host(rest)
        if len(f"{host}/{repository}") > _NAME_LIMIT:
            raise InvalidReference(f"{text!r:.300}: a name has at most {_NAME_LIMIT} characters")
        if not _HOST.fullmatch(host):
            raise InvalidReference(f"{text!r}: {host!r} is not a registry host")
        if not _REPOSITORY.fullmatch(repository):
            raise InvalidReference(f"{text!r}: {_repository_advice(repository)}")
        if tag is not None and not _TAG.fullmatch(tag):
            raise InvalidReference(f"{text!r}: {tag!r} is not a tag")
        if tag is None and digest is None:
            tag = "latest"
        return cls(host, repository, tag, digest)

    @property
    def familiar(self) -> str:
        """The name as `docker images` shows it: without Docker Hub's host and `library/`."""
        if self.host != DOCKER_HUB:
            return f"{self.host}/{self.repository}"
        return self.repository.removeprefix("library/")

    @property
    def is_loopback(self) -> bool:
        """Whether the registry is on this machine, and so spoken to by http, as Docker does."""
        name = self.host.rsplit(":", 1)[0] if not self.host.endswith("]") else self.host
        return name == "localhost" or name.startswith("127.") or name == "[::1]"

    def at(self, digest: Digest) -> Self:
        """Return the same repository, at *digest*."""
        return replace(self, tag=None, digest=digest)

    def __str__(self) -> str:
        tag = f":{self.tag}" if self.tag else ""
        digest = f"@{self.digest}" if self.digest else ""
        return f"{self.familiar}{tag}{digest}"


@dataclass(frozen=True, slots=True)
class LocalReference:
    """An image in a folder or file: `oci:DIR[:tag]`, `oci-archive:FILE`, `docker-archive:FILE`.

    *tag* is a tag, a whole name, or `@N` for the N-th image, counted from 0.
    """

    transport: str
    path: str
    tag: str | None = None

    def readings(self) -> Iterator[LocalReference]:
        """Yield what the same text may also mean, as colons may be part of the path."""
        parts = self.path if self.tag is None else f"{self.path}:{self.tag}"
        for end, char in enumerate(parts):
            if char == ":" and end >= len(self.path):
                yield replace(self, path=parts[:end], tag=parts[end + 1 :] or None)
        yield replace(self, path=parts, tag=None)

    def __str__(self) -> str:
        return f"{self.transport}:{self.path}" + (f":{self.tag}" if self.tag else "")


def has_transport(text: str) -> bool:
    """Whether *text* says itself where the image is."""
    return text.startswith(_REGISTRY_PREFIXES) or text.startswith(
        tuple(f"{transport}:" for transport in _LOCAL_TRANSPORTS)
    )


def parse_source(text: str) -> Reference | LocalReference:
    """Read what people type for an image, whatever the transport (containers-transports(5)).

    What looks like a file, or names a transport that is not read, is an `InvalidReference` that
    says so: it would be a valid name in Docker Hub.
    """
    if not text or text != text.strip():
        raise InvalidReference(f"{text!r} is not an image reference")
    for prefix in _REGISTRY_PREFIXES:
        if text.startswith(prefix):
            return Reference.parse(text.removeprefix(prefix))
    transport, colon, rest = text.partition(":")
    if colon and transport in _LOCAL_TRANSPORTS:
        return _parse_local(text, transport, rest)
    if colon and (rest.startswith("//") or transport in _OTHER_TRANSPORTS):
        raise InvalidReference(f"{text!r:.300}: {_transport_advice(text, transport)}")
    if text in {".", ".."} or text.startswith(_PATH_STARTS) or _names_file(text):
        raise InvalidReference(
            f"{text!r:.300} looks like a path; name a layout oci:DIR, a tar docker-archive:FILE or "
            f"oci-archive:FILE{registry_advice(text)}"
        )
    return Reference.parse(text)


def _names_file(text: str) -> bool:
    return text.endswith(_FILE_ENDINGS) or text.partition(":")[0].endswith(_FILE_ENDINGS)


def _transport_advice(text: str, transport: str) -> str:
    if transport == "docker-daemon":
        return "Docker's images are read after docker save -o FILE, as docker-archive:FILE"
    if transport in _OTHER_TRANSPORTS:
        return f"the transport {transport} is not read; skopeo copy {text:.200} oci:DIR, use that"
    return (
        f"there is no transport {transport:.40}://; name a registry's image HOST/NAME:TAG, and "
        "what is on this machine oci:DIR, oci-archive:FILE or docker-archive:FILE"
    )


def registry_advice(text: str) -> str:
    """Say how to name a registry's image of that name; empty if no image can have it."""
    try:
        Reference.parse(text)
    except InvalidReference:
        return ""
    return f"; a registry's image of that name is docker://{text}"


def _parse_local(text: str, transport: str, rest: str) -> LocalReference:
    rest = rest.removeprefix("//") if rest.startswith("///") else rest
    # As in containers-transports(5), the first colon ends the path: names have slashes and colons
    # too. A path with a colon in it is recognised where it is opened, by its being there.
    path, _, tag = rest.partition(":")
    if not path:
        raise InvalidReference(f"{text!r}: a path must follow {transport}:")
    if tag.startswith("@") and not _SOURCE_INDEX.fullmatch(tag):
        raise InvalidReference(
            f"{text!r}: {tag!r} is not the number of an image; the first one is @0"
        )
    return LocalReference(transport, path, tag or None)


def _split_digest(text: str) -> tuple[str, Digest | None]:
    rest, at, digest = text.partition("@")
    if not at:
        return rest, None
    try:
        return rest, Digest.parse(digest)
    except MalformedImage as error:
        raise InvalidReference(f"{text!r:.300}: {error}") from None


def _split_tag(text: str) -> tuple[str, str | None]:
    slash, colon = text.rfind("/"), text.rfind(":")
    if colon > slash:
        return text[:colon], text[colon + 1 :]
    return text, None


def _split_host(text: str) -> tuple[str, str]:
    first, slash, rest = text.partition("/")
    if slash and ("." in first or ":" in first or first == "localhost"):
        host, repository = first, rest
    else:
        host, repository = DOCKER_HUB, text
    if host in {"index.docker.io", "registry-1.docker.io"}:
        host = DOCKER_HUB
    if host == DOCKER_HUB and "/" not in repository:
        repository = f"library/{repository}"
    return host, repository


def _repository_advice(repository: str) -> str:
    if repository.lower() != repository:
        return f"a repository name must be lower case, as {repository.lower()!r} is"
    return f"{repository!r} is not a repository name (lower-case letters, digits, . _ - and /)"

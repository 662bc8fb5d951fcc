"""Images in one tar file: `oci-archive:` (a layout in a tar) and `docker-archive:` (`docker save`).

Nothing is extracted: members are found by the same one pass that indexes layers, and read in place.
What old `docker save` writes (docker image-spec v1.2, "Combined Image JSON + Filesystem Changeset
Format") and what new ones write (an OCI layout with a `manifest.json` beside it) both work.
"""

from __future__ import annotations

import hashlib
import json
import os
import posixpath
import re
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Self, TypeGuard

from layers import descriptor as media
from layers import jsontext
from layers.choice import ambiguous, by_index, by_name, is_index, missing
from layers.codec import CodecError, Compression, decompress
from layers.descriptor import Descriptor
from layers.digest import Digest, Verifier, verified, verify
from layers.errors import ImageNotFound, MalformedImage, MalformedLayer
from layers.image import JSON_LIMIT, LAYERS_MAX, ImageConfig, Index, Manifest
from layers.kinds import Kind
from layers.spool import Spool, check_size
from layers.store import CHUNK
from layers.tarindex import index_layer
from layers.tarnames import clean_path

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from layers.limits import Limits
    from layers.tarindex import Entry
    from layers.tempfiles import TempArea

_MEMBER_LINKS = 10
_MEMBER_LIMIT = 100_000
_ALL_LAYERS_MAX = 20_000
"""Layers of all images of one `docker save`; one that is in several counts each time."""
_BLOB_NAME = re.compile(r"(?:blobs/sha256/)?([0-9a-f]{64})(?:\.json|\.tar)?")


class _PlainFile:
    """A file on disk, read at any offset; stands where a `Spool` would."""

    def __init__(self, path: Path) -> None:
        self._descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
        self.size = os.fstat(self._descriptor).st_size

    def read_at(self, offset: int, length: int) -> bytes:
        return os.pread(self._descriptor, length, offset)

    def close(self) -> None:
        os.close(self._descriptor)


class Archive:
    """The members of a tar file by name; a compressed one is unpacked to a nameless file first."""

    def __init__(self, path: Path, name: str, area: TempArea, limits: Limits) -> None:
        """Open the archive; *name* is what errors call it."""
        self.name = name
        if not path.is_file():
            raise ImageNotFound(f"{name}: there is no such file")
        self._file: _PlainFile | Spool = _PlainFile(path)
        try:
            if Compression.of(self._file.read_at(0, 8)) is not Compression.NONE:
                self._file = self._unpack(area, limits)
            self._members = self._index(limits)
        except BaseException:
            self._file.close()
            raise

    def close(self) -> None:
        """Give the file back."""
        self._file.close()

    def __contains__(self, path: str) -> bool:
        return path.encode() in self._members

    def size(self, path: str) -> int:
        """Return a member's size in bytes."""
        return self._find(path).size

    def read(self, path: str) -> bytes:
        """Return a small member whole."""
        entry = self._find(path)
        if entry.size > JSON_LIMIT:
            raise MalformedImage(f"{self.name}: {path} has {entry.size:,} bytes, too many for JSON")
        return self._file.read_at(entry.offset, entry.size)

    def chunks(self, path: str) -> Iterator[bytes]:
        """Yield a member's content."""
        entry = self._find(path)
        position, end = entry.offset, entry.offset + entry.size
        while position < end:
            chunk = self._file.read_at(position, min(CHUNK, end - position))
            if not chunk:
                raise MalformedImage(f"{self.name}: the file became shorter while it was read")
            yield chunk
            position += len(chunk)

    def _find(self, path: str) -> Entry:
        """Return a regular member, following the links that old `docker save` wrote."""
        name = path.encode("utf-8", "surrogateescape")
        for _ in range(_MEMBER_LINKS):
            entry = self._members.get(name)
            if entry is None or entry.kind is Kind.DIRECTORY:
                raise MalformedImage(f"{self.name}: {path} is missing in the archive")
            if entry.kind is Kind.FILE:
                return entry
            base = b"" if entry.kind is Kind.HARDLINK else posixpath.dirname(name)
            name = posixpath.normpath(posixpath.join(base, entry.target))
        raise MalformedImage(f"{self.name}: {path} is a loop of links in the archive")

    def _index(self, limits: Limits) -> dict[bytes, Entry]:
        members: dict[bytes, Entry] = {}
        try:
            for entry in index_layer(self._file, self.name, limits):
                members[entry.path] = entry
                if len(members) > _MEMBER_LIMIT:
                    raise MalformedImage(f"{self.name}: more than {_MEMBER_LIMIT} members")
        except MalformedLayer as error:
            raise MalformedImage(
                f"{self.name} is not a sound tar archive: {error.problem}"
            ) from None
        return members

    def _unpack(self, area: TempArea, limits: Limits) -> Spool:
        spool = Spool(area)
        source = self._file
        reads = (source.read_at(position, CHUNK) for position in range(0, source.size, CHUNK))
        try:
            for chunk in decompress(reads)[1]:
                spool.append(chunk)
                check_size(spool, source.size, limits, self.name)
        except CodecError as error:
            spool.close()
            raise MalformedImage(f"{self.name}: {error}") from None
        except BaseException:
            spool.close()
            raise
        source.close()
        return spool


class OciArchive:
    """A layout in a tar; a `BlobSource`."""

    def __init__(self, archive: Archive) -> None:
        self._archive = archive
        if "index.json" not in archive:
            raise MalformedImage(
                f"{archive.name}: no index.json in it, so no OCI archive "
                "(what docker save writes is read as docker-archive:FILE)"
            )

    def index(self) -> Index:
        """Return `index.json`."""
        return Index.parse(self._archive.read("index.json"), f"{self._archive.name}: index.json")

    @contextmanager
    def open_blob(self, descriptor: Descriptor) -> Iterator[Iterator[bytes]]:
        """Open a blob's chunks, verified as they pass."""
        path = f"blobs/{descriptor.digest.algorithm}/{descriptor.digest.hex}"
        what = f"{self._archive.name}: blob {descriptor.digest}"
        if path not in self._archive:
            raise ImageNotFound(f"{what} is missing; the archive is incomplete, make it again")
        verifier = Verifier(descriptor.digest, descriptor.size, what)
        yield verified(self._archive.chunks(path), verifier)

    def read(self, descriptor: Descriptor) -> bytes:
        """Return a small blob whole, verified."""
        with self.open_blob(descriptor) as chunks:
            return b"".join(chunks)

    read_manifest = read


@dataclass(frozen=True, slots=True)
class _Saved:
    """One element of `manifest.json`."""

    config: str
    tags: tuple[str, ...]
    layers: tuple[str, ...]

    @classmethod
    def from_json(cls, data: Any, name: str) -> Self:
        fields = data if isinstance(data, dict) else {}
        config, tags = fields.get("Config"), fields.get("RepoTags") or []
        layers = fields.get("Layers")
        if not isinstance(config, str) or not _are_strings(layers) or not _are_strings(tags):
            raise MalformedImage(f"{name}: manifest.json needs Config, RepoTags and Layers")
        if len(layers) > LAYERS_MAX:
            raise MalformedImage(
                f"{name}: an image of {len(layers):,} layers, more than {LAYERS_MAX:,}"
            )
        return cls(
            _member(config, name), tuple(tags), tuple(_member(path, name) for path in layers)
        )


class DockerArchive:
    """What `docker save` writes; a `BlobSource` with a manifest made up for it."""

    def __init__(self, archive: Archive) -> None:
        self._archive = archive
        if "manifest.json" not in archive:
            raise MalformedImage(
                f"{archive.name}: no manifest.json in it, so nothing that docker save wrote "
                "(an OCI archive is read as oci-archive:FILE)"
            )
        self._paths: dict[Digest, str] = {}
        self._hashed: dict[str, Digest] = {}

    def load(self, tag: str | None) -> tuple[Manifest, bytes]:
        """Return the manifest and the raw config of the image *tag*, or of the only one."""
        return self._open(self._choose(self._list(), tag))

    def images(self) -> Iterator[tuple[tuple[str, ...], Manifest, bytes]]:
        """Yield the names, the manifest and the raw config of each image."""
        for saved in self._list():
            yield saved.tags, *self._open(saved)

    def _open(self, saved: _Saved) -> tuple[Manifest, bytes]:
        config_raw = self._archive.read(saved.config)
        config_digest = _named_digest(saved.config)
        if config_digest:
            verify(config_raw, config_digest, f"{self._archive.name}: config {saved.config}")
        config = ImageConfig.parse(config_raw, f"{self._archive.name}: config {saved.config}")
        if len(config.diff_ids) != len(saved.layers):
            raise MalformedImage(f"{self._archive.name}: its layers and diff_ids differ in number")
        layers = [
            self._layer(path, diff_id)
            for path, diff_id in zip(saved.layers, config.diff_ids, strict=True)
        ]
        manifest = {
            "schemaVersion": 2,
            "mediaType": media.DOCKER_MANIFEST,
            "config": Descriptor(
                media.DOCKER_CONFIG, Digest.of(config_raw), len(config_raw)
            ).to_json(),
            "layers": [layer.to_json() for layer in layers],
        }
        raw = json.dumps(manifest, separators=(",", ":")).encode()
        return Manifest.parse(raw, self._archive.name), config_raw

    @contextmanager
    def open_blob(self, descriptor: Descriptor) -> Iterator[Iterator[bytes]]:
        """Open a layer's chunks, verified as they pass."""
        what = f"{self._archive.name}: layer {descriptor.digest}"
        verifier = Verifier(descriptor.digest, descriptor.size, what)
        yield verified(self._archive.chunks(self._paths[descriptor.digest]), verifier)

    def _layer(self, path: str, diff_id: Digest) -> Descriptor:
        head = next(self._archive.chunks(path), b"")
        compression = Compression.of(head)
        media_type = media.DOCKER_LAYER_TAR
        digest = diff_id
        if compression is not Compression.NONE:
            media_type = media.DOCKER_LAYER_GZIP
            digest = _named_digest(path) or self._hash(path)
        self._paths[digest] = path
        return Descriptor(media_type, digest, self._archive.size(path))

    def _hash(self, path: str) -> Digest:
        if path in self._hashed:
            return self._hashed[path]
        state = hashlib.sha256()
        for chunk in self._archive.chunks(path):
            state.update(chunk)
        return self._hashed.setdefault(path, Digest("sha256", state.hexdigest()))

    def _list(self) -> list[_Saved]:
        name = self._archive.name
        try:
            data = jsontext.parse(self._archive.read("manifest.json"))
        except ValueError as error:
            raise MalformedImage(f"{name}: manifest.json is not valid JSON: {error}") from None
        if not isinstance(data, list) or not data:
            raise MalformedImage(f"{name}: manifest.json must be a list of images")
        saved = [_Saved.from_json(item, name) for item in data]
        total = sum(len(one.layers) for one in saved)
        if total > _ALL_LAYERS_MAX:
            raise MalformedImage(
                f"{name}: images of {total:,} layers in all, more than {_ALL_LAYERS_MAX:,}"
            )
        return saved

    def _choose(self, images: list[_Saved], tag: str | None) -> _Saved:
        name, labels = self._archive.name, [" ".join(i.tags) or "(untagged)" for i in images]
        if tag is None:
            found = images
        elif is_index(tag):
            position = by_index(len(images), tag)
            found = [] if position is None else [images[position]]
        else:
            found = [images[i] for i in by_name([image.tags for image in images], tag)]
        if not found:
            raise missing(name, labels, tag or "")
        # The same image may be listed twice, once for each of its names.
        if len({(image.config, image.layers) for image in found}) > 1:
            raise ambiguous(name, labels, tag)
        return found[0]


def _member(path: str, name: str) -> str:
    try:
        cleaned = clean_path(path.encode()).decode()
        if not cleaned:
            raise ValueError("its name is empty")
    except ValueError as error:
        raise MalformedImage(f"{name}: manifest.json: {path!r:.200}: {error}") from None
    return cleaned


def _named_digest(path: str) -> Digest | None:
    match = _BLOB_NAME.fullmatch(path)
    return Digest("sha256", match[1]) if match else None


def _are_strings(value: Any) -> TypeGuard[list[str]]:
    return isinstance(value, list) and all(isinstance(item, str) for item in value)

"""A finished build as something else than a `.gvmi`: archives for other tools, a plain tar."""

from __future__ import annotations

import json
import os
from typing import TYPE_CHECKING, Any

from assembler.output import atomic
from layers import descriptor as media
from layers import tarstream, tarwriter
from layers.image import Manifest
from layers.kinds import Kind
from layers.layout import CONTAINERD_NAME
from layers.store import REF_NAME
from layers.tree import Data, Node

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from pathlib import Path

    from layers.descriptor import Descriptor
    from layers.reference import Reference
    from layers.store import ContentStore
    from layers.tarstream import Span
    from layers.tree import Tree

_LAYOUT = b'{"imageLayoutVersion":"1.0.0"}'


def write_tar(tree: Tree, target: Path) -> int:
    """Write the root file system as a tar; return its size in bytes."""
    with atomic(target) as temp:
        return _send(tarstream.spans(tree), temp.fileno())


def write_archive(
    target: Path,
    descriptor: Descriptor,
    tags: Sequence[Reference],
    store: ContentStore,
    *,
    docker: bool,
) -> int:
    """Write an image of the store as an OCI layout in a tar; return its size in bytes.

    With *docker* a `manifest.json` stands beside it, as in what `docker save` writes from version
    25 on, so that `docker load` of any version takes it. All times in it are 0.
    """
    manifest = Manifest.parse(store.read(descriptor), str(descriptor.digest))
    texts = {b"oci-layout": _LAYOUT, b"index.json": _json(_index(descriptor, tags))}
    if docker:
        texts[b"manifest.json"] = _json(_docker_manifest(manifest, tags))
    with atomic(target) as temp:
        total = _send(_texts(texts), temp.fileno())
        blobs = {d.digest: d for d in (descriptor, manifest.config, *manifest.layers)}
        for digest, blob in sorted(blobs.items(), key=lambda item: str(item[0])):
            with open(store.open_file(digest), "rb") as file:
                span = tarstream.Range(_Blob(file.fileno(), blob.size), 0, blob.size)
                name = _blob_path(blob).encode()
                pieces: list[Span] = [_header(name, blob.size), span, bytes(-blob.size % 512)]
                total += _send(iter(pieces), temp.fileno())
        return total + _send(iter([tarwriter.END]), temp.fileno())


class _Blob:
    """An open blob of the store."""

    def __init__(self, descriptor: int, size: int) -> None:
        self._descriptor = descriptor
        self.size = size

    def fileno(self) -> int:
        return self._descriptor

    def read_at(self, offset: int, length: int) -> bytes:
        return os.pread(self._descriptor, length, offset)


def _texts(texts: dict[bytes, bytes]) -> Iterator[Span]:
    for name, text in texts.items():
        yield _header(name, len(text)) + text + bytes(-len(text) % 512)
    for folder in (b"blobs", b"blobs/sha256"):
        yield tarwriter.header(folder, Node(Kind.DIRECTORY, 0o755))


def _header(name: bytes, size: int) -> bytes:
    node = Node(Kind.FILE, 0o644)
    node.data = Data(_Blob(-1, size), 0, size)
    return tarwriter.header(name, node)


def _send(spans: Iterator[Span], target: int) -> int:
    total = 0

    def sent(count: int) -> None:
        nonlocal total
        total += count

    tarstream.send(spans, target, sent)
    return total


def _index(descriptor: Descriptor, tags: Sequence[Reference]) -> dict[str, Any]:
    """Return the index: the image once for each of its names, as buildx annotates them."""
    plain = descriptor.to_json()
    named = [
        plain
        | {
            "annotations": {
                CONTAINERD_NAME: str(tag),
                REF_NAME: tag.tag or "latest",
            }
        }
        for tag in tags
    ]
    return {"schemaVersion": 2, "mediaType": media.OCI_INDEX, "manifests": named or [plain]}


def _docker_manifest(manifest: Manifest, tags: Sequence[Reference]) -> list[dict[str, Any]]:
    """Return what docker image-spec v1.2 calls `manifest.json`."""
    return [
        {
            "Config": _blob_path(manifest.config),
            "RepoTags": [f"{tag.familiar}:{tag.tag or 'latest'}" for tag in tags] or None,
            "Layers": [_blob_path(layer) for layer in manifest.layers],
        }
    ]


def _blob_path(descriptor: Descriptor) -> str:
    return f"blobs/{descriptor.digest.algorithm}/{descriptor.digest.hex}"


def _json(data: Any) -> bytes:
    return json.dumps(data, separators=(",", ":"), ensure_ascii=False).encode()

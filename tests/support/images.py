"""Writers of OCI image layouts and of archives, field by field as the specifications say."""

from __future__ import annotations

import hashlib
import json
import tarfile
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from support.layers import file, gzipped, layer, symlink, zstd

if TYPE_CHECKING:
    import os
    from collections.abc import Callable, Mapping, Sequence

    from support.layers import Item

Json = dict[str, object]

CREATED = "2024-05-06T07:08:09Z"
PLATFORM = "linux/amd64"
REF_NAME = "org.opencontainers.image.ref.name"


@dataclass(frozen=True, slots=True)
class Media:
    """The media types of one family; *layer* maps a compression to that of its blobs."""

    index: str
    manifest: str
    config: str
    layer: Mapping[str | None, str]


_OCI = "application/vnd.oci.image."
_DOCKER = "application/vnd.docker."
OCI = Media(
    index=_OCI + "index.v1+json",
    manifest=_OCI + "manifest.v1+json",
    config=_OCI + "config.v1+json",
    layer={
        None: _OCI + "layer.v1.tar",
        "gzip": _OCI + "layer.v1.tar+gzip",
        "zstd": _OCI + "layer.v1.tar+zstd",
    },
)
DOCKER = Media(
    index=_DOCKER + "distribution.manifest.list.v2+json",
    manifest=_DOCKER + "distribution.manifest.v2+json",
    config=_DOCKER + "container.image.v1+json",
    layer={
        None: _DOCKER + "image.rootfs.diff.tar",
        "gzip": _DOCKER + "image.rootfs.diff.tar.gzip",
        "zstd": _DOCKER + "image.rootfs.diff.tar.zstd",
    },
)

_CODECS: dict[str | None, Callable[[bytes], bytes]] = {None: bytes, "gzip": gzipped, "zstd": zstd}


@dataclass(frozen=True, slots=True)
class Layer:
    """A layer whose blob a layout holds already."""

    descriptor: Json
    diff_id: str


def sha256(data: bytes) -> str:
    return "sha256:" + hashlib.sha256(data).hexdigest()


def dumps(value: object) -> bytes:
    return json.dumps(value, indent=1, sort_keys=True).encode()


class Layout:
    """An OCI image layout that is being written: blobs at once, index.json at every tag."""

    def __init__(self, path: str | os.PathLike[str]) -> None:
        self.path = Path(path)
        self._manifests: list[Json] = []
        (self.path / "blobs" / "sha256").mkdir(parents=True, exist_ok=True)
        (self.path / "oci-layout").write_bytes(dumps({"imageLayoutVersion": "1.0.0"}))
        self._write_index()

    def blob(self, data: bytes, media_type: str) -> Json:
        """Store *data*; its descriptor."""
        digest = sha256(data)
        self.blob_path(digest).write_bytes(data)
        return {"mediaType": media_type, "digest": digest, "size": len(data)}

    def blob_path(self, digest: str) -> Path:
        return self.path / "blobs" / digest.replace(":", "/")

    def adopt(self, blob: Path, diff_id: str, media_type: str) -> Layer:
        """Move *blob*, a compressed layer too large for memory, into the layout."""
        with blob.open("rb") as stream:
            digest = "sha256:" + hashlib.file_digest(stream, "sha256").hexdigest()
        descriptor: Json = {
            "mediaType": media_type,
            "digest": digest,
            "size": blob.stat().st_size,
        }
        blob.rename(self.blob_path(digest))
        return Layer(descriptor, diff_id)

    def layer(self, tar: bytes, compression: str | None = "gzip", media: Media = OCI) -> Layer:
        blob = _CODECS[compression](tar)
        return Layer(self.blob(blob, media.layer[compression]), sha256(tar))

    def image(
        self,
        layers: Sequence[bytes | Layer],
        config: Json | None = None,
        *,
        platform: str = PLATFORM,
        compression: str | None = "gzip",
        media: Media = OCI,
        **fields: object,
    ) -> Json:
        """Write one image; the descriptor of its manifest.

        *config* is the `config` object (Env, Cmd, ...), *fields* are others of the image's
        configuration (`created`, `history`, ...), which take precedence over those made here.
        """
        held = [
            item if isinstance(item, Layer) else self.layer(item, compression, media)
            for item in layers
        ]
        diff_ids = [item.diff_id for item in held]
        document = {**image_config(diff_ids, config, platform), **fields}
        manifest: Json = {
            "schemaVersion": 2,
            "mediaType": media.manifest,
            "config": self.blob(dumps(document), media.config),
            "layers": [item.descriptor for item in held],
        }
        return self.blob(dumps(manifest), media.manifest) | {"platform": platform_json(platform)}

    def attestation(self, image: Json) -> Json:
        """What BuildKit puts beside *image*: a manifest that is no image, of no platform."""
        statement = self.blob(dumps({"_type": "statement"}), "application/vnd.in-toto+json")
        manifest: Json = {
            "schemaVersion": 2,
            "mediaType": OCI.manifest,
            "config": self.blob(
                dumps(image_config([statement["digest"]], None, "unknown/unknown")), OCI.config
            ),
            "layers": [statement],
        }
        return self.blob(dumps(manifest), OCI.manifest) | {
            "platform": platform_json("unknown/unknown"),
            "annotations": {
                "vnd.docker.reference.type": "attestation-manifest",
                "vnd.docker.reference.digest": image["digest"],
            },
        }

    def index(self, entries: Sequence[Json], media: Media = OCI) -> Json:
        """Write an index (of images, or of indexes); its descriptor."""
        document = {"schemaVersion": 2, "mediaType": media.index, "manifests": list(entries)}
        return self.blob(dumps(document), media.index)

    def tag(self, descriptor: Json, *names: str) -> None:
        """Name *descriptor* in index.json; without a name it stands there unnamed."""
        for name in names:
            named = {**descriptor, "annotations": {REF_NAME: name}}
            self._manifests = [m for m in self._manifests if _name_of(m) != name] + [named]
        if not names:
            self._manifests.append(dict(descriptor))
        self._write_index()

    def _write_index(self) -> None:
        index = {"schemaVersion": 2, "mediaType": OCI.index, "manifests": self._manifests}
        (self.path / "index.json").write_bytes(dumps(index))


def oci_layout(
    path: str | os.PathLike[str],
    layers: Sequence[bytes | Layer],
    config: Json | None = None,
    *,
    tag: str | None = "latest",
    **image: object,
) -> Layout:
    """A layout of one image; *image* as for `Layout.image`. Tag None leaves it unnamed."""
    layout = Layout(path)
    layout.tag(layout.image(layers, config, **image), *([] if tag is None else [tag]))
    return layout


def oci_archive(path: str | os.PathLike[str], layout: str | os.PathLike[str] | Layout) -> Path:
    """The tar of a whole layout, as `skopeo copy ... oci-archive:` writes it."""
    root = layout.path if isinstance(layout, Layout) else Path(layout)
    with tarfile.open(path, "w") as archive:
        for item in sorted(root.rglob("*")):
            archive.add(item, str(item.relative_to(root)), recursive=False)
    return Path(path)


def docker_archive(
    path: str | os.PathLike[str],
    layers: Sequence[bytes],
    config: Json | None = None,
    repo_tag: str | None = "example:latest",
    *,
    shape: str = "old",
    platform: str = PLATFORM,
    **fields: object,
) -> Path:
    """What `docker save` writes: *shape* "old" before Docker 25, "new" from there on.

    A layer met twice is, in the old shape, a symbolic link to its first place, as there.
    """
    diff_ids = [sha256(tar) for tar in layers]
    document = dumps({**image_config(diff_ids, config, platform), **fields})
    members = _Members()
    if shape == "old":
        _old_shape(members, layers, document, repo_tag)
    else:
        _new_shape(members, layers, document, repo_tag)
    Path(path).write_bytes(members.tar())
    return Path(path)


def image_config(diff_ids: Sequence[object], config: Json | None, platform: str) -> Json:
    """An image configuration (config.md) with a fixed `created`."""
    return {
        "created": CREATED,
        **platform_json(platform),
        "config": config or {},
        "rootfs": {"type": "layers", "diff_ids": list(diff_ids)},
        "history": [{"created": CREATED, "created_by": "layer"} for _ in diff_ids],
    }


def platform_json(platform: str) -> dict[str, str]:
    """`os/architecture[/variant]` as a platform object."""
    return dict(zip(("os", "architecture", "variant"), platform.split("/"), strict=False))


class _Members:
    """Files of an archive, each name once."""

    def __init__(self) -> None:
        self._items: dict[str, Item] = {}

    def file(self, name: str, data: bytes) -> None:
        self._items.setdefault(name, file(name, data))

    def link(self, name: str, target: str) -> None:
        self._items.setdefault(name, symlink(name, target))

    def tar(self) -> bytes:
        return layer(*self._items.values())


def _old_shape(
    members: _Members, layers: Sequence[bytes], config: bytes, repo_tag: str | None
) -> None:
    config_name = hashlib.sha256(config).hexdigest() + ".json"
    members.file(config_name, config)
    places: list[str] = []
    first: dict[bytes, str] = {}
    for position, tar in enumerate(layers):
        identity = hashlib.sha256(b"%d " % position + tar).hexdigest()
        place = f"{identity}/layer.tar"
        places.append(place)
        members.file(f"{identity}/VERSION", b"1.0")
        members.file(f"{identity}/json", dumps({"id": identity}))
        if tar in first:
            members.link(place, f"../{first[tar]}")
        else:
            first[tar] = place
            members.file(place, tar)
    members.file("manifest.json", _docker_manifest(config_name, repo_tag, places))
    if repo_tag is not None:
        name, _, tag = repo_tag.rpartition(":")
        top = places[-1].partition("/")[0] if places else ""
        members.file("repositories", dumps({name: {tag: top}}))


def _new_shape(
    members: _Members, layers: Sequence[bytes], config: bytes, repo_tag: str | None
) -> None:
    def blob(data: bytes, media_type: str) -> Json:
        members.file("blobs/" + sha256(data).replace(":", "/"), data)
        return {"mediaType": media_type, "digest": sha256(data), "size": len(data)}

    described = [blob(tar, OCI.layer[None]) for tar in layers]
    manifest = dumps(
        {
            "schemaVersion": 2,
            "mediaType": OCI.manifest,
            "config": blob(config, OCI.config),
            "layers": described,
        }
    )
    named = blob(manifest, OCI.manifest)
    if repo_tag is not None:
        named["annotations"] = {
            "io.containerd.image.name": repo_tag,
            REF_NAME: repo_tag.rpartition(":")[2],
        }
    members.file("oci-layout", dumps({"imageLayoutVersion": "1.0.0"}))
    members.file(
        "index.json", dumps({"schemaVersion": 2, "mediaType": OCI.index, "manifests": [named]})
    )
    places = ["blobs/" + sha256(tar).replace(":", "/") for tar in layers]
    config_name = "blobs/" + sha256(config).replace(":", "/")
    members.file("manifest.json", _docker_manifest(config_name, repo_tag, places))


def _docker_manifest(config_name: str, repo_tag: str | None, places: list[str]) -> bytes:
    tags = None if repo_tag is None else [repo_tag]
    return dumps([{"Config": config_name, "RepoTags": tags, "Layers": places}])


def _name_of(descriptor: Json) -> object:
    annotations = descriptor.get("annotations")
    return annotations.get(REF_NAME) if isinstance(annotations, dict) else None

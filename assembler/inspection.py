"""What an image or a `.gvmi` says of itself, without building anything."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

from assembler import gvmi
from assembler.errors import GvmiError
from assembler.views import size
from layers.naming import find_source
from layers.sources import open_image

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from layers.image import Image
    from layers.session import Session
    from layers.sources import Wanted


def gvmi_path(subject: str) -> Path | None:
    """Return the path, if *subject* means a .gvmi file rather than an image."""
    path = Path(subject)
    if subject.endswith(".gvmi"):
        if not path.exists():
            raise GvmiError(f"{subject}: there is no such file")
        return path  # what is no regular file is told by whoever opens it
    return None


def inspect(subject: str, wanted: Wanted, session: Session) -> dict[str, Any]:
    """Return what there is to know of *subject*; sizes in bytes."""
    path = gvmi_path(subject)
    if path is not None:
        return _inspect_file(gvmi.GvmiFile.read(path))
    with open_image(find_source(subject, session.store), session, wanted) as image:
        return _inspect_image(image)


def _inspect_file(file: gvmi.GvmiFile) -> dict[str, Any]:
    config = file.config
    problems = gvmi.type_problems(config)
    if problems:
        raise GvmiError(f"{file.path} is not a sound .gvmi: {'; '.join(problems)}")
    return {
        "kind": "gvmi",
        "path": str(file.path),
        "size": file.size,
        "hash": gvmi.image_hash(file.path),
        "image_id": config.get("Image") or "",
        "volumes": sorted(config.get("Volumes") or {}),
        "workdir": config.get("WorkingDir") or "",
        "env": config.get("Env") or [],
        "config": config,
        "squashfs": {
            "size": file.squashfs_size,
            "bytes_used": file.superblock.bytes_used,
            "compression": file.superblock.compression,
            "block_size": file.superblock.block_size,
            "inodes": file.superblock.inodes,
            "created": file.superblock.mkfs_time,
        },
    }


def _inspect_image(image: Image) -> dict[str, Any]:
    layers = [
        {
            "digest": str(layer.digest),
            "diff_id": str(diff_id),
            "size": layer.size,
            "media_type": layer.media_type,
        }
        for layer, diff_id in zip(image.manifest.layers, image.config.diff_ids, strict=True)
    ]
    return {
        "kind": "image",
        "name": image.name,
        "size": sum(layer.size for layer in image.manifest.layers),
        "digest": str(image.manifest.digest),
        "image_id": image.id.hex,
        "platform": str(image.config.platform),
        "created": image.config.created or "",
        "volumes": list(image.config.volumes),
        "workdir": image.config.working_dir,
        "env": list(image.config.env),
        "config": dict(image.config.settings),
        "layers": layers,
    }


_ROWS = (
    ("path", "path"), ("name", "name"), ("hash", "hash"), ("digest", "digest"),
    ("image_id", "image id"), ("platform", "platform"), ("created", "created"),
)  # fmt: skip


def lines(found: Mapping[str, Any]) -> Iterator[str]:
    """Return *found* for people."""
    for key, label in _ROWS:
        if found.get(key):
            yield f"{label:<10}{found[key]}"
    yield f"{'size':<10}{size(found['size'])} ({found['size']:,} bytes)"
    yield f"{'volumes':<10}{' '.join(found['volumes']) or 'none'}"
    yield f"{'workdir':<10}{found['workdir'] or '/'}"
    for key in ("User", "Entrypoint", "Cmd"):
        if found["config"].get(key):
            yield f"{key.lower():<10}{found['config'][key]}"
    for item in found["env"]:
        yield f"{'env':<10}{item}"
    if squashfs := found.get("squashfs"):
        yield (
            f"{'squashfs':<10}{squashfs['compression']}, {squashfs['inodes']:,} inodes, blocks of "
            f"{squashfs['block_size']:,} bytes"
        )
    for layer in found.get("layers", ()):
        yield f"{'layer':<10}{layer['digest']}  {size(layer['size'])}"

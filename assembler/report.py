"""What a finished build says of itself: `--report`'s JSON, and the closing lines."""

from __future__ import annotations

import resource
from typing import TYPE_CHECKING, Any

from assembler.output import STDOUT, write_text
from assembler.printable import json_text
from assembler.views import size
from layers.reference import Reference

if TYPE_CHECKING:
    from pathlib import Path

    from assembler.assembling import Assembled
    from assembler.images import StoredImage
    from assembler.packing import Packed
    from assembler.progress import Progress


def report(result: Assembled, progress: Progress) -> dict[str, Any]:
    """Return everything that there is to tell; sizes in bytes, times in seconds."""
    packed, config = result.packed, result.config
    return {
        "path": _path(packed),
        "hash": packed.hash,
        "size": packed.size,
        "squashfs_size": packed.squashfs_size,
        "outputs": [
            {
                "type": output.kind,
                "path": _path(output),
                "size": output.size,
                "squashfs_size": output.squashfs_size,
                "hash": output.hash,
            }
            for output in result.outputs
        ],
        "image_id": str(result.image_id),
        "tags": list(result.tags),
        "base": str(result.base_digest) if result.base_digest else None,
        "layers": [str(layer) for layer in result.layers],
        "volumes": sorted(result.trailer["Volumes"]),
        "workdir": config.working_dir,
        "env": list(config.env),
        **_course(progress),
        "resources": _resources(),
    }


def metadata(result: Assembled, progress: Progress) -> dict[str, Any]:
    """Return what buildx writes for `--metadata-file`, under its names, and our report."""
    found: dict[str, Any] = {"containerimage.config.digest": str(result.image_id)}
    if result.manifest is not None:
        found["containerimage.descriptor"] = result.manifest.to_json()
        found["containerimage.digest"] = str(result.manifest.digest)
    if result.tags:
        found["image.name"] = ",".join(_full_name(Reference.parse(tag)) for tag in result.tags)
    return found | {"golem-assemble.report": report(result, progress)}


def pull_report(pulled: StoredImage, progress: Progress) -> dict[str, Any]:
    """Return what there is to tell of an image that was fetched into the store."""
    return {
        "path": None,
        "size": pulled.size,
        "image_id": str(pulled.image.id),
        "digest": str(pulled.descriptor.digest),
        "tags": [str(pulled.name)],
        **_course(progress),
    }


def _path(packed: Packed) -> str | None:
    if packed.path is None or packed.path == STDOUT:
        return packed.shown
    return str(packed.path.absolute())


def write_report(path: Path, data: dict[str, Any]) -> None:
    """Write the report as JSON, whole or not at all."""
    write_text(path, "--report", json_text(data) + "\n")


def summary(result: Assembled, progress: Progress) -> list[str]:
    """Return the closing lines for people."""
    count = len(progress.warnings)
    lines = []
    for packed in result.outputs:
        lines += [f"image     {packed.shown}"] if packed.shown else []
        lines.append(f"size      {size(packed.size)} ({packed.size:,} bytes)")
        lines += [f"hash      {packed.hash}"] if packed.hash else []
    lines += [
        f"image id  {result.image_id.hex}",
        f"time      {progress.elapsed:.1f} s",
        f"warnings  {count or 'none'}",
    ]
    lines[:0] = [f"Successfully tagged {tag}" for tag in result.tags]
    return lines


def _course(progress: Progress) -> dict[str, Any]:
    """Return how the work went."""
    return {
        "warnings": progress.warnings,
        "seconds": {name: round(value, 3) for name, value in progress.seconds.items()},
        "total_seconds": round(progress.elapsed, 3),
    }


def _full_name(name: Reference) -> str:
    return f"{name.host}/{name.repository}:{name.tag or 'latest'}"


def _resources() -> dict[str, Any]:
    own = resource.getrusage(resource.RUSAGE_SELF)
    children = resource.getrusage(resource.RUSAGE_CHILDREN)
    return {
        "self_cpu_seconds": round(own.ru_utime + own.ru_stime, 3),
        "self_peak_rss_bytes": _peak_memory(),
        "children_cpu_seconds": round(children.ru_utime + children.ru_stime, 3),
    }


def _peak_memory() -> int:
    """Return this process's own peak; `ru_maxrss` would begin with that of whoever started it."""
    with open("/proc/self/status", encoding="ascii") as status:
        for line in status:
            if line.startswith("VmHWM:"):
                return int(line.split()[1]) * 1024
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024

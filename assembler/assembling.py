"""From an image or a finished build to a `.gvmi`: the order of the steps, for every command."""

from __future__ import annotations

import os
import re
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from assembler import guest, gvmi
from assembler.destination import SUFFIXES, Destination, check_outputs
from assembler.epoch import epoch_of_created, parse_epoch
from assembler.errors import BuildError
from assembler.exporting import write_tar
from assembler.packing import Packed, pack
from assembler.squashfs import SquashfsOptions, find_mksquashfs
from assembler.trailer import container_config
from assembler.users import resolve_user
from layers.reference import LocalReference, Reference
from layers.rootfs import open_rootfs
from layers.sources import Wanted, open_image

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping
    from pathlib import Path

    from assembler.progress import Progress
    from layers.descriptor import Descriptor
    from layers.digest import Digest
    from layers.image import Image, ImageConfig
    from layers.session import Session
    from layers.tree import Tree

_UNSAFE = re.compile(r"[^A-Za-z0-9._-]+")
_ID_DIGITS = 10


@dataclass(frozen=True, slots=True)
class Settings:
    """What `build` and `convert` have in common."""

    outputs: tuple[Destination, ...] = (Destination(),)
    report: Path | None = None
    squashfs: SquashfsOptions = field(default_factory=SquashfsOptions)
    wanted: Wanted = field(default_factory=Wanted)
    epoch: int | None = None
    keep_user: bool = False


@dataclass(frozen=True, slots=True)
class Subject:
    """What is to be packed: a tree, its config, and the names that it goes by."""

    tree: Tree
    config: ImageConfig
    image_id: Digest
    name: str
    epoch: int


@dataclass(frozen=True, slots=True)
class Assembled:
    """A finished image."""

    outputs: tuple[Packed, ...]
    config: ImageConfig
    image_id: Digest
    base_digest: Digest | None
    layers: tuple[Digest, ...]
    tags: tuple[str, ...]
    trailer: Mapping[str, Any]
    manifest: Descriptor | None = None
    """In the store, of what was built."""

    @property
    def packed(self) -> Packed:
        """The `.gvmi`, which has a hash, or else the output that was named first."""
        return next((output for output in self.outputs if output.hash), self.outputs[0])


def chosen_epoch(option: str | None, environ: Mapping[str, str]) -> int | None:
    """Return what `--source-date-epoch` or the variable says; `None` if neither does."""
    if option is not None:
        return parse_epoch(option, "--source-date-epoch")
    if environ.get("SOURCE_DATE_EPOCH"):
        return parse_epoch(environ["SOURCE_DATE_EPOCH"], "SOURCE_DATE_EPOCH")
    return None


def check_before_work(settings: Settings) -> None:
    """Raise for what would fail at the end, while nothing has been fetched yet."""
    if any(output.needs_mksquashfs for output in settings.outputs):
        find_mksquashfs()
    check_outputs(settings.outputs, settings.report)


def convert(
    source: Reference | LocalReference, settings: Settings, session: Session, progress: Progress
) -> Assembled:
    """Make a `.gvmi` of any image."""
    check_before_work(settings)
    with open_tree(source, settings.wanted, session, progress) as (image, tree):
        epoch = settings.epoch
        if epoch is None:
            epoch = epoch_of_created(image.config.created)
        subject = Subject(tree, image.config, image.id, default_name(source), epoch)
        outputs, trailer = write_outputs(
            subject, settings, progress, lambda output: export_tar(subject, output, progress)
        )
    return Assembled(
        outputs=outputs,
        config=image.config,
        image_id=image.id,
        base_digest=image.manifest.digest,
        layers=tuple(layer.digest for layer in image.manifest.layers),
        tags=(),
        trailer=trailer,
    )


@contextmanager
def open_tree(
    source: Reference | LocalReference, wanted: Wanted, session: Session, progress: Progress
) -> Iterator[tuple[Image, Tree]]:
    """Open an image and read its layers."""
    with open_image(source, session, wanted) as image, ExitStack() as stack:
        with progress.step("layers"):
            tree = stack.enter_context(open_rootfs(image, session))
        yield image, tree


def write_outputs(
    subject: Subject,
    settings: Settings,
    progress: Progress,
    write_other: Callable[[Destination], Packed],
) -> tuple[tuple[Packed, ...], Mapping[str, Any]]:
    """Write all outputs, in the order in which they were named; return the trailer's config, too.

    *write_other* writes what is no squashfs: first, as the tree is changed for a provider's guest.
    """
    written = {o: write_other(o) for o in settings.outputs if not o.needs_mksquashfs}
    if len(written) == len(set(settings.outputs)):
        trailer: Mapping[str, Any] = {"Volumes": dict.fromkeys(subject.config.volumes)}
    else:
        trailer = _prepare(subject, settings, progress)
    ending = gvmi.encode_trailer(trailer)
    for output in settings.outputs:
        if output.needs_mksquashfs:
            written[output] = pack(
                subject.tree,
                ending if output.kind == "gvmi" else None,
                target_path(subject, output),
                settings.squashfs,
                subject.epoch,
                progress,
            )
    return tuple(written[output] for output in settings.outputs), trailer


def _prepare(subject: Subject, settings: Settings, progress: Progress) -> dict[str, Any]:
    """Prepare the tree for a provider's guest, tell what will not work there."""
    tree, config = subject.tree, subject.config
    user = resolve_user(tree, config.user) if settings.keep_user and config.user else None
    advice = guest.advise(tree, config, settings.squashfs.compression, keep_user=settings.keep_user)
    advice += guest.prepare(tree, config, subject.epoch)
    for item in advice:
        if item.grave:
            progress.warn(item.text, grave=True)
        else:
            progress.advise(item.text)
    return container_config(config, subject.image_id, user)


def export_tar(subject: Subject, output: Destination, progress: Progress) -> Packed:
    """Write the root file system as a tar."""
    target = target_path(subject, output)
    with progress.step("tar"):
        return Packed(target, write_tar(subject.tree, target), kind="tar")


def target_path(subject: Subject, output: Destination) -> Path:
    """Return the output's path: as it was named, or by default."""
    return output.target(file_name(subject.name, subject.image_id, SUFFIXES[output.kind]))


def default_name(source: Reference | LocalReference) -> str:
    """Return `NAME-TAG` for an output file."""
    if isinstance(source, Reference):
        tag = source.tag or (source.digest.short if source.digest else "latest")
        return f"{source.familiar}-{tag}"
    stem = os.path.splitext(os.path.basename(os.path.abspath(source.path)))[0]
    return f"{stem}-{source.tag or 'latest'}"


def file_name(name: str, image_id: Digest, suffix: str = ".gvmi") -> str:
    """Return an output's default name: NAME-TAG-<first ten digits of the image id>.gvmi."""
    safe = _UNSAFE.sub("-", name).strip("-.") or "image"
    if len(safe) > 200:
        raise BuildError(f"{name!r:.100}... is too long for a file name; name the output by -o")
    return f"{safe}-{image_id.hex[:_ID_DIGITS]}{suffix}"

"""From an image or a finished build to a `.gvmi`: the order of the steps, for every command."""

from __future__ import annotations

import os
import re
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from assembler import guest, gvmi
from assembler.destination import SUFFIXES, Destination
from assembler.epoch import epoch_of_created, parse_epoch
from assembler.errors import BuildError
from assembler.output import check_target
from assembler.packing import Packed, pack
from assembler.squashfs import SquashfsOptions, find_mksquashfs
from assembler.trailer import container_config
from assembler.users import resolve_user
from layers.reference import LocalReference, Reference
from layers.rootfs import open_rootfs
from layers.sources import Wanted, open_image

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

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

    output: Destination = field(default_factory=Destination)
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

    packed: Packed
    config: ImageConfig
    image_id: Digest
    base_digest: Digest | None
    layers: tuple[Digest, ...]
    tags: tuple[str, ...]
    trailer: Mapping[str, Any]
    manifest: Descriptor | None = None
    """In the store, of what was built."""


def chosen_epoch(option: str | None, environ: Mapping[str, str]) -> int | None:
    """Return what `--source-date-epoch` or the variable says; `None` if neither does."""
    if option is not None:
        return parse_epoch(option, "--source-date-epoch")
    if environ.get("SOURCE_DATE_EPOCH"):
        return parse_epoch(environ["SOURCE_DATE_EPOCH"], "SOURCE_DATE_EPOCH")
    return None


def check_before_work(settings: Settings) -> None:
    """Raise for what would fail at the end, while nothing has been fetched yet."""
    if settings.output.needs_mksquashfs:
        find_mksquashfs()
    if settings.output.kind != "image":
        check_target(settings.output.path or Path("image.gvmi"))


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
        packed, trailer = finish(subject, settings, progress)
    return Assembled(
        packed=packed,
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


def finish(
    subject: Subject, settings: Settings, progress: Progress
) -> tuple[Packed, Mapping[str, Any]]:
    """Prepare the tree for a provider's guest, tell what will not work there, and pack it."""
    tree, config = subject.tree, subject.config
    user = resolve_user(tree, config.user) if settings.keep_user and config.user else None
    advice = guest.advise(tree, config, settings.squashfs.compression, keep_user=settings.keep_user)
    advice += guest.prepare(tree, config, subject.epoch)
    for item in advice:
        if item.grave:
            progress.warn(item.text, grave=True)
        else:
            progress.advise(item.text)
    trailer = container_config(config, subject.image_id, user)
    target = target_path(subject, settings)
    ending = gvmi.encode_trailer(trailer) if settings.output.kind == "gvmi" else None
    packed = pack(tree, ending, target, settings.squashfs, subject.epoch, progress)
    return packed, trailer


def target_path(subject: Subject, settings: Settings) -> Path:
    """Return the output's path: as it was named, or by default."""
    suffix = SUFFIXES[settings.output.kind]
    return settings.output.path or Path(file_name(subject.name, subject.image_id, suffix))


def default_name(source: Reference | LocalReference) -> str:
    """Return `NAME-TAG` for an output file."""
    if isinstance(source, Reference):
        tag = source.tag or (source.digest.short if source.digest else "latest")
        return f"{source.familiar}-{tag}"
    stem = os.path.splitext(os.path.basename(os.path.abspath(source.path)))[0]
    return f"{stem}-{source.tag or 'latest'}"


def file_name(name: str, image_id: Digest, suffix: str = ".gvmi") -> str:
    """Return the output's default name: NAME-TAG-<first ten digits of the image id>.gvmi."""
    safe = _UNSAFE.sub("-", name).strip("-.") or "image"
    if len(safe) > 200:
        raise BuildError(f"{name!r:.100}... is too long for a file name; name the output by -o")
    return f"{safe}-{image_id.hex[:_ID_DIGITS]}{suffix}"

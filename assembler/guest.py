"""What a provider's guest needs of a root file system, and advice before it is too late.

A provider mounts the squashfs under a 128 MB overlay, mounts `/proc`, `/sys`, `/dev` and `/tmp`,
makes each volume an empty host directory, writes `/etc/hosts` and `/etc/resolv.conf`, and runs
commands in the working directory. What an image that went through `docker export` always had is
put in here when it is missing.
"""

from __future__ import annotations

import posixpath
from dataclasses import dataclass
from typing import TYPE_CHECKING

from assembler.errors import GuestError
from layers.kinds import Kind
from layers.tree import Node, TreeError, check_name

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from layers.image import ImageConfig
    from layers.tree import Tree

_DIRECTORIES = ((b"proc", 0o755), (b"sys", 0o755), (b"dev", 0o755), (b"tmp", 0o1777))
_FILES = (b"hosts", b"hostname", b"resolv.conf")
_SHOWN = 200
_PROVIDER_PLATFORM = ("linux", "amd64")


@dataclass(frozen=True, slots=True)
class Advice:
    """Something that will not do on a provider what its author may expect."""

    code: str
    text: str
    grave: bool = False
    """Whether the image is of no use there: told also to who asked for silence."""


def clean_volumes(volumes: Sequence[str]) -> list[str]:
    """Return volumes as a guest can mount them: cleaned, absolute, sorted, each once.

    Raises `GuestError` for one that it could not: relative, or the root itself.
    """
    return sorted({_clean_volume(volume) for volume in volumes})


def _clean_volume(volume: str) -> str:
    if not volume.startswith("/"):
        raise GuestError(f"volume {volume!r} is not an absolute path; write it with a leading /")
    cleaned = posixpath.normpath("/" + volume.lstrip("/"))
    if cleaned == "/":
        raise GuestError(
            "a volume on / would hide the whole image; name a directory, as /golem/work"
        )
    return cleaned


def prepare(tree: Tree, config: ImageConfig, mtime: int) -> list[Advice]:
    """Put into *tree* what the guest needs and the image lacks; new entries have *mtime*.

    Returns advice on what was replaced. Raises `GuestError` for what cannot work there.
    """
    for name, mode in _DIRECTORIES:
        _require_directory(tree, name, mode, mtime)
    advice = list(_plain_files(tree, mtime))
    for volume in clean_volumes(config.volumes):
        _volume(tree, volume, mtime)
    if config.working_dir.strip():
        _working_dir(tree, config.working_dir, mtime)
    return advice


def _require_directory(tree: Tree, name: bytes, mode: int, mtime: int) -> None:
    node = tree.root.children.get(name)
    if node is None:
        tree.root.children[name] = Node(Kind.DIRECTORY, mode, mtime=mtime)
    elif not node.is_directory:
        raise GuestError(
            f"/{name.decode()} is not a directory in the image, but a provider's guest mounts on"
            " it; make it one in the Dockerfile's base"
        )


def _plain_files(tree: Tree, mtime: int) -> Iterator[Advice]:
    etc = tree.root.children.get(b"etc")
    if etc is None:
        etc = tree.root.children[b"etc"] = Node(Kind.DIRECTORY, 0o755, mtime=mtime)
    elif not etc.is_directory:
        raise GuestError(
            "/etc is not a directory in the image, but a provider's guest writes there"
        )
    for name in _FILES:
        node = etc.children.get(name)
        if node is not None and node.kind is Kind.FILE:
            continue
        etc.children[name] = Node(Kind.FILE, 0o644, mtime=mtime)
        if node is not None:
            what = (
                f"a link to {node.target.decode(errors='replace')}"
                if node.target
                else "no plain file"
            )
            yield Advice(
                "etc-file-replaced",
                f"/etc/{name.decode()} was {what}; an empty file is put in its place, because a "
                "provider's guest writes to it",
            )


def _volume(tree: Tree, volume: str, mtime: int) -> None:
    """Make the volume's directory; links on the way would stop the guest from mounting it."""
    try:
        _make_volume(tree, volume, mtime)
    except TreeError as error:
        raise GuestError(f"volume {_shown(volume)}: {error}") from None


def _make_volume(tree: Tree, volume: str, mtime: int) -> None:
    node = tree.root
    walked = b""
    for name in volume.encode("utf-8", "surrogateescape").strip(b"/").split(b"/"):
        walked += b"/" + name
        child = node.children.get(name)
        if child is None:
            check_name(name)
            child = node.children[name] = Node(Kind.DIRECTORY, 0o755, mtime=mtime)
        if child.kind is Kind.SYMLINK:
            names = tree.resolve(volume.encode("utf-8", "surrogateescape"))
            real = "/" + b"/".join(names).decode(errors="replace")
            raise GuestError(
                f"volume {volume}: {walked.decode(errors='replace')} is a symbolic link, which a "
                f"provider's guest does not follow; name the volume by its real path, VOLUME {real}"
            )
        if not child.is_directory:
            shown = walked.decode(errors="replace")
            raise GuestError(f"volume {volume}: {shown} is not a directory in the image")
        node = child


def _working_dir(tree: Tree, path: str, mtime: int) -> None:
    try:
        tree.make_directories(path.encode("utf-8", "surrogateescape"), mtime)
    except TreeError as error:
        raise GuestError(f"WORKDIR {_shown(path)}: {error}") from None


def _shown(path: str) -> str:
    return path if len(path) <= _SHOWN else f"{path[:_SHOWN]}..."


def advise(tree: Tree, config: ImageConfig, compression: str, *, keep_user: bool) -> list[Advice]:
    """Return what an author should know before the image is on a provider."""
    return [
        *_volume_advice(tree, config),
        *_working_dir_advice(config),
        *_config_advice(config, keep_user=keep_user),
        *_platform_advice(config, compression),
    ]


def _volume_advice(tree: Tree, config: ImageConfig) -> Iterator[Advice]:
    volumes = clean_volumes(config.volumes)
    if not volumes:
        yield Advice(
            "no-volume",
            "the image has no VOLUME: no file can be sent to it or fetched from it on a provider",
        )
    for volume in volumes:
        try:
            node = tree.find(volume.encode("utf-8", "surrogateescape"))
        except TreeError:
            continue  # `prepare` refuses it
        if node is not None and node.children:
            yield Advice(
                "volume-hides-content",
                f"volume {volume} hides {_count(node)} of the image: on a provider it is an empty "
                "directory; keep such files elsewhere and copy them when the task starts",
            )


def _count(node: Node) -> str:
    number = len(node.children)
    return f"{number} entries" if number != 1 else "an entry"


def _working_dir_advice(config: ImageConfig) -> Iterator[Advice]:
    path = posixpath.normpath("/" + config.working_dir.strip("/"))
    for volume in clean_volumes(config.volumes):
        if path.startswith(volume + "/"):
            yield Advice(
                "workdir-in-volume",
                f"WORKDIR {path} is inside volume {volume}, which is empty on a provider: the "
                "directory will not exist and every command will fail; use the volume itself or a "
                "path outside",
                grave=True,
            )


def _config_advice(config: ImageConfig, *, keep_user: bool) -> Iterator[Advice]:
    for key in ("Entrypoint", "Cmd"):
        if config.settings.get(key):
            yield Advice(
                f"{key.lower()}-ignored",
                f"{key.upper()} is ignored by providers, except by those that start entrypoints; "
                "the requestor names the command to run",
            )
    if config.user and not keep_user:
        yield Advice(
            "user-ignored",
            f"USER {config.user} is left out: providers run commands as root; --keep-user keeps it",
        )


def _platform_advice(config: ImageConfig, compression: str) -> Iterator[Advice]:
    platform = config.platform
    if (platform.os, platform.architecture) != _PROVIDER_PLATFORM:
        yield Advice(
            "platform",
            f"the image is for {platform}; providers are linux/amd64 machines and cannot run it",
            grave=True,
        )
    if compression == "zstd":
        yield Advice(
            "zstd", "providers cannot mount a zstd squashfs; use gzip, lzo, lz4 or xz", grave=True
        )

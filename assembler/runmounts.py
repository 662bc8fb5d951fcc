"""RUN's mounts, as far as they can be known before anything is run: what is shown, and where."""

from __future__ import annotations

import os
import posixpath
from dataclasses import astuple, dataclass, replace
from typing import TYPE_CHECKING, Protocol

from assembler.copying import CopyOptions, Found, plan, write
from assembler.copysource import TreeSource, resolve
from assembler.copystep import Part
from assembler.dockerfile.mounts import BindMount, CacheMount, SecretMount, SshMount, TmpfsMount
from assembler.errors import BuildError
from assembler.sandbox.command import Mount, SecretFile
from layers.tree import Tree

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from assembler.buildsecrets import Secret
    from assembler.copysource import Source
    from assembler.dockerfile.mounts import RunMount
    from layers.changes import Changes
    from layers.tree import Node

NO_SSH = (
    "--mount: type=ssh is not supported; clone beforehand and COPY, or give a key by type=secret"
)
NO_CACHE_SOURCE = (
    "--mount: a cache that begins with the files of from= or source= is not supported; leave them "
    "out, and let the command copy into it"
)


class Sources(Protocol):
    """Where bind mounts have their files from."""

    def source(self, origin: str, stage: int) -> Source:
        """Return what stage *stage* calls *origin*; empty is the context."""
        ...


@dataclass(frozen=True, slots=True)
class Bind:
    """A bind mount whose source was found: a file or directory at *path*, clean bytes."""

    target: str
    source: Source
    path: bytes
    node: Node | None
    """What is there; `None` for the whole source."""
    readonly: bool

    @property
    def part(self) -> Part:
        """The same as something to be copied, whose digest can be told."""
        return Part(self.source, [Found(self.path, b"")], CopyOptions())


@dataclass(frozen=True, slots=True)
class BoundTree:
    """Files to be laid out and shown at *target*: what is at *path* of a tree, empty for all of it.

    The tree may be a part of another one: it is not to be changed. Unless *readonly*, the command
    may write there, and what it wrote is thrown away.
    """

    target: str
    tree: Tree
    path: bytes
    readonly: bool


@dataclass(frozen=True, slots=True)
class StepMounts:
    """The mounts of one RUN by their types, their targets absolute."""

    binds: tuple[BindMount, ...] = ()
    caches: tuple[CacheMount, ...] = ()
    tmpfs: tuple[Mount, ...] = ()
    secrets: tuple[SecretMount, ...] = ()

    @property
    def said(self) -> tuple[tuple[object, ...], ...]:
        """What the key of the step says of them: no contents, and no secret's value."""
        # What a bind mount shows is told by the digest of its contents.
        nameless = [replace(bind, source="", origin="") for bind in self.binds]
        mounts: list[BindMount | CacheMount | Mount | SecretMount] = [
            *nameless, *self.caches, *self.tmpfs, *self.secrets,
        ]  # fmt: skip
        return tuple((type(mount).__name__, *astuple(mount)) for mount in mounts)

    @classmethod
    def of(cls, mounts: Sequence[RunMount], directory: str) -> StepMounts:
        """Sort *mounts*; relative targets are against *directory*. Raises `BuildError`."""
        found = cls()
        for mount in mounts:
            found = found._with(mount, directory)
        return found

    def _with(self, mount: RunMount, directory: str) -> StepMounts:
        match mount:
            case SshMount():
                raise BuildError(NO_SSH)
            case CacheMount(origin=origin, source=source) if origin or source:
                raise BuildError(NO_CACHE_SOURCE)
            case SecretMount():
                # BuildKit takes a secret's target against the root, others against WORKDIR.
                target = mount.target and posixpath.normpath("/" + mount.target.lstrip("/"))
                return replace(self, secrets=(*self.secrets, replace(mount, target=target)))
            case BindMount():
                bind = replace(mount, target=_target(mount.target, directory))
                return replace(self, binds=(*self.binds, bind))
            case CacheMount():
                cache = replace(mount, target=_target(mount.target, directory))
                return replace(self, caches=(*self.caches, cache))
            case TmpfsMount():
                made = Mount(_target(mount.target, directory), None, mount.readonly, mount.size)
                return replace(self, tmpfs=(*self.tmpfs, made))


def _target(path: str, directory: str) -> str:
    absolute = "/" + posixpath.normpath(posixpath.join(directory, path)).lstrip("/")
    if absolute == "/":
        raise BuildError(f"--mount: target={path} is the root directory; name one below it")
    return absolute


def find_bind(bind: BindMount, sources: Sources, stage: int) -> Bind:
    """Find what a bind mount of stage *stage* shows; `BuildError` if it is not there."""
    path = posixpath.normpath("/" + bind.source).lstrip("/")
    source = sources.source(bind.origin, stage)
    if not path:
        return Bind(bind.target, source, b"", None, bind.readonly)
    where, node = resolve(source, os.fsencode(path))
    if node is None:
        raise BuildError(
            f"--mount: source={bind.source}: there is nothing of that name in {source.name}"
            f"{source.why_missing(where)}"
        )
    return Bind(bind.target, source, where, node if where else None, bind.readonly)


def bound_tree(bind: Bind, begin: Callable[[Tree], Changes]) -> BoundTree:
    """Return the files that a bind mount shows, with all their metadata.

    What stages and images have is shown as it is; the context's files are copied into a layer of
    their own first, which *begin* begins.
    """
    name = bind.path.rpartition(b"/")[2]
    whole = bind.node is None or bind.node.is_directory
    if isinstance(bind.source, TreeSource):
        tree = bind.source.subtree(bind.path) if whole else Tree()
        if bind.node is not None and not whole:
            tree.root.children[name] = bind.node
    else:
        tree = Tree()
        if whole and bind.node is not None:
            node = tree.root
            node.mode, node.uid, node.gid = bind.node.mode, bind.node.uid, bind.node.gid
            node.mtime, node.xattrs = bind.node.mtime, bind.node.xattrs
        with begin(tree) as changes:
            write(plan(bind.source, [Found(bind.path, name)], "/", tree, CopyOptions()), changes)
            if not changes.empty:
                changes.finish()
    return BoundTree(bind.target, tree, b"" if whole else name, bind.readonly)


def secret_values(
    mounts: Sequence[SecretMount], given: Mapping[str, Secret]
) -> tuple[dict[str, str], list[SecretFile]]:
    """Return the variables and the files; a secret that was not given, and need not be, is none."""
    variables: dict[str, str] = {}
    files: list[SecretFile] = []
    for mount in mounts:
        secret = given.get(mount.identity)
        if secret is None:
            if mount.required:
                raise BuildError(missing_secret(mount.identity))
            continue
        if mount.target is not None:
            files.append(
                SecretFile(mount.target, secret.data, mount.mode & 0o777, mount.uid, mount.gid)
            )
        if mount.env is not None:
            if b"\0" in secret.data:
                raise BuildError(
                    f"the secret {mount.identity} holds a NUL byte, which no variable can; mount "
                    "it as a file, without env"
                )
            variables[mount.env] = secret.data.decode("utf-8", "surrogateescape")
    return variables, files


def missing_secret(identity: str) -> str:
    """Return what is to be said of a secret that a RUN requires."""
    return (
        f"--mount: the secret {identity} is required and was not given; add --secret "
        f"id={identity},src=FILE"
    )

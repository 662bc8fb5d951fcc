"""Where a build works: layers in the making, the sources of COPY, images that were opened."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

from assembler import planning
from assembler.archives import is_archive, read_archive
from assembler.assembling import open_tree
from assembler.commands import Commands
from assembler.context import open_context
from assembler.copysource import ArchiveSource, TreeSource
from assembler.dockerfile import redact
from assembler.downloads import download
from assembler.errors import BuildError, SandboxError
from assembler.hands import Replayed
from assembler.request import RunOptions
from assembler.sandbox.roots import Base, Standing
from layers import descriptor as media
from layers.changes import Changes
from layers.descriptor import Descriptor
from layers.errors import DigestMismatch, LayersError
from layers.kinds import Kind
from layers.merge import LayerIndex, apply_layer
from layers.spool import NamedSpool, Spool, StoredFile
from layers.store import Remembered
from layers.tarindex import index_layer
from layers.tree import Tree

if TYPE_CHECKING:
    from collections.abc import Mapping
    from contextlib import ExitStack

    from assembler.copysource import FolderSource, Source
    from assembler.dockerfile import Dockerfile
    from assembler.progress import Progress
    from assembler.running import RunStep
    from layers.image import Image
    from layers.reference import LocalReference, Reference
    from layers.session import Session
    from layers.sources import Wanted


@dataclass(slots=True)
class Workplace:
    """The hands of a `Builder`. Everything it opens is closed with *stack*."""

    session: Session
    progress: Progress
    stack: ExitStack
    dockerfile: Dockerfile
    contexts: Mapping[str, str]
    wanted: Wanted
    context: FolderSource
    cache: bool = True
    needs_checksums: bool = False
    """Whether what ADD fetches must be known beforehand, as where the result is to be the same."""
    trees: dict[int, Tree] = field(default_factory=dict)
    """Of the stages that are built, by their index."""
    _images: dict[str, tuple[Image, Tree]] = field(default_factory=dict)
    run_options: RunOptions = field(default_factory=RunOptions)
    latest: int | None = None
    """The latest time that what RUN makes may have, in seconds since 1970."""
    _commands: Commands | None = None
    _written: int = 0
    """Bytes of all files that instructions have copied, holes included."""
    _standings: dict[Tree, Standing] = field(default_factory=dict)
    _folders: dict[Path, FolderSource] = field(default_factory=dict)

    def begin(self, tree: Tree) -> Changes:
        """See `Hands`."""
        area, stack = self.session.store.area, self.stack
        return Changes(tree, lambda: NamedSpool(stack.enter_context(area.file())), self._spend)

    def _spend(self, count: int) -> None:
        self._written += count
        self.session.limits.check("total_bytes", self._written, "all that COPY and ADD write")

    def commit(self, changes: Changes) -> Descriptor | None:
        """See `Hands`. The layer is in the store afterwards."""
        if changes.empty:
            return None
        layer = changes.finish()
        self._standing(changes.tree).touched.add(changes.paths, changes.replaced)
        descriptor = Descriptor(media.OCI_LAYER_TAR, layer.diff_id, layer.size)
        self.session.store.keep(descriptor, layer.file)
        return descriptor

    def remembers(self, key: str) -> bool:
        """See `Hands`."""
        return self.cache and self.session.store.recall(key) is not None

    def replay(self, key: str, tree: Tree) -> Replayed | None:
        """See `Hands`. What cannot be read any more is done again."""
        found = self.session.store.recall(key) if self.cache else None
        if found is None or found.layer is None:
            return Replayed(None) if found is not None else None
        store, layer = self.session.store, found.layer
        if not store.has(layer):
            return None
        name = str(layer.digest)
        try:
            file = StoredFile(store.open_file(layer.digest))
            self.stack.callback(file.close)
            file.verify(layer.digest, f"layer {name}")
            entries = list(index_layer(file, name, self.session.limits))
        except DigestMismatch:
            store.remove(layer.digest)
            return None
        except (OSError, LayersError):
            return None
        index = LayerIndex(name, entries, file)
        apply_layer(tree, index, self.session.limits)
        self._standing(tree).touched.add_layer(entries, tree)
        return Replayed(layer)

    def remember(self, key: str, layer: Descriptor | None) -> None:
        """See `Hands`."""
        self.session.store.remember(key, Remembered(layer))

    def commands(self, place: str) -> Commands:
        """Return what does RUNs, as the one at *place*.

        The first call chooses a sandbox; it raises `SandboxError` where there is none.
        """
        if self._commands is None:
            try:
                self._commands = Commands(
                    self.session, self.progress, self.stack, self.run_options, self.latest
                )
            except SandboxError as error:
                raise SandboxError(f"{place}: {error}") from None
        return self._commands

    def fidelity(self, place: str) -> str:
        """See `Hands`."""
        return self.commands(place).fidelity

    def run(self, step: RunStep, tree: Tree) -> Descriptor:
        """See `Hands`."""
        return self.commands(step.place).run(step, tree, self._standing(tree))

    def copy(self, tree: Tree) -> Tree:
        """Return a copy of a stage's or an image's tree, to be changed."""
        copied = tree.copy()
        self._standings[copied] = self._standing(tree).copy()
        return copied

    def _standing(self, tree: Tree) -> Standing:
        return self._standings.setdefault(tree, Standing())

    def open(self, source: Reference | LocalReference, wanted: Wanted) -> tuple[Image, Tree]:
        """Open an image once; who edits the tree must `copy` it."""
        key = f"{source} {wanted.platform}"
        if key not in self._images:
            opened = open_tree(source, wanted, self.session, self.progress)
            image, tree = self._images[key] = self.stack.enter_context(opened)
            self._standings[tree] = Standing(Base(image.manifest.digest.hex, tree))
        return self._images[key]

    def source(self, origin: str, stage: int) -> Source:
        """See `Supplies`."""
        if not origin:
            return self.context
        found = planning.find_origin(self.dockerfile, origin, stage, self.contexts)
        if found is not None and found.index not in self.trees:
            raise BuildError(
                f"from={origin}: nothing but a trigger of the base image needs that stage, so that "
                "it was not built; name it in an instruction of this stage too"
            )
        if found is not None:
            return TreeSource(self.trees[found.index], f"the stage {origin}")
        if origin == planning.SCRATCH and planning.context_for(origin, self.contexts) is None:
            return TreeSource(Tree(), "scratch")
        reference = planning.origin_reference(origin, self.contexts)
        if isinstance(reference, Path):
            return self._folder(reference, origin)
        return TreeSource(self.open(reference, self.wanted)[1], f"the image {origin}")

    def unpack(self, source: Source, path: bytes) -> ArchiveSource | None:
        """See `Supplies`."""
        folder, _, name = path.rpartition(b"/")
        node = source.names(folder).get(name) if path else None
        if node is None or node.kind is not Kind.FILE:
            return None
        spool = self.stack.enter_context(Spool(self.session.store.area))
        for chunk in source.read(path, node):
            spool.append(chunk)
            self.session.limits.check("total_bytes", spool.size, path.decode(errors="replace"))
        if not is_archive(spool):
            return None
        shown = path.decode("utf-8", "backslashreplace")
        return self.stack.enter_context(read_archive(spool, shown, self.session))

    def download(self, url: str, checksum: str) -> Source:
        """See `Supplies`."""
        spool = self.stack.enter_context(Spool(self.session.store.area))
        tree = download(url, checksum, spool, self.session, needs_checksum=self.needs_checksums)
        return TreeSource(tree, redact(url))

    def warn(self, text: str) -> None:
        """See `Supplies`."""
        self.progress.warn(text)

    def _folder(self, path: Path, name: str) -> FolderSource:
        if path not in self._folders:
            context = self.stack.enter_context(open_context(str(path), self.session))
            self._folders[path] = context.named_source(name)
        return self._folders[path]

"""COPY and ADD as steps: flags and sources into what `copying` plans and writes."""

from __future__ import annotations

import os
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Protocol

from assembler.chmod import Chmod
from assembler.copying import CopyOptions, matches, plan, write
from assembler.copysource import TextSource
from assembler.dockerfile import instructions as ast
from assembler.dockerfile.globs import GlobError
from assembler.dockerfile.ignore import Rules
from assembler.errors import BuildError
from assembler.users import resolve_owner

if TYPE_CHECKING:
    from collections.abc import Iterator

    from assembler.copysource import Source
    from layers.changes import Changes
    from layers.tree import Tree

_EVERYTHING = "**"


class Supplies(Protocol):
    """Where COPY and ADD have their files from."""

    def source(self, origin: str, stage: int) -> Source:
        """Return what COPY in stage *stage* reads: the context, or what `--from` names."""
        ...

    def unpack(self, source: Source, path: bytes) -> Source | None:
        """Return what is in the archive at *path*; `None` if it is no archive."""
        ...

    def download(self, url: str, checksum: str) -> Source:
        """Return a source that holds what *url* gives under its name, and nothing else."""
        ...


@dataclass(frozen=True, slots=True)
class Times:
    """Seconds since 1970: of what a build makes, and the latest one that a copied file may have."""

    made: int
    latest: int | None = None


@dataclass(frozen=True, slots=True)
class Part:
    """Paths of one source, all copied in the same way."""

    source: Source
    paths: list[bytes]
    options: CopyOptions


def copy_step(
    instruction: ast.Copy | ast.Add,
    destination: str,
    tree: Tree,
    supplies: Supplies,
    stage: int,
    times: Times,
) -> list[Part]:
    """Find and check what *instruction* copies, before anything is written."""
    try:
        options = CopyOptions(
            owner=resolve_owner(tree, instruction.chown) if instruction.chown else None,
            mode=Chmod.parse(instruction.chmod) if instruction.chmod else None,
            exclude=Rules.of(instruction.exclude),
            latest=times.latest,
            made=times.made,
        )
    except GlobError as error:
        raise BuildError(f"--exclude: {error}") from None
    if isinstance(instruction, ast.Add):
        parts = list(_added(instruction, supplies, stage, options))
    else:
        parts = list(_copied(instruction, supplies, stage, options))
    for inline in instruction.inline:
        source = TextSource(inline.name, inline.text, times.made)
        parts.append(Part(source, [os.fsencode(inline.name)], options))
    _check_destination(sum(len(part.paths) for part in parts), destination, instruction, tree)
    return parts


def write_parts(parts: list[Part], destination: str, tree: Tree, changes: Changes) -> None:
    """Write what `copy_step` found."""
    for part in parts:
        write(plan(part.source, part.paths, destination, tree, part.options), changes)


def _copied(
    instruction: ast.Copy, supplies: Supplies, stage: int, options: CopyOptions
) -> Iterator[Part]:
    source = supplies.source(instruction.origin, stage)
    for pattern in instruction.sources:
        if instruction.parents:
            yield _with_parents(source, pattern, instruction.exclude, options)
        else:
            yield Part(source, matches(source, pattern), options)


def _with_parents(
    source: Source, pattern: str, exclude: tuple[str, ...], options: CopyOptions
) -> Part:
    """Copy a directory without all that the pattern does not match: so its parents come along."""
    pivot, separator, rest = pattern.partition("/./")
    if not separator:
        pivot, rest = "", pattern
    kept = rest.strip("/")
    if not kept or kept == ".":
        raise BuildError(f"{pattern}: name what is to be copied, after /./ if that is there")
    try:
        rules = Rules.of([_EVERYTHING, f"!{kept}", *exclude])
    except GlobError as error:
        raise BuildError(f"pattern {pattern}: {error}") from None
    options = replace(options, exclude=rules)
    return Part(source, matches(source, pivot or "."), options)


def _added(
    instruction: ast.Add, supplies: Supplies, stage: int, options: CopyOptions
) -> Iterator[Part]:
    source = supplies.source("", stage)
    for pattern in instruction.sources:
        if pattern.startswith(("http://", "https://")):
            fetched = supplies.download(pattern, instruction.checksum)
            unpack = bool(instruction.unpack)
            yield from _unpacked(fetched, matches(fetched, "*"), supplies, unpack, options)
        elif instruction.checksum:
            raise BuildError("--checksum is for URLs; a local file is checked by nobody")
        else:
            unpack = instruction.unpack is not False
            yield from _unpacked(source, matches(source, pattern), supplies, unpack, options)


def _unpacked(
    source: Source, paths: list[bytes], supplies: Supplies, unpack: bool, options: CopyOptions
) -> Iterator[Part]:
    for path in paths:
        archive = supplies.unpack(source, path) if unpack else None
        if archive is None:
            yield Part(source, [path], options)
        else:
            yield Part(archive, [b""], replace(options, replace=True))


def _check_destination(
    count: int, destination: str, instruction: ast.Copy | ast.Add, tree: Tree
) -> None:
    if count < 2 or destination.endswith("/"):
        return
    there = tree.find(os.fsencode(destination))
    if there is None or not there.is_directory:
        raise BuildError(
            f"several things are copied to {instruction.destination}, which is no directory yet; "
            "end it with a slash"
        )

"""COPY and ADD as steps: flags and sources into what `copying` plans and writes."""

from __future__ import annotations

import os
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Protocol

from assembler.chmod import Chmod
from assembler.copying import CopyOptions, Found, NoMatch, below, matches, plan, write
from assembler.copysource import TextSource
from assembler.dockerfile import instructions as ast
from assembler.dockerfile.globs import GlobError, has_wildcards
from assembler.dockerfile.ignore import Rules
from assembler.errors import BuildError
from assembler.users import resolve_owner

if TYPE_CHECKING:
    from collections.abc import Iterator

    from assembler.copysource import ArchiveSource, Source
    from layers.changes import Changes
    from layers.tree import Tree


_WARNINGS = 20
"""Of sources that match nothing; an instruction may have very many."""


class Supplies(Protocol):
    """Where COPY and ADD have their files from."""

    def source(self, origin: str, stage: int) -> Source:
        """Return what COPY in stage *stage* reads: the context, or what `--from` names."""
        ...

    def unpack(self, source: Source, path: bytes) -> ArchiveSource | None:
        """Return what is in the archive at *path*; `None` if it is no archive."""
        ...

    def download(self, url: str, checksum: str) -> Source:
        """Return a source that holds what *url* gives under its name, and nothing else."""
        ...

    def warn(self, text: str) -> None:
        """Tell a person of what is not right but does not stop the build."""
        ...


@dataclass(frozen=True, slots=True)
class Times:
    """Seconds since 1970: of what a build makes, and the latest one that a copied file may have."""

    made: int
    latest: int | None = None


@dataclass(frozen=True, slots=True)
class Part:
    """Things of one source, all copied in the same way."""

    source: Source
    found: list[Found]
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
    parts: list[Part] = []
    missed: list[NoMatch] = []
    for pattern in instruction.sources:
        try:
            parts += _found(pattern, instruction, supplies, stage, options)
        except NoMatch as error:
            missed.append(error)
    if missed and not parts and not instruction.inline:
        raise missed[0]
    for miss in missed[:_WARNINGS]:
        supplies.warn(f"{miss}; it was left out")
    if len(missed) > _WARNINGS:
        supplies.warn(f"{len(missed) - _WARNINGS:,} more sources match nothing; they were left out")
    for inline in instruction.inline:
        source = TextSource(inline.name, inline.text, times.made)
        name = os.fsencode(inline.name)
        parts.append(Part(source, [Found(name, name)], options))
    _check_destination(sum(len(part.found) for part in parts), destination, instruction, tree)
    return parts


def write_parts(parts: list[Part], destination: str, tree: Tree, changes: Changes) -> None:
    """Write what `copy_step` found."""
    for part in parts:
        write(plan(part.source, part.found, destination, tree, part.options), changes)


def _found(
    pattern: str,
    instruction: ast.Copy | ast.Add,
    supplies: Supplies,
    stage: int,
    options: CopyOptions,
) -> list[Part]:
    """Return what one source of *instruction* means."""
    if isinstance(instruction, ast.Add):
        return list(_added(pattern, instruction, supplies, stage, options))
    source = supplies.source(instruction.origin, stage)
    if instruction.parents:
        return [_with_parents(source, pattern, instruction.exclude, options)]
    return [Part(source, matches(source, pattern), options)]


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
        rules = Rules.selecting(kept, exclude)
    except GlobError as error:
        raise BuildError(f"pattern {pattern}: {error}") from None
    found = matches(source, pivot or ".")
    if not any(True for item in found for _ in below(source, item.path, rules)):
        wild = has_wildcards(kept)
        raise (NoMatch if wild else BuildError)(f"{pattern}: nothing in {source.name} matches")
    return Part(source, found, replace(options, exclude=rules))


def _added(
    pattern: str, instruction: ast.Add, supplies: Supplies, stage: int, options: CopyOptions
) -> Iterator[Part]:
    source = supplies.source("", stage)
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
    source: Source, found: list[Found], supplies: Supplies, unpack: bool, options: CopyOptions
) -> Iterator[Part]:
    for item in found:
        archive = supplies.unpack(source, item.path) if unpack else None
        if archive is None:
            yield Part(source, [item], options)
        else:
            unpacked = replace(options, mode=None, replace=True, implied=archive.implied)
            yield Part(archive, [Found(b"", b"")], unpacked)


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

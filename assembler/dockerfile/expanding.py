"""Which parts of which instructions are expanded: not those that a shell will expand itself.

The Dockerfile reference, "Environment replacement"; BuildKit's `Expand` methods.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, TypeVar

from assembler.dockerfile import instructions as ast
from assembler.dockerfile.expansion import (
    Budget,
    ExpansionError,
    Quoting,
    expand,
    expand_words,
)

if TYPE_CHECKING:
    from collections.abc import Callable

    from assembler.dockerfile.expansion import Lookup

T = TypeVar("T", bound=ast.Instruction)

# What is in a file has no quotes to be taken off, and a backslash for its escape character.
_INLINE = Quoting(no_quotes=True)


def expand_instruction(
    instruction: T, lookup: Lookup, escape: str = "\\", budget: Budget | None = None
) -> T:
    """Return the instruction with its variables replaced and its quotes taken off.

    Everything in one instruction sees the values from before it. ARG is left to whoever knows
    which default is needed, ONBUILD to the build that it triggers. *budget* is the
    Dockerfile's. Raises `DockerfileError` for a malformed expansion.
    """
    try:
        changes = _changes(instruction, _Expansion(lookup, escape, budget or Budget()))
    except ExpansionError as error:
        raise instruction.location.error(f"{instruction.keyword}: {error}") from None
    return replace(instruction, **changes) if changes else instruction


@dataclass(frozen=True, slots=True)
class _Expansion:
    lookup: Lookup
    escape: str
    budget: Budget

    def one(self, text: str) -> str:
        return expand(text, self.lookup, self.escape, self.budget)

    def words(self, text: str) -> list[str]:
        return expand_words(text, self.lookup, self.escape, self.budget)

    def inline(self, text: str) -> str:
        return expand(text, self.lookup, _INLINE, self.budget)


def _changes(instruction: ast.Instruction, expansion: _Expansion) -> dict[str, Any]:
    one = expansion.one
    match instruction:
        case ast.From(image=image, platform=platform):
            return {"image": one(image), "platform": one(platform)}
        case ast.Env(pairs=pairs) | ast.Label(pairs=pairs):
            return {"pairs": tuple((one(name), one(value)) for name, value in pairs)}
        case ast.Workdir(path=path):
            return {"path": one(path)}
        case ast.User(user=user):
            return {"user": one(user)}
        case ast.Volume(paths=paths):
            return {"paths": tuple(map(one, paths))}
        case ast.Expose(ports=ports):
            return {"ports": tuple(word for port in ports for word in expansion.words(port))}
        case ast.StopSignal(signal=signal):
            return {"signal": one(signal)}
        case ast.Copy() | ast.Add():
            return _copying(instruction, expansion)
    return _flags(instruction, one)


def _flags(instruction: ast.Instruction, one: Callable[[str], str]) -> dict[str, Any]:
    """Expand RUN's mounts; what it runs is the shell's business."""
    if isinstance(instruction, ast.Run) and instruction.mounts:
        return {"mounts": tuple(mount.expand(one) for mount in instruction.mounts)}
    return {}


def _copying(instruction: ast.Copy | ast.Add, expansion: _Expansion) -> dict[str, Any]:
    """Leave `--exclude` and `--from` as they are, as BuildKit does."""
    one = expansion.one
    changes: dict[str, Any] = {
        "sources": tuple(map(one, instruction.sources)),
        "destination": one(instruction.destination),
        "inline": tuple(
            replace(item, text=expansion.inline(item.text)) if item.expand else item
            for item in instruction.inline
        ),
        "chown": one(instruction.chown),
        "chmod": one(instruction.chmod),
    }
    if isinstance(instruction, ast.Add):
        changes["checksum"] = one(instruction.checksum)
    return changes

"""Which parts of which instructions are expanded: not those that a shell will expand itself.

The Dockerfile reference, "Environment replacement".
"""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from assembler.dockerfile import instructions as ast
from assembler.dockerfile.expansion import ExpansionError, expand, expand_words

if TYPE_CHECKING:
    from collections.abc import Callable

    from assembler.dockerfile.expansion import Lookup
    from assembler.dockerfile.instructions import Instruction


def expand_instruction(instruction: Instruction, lookup: Lookup, escape: str = "\\") -> Instruction:
    """Return the instruction with its variables replaced and its quotes taken off.

    Everything in one instruction sees the values from before it. `ARG` is left to whoever knows
    which default is needed. Raises `DockerfileError` for a malformed expansion.
    """

    def one(text: str) -> str:
        return expand(text, lookup, escape)

    def many(texts: tuple[str, ...]) -> tuple[str, ...]:
        return tuple(word for text in texts for word in expand_words(text, lookup, escape))

    try:
        return _expand(instruction, one, many)
    except ExpansionError as error:
        raise instruction.location.error(f"{instruction.keyword}: {error}") from None


def _expand(
    instruction: Instruction,
    one: Callable[[str], str],
    many: Callable[[tuple[str, ...]], tuple[str, ...]],
) -> Instruction:
    match instruction:
        case ast.From():
            return replace(
                instruction, image=one(instruction.image), platform=one(instruction.platform)
            )
        case ast.Env() | ast.Label():
            pairs = tuple((one(name), one(value)) for name, value in instruction.pairs)
            return replace(instruction, pairs=pairs)
        case ast.Workdir():
            return replace(instruction, path=one(instruction.path))
        case ast.User():
            return replace(instruction, user=one(instruction.user))
        case ast.Volume():
            return replace(instruction, paths=tuple(one(path) for path in instruction.paths))
        case ast.Expose():
            return replace(instruction, ports=many(instruction.ports))
        case ast.Stopsignal():
            return replace(instruction, signal=one(instruction.signal))
        case ast.Copy():
            return replace(
                instruction,
                sources=tuple(one(source) for source in instruction.sources),
                destination=one(instruction.destination),
                flags=tuple((name, one(value)) for name, value in instruction.flags),
            )
    return instruction

"""COPY and ADD: their sources, here-documents among them, their destination and flags."""

from __future__ import annotations

from typing import TYPE_CHECKING

from assembler.dockerfile import instructions as ast
from assembler.dockerfile.expansion import ExpansionError, expand
from assembler.dockerfile.heredocs import parse_opening
from assembler.dockerfile.words import WordError, parse_array, refuse_nul, split_blanks

if TYPE_CHECKING:
    from assembler.dockerfile.flags import Flags
    from assembler.dockerfile.heredocs import Opening
    from assembler.dockerfile.instructions import Add, Copy, Inline
    from assembler.dockerfile.lexer import LogicalLine


def parse_copying(line: LogicalLine, flags: Flags, escape: str) -> Copy | Add:
    """Return the COPY or ADD that *line* is; raise `WordError` for what is none."""
    array = parse_array(line.rest)
    words = tuple(split_blanks(line.rest)) if array is None else refuse_nul(array)
    if len(words) < 2:
        raise WordError("expected at least one source, and a destination")
    if _opening(words[-1]) is not None:
        raise WordError("a here-document cannot be the destination; name a path after it")
    sources, inline = _split_sources(words[:-1], line)
    if line.keyword == "ADD":
        return ast.Add(
            line.location,
            sources,
            words[-1],
            inline,
            chown=flags.text("chown"),
            chmod=flags.text("chmod"),
            link=bool(flags.switch("link")),
            exclude=flags.all("exclude"),
            checksum=flags.text("checksum"),
            keep_git_dir=flags.switch("keep-git-dir"),
            unpack=flags.switch("unpack"),
        )
    return ast.Copy(
        line.location,
        sources,
        words[-1],
        inline,
        chown=flags.text("chown"),
        chmod=flags.text("chmod"),
        link=bool(flags.switch("link")),
        exclude=flags.all("exclude"),
        origin=_origin(flags.text("from"), escape),
        parents=bool(flags.switch("parents")),
    )


def _split_sources(
    words: tuple[str, ...], line: LogicalLine
) -> tuple[tuple[str, ...], tuple[Inline, ...]]:
    """Tell paths from here-documents."""
    contents = {heredoc.name: heredoc for heredoc in line.heredocs}
    paths: list[str] = []
    inline: list[Inline] = []
    for word in words:
        opening = _opening(word)
        if opening is None:
            paths.append(word)
        elif opening.name not in contents:
            raise WordError(f"{word[:40]} is in JSON form, where no here-document can be; unquote")
        else:
            heredoc = contents[opening.name]
            inline.append(ast.Inline(heredoc.name, heredoc.text, heredoc.opening.expand))
    if lost := contents.keys() - {item.name for item in inline}:
        raise WordError(
            f"the here-document {min(lost)!r} is opened inside a word or with spaces; "
            "write it as a source of its own, <<NAME"
        )
    return tuple(paths), tuple(inline)


def _opening(word: str) -> Opening | None:
    try:
        return parse_opening(word)
    except ExpansionError:
        # Half of a quoted name with spaces; what it is lost to is told by its missing content.
        return None


def _origin(text: str, escape: str) -> str:
    try:
        plain = expand(text, _no_value, escape) == text
    except ExpansionError:
        plain = False
    if not plain:
        raise WordError(
            "--from cannot hold a variable; name a stage there that begins with FROM $... AS NAME"
        )
    return text


def _no_value(_: str) -> None:
    return None

"""The keyword and the flags that an instruction begins with: `COPY --from=build --link ...`."""

from __future__ import annotations

import difflib
from dataclasses import dataclass
from typing import TYPE_CHECKING

from assembler.dockerfile.words import SPACE, WordError, split_blanks

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

_KNOWN: Mapping[str, tuple[str, ...]] = {
    "FROM": ("platform",),
    "COPY": ("from", "chown", "chmod", "link", "parents", "exclude"),
    "ADD": ("chown", "chmod", "link", "checksum", "keep-git-dir", "unpack", "exclude"),
    "RUN": ("mount", "network", "security", "device"),
    "HEALTHCHECK": ("interval", "timeout", "start-period", "start-interval", "retries"),
}
_REPEATABLE = frozenset({"exclude", "mount", "device"})
_BOOLEAN = frozenset({"link", "parents", "keep-git-dir", "unpack"})


@dataclass(frozen=True, slots=True)
class Flags:
    """The flags of one instruction, checked; a switch's value is `true` or `false`."""

    values: Mapping[str, tuple[str, ...]]

    def text(self, name: str, default: str = "") -> str:
        """Return the value of a flag that is given at most once."""
        return self.values.get(name, (default,))[0]

    def all(self, name: str) -> tuple[str, ...]:
        """Return the values of a flag that may be repeated."""
        return self.values.get(name, ())

    def switch(self, name: str) -> bool | None:
        """Return whether a switch is on; `None` if it is not there."""
        return self.text(name) == "true" if name in self.values else None


def split_command(text: str, escape: str) -> tuple[str, list[str], str]:
    """Return the keyword as it is written, the unquoted words of its flags, and the rest."""
    parts = split_blanks(text.strip(SPACE), 2)
    if len(parts) < 2:
        return "".join(parts), [], ""
    flags, rest = _take_flags(parts[1], escape)
    return parts[0], flags, rest


def parse_flags(keyword: str, words: Sequence[str]) -> Flags:
    """Check the flags of an instruction; raise `WordError` for one that it does not have."""
    known = _KNOWN.get(keyword, ())
    found: dict[str, list[str]] = {}
    for word in words:
        name, equals, value = word.removeprefix("--").partition("=")
        if name not in known:
            raise WordError(_unknown(keyword, name, known))
        if name in found and name not in _REPEATABLE:
            raise WordError(f"the flag --{name} is given twice; keep one of them")
        if name in _BOOLEAN:
            value = _switch(name, value if equals else "true")
        elif not equals:
            raise WordError(f"the flag --{name} has no value; write --{name}=VALUE")
        found.setdefault(name, []).append(value)
    return Flags({name: tuple(values) for name, values in found.items()})


def _switch(name: str, value: str) -> str:
    if value.lower() not in {"true", "false"}:
        raise WordError(f"--{name}={value[:40]} is neither true nor false; write --{name} alone")
    return value.lower()


def _unknown(keyword: str, name: str, known: tuple[str, ...]) -> str:
    if not known:
        return f"the flag --{name[:40]} is unknown; {keyword} takes no flags, write -- before it"
    near = difflib.get_close_matches(name[:40], known, 1)
    advice = f"did you mean --{near[0]}? There " if near else "there "
    return f"the flag --{name[:40]} is unknown; {advice}is {', '.join('--' + k for k in known)}"


def _take_flags(text: str, escape: str) -> tuple[list[str], str]:
    """Return the words that begin with `--`, and what follows them; `--` alone ends them."""
    flags: list[str] = []
    # By position: to cut off each word would take time quadratic in their number.
    index = _after_blanks(text, 0)
    while text.startswith("--", index):
        word, index = _unquoted_word(text, index, escape)
        index = _after_blanks(text, index)
        if word == "--":
            break
        flags.append(word)
    return flags, text[index:]


def _after_blanks(text: str, index: int) -> int:
    while index < len(text) and text[index] in SPACE:
        index += 1
    return index


def _unquoted_word(text: str, index: int, escape: str) -> tuple[str, int]:
    """Return the word at *index* without its quotes and escapes, and where it ends."""
    word: list[str] = []
    quote = ""
    while index < len(text):
        char = text[index]
        if char == escape:
            # Unlike elsewhere, also in single quotes: BuildKit's flags know one sort of quoting.
            word.append(text[index + 1 : index + 2])
            index += 1
        elif char == quote:
            quote = ""
        elif not quote and char in "'\"":
            quote = char
        elif not quote and char in SPACE:
            break
        else:
            word.append(char)
        index += 1
    return "".join(word), index

"""RUN's `--mount` as text: one line of CSV, cut into keys and values."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING

from assembler.dockerfile.words import WordError

if TYPE_CHECKING:
    from collections.abc import Callable

_ALIASES = {
    "src": "source", "dst": "target", "destination": "target", "ro": "readonly", "rw": "readwrite",
}  # fmt: skip
_KEYS = (
    "type", "from", "source", "target", "readonly", "readwrite", "id", "sharing", "required",
    "size", "mode", "uid", "gid", "env",
)  # fmt: skip
SWITCHES = frozenset({"readonly", "readwrite", "required"})


@dataclass(frozen=True, slots=True)
class MountText:
    """One `--mount`, cut into keys and values; a switch alone has no value."""

    fields: tuple[tuple[str, str | None], ...]

    @classmethod
    def parse(cls, text: str) -> MountText:
        """Cut *text* up; without variables in it all of it is checked. Raises `WordError`."""
        made = cls(tuple(map(_field, _cut(text))))
        origin = made.text("from")
        if "$" in origin[:-1]:
            raise WordError(
                f"--mount: from={origin} cannot hold a variable; name a stage there that begins "
                "with FROM $... AS NAME"
            )
        return made

    @property
    def variable(self) -> bool:
        """Whether it holds a variable."""
        return any("$" in (value or "") for _, value in self.fields)

    def text(self, key: str) -> str:
        """Return a key's value as it is written, empty if it has none."""
        return next((value or "" for name, value in reversed(self.fields) if name == key), "")

    def expand(self, one: Callable[[str], str]) -> MountText:
        """Return the mount with each value expanded by *one*."""
        return MountText(
            tuple((key, value if value is None else one(value)) for key, value in self.fields)
        )


def _field(text: str) -> tuple[str, str | None]:
    written, equals, value = text.partition("=")
    key = _ALIASES.get(written.lower(), written.lower())
    if key not in _KEYS:
        raise WordError(f"--mount: {written[:40]!r} is no key; there is {', '.join(_KEYS)}")
    if not equals and key not in SWITCHES:
        raise WordError(f"--mount: {key} has no value; write {key}=VALUE")
    return key, value if equals else None


def _cut(text: str) -> list[str]:
    """Cut one line of CSV; a quote that does not begin a field, or is not closed, is an error."""
    if not text:
        raise WordError("--mount is empty; write --mount=type=TYPE,target=PATH")
    found: list[str] = []
    rest = text
    while True:
        if rest.startswith('"'):
            field, rest = _quoted(rest, text)
        else:
            field = rest.partition(",")[0]
            rest = rest[len(field) :]
            if '"' in field:
                raise WordError(f"--mount={text[:60]}: quotes must be around a whole KEY=VALUE")
        found.append(field)
        if not rest:
            return found
        rest = rest[1:]


def _quoted(rest: str, text: str) -> tuple[str, str]:
    """Return the quoted field that *rest* begins with, and what follows it."""
    match = re.match(r'"((?:[^"]|"")*)"(?=,|$)', rest)
    if match is None:
        raise WordError(f"--mount={text[:60]}: a quoted KEY=VALUE must end in a quote and a comma")
    return match[1].replace('""', '"'), rest[match.end() :]

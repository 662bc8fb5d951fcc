"""`--secret`: values that a RUN may see, and nothing else: no layer, no history, no cache key."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

from assembler.errors import BuildError

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

SECRET_LIMIT = 500 * 1024
_KEYS = ("id", "src", "source", "env", "type")
_FORM = "write it as id=NAME,src=FILE or id=NAME,env=VARIABLE"


@dataclass(frozen=True, slots=True)
class Secret:
    """A secret's name and its value, which no text that is made of it shows."""

    identity: str
    data: bytes = field(repr=False)


def read_secrets(texts: Sequence[str], environ: Mapping[str, str]) -> dict[str, Secret]:
    """Return the secrets by their ids, read once and for all; of two of one id the last one counts.

    BuildKit's rules: `id=NAME` alone means the variable of that name, else the file. Raises
    `BuildError` for one that cannot be had.
    """
    found = (_read(text, environ) for text in texts)
    return {secret.identity: secret for secret in found}


def _read(text: str, environ: Mapping[str, str]) -> Secret:
    fields = _fields(text)
    identity, source, variable = (fields.get(key, "") for key in ("id", "src", "env"))
    if not identity:
        raise BuildError(f"--secret {text}: it has no id; {_FORM}")
    if fields.get("type") == "env" and not variable:
        source, variable = "", source or identity
    if source and variable:
        raise BuildError(f"--secret id={identity}: give either src or env")
    if not source and not variable:
        by_file = fields.get("type") == "file" or identity not in environ
        source, variable = (identity, "") if by_file else ("", identity)
    if variable:
        return Secret(identity, _limited(_variable(variable, identity, environ), identity))
    return Secret(identity, _limited(_file(source, identity), identity))


def _fields(text: str) -> dict[str, str]:
    found: dict[str, str] = {}
    for item in text.split(","):
        key, equals, value = item.partition("=")
        key = key.strip().lower()
        if key not in _KEYS or not equals:
            raise BuildError(f"--secret {text}: {item!r} makes no sense; {_FORM}")
        if key == "type" and value not in {"file", "env"}:
            raise BuildError(f"--secret {text}: type={value} is unknown; there is file, env")
        found["src" if key == "source" else key] = value
    return found


def _variable(name: str, identity: str, environ: Mapping[str, str]) -> bytes:
    if name not in environ:
        raise BuildError(f"--secret id={identity}: the environment has no {name}")
    return environ[name].encode("utf-8", "surrogateescape")


def _file(name: str, identity: str) -> bytes:
    try:
        with Path(name).open("rb") as file:
            return file.read(SECRET_LIMIT + 1)
    except (OSError, ValueError) as error:
        reason = getattr(error, "strerror", None) or error
        raise BuildError(f"--secret id={identity}: {name} cannot be read ({reason})") from None


def _limited(data: bytes, identity: str) -> bytes:
    if len(data) > SECRET_LIMIT:
        raise BuildError(
            f"--secret id={identity}: it has more than {SECRET_LIMIT:,} bytes; a secret is a "
            "key or a password, other files are for COPY"
        )
    return data

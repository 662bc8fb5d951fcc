"""RUN's `--mount`: what its fields, expanded, mean for their type.

BuildKit's `commands_runmount.go` decides which keys there are, what a type allows, and the
defaults. Every value but that of `from` may hold variables of the stage, so that the fields are
cut where the file is read (`mounttext`), and understood where the instruction is done.
"""

from __future__ import annotations

import posixpath
import re
from dataclasses import dataclass
from typing import TYPE_CHECKING

from assembler.dockerfile.mounttext import SWITCHES
from assembler.dockerfile.sizes import parse_memory
from assembler.dockerfile.words import WordError

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from assembler.dockerfile.instructions import Run
    from assembler.dockerfile.mounttext import MountText

_TYPES = ("bind", "cache", "tmpfs", "secret", "ssh")
_SHARINGS = ("shared", "private", "locked")
_ONLY = {
    "required": ("secret", "ssh"),
    "size": ("tmpfs",),
    "sharing": ("cache",),
    "mode": ("cache", "secret", "ssh"),
    "uid": ("cache", "secret", "ssh"),
    "gid": ("cache", "secret", "ssh"),
}
_LATER = frozenset({"sharing", "mode", "uid", "gid"})
"""Keys whose type may still come after them; BuildKit judges the others where they stand."""
_TRUE = frozenset({"1", "t", "T", "true", "TRUE", "True"})
_FALSE = frozenset({"0", "f", "F", "false", "FALSE", "False"})
_OCTAL = re.compile(r"[0-7]{1,11}")
_NUMBER = re.compile(r"[0-9]{1,10}")
_ID_MAX = 2**32 - 1
_SECRET_MODE = 0o400
_SECRETS = "/run/secrets/"


@dataclass(frozen=True, slots=True)
class BindMount:
    """*source* of the context, or of the stage or image *origin*. A target may be relative."""

    target: str
    source: str
    origin: str
    readonly: bool


@dataclass(frozen=True, slots=True)
class CacheMount:
    """A directory that outlives the build; `None` is for what was not said."""

    target: str
    identity: str
    sharing: str
    mode: int | None
    uid: int | None
    gid: int | None
    readonly: bool
    source: str = ""
    origin: str = ""


@dataclass(frozen=True, slots=True)
class TmpfsMount:
    """A new file system in memory; *size* is the most that it holds, in bytes."""

    target: str
    size: int | None
    readonly: bool


@dataclass(frozen=True, slots=True)
class SecretMount:
    """A secret of the caller's, as a file at *target*, as the variable *env*, or both."""

    identity: str
    target: str | None
    env: str | None
    mode: int
    uid: int
    gid: int
    required: bool


@dataclass(frozen=True, slots=True)
class SshMount:
    """The caller's SSH agent: understood, so that it can be refused by name."""

    identity: str


RunMount = BindMount | CacheMount | TmpfsMount | SecretMount | SshMount


def run_mounts(run: Run) -> tuple[RunMount, ...]:
    """Return the mounts of an expanded RUN; raise `DockerfileError` for one that makes no sense."""
    try:
        return tuple(map(parse_mount, run.mounts))
    except WordError as error:
        raise run.location.error(f"RUN: {error}") from None


def parse_mount(text: MountText) -> RunMount:
    """Return what an expanded `--mount` asks for; raise `WordError` for what makes no sense."""
    try:
        fields = _Fields.read(text)
        return _MAKERS[fields.kind](fields)
    except WordError as error:
        raise WordError(f"--mount: {error}") from None


@dataclass(frozen=True, slots=True)
class _Fields:
    """The fields of one mount, by their long names, checked one by one."""

    kind: str
    values: Mapping[str, str]

    @classmethod
    def read(cls, text: MountText) -> _Fields:
        kind = "bind"
        values: dict[str, str] = {}
        for key, value in text.fields:
            if key == "type":
                kind = _one_of(key, (value or "").lower(), _TYPES)
                continue
            if key not in _LATER:
                _check_type(key, kind)
            if key == "readwrite":
                values["readonly"] = str(not _switch(key, value)).lower()
            elif key in SWITCHES:
                values[key] = str(_switch(key, value)).lower()
            else:
                values[key] = value or ""
        for key in values:
            _check_type(key, kind)
        return cls(kind, values)

    def text(self, key: str) -> str:
        return self.values.get(key, "")

    def switch(self, key: str, *, default: bool) -> bool:
        return self.values[key] == "true" if key in self.values else default

    def number(self, key: str) -> int | None:
        text = self.values.get(key)
        if text is None:
            return None
        if not _NUMBER.fullmatch(text) or int(text) > _ID_MAX:
            raise WordError(f"{key}={text[:40]} must be a number, not a name")
        return int(text)

    def mode(self) -> int | None:
        text = self.values.get("mode")
        if text is None:
            return None
        if not _OCTAL.fullmatch(text) or int(text, 8) > _ID_MAX:
            raise WordError(f"mode={text[:40]} must be an octal number, as 0400")
        return int(text, 8)


def _bind(fields: _Fields) -> BindMount:
    return BindMount(
        fields.text("target"),
        fields.text("source"),
        fields.text("from"),
        readonly=fields.switch("readonly", default=True),
    )


def _cache(fields: _Fields) -> CacheMount:
    target = fields.text("target")
    return CacheMount(
        target,
        fields.text("id") or posixpath.normpath(target),
        _one_of("sharing", fields.text("sharing").lower() or "shared", _SHARINGS),
        fields.mode(),
        fields.number("uid"),
        fields.number("gid"),
        readonly=fields.switch("readonly", default=False),
        source=fields.text("source"),
        origin=fields.text("from"),
    )


def _tmpfs(fields: _Fields) -> TmpfsMount:
    size = parse_memory(fields.text("size")) if "size" in fields.values else None
    readonly = fields.switch("readonly", default=False)
    return TmpfsMount(fields.text("target"), size or None, readonly)


def _secret(fields: _Fields) -> SecretMount:
    target, source, identity = (fields.text(key) for key in ("target", "source", "id"))
    if fields.text("from"):
        raise WordError("from is not for type=secret; a secret comes from --secret of the build")
    if source and identity:
        raise WordError("source and id of a secret mean the same; keep id")
    identity = identity or source or posixpath.basename(target.rstrip("/"))
    if not identity:
        raise WordError("type=secret has no id; write id=NAME, or a target")
    env = fields.values.get("env")
    if env is not None and (not env or "=" in env):
        raise WordError(f"env={env[:40]} is no name for a variable")
    if not target and env is None:
        target = _SECRETS + posixpath.basename(identity.rstrip("/"))
    mode = fields.mode()
    return SecretMount(
        identity,
        target or None,
        env,
        _SECRET_MODE if mode is None else mode,
        fields.number("uid") or 0,
        fields.number("gid") or 0,
        required=fields.switch("required", default=False),
    )


def _ssh(fields: _Fields) -> SshMount:
    return SshMount(fields.text("id") or "default")


_MAKERS: Mapping[str, Callable[[_Fields], RunMount]] = {
    "bind": _bind,
    "cache": _cache,
    "tmpfs": _tmpfs,
    "secret": _secret,
    "ssh": _ssh,
}


def _check_type(key: str, kind: str) -> None:
    kinds = _ONLY.get(key, _TYPES)
    if kind not in kinds:
        raise WordError(
            f"{key} is not for type={kind}, but for {' and '.join(f'type={k}' for k in kinds)}"
            f"{', which must come before it' if key not in _LATER else ''}"
        )


def _switch(key: str, value: str | None) -> bool:
    if value is None or value in _TRUE:
        return True
    if value not in _FALSE:
        raise WordError(f"{key}={value[:40]} is neither true nor false")
    return False


def _one_of(key: str, value: str, allowed: tuple[str, ...]) -> str:
    if value not in allowed:
        raise WordError(f"{key}={value[:40]} is unknown; there is {', '.join(allowed)}")
    return value

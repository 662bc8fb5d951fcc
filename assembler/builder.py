"""The instructions of a Dockerfile, done: upon a base image's config and tree."""

from __future__ import annotations

import copy
import json
import posixpath
import re
from typing import TYPE_CHECKING, Any

from assembler.dockerfile import ExecForm, ExpansionError, expand, expand_instruction
from assembler.dockerfile import instructions as ast
from assembler.epoch import format_created
from assembler.errors import BuildError
from assembler.users import resolve_user
from layers.image import ImageConfig
from layers.tree import Node, TreeError

if TYPE_CHECKING:
    from collections.abc import Callable

    from assembler.dockerfile import Instruction
    from assembler.dockerfile.instructions import Command
    from assembler.scope import StageScope
    from layers.descriptor import Platform
    from layers.digest import Digest
    from layers.tree import Tree

_DEFAULT_SHELL = ["/bin/sh", "-c"]
_PORT = re.compile(r"(\d{1,5})(?:-(\d{1,5}))?(?:/([a-z]+))?", re.ASCII)
_PROTOCOLS = frozenset({"tcp", "udp", "sctp"})
_PORT_MAX = 65535


def scratch_config(platform: Platform) -> ImageConfig:
    """Return the config of an image of nothing."""
    data: dict[str, Any] = {"architecture": platform.architecture, "os": platform.os}
    if platform.variant:
        data["variant"] = platform.variant
    data |= {"config": {}, "rootfs": {"type": "layers", "diff_ids": []}, "history": []}
    return ImageConfig(data)


class Builder:
    """One image in the making: its tree, its config, and the directories that were added."""

    def __init__(
        self, tree: Tree, base: ImageConfig, epoch: int, escape: str, warn: Callable[[str], None]
    ) -> None:
        self.tree = tree
        self._data = copy.deepcopy(dict(base.data))
        self._settings: dict[str, Any] = dict(self._data.get("config") or {})
        self._history: list[dict[str, Any]] = list(self._data.get("history") or [])
        self._epoch = epoch
        self._escape = escape
        self._warn = warn
        self._cmd_is_ours = False
        self._last_adding: dict[str, Any] | None = None
        self.added: list[tuple[bytes, Node]] = []
        """Directories that the base does not have, with their paths, parents first."""

    def take_triggers(self) -> list[str]:
        """Return the base's ONBUILD triggers, which are done once and not inherited further."""
        triggers = self._settings.pop("OnBuild", None) or []
        return [trigger for trigger in triggers if isinstance(trigger, str)]

    def begin_stage(self, scope: StageScope) -> None:
        """Begin with the environment that the image has so far."""
        self._cmd_is_ours = False
        for item in self._settings.get("Env") or ():
            name, _, value = item.partition("=")
            scope.environment[name] = value

    def do(self, instruction: Instruction, scope: StageScope) -> None:
        """Do one instruction; raise `DockerfileError` with its line for what cannot be done."""
        expanded = expand_instruction(instruction, scope.lookup, self._escape)
        try:
            self._dispatch(expanded, scope)
        except (BuildError, TreeError, ExpansionError) as error:
            raise instruction.location.error(f"{instruction.keyword}: {error}") from None

    def result(self, layer: Digest | None) -> ImageConfig:
        """Return the new image's config; *layer* is the diff_id of the added directories."""
        created = format_created(self._epoch)
        data = self._data | {"created": created, "config": self._settings, "history": self._history}
        if layer is not None and self._last_adding is not None:
            rootfs = data.get("rootfs") or {"type": "layers"}
            diff_ids = [*rootfs.get("diff_ids", ()), str(layer)]
            data["rootfs"] = dict(rootfs) | {"diff_ids": diff_ids}
            # One layer holds what all instructions added; it belongs to the last that added some.
            self._last_adding.pop("empty_layer", None)
        return ImageConfig(data)

    def _dispatch(self, instruction: Instruction, scope: StageScope) -> None:
        match instruction:
            case ast.Arg():
                self._arg(instruction, scope)
            case ast.Env():
                self._env(instruction, scope)
            case ast.Label():
                labels = dict(self._settings.get("Labels") or {}) | dict(instruction.pairs)
                self._settings["Labels"] = labels
                self._record(instruction, " ".join(f"{k}={v}" for k, v in instruction.pairs))
            case ast.Volume():
                self._volume(instruction)
            case ast.Workdir():
                self._workdir(instruction)
            case ast.User():
                self._user(instruction)
            case ast.Cmd() | ast.Entrypoint():
                self._command(instruction)
            case ast.Expose():
                self._expose(instruction)

    def _arg(self, instruction: ast.Arg, scope: StageScope) -> None:
        shown = []
        for name, default in instruction.arguments:
            if default is not None:
                default = expand(default, scope.lookup, self._escape)
            value = scope.declare(name, default)
            shown.append(name if value is None else f"{name}={value}")
        self._record(instruction, " ".join(shown))

    def _env(self, instruction: ast.Env, scope: StageScope) -> None:
        pairs = [item.partition("=")[::2] for item in self._settings.get("Env") or ()]
        environment = dict(pairs)
        for name, value in instruction.pairs:
            if not name or "=" in name:
                raise BuildError(f"{name!r} is no name for a variable")
            environment[name] = value
            scope.environment[name] = value
        self._settings["Env"] = [f"{name}={value}" for name, value in environment.items()]
        self._record(instruction, " ".join(f"{k}={v}" for k, v in instruction.pairs))

    def _volume(self, instruction: ast.Volume) -> None:
        volumes = dict(self._settings.get("Volumes") or {})
        for path in instruction.paths:
            if not path.strip():
                raise BuildError("a volume's path is empty after expansion")
            if not path.startswith("/"):
                self._warn(
                    f"{instruction.location.name}:{instruction.location.start}: VOLUME {path} is "
                    f"relative, taken below WORKDIR {self._workdir_path()}; write it in full"
                )
            volumes[self._absolute(path)] = {}
        self._settings["Volumes"] = dict(sorted(volumes.items()))
        self._record(instruction, f"[{' '.join(instruction.paths)}]")

    def _workdir(self, instruction: ast.Workdir) -> None:
        if not instruction.path.strip():
            raise BuildError("the path is empty after expansion")
        path = self._absolute(instruction.path)
        user = self._settings.get("User") or ""
        uid, gid = resolve_user(self.tree, user) if user else (0, 0)
        added = self._make_directories(path, uid, gid)
        self._settings["WorkingDir"] = path
        self._record(instruction, path, adds=added)

    def _make_directories(self, path: str, uid: int, gid: int) -> bool:
        """Make what is missing of *path*, and remember it; return whether there was anything."""
        names = self.tree.resolve(path.encode("utf-8", "surrogateescape"))
        before = len(self.added)
        for count in range(1, len(names) + 1):
            partial = b"/".join(names[:count])
            if self.tree.find(partial, follow=False) is None:
                node = self.tree.make_directories(partial, self._epoch, uid, gid)
                self.added.append((partial, node))
        # Raises for a path that ends at what is no directory.
        self.tree.make_directories(path.encode("utf-8", "surrogateescape"), self._epoch, uid, gid)
        return len(self.added) > before

    def _user(self, instruction: ast.User) -> None:
        if not instruction.user.strip():
            raise BuildError("the user is empty after expansion")
        self._settings["User"] = instruction.user
        self._record(instruction, instruction.user)

    def _command(self, instruction: ast.Cmd | ast.Entrypoint) -> None:
        words = self._command_words(instruction.command)
        if isinstance(instruction, ast.Cmd):
            self._settings["Cmd"] = words
            self._cmd_is_ours = True
        else:
            self._settings["Entrypoint"] = words
            if not self._cmd_is_ours:
                # A base's arguments make no sense for another program.
                self._settings.pop("Cmd", None)
        shown = " ".join(json.dumps(word, ensure_ascii=False) for word in words)
        self._record(instruction, f"[{shown}]")

    def _command_words(self, command: Command) -> list[str]:
        if isinstance(command, ExecForm):
            return list(command.words)
        shell = self._settings.get("Shell") or _DEFAULT_SHELL
        return [*shell, command.text]

    def _expose(self, instruction: ast.Expose) -> None:
        ports = dict(self._settings.get("ExposedPorts") or {})
        for spec in instruction.ports:
            ports |= {key: {} for key in expand_ports(spec)}
        self._settings["ExposedPorts"] = dict(sorted(ports.items()))
        self._record(instruction, f"[{' '.join(instruction.ports)}]")

    def _absolute(self, path: str) -> str:
        joined = posixpath.normpath(posixpath.join(self._workdir_path(), path))
        # POSIX lets two leading slashes stand for something else; nobody here means that.
        return "/" + joined.lstrip("/")

    def _workdir_path(self) -> str:
        return "/" + str(self._settings.get("WorkingDir") or "").lstrip("/")

    def _record(self, instruction: Instruction, text: str, *, adds: bool = False) -> None:
        entry: dict[str, Any] = {
            "created": format_created(self._epoch),
            "created_by": f"{instruction.keyword} {text}",
            "comment": "golem-assemble",
            "empty_layer": True,
        }
        self._history.append(entry)
        if adds:
            self._last_adding = entry


def expand_ports(spec: str) -> list[str]:
    """Return `PORT/PROTOCOL` for each port of `PORT[-PORT][/PROTOCOL]`."""
    match = _PORT.fullmatch(spec.lower())
    first, last = (int(match[1]), int(match[2] or match[1])) if match else (0, 0)
    protocol = (match[3] or "tcp") if match else ""
    if not 0 < first <= last <= _PORT_MAX or protocol not in _PROTOCOLS:
        raise BuildError(f"{spec!r} is no port; write PORT, PORT-PORT, with /tcp, /udp or /sctp")
    return [f"{port}/{protocol}" for port in range(first, last + 1)]

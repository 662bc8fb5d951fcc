"""The instructions of a Dockerfile, done: upon a base image's config and tree."""

from __future__ import annotations

import copy
import json
import posixpath
from typing import TYPE_CHECKING, Any, TypeVar

from assembler.copystep import copy_step, write_parts
from assembler.dockerfile import ExecForm, ExpansionError, expand, expand_instruction
from assembler.dockerfile import instructions as ast
from assembler.dockerfile.instructions import PATH_MAX
from assembler.epoch import format_created
from assembler.errors import BuildError, DownloadError, locate
from assembler.running import DEFAULT_PATH, DEFAULT_SHELL, run_step
from assembler.stepkey import CopyInputs, next_key, recording
from assembler.users import resolve_user
from assembler.wording import copy_text, expand_ports, is_signal, quoted
from layers.errors import LayersError
from layers.image import LAYERS_MAX, ImageConfig
from layers.tree import TreeError, show

if TYPE_CHECKING:
    from collections.abc import Mapping

    from assembler.dockerfile import Instruction
    from assembler.dockerfile.instructions import Command
    from assembler.hands import Hands, Manner
    from assembler.scope import StageScope
    from layers.descriptor import Descriptor, Platform
    from layers.tree import Node, Tree

_Value = TypeVar("_Value", dict[str, Any], list[str])
_PORTS_MAX = 1_000_000
"""Ports that EXPOSE may name in a stage, whether or not they are the same ones."""


def scratch_config(platform: Platform) -> ImageConfig:
    """Return the config of an image of nothing, as BuildKit begins with it."""
    data: dict[str, Any] = {"architecture": platform.architecture, "os": platform.os}
    if platform.variant:
        data["variant"] = platform.variant
    settings = {"Env": [f"PATH={DEFAULT_PATH}"], "WorkingDir": "/"}
    data |= {"config": settings, "rootfs": {"type": "layers", "diff_ids": []}, "history": []}
    return ImageConfig(data)


class Builder:
    """One stage in the making: its tree, its config, its history."""

    def __init__(
        self,
        tree: Tree,
        base: ImageConfig,
        manner: Manner,
        hands: Hands,
        stage: int = 0,
        key: str = "",
    ) -> None:
        self.tree = tree
        self.key = key
        """What the tree depends on so far (`stepkey`)."""
        self.layers: list[Descriptor] = []
        self._data = dict(base.data)
        settings = self._data.get("config") or {}
        # What is changed in place is copied; a deep copy would take long where there is much.
        self._settings: dict[str, Any] = {
            name: copy.copy(value) if isinstance(value, dict | list) else value
            for name, value in settings.items()
        }
        self._history: list[dict[str, Any]] = list(self._data.get("history") or [])
        self._below = len((self._data.get("rootfs") or {}).get("diff_ids") or ())
        """How many layers the base has."""
        self._manner = manner
        self._hands = hands
        self._stage = stage
        self._cmd_is_ours = False
        self._exposed = 0
        self._places: dict[str, int] | None = None
        """Where each variable stands in the environment, once one was set."""

    def take_triggers(self) -> list[str]:
        """Return the base's ONBUILD triggers, which are done once and not inherited further."""
        triggers = self._settings.pop("OnBuild", None) or []
        return [trigger for trigger in triggers if isinstance(trigger, str)]

    def begin_stage(self, scope: StageScope) -> None:
        """Begin with the environment that the image has so far.

        Raises `ExpansionError` where the stages of a Dockerfile repeat too much.
        """
        self._cmd_is_ours = False
        for item in self._settings.get("Env") or ():
            scope.budget.spend(len(item))
            name, _, value = item.partition("=")
            scope.environment[name] = value

    def do(self, instruction: Instruction, scope: StageScope) -> None:
        """Do one instruction; raise `DockerfileError` with its line for what cannot be done.

        Errors of `layers` and of downloads get the line, too.
        """
        escape = self._manner.escape
        expanded = expand_instruction(instruction, scope.lookup, escape, scope.budget)
        try:
            self._dispatch(expanded, scope)
            # ARG and RUN write values into the history that they have not expanded.
            scope.budget.spend(len(self._history[-1]["created_by"]))
        except (BuildError, TreeError, ExpansionError) as error:
            raise instruction.location.error(f"{instruction.keyword}: {error}") from None
        except (LayersError, DownloadError) as error:
            locate(error, instruction.location.place, instruction.keyword)
            raise

    def label(self, labels: Mapping[str, str]) -> None:
        """Set labels that no instruction asks for (`--label`)."""
        if labels:
            self._setting("Labels", {}).update(labels)

    def result(self) -> ImageConfig:
        """Return the new image's config."""
        for name in ("Volumes", "ExposedPorts"):
            if self._settings.get(name):
                self._settings[name] = dict(sorted(self._settings[name].items()))
        created = format_created(self._manner.times.made)
        data = self._data | {"created": created, "config": self._settings, "history": self._history}
        rootfs = dict(data.get("rootfs") or {"type": "layers"})
        made = [str(layer.digest) for layer in self.layers]
        data["rootfs"] = rootfs | {"diff_ids": [*(rootfs.get("diff_ids") or ()), *made]}
        return ImageConfig(data)

    def _setting(self, name: str, empty: _Value) -> _Value:
        """Return a value of the config to be added to; *empty*, if there is none yet."""
        self._settings[name] = value = self._settings.get(name) or empty
        return value

    def _dispatch(self, instruction: Instruction, scope: StageScope) -> None:
        match instruction:
            case ast.Arg():
                self._arg(instruction, scope)
            case ast.Env():
                self._env(instruction, scope)
            case ast.Workdir():
                self._workdir(instruction)
            case ast.Copy() | ast.Add():
                self._copy(instruction)
            case ast.Run():
                self._run(instruction, scope)
            case _:
                self._configure(instruction)

    def _configure(self, instruction: Instruction) -> None:
        """Do an instruction that concerns nothing but the config."""
        match instruction:
            case ast.Label():
                self.label(dict(instruction.pairs))
                self._record(instruction, " ".join(f"{k}={v}" for k, v in instruction.pairs))
            case ast.Volume():
                self._volume(instruction)
            case ast.User():
                self._user(instruction)
            case ast.Cmd() | ast.Entrypoint():
                self._command(instruction)
            case ast.Expose():
                self._expose(instruction)
            case ast.StopSignal():
                self._stop_signal(instruction)
            case ast.Healthcheck():
                self._healthcheck(instruction)
            case _:
                self._keep(instruction)

    def _keep(self, instruction: Instruction) -> None:
        """Do an instruction whose words go into the config as they are."""
        match instruction:
            case ast.Shell(words=words):
                self._settings["Shell"] = list(words)
                self._record(instruction, quoted(words))
            case ast.OnBuild(expression=expression):
                self._setting("OnBuild", []).append(expression)
                self._record(instruction, expression)
            case ast.Maintainer(name=name):
                self._data["author"] = name
                self._record(instruction, name)

    def _arg(self, instruction: ast.Arg, scope: StageScope) -> None:
        shown = []
        for name, default in instruction.arguments:
            if default is not None:
                default = expand(default, scope.lookup, self._manner.escape, scope.budget)
            value = scope.declare(name, default)
            shown.append(name if value is None else f"{name}={value}")
        self._record(instruction, " ".join(shown))

    def _env(self, instruction: ast.Env, scope: StageScope) -> None:
        for name, value in instruction.pairs:
            if not name or "=" in name:
                raise BuildError(f"{name!r} is no name for a variable")
            self._set_variable(name, value)
            scope.environment[name] = value
        self._record(instruction, " ".join(f"{k}={v}" for k, v in instruction.pairs))

    def _set_variable(self, name: str, value: str) -> None:
        """Put a variable into the config, where it stood if it was there."""
        if self._places is None:
            given = dict(item.partition("=")[::2] for item in self._settings.get("Env") or ())
            self._settings["Env"] = [f"{name}={value}" for name, value in given.items()]
            self._places = {name: place for place, name in enumerate(given)}
        items = self._settings["Env"]
        place = self._places.setdefault(name, len(items))
        items[place : place + 1] = [f"{name}={value}"]

    def _volume(self, instruction: ast.Volume) -> None:
        volumes = self._setting("Volumes", {})
        for path in instruction.paths:
            if not path.strip():
                raise BuildError("a volume's path is empty after expansion")
            if not path.startswith("/"):
                self._manner.warn(
                    f"{instruction.location.name}:{instruction.location.start}: VOLUME {path} is "
                    f"relative, taken below WORKDIR {self._workdir_path()}; write it in full"
                )
            volumes[self._absolute(path)] = {}
        self._record(instruction, f"[{' '.join(instruction.paths)}]")

    def _workdir(self, instruction: ast.Workdir) -> None:
        if not instruction.path.strip():
            raise BuildError("the path is empty after expansion")
        path = self._absolute(instruction.path)
        user = self._settings.get("User") or ""
        owner = resolve_user(self.tree, user) if user else (0, 0)
        names = self.tree.resolve(path.encode("utf-8", "surrogateescape"))
        self._check_way(names)
        with self._hands.begin(self.tree) as changes:
            changes.make_directories(b"/".join(names), self._manner.times.made, owner, 0o755)
            layer = self._hands.commit(changes)
        self.key = next_key(self.key, "WORKDIR", path, owner)
        self._settings["WorkingDir"] = path
        self._record(instruction, path, layer)

    def _check_way(self, names: tuple[bytes, ...]) -> None:
        node: Node | None = self.tree.root
        for count, name in enumerate(names, 1):
            node = node.children.get(name) if node is not None else None
            if node is not None and not node.is_directory:
                raise BuildError(
                    f"{show(b'/'.join(names[:count]))} is not a directory in the image"
                )

    def _copy(self, instruction: ast.Copy | ast.Add) -> None:
        destination = self._destination(instruction.destination)
        parts = copy_step(
            instruction, destination, self.tree, self._hands, self._stage, self._manner.times
        )
        text = copy_text(instruction)
        inputs = CopyInputs(self.key, parts, instruction.keyword, destination)
        inputs.check_readable()
        digests: dict[Node, str] = {}
        replayed = None
        if self._hands.remembers(inputs.shape):
            self.key = inputs.key(digests)
            replayed = self._hands.replay(self.key, self.tree)
        if replayed is not None:
            self._manner.tell_cached()
            layer = replayed.layer
        else:
            with self._hands.begin(self.tree) as changes:
                write_parts(recording(parts, digests), destination, self.tree, changes)
                layer = self._hands.commit(changes)
            self.key = inputs.key(digests)
            self._hands.remember(inputs.shape, None)
            self._hands.remember(self.key, layer)
        self._record(instruction, text, layer)

    def _run(self, instruction: ast.Run, scope: StageScope) -> None:
        running = run_step(
            instruction,
            self._settings,
            scope,
            self.tree,
            self._hands,
            self._manner.machine,
            self._stage,
        )
        self.key = running.key(self.key, self._hands.fidelity(running.step.place))
        replayed = self._hands.replay(self.key, self.tree)
        if replayed is not None and replayed.layer is not None:
            self._manner.tell_cached()
            layer = replayed.layer
        else:
            layer = self._hands.run(running.step, self.tree)
            self._hands.remember(self.key, layer)
        self._record(instruction, running.history, layer)

    def _destination(self, path: str) -> str:
        """Return COPY's destination, absolute; a slash at its end says that it is a directory."""
        if not path.strip():
            raise BuildError("the destination is empty after expansion")
        slash = "/" if path.endswith(("/", "/.")) or path == "." else ""
        absolute = self._absolute(path)
        return absolute if absolute == "/" else absolute + slash

    def _stop_signal(self, instruction: ast.StopSignal) -> None:
        name = instruction.signal
        if not is_signal(name):
            raise BuildError(f"{name!r} is no signal; write its name, as SIGTERM, or its number")
        self._settings["StopSignal"] = name
        self._record(instruction, name)

    def _healthcheck(self, instruction: ast.Healthcheck) -> None:
        if instruction.command is None:
            check: dict[str, Any] = {"Test": ["NONE"]}
        elif isinstance(instruction.command, ExecForm):
            check = {"Test": ["CMD", *instruction.command.words]}
        else:
            check = {"Test": ["CMD-SHELL", instruction.command.text]}
        for key, value in (
            ("Interval", instruction.interval),
            ("Timeout", instruction.timeout),
            ("StartPeriod", instruction.start_period),
            ("StartInterval", instruction.start_interval),
            ("Retries", instruction.retries),
        ):
            if value:
                check[key] = value
        self._settings["Healthcheck"] = check
        self._record(instruction, json.dumps(check["Test"], ensure_ascii=False))

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
        self._record(instruction, quoted(words))

    def _command_words(self, command: Command) -> list[str]:
        if isinstance(command, ExecForm):
            return list(command.words)
        shell = self._settings.get("Shell") or DEFAULT_SHELL
        return [*shell, command.text]

    def _expose(self, instruction: ast.Expose) -> None:
        ports = self._setting("ExposedPorts", {})
        for spec in dict.fromkeys(instruction.ports):
            found = expand_ports(spec)
            self._exposed += len(found)
            if self._exposed > _PORTS_MAX:
                raise BuildError(f"more than {_PORTS_MAX:,} ports in all; name each of them once")
            ports.update({key: {} for key in found})
        self._record(instruction, f"[{' '.join(instruction.ports)}]")

    def _absolute(self, path: str) -> str:
        joined = posixpath.normpath(posixpath.join(self._workdir_path(), path))
        if len(joined) > PATH_MAX:
            raise BuildError(f"{joined[:40]}... is a path of more than {PATH_MAX:,} characters")
        # POSIX lets two leading slashes stand for something else; nobody here means that.
        return "/" + joined.lstrip("/")

    def _workdir_path(self) -> str:
        return "/" + str(self._settings.get("WorkingDir") or "").lstrip("/")

    def _record(self, instruction: Instruction, text: str, layer: Descriptor | None = None) -> None:
        entry: dict[str, Any] = {
            "created": format_created(self._manner.times.made),
            "created_by": f"{instruction.keyword} {text}",
            "comment": "golem-assemble",
        }
        if layer is None:
            entry["empty_layer"] = True
        else:
            self.layers.append(layer)
            if self._below + len(self.layers) > LAYERS_MAX:
                raise BuildError(f"more than {LAYERS_MAX:,} layers; copy more at once")
        self._history.append(entry)

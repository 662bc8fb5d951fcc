"""`check`: what a Dockerfile's author should know before building it. Pure: text in, findings out.

Most rules, and their names, are those of BuildKit's own checks (its `linter` rule set); the others
are about Golem's guest. Nothing is fetched, so what a base image sets is not known here.
"""

from __future__ import annotations

import posixpath
import re
from dataclasses import dataclass
from typing import TYPE_CHECKING

from assembler.dockerfile import ExpansionError, Recording, ShellForm, expand, expand_instruction
from assembler.dockerfile import instructions as ast
from assembler.dockerfile.instructions import PATH_MAX
from assembler.errors import DockerfileError
from assembler.planning import SCRATCH
from assembler.scope import StageScope

if TYPE_CHECKING:
    from collections.abc import Iterator

    from assembler.dockerfile import Dockerfile, Instruction, Stage
    from assembler.scope import GlobalScope

_SECRET = re.compile(
    r"(?i)(?:^|_)(?:apikey|auth|credential|credentials|key|password|pword|passwd|secret|token)(?:_|$)"
)
_NO_SECRET = re.compile(r"(?i)(?:^|_)public(?:_|$)|_FILE$")
_RESERVED = frozenset({"context", SCRATCH})
_ONCE = (ast.Cmd, ast.Entrypoint, ast.Healthcheck)
_PROVIDED = frozenset({"PATH", "HOME", "HOSTNAME", "TERM"})


@dataclass(frozen=True, slots=True)
class Finding:
    """Something to be told of one line. *level* is `error` or `warning`."""

    line: int
    level: str
    rule: str
    text: str


def lint(dockerfile: Dockerfile, scope: GlobalScope) -> list[Finding]:
    """Return all findings, by line; *scope* has the global arguments declared."""
    found = [*_stage_names(dockerfile), *_from_lines(dockerfile, scope)]
    environments: dict[int, _Values] = {}
    for stage in dockerfile.stages:
        try:
            found += _Stage(dockerfile, stage, scope, environments).findings()
        except ExpansionError as error:
            found.append(
                Finding(stage.from_.location.start, "error", "Expansion", f"FROM: {error}")
            )
            break
    found += _Guest(dockerfile).findings()
    return sorted(set(found), key=lambda finding: (finding.line, finding.rule, finding.text))


def _warning(instruction: Instruction, rule: str, text: str) -> Finding:
    return Finding(instruction.location.start, "warning", rule, text)


def _stage_names(dockerfile: Dockerfile) -> Iterator[Finding]:
    seen: set[str] = set()
    for stage in dockerfile.stages:
        if stage.name in _RESERVED:
            text = f"{stage.name!r} is a reserved name; call the stage something else"
            yield _warning(stage.from_, "ReservedStageName", text)
        if stage.name and stage.name in seen:
            text = f"there is an earlier stage called {stage.name!r}; give one another name"
            yield _warning(stage.from_, "DuplicateStageName", text)
        seen.add(stage.name)


def _from_lines(dockerfile: Dockerfile, scope: GlobalScope) -> Iterator[Finding]:
    for stage in dockerfile.stages:
        lookup = Recording(scope.lookup)
        try:
            expand_instruction(stage.from_, lookup, dockerfile.escape, scope.budget)
        except DockerfileError:
            continue  # planning tells it
        for name in sorted(lookup.undefined):
            text = f"FROM uses ${name}, which no ARG before the first FROM declares with a value"
            yield _warning(stage.from_, "UndefinedArgInFrom", text)
        platform = stage.from_.platform
        if platform in {"$TARGETPLATFORM", "${TARGETPLATFORM}"}:
            text = "--platform=$TARGETPLATFORM is the default; leave it out"
            yield _warning(stage.from_, "RedundantTargetPlatform", text)
        elif platform and "$" not in platform:
            text = f"--platform={platform} is fixed; leave the choice to --platform of the build"
            yield _warning(stage.from_, "FromPlatformFlagConstDisallowed", text)


@dataclass(frozen=True, slots=True)
class _Values:
    """What variables are at a stage's end: all of them, and those that the image keeps."""

    environment: dict[str, str]
    kept: dict[str, str]


class _Stage:
    """One stage, gone through with the values its variables have."""

    def __init__(
        self,
        dockerfile: Dockerfile,
        stage: Stage,
        scope: GlobalScope,
        environments: dict[int, _Values],
    ) -> None:
        self._dockerfile = dockerfile
        self._stage = stage
        self._environments = environments
        self._scope = StageScope(scope)
        parent = dockerfile.stage_before(stage.from_.image, stage.index)
        self._workdir_known = parent is not None
        self._kept: dict[str, str] = {}
        if parent is not None:
            # As in a build: a stage upon another has its ARGs too, but begins with what ENV said.
            before = environments[parent.index]
            self._kept |= before.kept
            self._scope.environment |= before.environment | before.kept
            self._scope = self._scope.inherit()  # which tells where there are too many
        self._counts: dict[type[Instruction], int] = {}

    def findings(self) -> Iterator[Finding]:
        for instruction in self._stage.instructions:
            yield from self._variables(instruction)
            yield from self._one(instruction)
            self._declare(instruction)
        self._environments[self._stage.index] = _Values(self._scope.environment, self._kept)

    def _variables(self, instruction: Instruction) -> Iterator[Finding]:
        lookup = Recording(self._scope.lookup)
        try:
            expand_instruction(instruction, lookup, self._dockerfile.escape, self._scope.budget)
            if isinstance(instruction, ast.Arg):
                for _, default in instruction.arguments:
                    expand(default or "", lookup, self._dockerfile.escape, self._scope.budget)
        except (DockerfileError, ExpansionError) as error:
            text = error.message if isinstance(error, DockerfileError) else f"ARG: {error}"
            yield Finding(instruction.location.start, "error", "Expansion", text)
        for name in sorted(lookup.undefined - _PROVIDED):
            text = f"${name} has no value, unless the base image sets it; declare it by ARG or ENV"
            yield _warning(instruction, "UndefinedVar", text)

    def _one(self, instruction: Instruction) -> Iterator[Finding]:
        match instruction:
            case ast.Cmd(command=ShellForm()) | ast.Entrypoint(command=ShellForm()):
                text = (
                    f"{instruction.keyword} in shell form gets no signals; write it as a JSON array"
                )
                yield _warning(instruction, "JSONArgsRecommended", text)
            case ast.Maintainer():
                text = "MAINTAINER is deprecated; write LABEL org.opencontainers.image.authors=..."
                yield _warning(instruction, "MaintainerDeprecated", text)
            case ast.Env(legacy=True) | ast.Label(legacy=True):
                text = f"write {instruction.keyword} NAME=VALUE, with the equals sign"
                yield _warning(instruction, "LegacyKeyValueFormat", text)
            case ast.Workdir(path=path):
                if not path.startswith(("/", "$")) and not self._workdir_known:
                    text = f"WORKDIR {path} depends on the base image's; begin it with a slash"
                    yield _warning(instruction, "WorkdirRelativePath", text)
                self._workdir_known = True
            case ast.Expose(ports=ports):
                for port in ports:
                    if port != port.lower() and "$" not in port:
                        text = f"write the protocol of {port} in lower case"
                        yield _warning(instruction, "ExposeProtoCasing", text)
        yield from self._secrets(instruction)
        yield from self._once(instruction)

    def _secrets(self, instruction: Instruction) -> Iterator[Finding]:
        names: list[str] = []
        if isinstance(instruction, ast.Env):
            names = [name for name, _ in instruction.pairs]
        elif isinstance(instruction, ast.Arg):
            names = [name for name, _ in instruction.arguments]
        for name in names:
            if _SECRET.search(name) and not _NO_SECRET.search(name):
                text = (
                    f"{name} looks like a secret, and whoever has the image reads it; use RUN "
                    "--mount=type=secret, or send it to the task when it runs"
                )
                yield _warning(instruction, "SecretsUsedInArgOrEnv", text)

    def _once(self, instruction: Instruction) -> Iterator[Finding]:
        if not isinstance(instruction, _ONCE):
            return
        kind = type(instruction)
        self._counts[kind] = self._counts.get(kind, 0) + 1
        if self._counts[kind] > 1:
            text = f"only the last {instruction.keyword} of a stage counts; remove the others"
            yield _warning(instruction, "MultipleInstructionsDisallowed", text)

    def _expand(self, text: str) -> str:
        scope = self._scope
        return expand(text, scope.lookup, self._dockerfile.escape, scope.budget)

    def _declare(self, instruction: Instruction) -> None:
        try:
            if isinstance(instruction, ast.Env):
                expanded = expand_instruction(
                    instruction, self._scope.lookup, self._dockerfile.escape, self._scope.budget
                )
                for name, value in expanded.pairs:
                    self._scope.environment[name] = self._kept[name] = value
            elif isinstance(instruction, ast.Arg):
                for name, default in instruction.arguments:
                    given = default
                    if default is not None:
                        given = self._expand(default)
                    self._scope.declare(name, given)
        except (DockerfileError, ExpansionError):
            pass  # told by `_variables`


class _Guest:
    """What will not work on a provider, as far as the text shows it."""

    def __init__(self, dockerfile: Dockerfile) -> None:
        self._dockerfile = dockerfile
        self._volumes: set[str] = set()
        self._workdir = ""

    def findings(self) -> Iterator[Finding]:
        for stage in _lineage(self._dockerfile):
            for instruction in stage.instructions:
                yield from self._one(instruction)
        if not self._volumes:
            text = "the image has no VOLUME, unless its base has: a provider can send it no file"
            yield _warning(self._dockerfile.last.from_, "NoVolume", text)

    def _one(self, instruction: Instruction) -> Iterator[Finding]:
        match instruction:
            case ast.Volume(paths=paths):
                self._volumes.update(map(posixpath.normpath, paths))
            case ast.Workdir(path=path):
                whole = posixpath.normpath(posixpath.join(self._workdir, path))
                if len(whole) > PATH_MAX:
                    return  # building tells it
                self._workdir = whole
                for volume in self._hiding(self._workdir):
                    if volume != self._workdir:
                        text = f"{path} is inside volume {volume}, which is empty on a provider"
                        yield _warning(instruction, "WorkdirInVolume", text)
            case ast.Copy(destination=destination) | ast.Add(destination=destination):
                whole = posixpath.normpath(posixpath.join(self._workdir, destination))
                for volume in self._hiding(whole):
                    text = f"{whole} is in the volume {volume}, empty on a provider; copy elsewhere"
                    yield _warning(instruction, "VolumeHidesFiles", text)
            case ast.User():
                text = "providers ignore USER and run everything as root (--keep-user keeps it)"
                yield _warning(instruction, "UserIgnored", text)
            case ast.Cmd() | ast.Entrypoint():
                text = f"providers ignore {instruction.keyword}; the requestor names the command"
                yield _warning(instruction, "CommandIgnored", text)

    def _hiding(self, path: str) -> list[str]:
        above = [path]
        while len(path) <= PATH_MAX and (path := posixpath.dirname(path)) not in {"", above[-1]}:
            above.append(path)
        return [volume for volume in above if volume in self._volumes]


def _lineage(dockerfile: Dockerfile) -> list[Stage]:
    """Return the last stage and those that it stands on, the lowest first."""
    chain: list[Stage] = []
    stage: Stage | None = dockerfile.last
    while stage is not None:
        chain.append(stage)
        stage = dockerfile.stage_before(stage.from_.image, stage.index)
    return chain[::-1]

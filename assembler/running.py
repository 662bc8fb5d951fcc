"""RUN as a step: an instruction, the image's settings and the scope become what is to be run.

BuildKit's `dispatchRun` is the reference: how here-documents reach the shell, what is in the
environment, what the history says.
"""

from __future__ import annotations

import os
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any

from assembler.dockerfile import ExecForm, ExpansionError, run_mounts
from assembler.dockerfile.heredocs import parse_opening
from assembler.errors import BuildError
from assembler.runmounts import StepMounts, find_bind, secret_values
from assembler.sandbox.command import Command, SecretFile
from assembler.scope import proxy_environment
from assembler.stepkey import CopyInputs
from assembler.users import home_of, resolve_user, supplementary_groups
from layers.tree import show

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from assembler.buildsecrets import Secret
    from assembler.dockerfile import instructions as ast
    from assembler.dockerfile.mounts import CacheMount
    from assembler.runmounts import Bind, Sources
    from assembler.scope import StageScope
    from layers.tree import Tree

DEFAULT_PATH = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
DEFAULT_SHELL = ("/bin/sh", "-c")
_SCRIPTS = "/dev/pipes"


@dataclass(frozen=True, slots=True)
class Machine:
    """What the caller lends every RUN of a build, and what is known of the sandbox."""

    secrets: Mapping[str, Secret] = field(default_factory=dict)
    network: bool = True
    """Whether there is a network at all."""
    default_network: str = "default"
    """What a RUN gets that does not choose: `none`, or the machine's."""


@dataclass(frozen=True, slots=True)
class RunStep:
    """One RUN, ready to be done, but for what has to be laid out on this machine first.

    *command* has the tmpfs mounts and the secrets. *text* is the instruction's first line, and
    *place* where it stands (`Dockerfile:7`), both for people.
    """

    command: Command
    binds: tuple[Bind, ...]
    caches: tuple[CacheMount, ...]
    place: str
    text: str


@dataclass(frozen=True, slots=True)
class Running:
    """A RUN and what it depends on."""

    step: RunStep
    history: str
    said: tuple[object, ...]
    """All inputs that are known by their text; no proxy, no secret's value."""

    def key(self, before: str, fidelity: str) -> str:
        """Return the step's key; the files of bind mounts are read for it."""
        parts = [bind.part for bind in self.step.binds]
        return CopyInputs(before, parts, "RUN", *self.said, fidelity).key({})


def run_step(
    run: ast.Run,
    settings: Mapping[str, Any],
    scope: StageScope,
    tree: Tree,
    sources: Sources,
    machine: Machine,
    stage: int = 0,
) -> Running:
    """Find and check all that an expanded RUN needs. Nothing is written.

    Raises `DockerfileError` for a mount, `BuildError` for what is not there.
    """
    shell = tuple(settings.get("Shell") or DEFAULT_SHELL)
    words, script = command_words(run, shell)
    user = str(settings.get("User") or "")
    directory = working_directory(settings, tree)
    mounts = StepMounts.of(run_mounts(run), directory)
    environment = base_environment(scope, home_of(tree, user))
    uid, gid = resolve_user(tree, user or "0")
    chosen = machine.default_network if run.network == "default" else run.network
    network = machine.network and chosen != "none"
    command = Command(
        words=words,
        environment=environment,
        directory=directory,
        uid=uid,
        gid=gid,
        groups=supplementary_groups(tree, user),
        network=network,
        mounts=mounts.tmpfs,
    )
    scripts = () if script is None else (script,)
    said = (
        words, sorted(environment.items()), directory, (uid, gid, command.groups), shell, network,
        mounts.said, [(file.target, file.data.hex()) for file in scripts],
    )  # fmt: skip
    variables, files = secret_values(mounts.secrets, machine.secrets)
    whole = environment | proxy_environment(scope.outer.arguments.given) | variables
    command = replace(command, environment=whole, secrets=(*scripts, *files))
    binds = tuple(find_bind(bind, sources, stage) for bind in mounts.binds)
    step = RunStep(command, binds, mounts.caches, run.location.place, shown(run))
    return Running(step, history_text(words, scope), said)


def command_words(run: ast.Run, shell: Sequence[str]) -> tuple[tuple[str, ...], SecretFile | None]:
    """Return the words to be executed, and the script that they name, if there is one.

    A command that is a here-document alone is its text: the shell runs it, or, where it begins
    with `#!`, it is a file. Any other here-document goes to the shell as it stands, which expands
    it and takes off its tabs, or not.
    """
    if isinstance(run.command, ExecForm):
        return run.command.words, None
    text = run.command.text
    if not run.heredocs:
        return (*shell, text), None
    if not _is_opening(text):
        text = "".join([text, *(f"\n{doc.content}{doc.name}" for doc in run.heredocs)])
        return (*shell, text), None
    heredoc = run.heredocs[0]
    if not heredoc.text.startswith("#!"):
        return (*shell, heredoc.text), None
    if heredoc.name in {"", ".", ".."} or "/" in heredoc.name:
        raise BuildError(f"a script cannot be called {heredoc.name!r}; take another delimiter")
    path = f"{_SCRIPTS}/{heredoc.name}"
    script = SecretFile(path, heredoc.text.encode("utf-8", "surrogateescape"), 0o755, 0, 0)
    return (*shell, path), script


def base_environment(scope: StageScope, home: str) -> dict[str, str]:
    """Return what RUN has in its environment, proxies and secrets aside."""
    environment = dict(scope.environment)
    environment.setdefault("PATH", DEFAULT_PATH)
    if not environment.get("HOME"):
        environment["HOME"] = home
    return environment


def history_text(words: Sequence[str], scope: StageScope) -> str:
    """Return what the history says after RUN: `|N`, the stage's ARGs as declared, the words."""
    pairs = [
        f"{name}={scope.environment.get(name, value)}" for name, value in scope.declared.items()
    ]
    return " ".join([*([f"|{len(pairs)}", *pairs] if pairs else ()), *words])


def working_directory(settings: Mapping[str, Any], tree: Tree) -> str:
    """Return where RUN works; raise `BuildError` if something else is there."""
    path = "/" + str(settings.get("WorkingDir") or "").lstrip("/")
    names = tree.resolve(os.fsencode(path))
    for count in range(1, len(names) + 1):
        node = tree.find(b"/".join(names[:count]), follow=False)
        if node is None:
            break
        if not node.is_directory:
            raise BuildError(
                f"{show(b'/'.join(names[:count]))}, on the way to the working directory, is no "
                "directory in the image; set WORKDIR"
            )
    return path


def shown(run: ast.Run) -> str:
    """Return a RUN in one line, for people."""
    if isinstance(run.command, ExecForm):
        return " ".join(run.command.words)
    text = run.command.text
    if run.heredocs and _is_opening(text):
        lines = run.heredocs[0].text.strip().splitlines() or [""]
        text = lines[0] + ("..." if len(lines) > 1 else "")
    return " ".join(text.split())


def _is_opening(text: str) -> bool:
    try:
        return parse_opening(text) is not None
    except ExpansionError:
        return False

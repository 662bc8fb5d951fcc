"""RUN, done: a root for the command, the command in its sandbox, and a layer of what it changed."""

from __future__ import annotations

import os
from contextlib import ExitStack
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

from assembler.cachemounts import CacheName, open_cache
from assembler.errors import RunError, SandboxError
from assembler.runmounts import bound_tree
from assembler.runoutput import RunOutput
from assembler.sandbox import ladder, linux, records
from assembler.sandbox.command import Mount, SecretFile
from assembler.sandbox.job import Harvest, Job, Owned, Run, Unpack
from assembler.sandbox.roots import Roots
from assembler.sandbox.runner import Listener, Outcome, TimedOut, perform
from assembler.sandbox.treearea import TreeArea
from layers import descriptor as media
from layers.changes import Changes
from layers.descriptor import Descriptor
from layers.errors import StoreError
from layers.layerwriter import LayerWriter
from layers.merge import LayerIndex, apply_layer
from layers.spool import NamedSpool
from layers.store import explained
from layers.tarindex import index_layer

if TYPE_CHECKING:
    from assembler.progress import Progress
    from assembler.request import RunOptions
    from assembler.running import RunStep
    from assembler.sandbox.command import Command
    from assembler.sandbox.job import Root
    from assembler.sandbox.roots import Prepared, Standing
    from assembler.sandbox.rungs import Rung
    from layers.session import Session
    from layers.tree import Tree

_HOSTNAME = "golem-assemble"
_ROOM = 1 << 16
"""Bytes on a disk that count as nothing."""
_APT = SecretFile(
    "/dev/.sandbox/apt.conf", b'APT::Sandbox::User "root";\n', mode=0o644, uid=0, gid=0
)
"""apt would give up its rights for those of a user who, with one id, does not exist."""


@dataclass(frozen=True, slots=True)
class _Arranged:
    """A command with all that it will see, and what must be laid out before."""

    command: Command
    unpack: tuple[Unpack, ...]
    owned: tuple[Owned, ...]
    files: tuple[int, ...]


class Commands:
    """Does the RUNs of one build, all in sandboxes of one kind."""

    def __init__(
        self,
        session: Session,
        progress: Progress,
        stack: ExitStack,
        options: RunOptions,
        latest: int | None,
    ) -> None:
        """Choose a sandbox, by trying; *latest* is the latest time that a file may have.

        What is made lasts as long as *stack*. Raises `SandboxError` where nothing works.
        """
        self._session = session
        self._progress = progress
        self._stack = stack
        self._options = options
        self._latest = latest
        self._area = TreeArea(session.store.root)
        with explained(session.store.root):
            self._area.sweep()
            self._rung = ladder.choose(options.sandbox, self._area)
        self._roots = Roots(self._area, self._rung, stack)
        self._warned = False
        if self._rung.isolation == "proot":
            linux.hide_memory()  # the command has the machine's /proc, and is this user
        progress.note("sandbox", describe(self._rung))

    @property
    def fidelity(self) -> str:
        """What becomes of owners: layers of different fidelity are different."""
        return self._rung.fidelity

    def run(self, step: RunStep, tree: Tree, standing: Standing) -> Descriptor:
        """Do *step* upon *tree*, which stands on disk as *standing* says; return the layer.

        Raises `RunError` for a command that fails, `StoreError` where there is no room for it.
        """
        with explained(self._session.store.root):
            return self._run(step, tree, standing)

    def _run(self, step: RunStep, tree: Tree, standing: Standing) -> Descriptor:
        output = RunOutput(step.place, self._progress.output, self._options.output_limit)
        spool = NamedSpool(self._stack.enter_context(self._session.store.area.file()))
        writer = LayerWriter(spool)

        def harvested(data: bytes) -> None:
            writer.append(data)
            self._session.limits.check("total_bytes", writer.size, f"{step.place}: what RUN made")

        try:
            with ExitStack() as stack:
                prepared = self._roots.prepare(tree, standing, stack)
                arranged = self._arrange(step, prepared.root, stack)
                listener = Listener(output.add, harvested, self._session.check)
                outcome = self._perform(step, tree, arranged, prepared, listener)
                output.finish()
                self._warn(outcome)
                # Here: without the copy that the command ran in, the disk may not be full any more.
                self._check(step, outcome, output)
            digest = writer.finish()
        finally:
            writer.close()
        layer = Descriptor(media.OCI_LAYER_TAR, digest, spool.size)
        self._session.store.keep(layer, spool)
        entries = list(index_layer(spool, str(digest), self._session.limits))
        apply_layer(tree, LayerIndex(str(digest), entries, spool), self._session.limits)
        left = outcome.facts.get("left", [])
        paths = [os.fsencode(path) for path in left] if left is not None else None
        self._roots.changed(standing, prepared.root, paths)
        return layer

    def _perform(
        self, step: RunStep, tree: Tree, arranged: _Arranged, prepared: Prepared, listener: Listener
    ) -> Outcome:
        rung, command = self._rung, arranged.command
        records_owners = rung.records(command.uid)
        run = Run(
            command=command,
            root=prepared.root,
            isolation=rung.isolation,
            fixed_identity=rung.fixed_identity,
            seccomp=rung.seccomp(command.uid, network=command.network),
            listener=records_owners,
            capabilities=rung.capabilities,
        )
        hidden = records.hidden_owners(tree, rung.ids)
        default = command.uid, command.gid
        job = Job(
            namespace=rung.namespace_for(command.uid, command.gid),
            unpack=(*arranged.unpack, *prepared.unpack),
            owned=arranged.owned,
            run=run,
        )
        one_id = rung.fixed_identity

        def complete(out: int) -> Job:
            return replace(job, harvest=Harvest(out, self._latest, one_id, hidden, default))

        files = {*arranged.files, *prepared.files}
        try:
            return perform(complete, listener, files=files, timeout=self._options.timeout)
        except TimedOut:
            raise RunError(
                f"{step.place}: RUN {step.text}: it took longer than "
                f"{self._options.timeout:g} s and was ended; --run-timeout allows more"
            ) from None

    def _warn(self, outcome: Outcome) -> None:
        if outcome.facts.get("shared_proc") and not self._warned:
            self._warned = True
            self._progress.warn(
                "RUN: parts of this machine's /proc are covered, as in many containers, so RUN has "
                "no /proc of its own: it sees the names and arguments of processes that begin "
                "after it (docs/security.md)"
            )

    def _check(self, step: RunStep, outcome: Outcome, output: RunOutput) -> None:
        what = f"{step.place}: RUN {step.text}"
        outcome.check_room()
        if outcome.failed:
            raise SandboxError(f"{what}: the sandbox ({self._rung.name}) failed: {outcome.failed}")
        if outcome.exec:
            raise RunError(f"{what}: {outcome.exec}")
        if outcome.limit:
            raise RunError(f"{what}: it was ended, having {outcome.limit}{output.last_lines()}")
        if outcome.signal:
            raise RunError(f"{what}: it was killed by signal {outcome.signal}{output.last_lines()}")
        if outcome.exit and _is_full(self._session.store.root):
            raise StoreError(
                f"{what}: it ended with status {outcome.exit}, as {self._session.store.root} is "
                f"full; make room there, or name another place by --store{output.last_lines()}"
            )
        if outcome.exit:
            raise RunError(f"{what}: it ended with status {outcome.exit}{output.last_lines()}")

    def _arrange(self, step: RunStep, root: Root, stack: ExitStack) -> _Arranged:
        """Lay out on this machine what the command's mounts show."""
        mounts = list(step.command.mounts)
        unpack: list[Unpack] = []
        owned: list[Owned] = []
        files: list[int] = []
        for number, bind in enumerate(step.binds):
            bound = bound_tree(bind, self._begin)
            packed, sources = records.records_of(bound.tree)
            descriptors = tuple(source.fileno() for source in sources)
            target, ids = f"{root.step}/bound-{number}", self._rung.ids
            order = Unpack(
                target, records.pack(packed), descriptors, ids.uids, ids.gids, devices=False
            )
            unpack.append(order)
            files += descriptors
            source = os.path.join(target, os.fsdecode(bound.path)) if bound.path else target
            mounts.append(Mount(bound.target, source, bound.readonly))
        for cache in step.caches:
            name = CacheName.of(cache, self._rung.manner)
            store = self._session.store.root
            path = stack.enter_context(open_cache(store, name, cache.sharing))
            if self._rung.namespace is not None and (cache.uid or cache.gid):
                owned.append(Owned(str(path), cache.uid or 0, cache.gid or 0))
            mounts.append(Mount(cache.target, str(path), cache.readonly))
        command = self._with_files(replace(step.command, mounts=tuple(mounts)))
        return _Arranged(command, tuple(unpack), tuple(owned), tuple(files))

    def _with_files(self, command: Command) -> Command:
        """Add the files that every command sees: how names are found, and apt's setting."""
        machine = [
            SecretFile("/etc/resolv.conf", _read("/etc/resolv.conf"), 0o644, 0, 0),
            SecretFile("/etc/hosts", _hosts(), 0o644, 0, 0),
        ]
        environment = dict(command.environment)
        if self._rung.one_id and command.uid == 0 and "APT_CONFIG" not in environment:
            machine.append(_APT)
            environment["APT_CONFIG"] = _APT.target
        if self._rung.program:
            command = replace(command, words=(self._rung.program, *command.words))
        secrets = (*machine, *command.secrets)
        return replace(command, secrets=secrets, environment=environment)

    def _begin(self, tree: Tree) -> Changes:
        area, stack = self._session.store.area, self._stack
        return Changes(tree, lambda: NamedSpool(stack.enter_context(area.file())))


def _is_full(root: Path) -> bool:
    found = os.statvfs(root)
    return found.f_bavail * found.f_frsize < _ROOM


def describe(rung: Rung) -> str:
    """Return a line for people: which kind of sandbox RUN has."""
    way = "" if rung.overlay else ", without an overlay"
    return f"RUN: {rung.name} ({rung.about}{way}); owners: {rung.fidelity}"


def _hosts() -> bytes:
    hosts = _read("/etc/hosts") or b"127.0.0.1 localhost\n::1 localhost\n"
    return hosts.rstrip(b"\n") + f"\n127.0.1.1 {_HOSTNAME}\n".encode()


def _read(path: str) -> bytes:
    try:
        return Path(path).read_bytes()
    except OSError:
        return b""

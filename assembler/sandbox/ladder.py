"""Which way to run commands this machine has: each is tried by doing it, the best is taken."""

from __future__ import annotations

import os
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

from assembler.errors import BuildError, SandboxError
from assembler.sandbox import records
from assembler.sandbox.command import Command
from assembler.sandbox.job import Job, Root, Run, Unpack
from assembler.sandbox.rungs import NAMES, Missing, Rung, all_rungs
from assembler.sandbox.runner import perform
from layers.kinds import Kind
from layers.tree import Node, Tree

if TYPE_CHECKING:
    from assembler.sandbox.treearea import TreeArea

AUTO = "auto"
_OF_USERS = ("recorded", "ranges", "root", "chroot", "proot")
"""What is most likely to help first; `faked` lacks what `recorded` lacks."""
_OF_ROOT = ("root", "chroot", "ranges", "recorded", "proot")


@dataclass(frozen=True, slots=True)
class Probe:
    """What came of trying a way: *rung*, as it can be used, or *reason*, why it cannot."""

    name: str
    about: str
    rung: Rung | None
    reason: str
    """Where *rung* is there all the same: what it has to do without."""
    remedy: str

    def fields(self) -> dict[str, Any]:
        """Return everything, as JSON has it."""
        return {
            "name": self.name,
            "about": self.about,
            "works": self.rung is not None,
            "overlay": self.rung is not None and self.rung.overlay,
            "owners": self.rung.fidelity if self.rung else None,
            "reason": self.reason,
            "remedy": self.remedy if self.rung is None else "",
        }


def probe_all(area: TreeArea) -> list[Probe]:
    """Try all ways, best first."""
    return [_probe(candidate, area) for candidate in all_rungs()]


def choose(wanted: str, area: TreeArea) -> Rung:
    """Return the best way, or the one called *wanted*; raise `SandboxError` if there is none."""
    if wanted != AUTO and wanted not in NAMES:
        raise BuildError(f"--sandbox {wanted}: choose one of {AUTO}, {', '.join(NAMES)}")
    failed = []
    for candidate in all_rungs():
        if wanted not in {AUTO, candidate.name}:
            continue
        probe = _probe(candidate, area)
        if probe.rung is not None:
            return probe.rung
        failed.append(probe)
    raise SandboxError(_refusal(wanted, failed))


def _refusal(wanted: str, failed: list[Probe]) -> str:
    """Return a line for each way, what is easiest to mend first, and the way around all of them."""
    if wanted == AUTO:
        order = _OF_ROOT if os.geteuid() == 0 else _OF_USERS
        failed = sorted(
            (probe for probe in failed if probe.name in order),
            key=lambda probe: order.index(probe.name),
        )
    lines = [f"  {probe.name:<9} {probe.reason}; {probe.remedy}" for probe in failed]
    head = "RUN cannot be done here; any one of these is enough:"
    if len(lines) == 1:
        head = "RUN cannot be done here in the way that was asked for:"
    return "\n".join(
        [
            head,
            *lines,
            "  elsewhere build there with --output type=oci,dest=FILE, and name it here: FROM with "
            "--build-context NAME=oci-archive:FILE",
        ]
    )


def _probe(candidate: Rung | Missing, area: TreeArea) -> Probe:
    if isinstance(candidate, Missing):
        return Probe(candidate.name, candidate.about, None, candidate.reason, candidate.remedy)
    reason = _try(candidate, area)
    rung: Rung | None = candidate if not reason else None
    if reason and candidate.overlay:
        # No overlay, as where the store itself is on one: an unpacked copy does as well, slower.
        plain = replace(candidate, overlay=False)
        if not _try(plain, area):
            rung = plain
    return Probe(candidate.name, candidate.about, rung, reason, candidate.remedy)


def _try(rung: Rung, area: TreeArea) -> str:
    """Run nothing in an image of nothing; return why that does not work, or nothing."""
    namespace = rung.namespace_for(0, 0)
    with area.folder(rung.namespace) as step:
        packed, _ = records.records_of(_nothing())
        lower, ids = str(step / "tree"), rung.ids
        order = Unpack(lower, records.pack(packed), (), ids.uids, ids.gids, devices=False)
        for name in ("upper", "work", "root"):
            (step / name).mkdir()
        words = (rung.program, "/bin/true") if rung.program else ()
        run = Run(
            command=Command(words, {}, "/", 0, 0, (), network=True),
            # proot has no program in an image of nothing: it is tried upon this machine's own root.
            root=Root(
                lowers=("/" if rung.program else lower,), step=str(step), overlay=rung.overlay,
                user_xattrs=namespace is not None,
            ),
            isolation=rung.isolation, fixed_identity=rung.fixed_identity,
            seccomp=rung.seccomp(0, network=True), listener=rung.records(0),
            capabilities=rung.capabilities,
        )  # fmt: skip
        outcome = perform(lambda _: Job(namespace, unpack=(order,), run=run))
    outcome.check_room()
    if outcome.signal or outcome.limit:
        return "the probe was killed"
    if outcome.exit and not outcome.exec:
        return f"the probe ended with status {outcome.exit}"
    return outcome.failed or outcome.exec


def _nothing() -> Tree:
    tree = Tree()
    for name in (b"etc", b"dev", b"proc", b"sys", b"tmp"):
        tree.root.children[name] = Node(Kind.DIRECTORY, 0o755)
    return tree

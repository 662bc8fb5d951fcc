"""The sandbox's own program: started by the builder, with nothing of the builder's in its memory.

    python -I -S -c "..." SPEC CONTROL LIFELINE

SPEC is a descriptor of a packed `job.Job`, CONTROL one to tell the builder how it goes, a JSON
object a line, LIFELINE a pipe that ends when the builder does: then everything here ends.

The processes, each the parent of the next:

    program      does the job's parts; in its own user namespace, if the job has one
    supervisor   in the new namespaces, but not that of processes; watches the lifeline, and
                 records owners
    first        process 1 of the new PID namespace: shows the root, reaps (`view`, `init`)
    command      what is run
"""

from __future__ import annotations

import json
import os
import select
import signal
import socket
import sys
from contextlib import contextmanager, suppress
from typing import TYPE_CHECKING, Any, NoReturn

from assembler.sandbox import attributes, init, job, linux, userns
from assembler.sandbox.descendants import descendants, kill_descendants
from assembler.sandbox.harvest import harvest
from assembler.sandbox.manner import ExactOwners, Manner, RecordedOwners
from assembler.sandbox.original import LowerDirectory, Unpacked, take_snapshot
from assembler.sandbox.places import ViewError
from assembler.sandbox.recorder import Recorder
from assembler.sandbox.records import IdRanges, unpack_records
from assembler.sandbox.removal import remove_tree
from assembler.sandbox.surroundings import surroundings
from assembler.sandbox.unpacking import copy_metadata, unpack
from assembler.sandbox.view import View, link_lowers, show_lowers

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from assembler.sandbox.manner import Ownership

    Tell = Callable[..., None]

HOSTNAME = "golem-assemble"


def main() -> NoReturn:
    """Do the job; the exit status only says whether that worked."""
    spec, control, lifeline = map(int, sys.argv[1:4])
    with open(spec, "rb") as file:
        wanted = job.unpack(file.read())
    for descriptor in os.listdir("/proc/self/fd"):
        if int(descriptor) > 2:
            with suppress(OSError):
                os.set_inheritable(int(descriptor), False)
    tell = _teller(control)
    with _telling(tell):
        perform(wanted, lifeline, tell)
    sys.exit(0)


def _teller(descriptor: int) -> Tell:
    def tell(**message: Any) -> None:
        os.write(descriptor, json.dumps(message).encode() + b"\n")

    return tell


@contextmanager
def _telling(tell: Tell) -> Iterator[None]:
    """Tell of a failure inside the block, as `failed`."""
    try:
        yield
    except ViewError as error:
        tell(failed=str(error))
    except OSError as error:
        what = error.filename if isinstance(error.filename, str) else ""
        tell(failed=": ".join(filter(None, [what, error.strerror or str(error)])))
    except Exception as error:  # the last resort, as in the command line
        tell(failed=f"unexpected {type(error).__name__}: {error}; this is a bug")


def perform(wanted: job.Job, lifeline: int, tell: Tell) -> None:
    """Do the parts of a job in order."""
    if wanted.namespace is not None:
        userns.enter(wanted.namespace)
    linux.hide_memory()
    if wanted.remove:
        for path in wanted.remove:
            remove_tree(path)
    for order in wanted.unpack:
        _unpack(order)
    for folder in wanted.owned:
        os.chown(folder.path, folder.uid, folder.gid, follow_symlinks=False)
    if wanted.run is None:
        return
    root = wanted.run.root
    if root.overlay:
        link_lowers(root)
        # The root that an overlay shows is that of its upper directory.
        copy_metadata(os.fsencode(root.lowers[0]), os.fsencode(f"{root.step}/upper"))
    snapshot = None
    if wanted.harvest is not None and not root.overlay:
        snapshot = take_snapshot(root.plain)
    outcome = _run(wanted.run, lifeline, tell)
    if outcome.get("exit") == 0 and wanted.harvest is not None:
        _harvest(wanted, wanted.harvest, root, snapshot, outcome["made"])
    tell(**outcome)


def _unpack(order: job.Unpack) -> None:
    ids = IdRanges(order.uids, order.gids)
    records = unpack_records(order.records)
    unpack(
        records,
        order.files,
        order.target,
        ids,
        devices=order.devices,
        overlay=order.overlay,
        beneath=order.beneath,
    )


def _run(run: job.Run, lifeline: int, tell: Tell) -> dict[str, Any]:
    """Run in a process of its own; return what it told, the last word of each kind."""
    ours, theirs = os.pipe()
    supervisor = os.fork()
    if supervisor == 0:
        os.close(ours)
        _supervise(run, lifeline, theirs)
    os.close(theirs)
    outcome: dict[str, Any] = {"made": []}
    with open(ours, "rb") as stream:
        for line in stream:
            outcome |= json.loads(line)
    os.waitpid(supervisor, 0)
    if not outcome.keys() & {"exit", "signal", "limit", "failed"}:
        outcome["failed"] = "the sandbox's own process was killed"
    return outcome


def _harvest(
    wanted: job.Job, order: job.Harvest, root: job.Root, snapshot: Any, made: list[str]
) -> None:
    ownership: Ownership = ExactOwners(order.hidden)
    if order.one_id:
        ownership = RecordedOwners(order.hidden, order.default)
    points = frozenset(os.fsencode(path).lstrip(b"/") for path in made)
    manner = Manner(ownership, order.latest, points)
    if root.overlay:
        prefix = attributes.USER_OVERLAY if root.user_xattrs else attributes.TRUSTED_OVERLAY
        harvest(f"{root.step}/upper", LowerDirectory(show_lowers(root), prefix), order.out, manner)
        return
    unpacked = wanted.unpack[-1]
    original = Unpacked(unpack_records(unpacked.records), unpacked.files, snapshot)
    harvest(root.plain, original, order.out, manner)


def _supervise(run: job.Run, lifeline: int, report: int) -> NoReturn:
    tell = _teller(report)
    os.umask(0o022)
    try:
        with _telling(tell):
            if run.isolation == "namespaces":
                _supervise_namespaces(run, lifeline, tell)
            else:
                _supervise_tree(run, lifeline, tell)
    finally:
        os._exit(0)


def _supervise_namespaces(run: job.Run, lifeline: int, tell: Tell) -> None:
    proc = os.open("/proc", os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    flags = linux.CLONE_NEWNS | linux.CLONE_NEWPID | linux.CLONE_NEWIPC | linux.CLONE_NEWUTS
    linux.unshare(flags | (0 if run.command.network else linux.CLONE_NEWNET))
    view = View(run)
    view.prepare()
    ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_STREAM)
    first = os.fork()
    if first == 0:
        ours.close()
        os.close(proc)
        _be_first(run, view, theirs, tell)
    theirs.close()
    try:
        _watch(first, lifeline, ours, proc)
    finally:
        with suppress(ProcessLookupError):
            os.kill(first, signal.SIGKILL)
        os.waitpid(first, 0)


def _watch(first: int, lifeline: int, channel: socket.socket, proc: int) -> None:
    """Answer the listener, if one comes through *channel*, until *first* or the builder ends."""
    ended = os.pidfd_open(first)
    poll = select.poll()
    for descriptor in (ended, lifeline, channel.fileno()):
        poll.register(descriptor, select.POLLIN)
    recorder = None
    while True:
        ready = {descriptor for descriptor, _ in poll.poll()}
        if ready & {ended, lifeline}:
            return
        if channel.fileno() in ready:
            _, listeners, _, _ = socket.recv_fds(channel, 1, 1)
            poll.unregister(channel)
            if listeners:
                recorder = Recorder(listeners[0], proc)
                poll.register(listeners[0], select.POLLIN)
        elif recorder is not None and not recorder.answer():
            poll.unregister(recorder.descriptor)


def _be_first(run: job.Run, view: View, channel: socket.socket, tell: Tell) -> NoReturn:
    linux.die_with_parent(signal.SIGKILL)
    linux.hide_memory()
    try:
        with _telling(tell):
            init.block_children_signal()
            own = view.mount_proc()
            view.enter()
            view.arrange()
            os.makedirs(run.command.directory, exist_ok=True)
            linux.set_hostname(HOSTNAME)
            if not run.command.network:
                linux.bring_up_loopback()
            tell(made=view.places.made)
            command = init.start(run, channel, tell)
            channel.close()
            tell(**init.wait(command, run.limits, _count_processes if own else None))
    finally:
        os._exit(0)


def _supervise_tree(run: job.Run, lifeline: int, tell: Tell) -> None:
    """Without namespaces: descendants are found and killed one by one when the command ends."""
    linux.adopt_orphans()
    init.block_children_signal()
    proc = os.open("/proc", os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        with surroundings(run) as (inside, made):
            tell(made=made)
            if run.isolation == "chroot":
                os.makedirs(run.command.directory, exist_ok=True)
            command = init.start(inside, None, tell)
            ended = init.wait(
                command, run.limits, lambda: len(descendants(proc)), lambda: _ended(lifeline)
            )
            kill_descendants(proc)
    finally:
        kill_descendants(proc)
    tell(**ended)


def _ended(lifeline: int) -> bool:
    return bool(select.select([lifeline], [], [], 0)[0])


def _count_processes() -> int:
    return sum(name.isdigit() for name in os.listdir("/proc"))


if __name__ == "__main__":
    main()

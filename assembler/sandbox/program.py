"""The sandbox's own program: started by the builder, with nothing of the builder's in its memory.

    python -I -S -c "..." SPEC CONTROL LIFELINE

SPEC is a descriptor of a packed `job.Job`, CONTROL one to tell the builder how it goes, a JSON
object a line, LIFELINE a pipe that ends when the builder does: then everything here ends. So it
does when one of the processes is killed: each is watched by its child, and its own are found and
killed by its parent.

The processes, each the parent of the next:

    program      does the job's parts; in its own user namespace, if the job has one
    supervisor   in the new namespaces, but not that of processes; watches the lifeline, and
                 records owners
    first        process 1 of the new PID namespace: shows the root, reaps (`view`, `init`)
    command      what is run
"""

from __future__ import annotations

import errno
import json
import os
import select
import signal
import socket
import sys
from contextlib import contextmanager, suppress
from typing import TYPE_CHECKING, Any, NamedTuple, NoReturn

from assembler.sandbox import attributes, init, job, linux, userns
from assembler.sandbox.descendants import count_threads, descendants, kill_descendants
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

_LEFT_MAX = 10_000
_FULL = {errno.ENOSPC, errno.EDQUOT, errno.EFBIG}
HOSTNAME = "golem-assemble"


def main() -> NoReturn:
    """Do the job; the exit status only says whether that worked."""
    spec, control, lifeline = map(int, sys.argv[1:4])
    signal.signal(signal.SIGINT, signal.SIG_IGN)
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
        reason = ": ".join(filter(None, [what, error.strerror or str(error)]))
        tell(failed=reason, full=error.errno in _FULL)
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
    outcome = _run(wanted, wanted.run, lifeline)
    if outcome.get("exit") == 0 and wanted.harvest is not None:
        outcome["left"] = _harvest(wanted, wanted.harvest, root, snapshot, outcome["made"])
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


def _run(wanted: job.Job, run: job.Run, lifeline: int) -> dict[str, Any]:
    """Run in a process of its own; return what it told, the last word of each kind."""
    linux.adopt_orphans()
    proc = os.open("/proc", os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    ours, theirs = os.pipe()
    supervisor = os.fork()
    if supervisor == 0:
        os.close(ours)
        _close_files(wanted)
        _supervise(run, Watched(lifeline, theirs), proc)
    os.close(theirs)
    outcome: dict[str, Any] = {"made": []}
    with open(ours, "rb") as stream:
        for line in stream:
            outcome |= json.loads(line)
    os.waitpid(supervisor, 0)
    # There is something only if the supervisor was killed.
    kill_descendants(proc)
    os.close(proc)
    if not outcome.keys() & {"exit", "signal", "limit", "failed"}:
        outcome["failed"] = "the sandbox's own process was killed"
    return outcome


def _close_files(wanted: job.Job) -> None:
    """Close what only the program itself needs: the store's files, and the layer in the making."""
    descriptors = {number for order in wanted.unpack for number in order.files}
    if wanted.harvest is not None:
        descriptors.add(wanted.harvest.out)
    for descriptor in descriptors:
        os.close(descriptor)


def _harvest(
    wanted: job.Job, order: job.Harvest, root: job.Root, snapshot: Any, made: list[str]
) -> list[str] | None:
    """Write the layer; return what is on disk beside it, `None` for too much to be told."""
    ownership: Ownership = ExactOwners(order.hidden)
    if order.one_id:
        ownership = RecordedOwners(order.hidden, order.default)
    points = frozenset(os.fsencode(path).lstrip(b"/") for path in made)
    manner = Manner(ownership, order.latest, points)
    if root.overlay:
        prefix = attributes.USER_OVERLAY if root.user_xattrs else attributes.TRUSTED_OVERLAY
        lower = LowerDirectory(show_lowers(root), prefix)
        left = harvest(f"{root.step}/upper", lower, order.out, manner).left
        return [os.fsdecode(path) for path in left] if len(left) <= _LEFT_MAX else None
    unpacked = wanted.unpack[-1]
    original = Unpacked(unpack_records(unpacked.records), unpacked.files, snapshot)
    harvest(root.plain, original, order.out, manner)
    return []


class Watched(NamedTuple):
    """What ends the supervisor when it ends: two pipes' ends."""

    lifeline: int
    """The builder holds the other end."""
    report: int
    """To the program."""

    def has_ended(self) -> bool:
        """Whether one of them has."""
        poll = select.poll()
        self.register(poll)
        return bool(poll.poll(0))

    def register(self, poll: select.poll) -> None:
        """Have *poll* tell of the end."""
        poll.register(self.lifeline, select.POLLIN)
        poll.register(self.report, 0)  # an error, once nobody reads it


def _supervise(run: job.Run, watched: Watched, proc: int) -> NoReturn:
    tell = _teller(watched.report)
    os.umask(0o022)
    try:
        with _telling(tell):
            if run.isolation == "namespaces":
                _supervise_namespaces(run, watched, proc, tell)
            else:
                _supervise_tree(run, watched, proc, tell)
    finally:
        os._exit(0)


def _supervise_namespaces(run: job.Run, watched: Watched, proc: int, tell: Tell) -> None:
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
        _watch(first, watched, ours, proc)
    finally:
        with suppress(ProcessLookupError):
            os.kill(first, signal.SIGKILL)
        os.waitpid(first, 0)


def _watch(first: int, watched: Watched, channel: socket.socket, proc: int) -> None:
    """Answer the listener, if one comes through *channel*, until *first* or a parent ends."""
    ended = os.pidfd_open(first)
    poll = select.poll()
    watched.register(poll)
    for descriptor in (ended, channel.fileno()):
        poll.register(descriptor, select.POLLIN)
    recorder = None
    while True:
        ready = {descriptor for descriptor, _ in poll.poll()}
        if ready & {ended, *watched}:
            return
        if channel.fileno() in ready:
            _, listeners, _, _ = socket.recv_fds(channel, 1, 1)  # from the command, unexecuted
            poll.unregister(channel)
            if listeners:
                recorder = Recorder(listeners[0], proc)
                poll.register(listeners[0], select.POLLIN)
        elif recorder is not None and not recorder.answer():
            poll.unregister(recorder.descriptor)


def _be_first(run: job.Run, view: View, channel: socket.socket, tell: Tell) -> NoReturn:
    linux.die_with_parent(signal.SIGKILL)
    linux.hide_memory()
    if select.select([channel], [], [], 0)[0]:
        os._exit(0)  # the parent had ended before
    try:
        with _telling(tell):
            init.block_children_signal()
            own = view.mount_proc()
            view.enter()
            init.empty_stdin()
            view.arrange()
            os.makedirs(run.command.directory, exist_ok=True)
            linux.set_hostname(HOSTNAME)
            if not run.command.network:
                linux.bring_up_loopback()
            tell(made=view.places.made, shared_proc=not own)
            command = init.start(run, channel, tell)
            channel.close()
            tell(**init.wait(command, run.limits, _count_threads if own else None))
    finally:
        os._exit(0)


def _supervise_tree(run: job.Run, watched: Watched, proc: int, tell: Tell) -> None:
    """Without namespaces: descendants are found and killed one by one when the command ends."""
    linux.adopt_orphans()
    init.block_children_signal()
    with surroundings(run) as (inside, made):
        tell(made=made)
        if run.isolation == "chroot":
            os.makedirs(run.command.directory, exist_ok=True)
        command = init.start(inside, None, tell)
        try:
            ended = init.wait(
                command, run.limits, lambda: count_threads(proc, descendants(proc)),
                watched.has_ended,
            )  # fmt: skip
        finally:
            kill_descendants(proc)
    tell(**ended)


def _count_threads() -> int:
    proc = os.open("/proc", os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        return count_threads(proc, [int(name) for name in os.listdir(proc) if name.isdigit()])
    finally:
        os.close(proc)


if __name__ == "__main__":
    main()

"""The first process of a sandbox, and the command that it starts.

In a PID namespace the first process is special: orphans become its children, signals from inside do
not reach it, and when it ends the kernel ends all others.
"""

from __future__ import annotations

import os
import resource
import signal
import socket
from typing import TYPE_CHECKING, NoReturn

from assembler.sandbox import linux

if TYPE_CHECKING:
    from collections.abc import Callable

    from assembler.sandbox.job import Limits, Run

_LOOK = 0.1
"""Seconds between two looks at how many processes there are."""
_SPARE = 256
"""Processes that the kernel allows beyond the limit: so that it is us who notice, and say so."""
_NOT_FOUND, _NOT_EXECUTABLE = 127, 126


def start(run: Run, channel: socket.socket | None, tell: Callable[..., None]) -> int:
    """Fork the command; return its process id. Its filter's listener goes through *channel*."""
    command = os.fork()
    if command == 0:
        _become(run, channel, tell)
    return command


def wait(
    command: int,
    limits: Limits,
    count: Callable[[], int] | None,
    stop: Callable[[], bool] | None = None,
) -> dict[str, int | str]:
    """Reap everything until *command* ends; tell how, as `exit`, `signal` or `limit`.

    *count* tells how many processes there are; past the limit all is over. So it is once *stop*
    says so.
    """
    while True:
        process, status = os.waitpid(-1, os.WNOHANG)
        if process == command:
            if os.WIFSIGNALED(status):
                return {"signal": os.WTERMSIG(status)}
            return {"exit": os.WEXITSTATUS(status)}
        if process:
            continue
        if count is not None and count() > limits.processes:
            return {"limit": f"more than {limits.processes:,} processes and threads at once"}
        if stop is not None and stop():
            return {"signal": signal.SIGKILL}
        signal.sigtimedwait({signal.SIGCHLD}, _LOOK)


def empty_stdin() -> None:
    """Read from the /dev/null of this root: the machine's own could be given another mode."""
    descriptor = os.open("/dev/null", os.O_RDONLY)
    os.dup2(descriptor, 0)
    os.close(descriptor)


def block_children_signal() -> None:
    """Have SIGCHLD wait until `wait` asks for it."""
    signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGCHLD})


def _become(run: Run, channel: socket.socket | None, tell: Callable[..., None]) -> NoReturn:
    command = run.command
    try:
        _restrict(run, channel)
        os.chdir(command.directory)
        if not command.words:
            # A probe: whether owners can be changed is what sandboxes differ in. A recorder looks
            # into this process, as it may into any program that was executed.
            linux.hide_memory(hidden=False)
            os.chown("/etc", 1, 1)
            os._exit(0)
        # What is to be run, by whatever program the image has.
        os.execvpe(command.words[0], command.words, dict(command.environment))  # noqa: S606
    except OSError as error:
        missing = isinstance(error, FileNotFoundError)
        reason = "there is no such program in the image" if missing else error.strerror
        tell(exec=f"{command.words[0] if command.words else 'the probe'}: {reason}")
        os._exit(_NOT_FOUND if missing else _NOT_EXECUTABLE)


def _restrict(run: Run, channel: socket.socket | None) -> None:
    """Give up what the command must not have; each step needs what later ones take away."""
    command = run.command
    signal.pthread_sigmask(signal.SIG_SETMASK, set())
    for number in (signal.SIGPIPE, signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, signal.SIG_DFL)
    os.umask(0o022)
    _limit(run.limits)
    linux.drop_capabilities(run.capabilities)
    if not run.fixed_identity:
        os.setgroups(command.groups)
        os.setresgid(command.gid, command.gid, command.gid)
        os.setresuid(command.uid, command.uid, command.uid)
    linux.limit_capabilities(run.capabilities)
    linux.refuse_new_privileges()
    linux.keep_to_itself()
    if run.seccomp:
        listener = linux.install_filter(run.seccomp, listener=run.listener)
        if run.listener and channel is not None:
            socket.send_fds(channel, [b"l"], [listener])
            os.close(listener)


def _limit(limits: Limits) -> None:
    for what, wanted in (
        (resource.RLIMIT_NPROC, limits.processes + _SPARE),
        (resource.RLIMIT_NOFILE, limits.files),
        (resource.RLIMIT_CORE, 0),
    ):
        _, hard = resource.getrlimit(what)
        value = wanted if hard == resource.RLIM_INFINITY else min(wanted, hard)
        resource.setrlimit(what, (value, value))

"""Starting the sandbox's own program, and listening to it until all of it has ended."""

from __future__ import annotations

import errno
import fcntl
import json
import os
import selectors
import subprocess
import sys
import time
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

from assembler.errors import SandboxError
from assembler.sandbox import job as jobs

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

_PACKAGES = str(Path(__file__).resolve().parents[2])
_BOOT = (
    "import sys; sys.path.insert(0, sys.argv.pop(1)); "
    "from assembler.sandbox.program import main; main()"
)
_PIECE = 1 << 20
_PATIENCE = 10.0
"""Seconds for the program to end by itself once it is told to."""
_PATH = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
_OWN_PROGRAM = "/proc/self/exe"
_MFD_EXEC = 0x10
_SEALS = fcntl.F_SEAL_SEAL | fcntl.F_SEAL_SHRINK | fcntl.F_SEAL_GROW | fcntl.F_SEAL_WRITE


@dataclass(frozen=True, slots=True)
class Listener:
    """Who hears what: the command's output, and the tar of what it changed."""

    output: Callable[[bytes], None] = lambda _: None
    harvest: Callable[[bytes], None] = lambda _: None
    check: Callable[[], None] = lambda: None
    """Is called now and then, and may raise to end all."""


@dataclass(frozen=True, slots=True)
class Outcome:
    """How a job ended. At most one of the first four says something."""

    failed: str = ""
    """Why the sandbox, not the command, failed."""
    limit: str = ""
    signal: int = 0
    exit: int = 0
    exec: str = ""
    """Why the command could not even be started."""
    full: bool = False
    """Whether it *failed* for want of room on the disk."""
    facts: dict[str, Any] = field(default_factory=dict)

    def check_room(self) -> None:
        """Raise `OSError` if it was for want of room that the sandbox failed."""
        if self.full:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))


class TimedOut(Exception):
    """The job took longer than it may."""


def perform(
    make_job: Callable[[int], jobs.Job],
    listener: Listener | None = None,
    *,
    files: Iterable[int] = (),
    timeout: float | None = None,
) -> Outcome:
    """Do a job in a process of its own, and wait until nothing of it is left.

    *make_job* is told the descriptor that the harvest goes to. *files* are descriptors that the
    process gets. Raises `TimedOut`, and whatever *listener* raises, when all has been ended.
    """
    process = _Process(make_job, tuple(files))
    try:
        process.listen(listener or Listener(), timeout)
    finally:
        process.end()
    return process.outcome()


@cache
def _python() -> tuple[int, dict[str, str]]:
    """Return a copy of this Python that nobody can write to, and the variables that it needs.

    A command begins as Python. An image whose program is a link to /proc/self/exe executes that
    again, with libraries of its own, and then has the file at hand: with the machine's it could
    change the machine's Python, as CVE-2019-5736 did with runc.
    """
    data = Path(_OWN_PROGRAM).read_bytes()
    try:
        descriptor = os.memfd_create("python", os.MFD_CLOEXEC | os.MFD_ALLOW_SEALING | _MFD_EXEC)
    except OSError:  # before Linux 6.3 all are executable
        descriptor = os.memfd_create("python", os.MFD_CLOEXEC | os.MFD_ALLOW_SEALING)
    with open(descriptor, "wb", closefd=False) as file:
        file.write(data)
    fcntl.fcntl(descriptor, fcntl.F_ADD_SEALS, _SEALS)
    libraries = beside(data, os.path.dirname(os.path.realpath(_OWN_PROGRAM)))
    return descriptor, {"LD_LIBRARY_PATH": libraries} if libraries else {}


def beside(program: bytes, folder: str) -> str:
    """Return where a *program* of *folder* wants its libraries from, if it says so (ld.so(8))."""
    found = []
    position = program.find(b"$ORIGIN")
    while position >= 0:
        end = program.index(b"\0", position)
        text = program[program.rindex(b"\0", 0, position) + 1 : end]
        found.append(os.fsdecode(text).replace("$ORIGIN", folder))
        position = program.find(b"$ORIGIN", end)
    return ":".join(found)


class _Process:
    """The program, and the pipes to it."""

    def __init__(self, make_job: Callable[[int], jobs.Job], files: tuple[int, ...]) -> None:
        self._messages = bytearray()
        pipes = [os.pipe() for _ in range(4)]
        (self._output, output), (self._control, control), (self._harvest, harvest) = pipes[:3]
        lifeline, self._lifeline = pipes[3]
        spec = os.memfd_create("job", os.MFD_CLOEXEC)
        try:
            program, variables = _python()
            with open(spec, "wb", closefd=False) as file:
                file.write(jobs.pack(make_job(harvest)))
            os.lseek(spec, 0, os.SEEK_SET)
            words = [sys.executable, "-I", "-S", "-c", _BOOT, _PACKAGES]
            self._process = subprocess.Popen(
                [*words, str(spec), str(control), str(lifeline)],
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=output,
                executable=f"/proc/self/fd/{program}",
                pass_fds=(program, spec, control, harvest, lifeline, *files),
                start_new_session=True,  # a terminal's Ctrl-C is for the builder, who ends all
                cwd="/",
                env={"PATH": _PATH, **variables},
            )
        except OSError as error:
            self._close_ours()
            raise SandboxError(f"{sys.executable}: it cannot be run ({error.strerror})") from None
        except BaseException:
            self._close_ours()
            raise
        finally:
            for descriptor in (output, control, harvest, lifeline, spec):
                os.close(descriptor)

    def listen(self, listener: Listener, timeout: float | None) -> None:
        """Hand on all that comes, until every end of the pipes is closed."""
        deadline = None if timeout is None else time.monotonic() + timeout
        hearers = {
            self._output: listener.output,
            self._harvest: listener.harvest,
            self._control: self._messages.extend,
        }
        with selectors.DefaultSelector() as selector:
            for descriptor in hearers:
                selector.register(descriptor, selectors.EVENT_READ)
            while selector.get_map():
                listener.check()
                left = 0.2 if deadline is None else min(0.2, deadline - time.monotonic())
                if left <= 0 and deadline is not None and time.monotonic() >= deadline:
                    raise TimedOut
                for key, _ in selector.select(left):
                    data = os.read(key.fd, _PIECE)
                    if data:
                        hearers[key.fd](data)
                    else:
                        selector.unregister(key.fd)

    def end(self) -> None:
        """End the program, if it has not, and all that it started."""
        for descriptor in (self._lifeline, self._output, self._harvest):
            os.close(descriptor)
        try:
            self._process.wait(_PATIENCE)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()
        while os.read(self._control, _PIECE):
            pass  # until nobody holds the other end: then all processes have ended
        os.close(self._control)

    def outcome(self) -> Outcome:
        """Return what the program told."""
        facts: dict[str, Any] = {}
        for line in self._messages.splitlines():
            facts |= json.loads(line)
        said = {key: facts.pop(key) for key in ("failed", "limit", "signal", "exit", "exec", "full")
                if key in facts}  # fmt: skip
        if self._process.returncode and not said:
            said["failed"] = f"the sandbox's program ended with {self._process.returncode}"
        return Outcome(**said, facts=facts)

    def _close_ours(self) -> None:
        for descriptor in (self._output, self._control, self._harvest, self._lifeline):
            os.close(descriptor)

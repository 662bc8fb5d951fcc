"""Starting the sandbox's own program: what it has, and how it may end."""

from __future__ import annotations

import fcntl
import os

import pytest

from assembler.errors import SandboxError
from assembler.sandbox import runner
from assembler.sandbox.job import Job
from assembler.sandbox.runner import Listener, Outcome, TimedOut, beside, perform


@pytest.fixture
def program(monkeypatch):
    """A function that gives the program other code, for PATH SPEC CONTROL LIFELINE."""

    def be(code):
        monkeypatch.setattr(runner, "_BOOT", f"import os, sys\n{code}")

    return be


def nothing(_):
    return Job()


def test_a_job_of_nothing_does_nothing():
    assert perform(nothing) == Outcome()


def test_a_job_that_fails_tells_why(tmp_path):
    file = tmp_path / "file"
    file.write_text("")
    outcome = perform(lambda _: Job(remove=(str(file),)))
    assert outcome == Outcome(failed=f"{file}: not a directory")
    outcome.check_room()


def test_a_folder_is_removed(tmp_path):
    (tmp_path / "a" / "b").mkdir(parents=True)
    assert perform(lambda _: Job(remove=(str(tmp_path / "a"),))) == Outcome()
    assert not list(tmp_path.iterdir())


def test_the_program_has_nothing_of_the_builders(program, monkeypatch):
    monkeypatch.setenv("TOKEN", "SECRET")
    said = []
    program("print(sorted(os.environ), os.getcwd(), os.getsid(0) == os.getpid(), sys.stdin.read())")
    perform(nothing, Listener(output=said.append))
    assert b"".join(said).decode().split("\n")[0] in {
        "['LC_CTYPE', 'PATH'] / True ", "['PATH'] / True ",
    }  # fmt: skip


def test_the_program_has_no_descriptors_but_those_it_is_told_of(program):
    secret = os.open("/etc/passwd", os.O_RDONLY)
    os.set_inheritable(secret, True)
    said = []
    program("print(len(os.listdir('/proc/self/fd')) - 1)")
    try:
        perform(nothing, Listener(output=said.append))
    finally:
        os.close(secret)
    # Three, the Python that is executed, the spec, control, harvest and lifeline.
    assert b"".join(said) == b"8\n"


def test_a_program_that_is_killed_is_an_outcome(program):
    program("os.kill(os.getpid(), 9)")
    assert perform(nothing).failed == "the sandbox's program ended with -9"


def test_a_program_that_takes_too_long_is_ended(program):
    program("os.read(int(sys.argv[4]), 1)")  # until the builder lets go of the lifeline
    with pytest.raises(TimedOut):
        perform(nothing, timeout=0.1)


def test_a_program_that_does_not_listen_is_killed(program, monkeypatch):
    monkeypatch.setattr(runner, "_PATIENCE", 0.1)
    program("import time; time.sleep(60)")
    with pytest.raises(TimedOut):
        perform(nothing, timeout=0.1)


def test_what_the_listener_raises_ends_the_program(program):
    class Enough(Exception):
        pass

    def check():
        raise Enough

    program("os.read(int(sys.argv[4]), 1)")
    with pytest.raises(Enough):
        perform(nothing, Listener(check=check))


def test_output_and_harvest_reach_their_listeners(program):
    output, harvest = [], []

    def make_job(out):
        # Where the harvest goes is known only now.
        program(f"print('out', flush=True); os.write({out}, b'tar')")
        return Job()

    perform(make_job, Listener(output.append, harvest.append))
    assert (b"".join(output), b"".join(harvest)) == (b"out\n", b"tar")


def test_facts_are_what_is_told_beside_the_end(program):
    program('os.write(int(sys.argv[3]), b\'{"made": ["/x"]}\\n{"exit": 3}\\n\')')
    assert perform(nothing) == Outcome(exit=3, facts={"made": ["/x"]})


def test_want_of_room_is_an_error_of_its_own(program):
    program('os.write(int(sys.argv[3]), b\'{"failed": "write", "full": true}\\n\')')
    with pytest.raises(OSError, match="No space left"):
        perform(nothing).check_room()


def test_a_python_that_cannot_be_executed_is_the_sandboxs_error(monkeypatch):
    monkeypatch.setattr(runner, "_python", lambda: (0, {}))
    with pytest.raises(SandboxError, match="cannot be run"):
        perform(nothing)


def test_nobody_can_write_to_the_python_that_is_executed():
    descriptor, _ = runner._python()
    assert fcntl.fcntl(descriptor, fcntl.F_GET_SEALS) == runner._SEALS
    for change in (lambda: os.write(descriptor, b"x"), lambda: os.ftruncate(descriptor, 0)):
        with pytest.raises(PermissionError):
            change()
    with open("/proc/self/exe", "rb") as file:
        assert os.pread(descriptor, 1 << 26, 0) == file.read()


@pytest.mark.parametrize(
    ("program", "libraries"),
    [
        (b"\x7fELF\0none\0", ""),
        (b"\0x\0$ORIGIN/../lib\0y\0", "/opt/bin/../lib"),
        (b"\0$ORIGIN:$ORIGIN/x:/lib\0", "/opt/bin:/opt/bin/x:/lib"),
        (b"\0/a:$ORIGIN\0b\0$ORIGIN/c\0", "/a:/opt/bin:/opt/bin/c"),
    ],
)
def test_a_python_that_finds_its_libraries_beside_itself_still_does(program, libraries):
    assert beside(program, "/opt/bin") == libraries

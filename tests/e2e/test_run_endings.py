"""However a build with RUN ends, nothing of it is left: no process, no mount, no file."""

from __future__ import annotations

import os
import random
import shlex
import signal
import subprocess
import time
import uuid
from contextlib import contextmanager
from pathlib import Path

import pytest
from support.runs import AS_ROOT, PASSWD, UNLIKE, eventually, output_of, processes, site, unwatched

ROUNDS = 20


@pytest.fixture
def word():
    """A number of seconds that nobody else sleeps for."""
    return f"2{uuid.uuid4().int % 10**9:09}"


@pytest.fixture(params=UNLIKE)
def place(request):
    with site(request.param) as made:
        made.base(PASSWD)
        yield made


def busy(word):
    """A RUN that has several processes, one of them no longer in its session, and open files."""
    return f"RUN exec 9>/open; (setsid sleep {word} &) ; sleep {word} & sleep {word}"


@contextmanager
def building(place, dockerfile):
    """A build that goes on, in a process group of its own."""
    process = subprocess.Popen(
        place.command(dockerfile, "--no-cache"), stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
        text=True, start_new_session=True, env=unwatched(),
    )  # fmt: skip
    try:
        yield process
    finally:
        process.kill()
        process.wait()
        process.stdout.close()


def descendants(process):
    """The builder's child, its child, and so on: the sandbox's program, supervisor, first."""
    found = [process]
    while True:
        try:
            children = Path(f"/proc/{found[-1]}/task/{found[-1]}/children").read_text().split()
        except OSError:
            children = []
        if not children:
            return found[1:]
        found.append(int(children[0]))


def test_nothing_is_left_after_success(place):
    place.build("RUN --mount=type=cache,target=/c (setsid sleep 77 &); touch /c/a /b")
    place.check_nothing_is_left()
    place.build("RUN touch /b\nRUN rm /b")
    place.check_nothing_is_left()


def test_nothing_is_left_after_a_command_that_failed(place, word):
    place.build(f"RUN touch /b; sleep {word} & exit 7", status=20)
    assert not processes(word)
    place.check_nothing_is_left()


@pytest.mark.parametrize(
    ("end", "status"),
    [
        (lambda builder: builder.send_signal(signal.SIGINT), 130),
        (lambda builder: os.killpg(builder.pid, signal.SIGINT), 130),
        (lambda builder: builder.send_signal(signal.SIGTERM), 143),
    ],
    ids=["interrupt", "interrupt of the group", "terminate"],
)
def test_a_signal_ends_the_build_and_all_its_processes(place, word, end, status):
    with building(place, busy(word)) as builder:
        assert eventually(lambda: len(processes(word)) >= 3)
        end(builder)
        assert builder.wait(30) == status
        assert not processes(word)
    place.check_nothing_is_left()


def test_killing_the_builder_at_any_moment_ends_everything_and_the_next_build_tidies_up(
    place, word
):
    dockerfile = f"RUN touch /a\nRUN exec 9>/open; (setsid sleep {word} &); sleep 0.2\nRUN rm /a"
    begin = time.monotonic()
    place.build(dockerfile)
    whole = time.monotonic() - begin
    moments = random.Random(place.way)
    for _ in range(ROUNDS if place.way == UNLIKE[0] else 5):
        with building(place, dockerfile) as builder:
            time.sleep(moments.uniform(0, whole))
            family = [*descendants(builder.pid)] if builder.poll() is None else []
            builder.kill()
            builder.wait()
        assert eventually(lambda: not processes(word))
        assert eventually(lambda family=family: not any(map(is_python, family)))
    place.build(dockerfile, "--no-cache")
    place.check_nothing_is_left()


def is_python(process):
    """Whether one of the sandbox's own processes is still there; zombies are not."""
    try:
        return b"assembler.sandbox.program" in Path(f"/proc/{process}/cmdline").read_bytes()
    except OSError:
        return False


@pytest.mark.parametrize("number", [0, 1, 2], ids=["program", "supervisor", "first"])
def test_killing_one_of_the_sandboxs_own_processes_is_an_orderly_end(place, word, number):
    with building(place, busy(word)) as builder:
        assert eventually(lambda: len(processes(word)) >= 3)
        family = descendants(builder.pid)
        os.kill(family[number], signal.SIGKILL)
        said = builder.communicate(timeout=30)[0]
        assert builder.returncode == (20 if is_the_command(place, number) else 21), said
        assert "Traceback" not in said
        assert "Dockerfile:2: RUN" in said
        assert not processes(word)
    place.check_nothing_is_left()


def is_the_command(place, number):
    """In a chroot there is no first process between the supervisor and the command."""
    return place.way == "chroot" and number == 2


def in_a_small_store(place, size, dockerfile):
    """Build where the store's disk has *size*; what was said, the status, and what is left."""
    place.store.mkdir()
    place.give()
    build = shlex.join(map(str, place.command(dockerfile)))
    owner = f"mode=0755,uid={place.store.stat().st_uid}" if AS_ROOT else "mode=0755"
    mount = f"mount -t tmpfs -o size={size},{owner} none {place.store}"
    left = f"ls -A {place.store}/tmp; ls -A {place.store}/trees | grep tmp"
    command = f"{mount} || exit 99; {build}; status=$?; echo LEFT; {left}; exit $status"
    done = subprocess.run(
        ["unshare", *([] if AS_ROOT else ["-r"]), "-m", "sh", "-c", command],
        stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, check=False,
    )  # fmt: skip
    said, _, rest = done.stdout.partition("LEFT\n")
    return said, done.returncode, rest.split()


@pytest.mark.parametrize(
    ("size", "dockerfile"),
    [
        ("3m", "RUN true"),
        ("24m", "RUN dd if=/dev/zero of=/big bs=1M count=100"),
        ("30m", "RUN dd if=/dev/urandom of=/big bs=1M count=16"),
    ],
    ids=["unpacking", "running", "harvest"],
)
def test_a_full_disk_is_the_stores_error(place, size, dockerfile):
    said, status, left = in_a_small_store(place, size, dockerfile)
    assert status == 14, said
    assert str(place.store) in said
    assert "make room there, or name another place by --store" in said
    assert not left
    assert "Traceback" not in said


def test_a_limit_on_the_size_of_files_is_the_stores_error(place):
    command = place.command("RUN yes 0123456789 | head -c 12000000 > /big")
    done = subprocess.run(
        ["prlimit", "--fsize=10000000", *command], capture_output=True, text=True, check=False
    )
    assert done.returncode in {14, 20}, done.stderr
    assert "Traceback" not in done.stderr
    assert not output_of(done.stderr) or done.returncode == 20
    place.check_nothing_is_left()

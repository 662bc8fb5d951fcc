"""The first process: what it waits for, and what a command has when it begins."""

from __future__ import annotations

import os
import resource
import signal
import threading
import time

import pytest
from sandboxes import in_child

from assembler.sandbox import init, linux
from assembler.sandbox.descendants import count_threads, descendants, kill_descendants
from assembler.sandbox.job import Limits


def forked(function):
    child = os.fork()
    if child == 0:
        function()
        os._exit(0)
    return child


def waiting(command, **options):
    """How `wait` ends for a child that does *command*."""

    def run():
        init.block_children_signal()
        child = forked(command)
        ended = init.wait(child, Limits(processes=10), options.get("count"), options.get("stop"))
        kill_descendants(os.open("/proc", os.O_RDONLY))
        return ended

    return in_child(run)


def sleep():
    time.sleep(60)


@pytest.mark.parametrize("status", [0, 1, 255])
def test_a_commands_status_is_told(status):
    assert waiting(lambda: os._exit(status)) == {"exit": status}


def test_a_commands_signal_is_told():
    assert waiting(lambda: os.kill(os.getpid(), signal.SIGKILL)) == {"signal": 9}


def test_too_many_processes_end_the_wait():
    ended = waiting(sleep, count=lambda: 11)
    assert ended == {"limit": "more than 10 processes and threads at once"}


def test_as_many_processes_as_are_allowed_are_no_end():
    assert waiting(lambda: time.sleep(0.3), count=lambda: 10) == {"exit": 0}


def test_what_stops_the_sandbox_ends_the_wait():
    assert waiting(sleep, stop=lambda: True) == {"signal": 9}


def test_orphans_are_reaped_on_the_way():
    def command():
        forked(lambda: time.sleep(0.05))
        os._exit(3)

    assert waiting(command) == {"exit": 3}


def test_limits_hold_for_what_the_command_starts():
    def run():
        init._limit(Limits(processes=100, files=200))
        kinds = resource.RLIMIT_NPROC, resource.RLIMIT_NOFILE, resource.RLIMIT_CORE
        return [resource.getrlimit(kind) for kind in kinds]

    assert in_child(run) == [[100 + init._SPARE] * 2, [200, 200], [0, 0]]


def test_limits_that_are_lower_already_stay():
    def run():
        resource.setrlimit(resource.RLIMIT_NOFILE, (64, 64))
        init._limit(Limits())
        return resource.getrlimit(resource.RLIMIT_NOFILE)

    assert in_child(run) == [64, 64]


def test_standard_input_is_empty_and_cannot_be_written():
    def run():
        init.empty_stdin()
        return [os.read(0, 1).decode(), os.path.realpath("/proc/self/fd/0")]

    assert in_child(run) == ["", "/dev/null"]


def test_threads_count_as_processes_do():
    def run():
        proc = os.open("/proc", os.O_RDONLY)
        before = count_threads(proc, [os.getpid()])
        done = threading.Event()
        for _ in range(5):
            threading.Thread(target=done.wait).start()
        after = count_threads(proc, [os.getpid()])
        done.set()
        return [before, after, count_threads(proc, [2**22 + 1])]

    assert in_child(run) == [1, 6, 0]


def test_descendants_are_found_and_killed_whatever_they_did():
    def run():
        linux.adopt_orphans()
        proc = os.open("/proc", os.O_RDONLY)

        def daemon():
            os.setsid()
            signal.signal(signal.SIGTERM, signal.SIG_IGN)
            forked(sleep)
            if forked(sleep):
                os._exit(0)

        forked(daemon)
        forked(sleep)
        deadline = time.monotonic() + 10
        while len(descendants(proc)) < 3 and time.monotonic() < deadline:
            time.sleep(0.01)
        found = len(descendants(proc))
        kill_descendants(proc)
        return [found >= 3, descendants(proc)]

    assert in_child(run) == [True, []]


def test_processes_that_do_not_end_are_an_error(monkeypatch):
    def run():
        monkeypatch.setattr("assembler.sandbox.descendants._PASSES", 2)
        monkeypatch.setattr(os, "kill", lambda *_: None)
        child = forked(lambda: time.sleep(1))
        try:
            kill_descendants(os.open("/proc", os.O_RDONLY))
        finally:
            os.waitpid(child, 0)

    assert in_child(run) == "OSError: processes of the command do not end"


def test_a_process_keeps_its_signals_to_itself_where_the_kernel_can_do_that():
    outside = forked(sleep)

    def run():
        linux.refuse_new_privileges()
        kept = linux.keep_to_itself()
        own = forked(sleep)
        os.kill(own, signal.SIGKILL)
        os.waitpid(own, 0)
        try:
            os.kill(outside, 0)
        except PermissionError:
            return kept
        return not kept

    try:
        assert in_child(run) is True
    finally:
        os.kill(outside, signal.SIGKILL)
        os.waitpid(outside, 0)

"""Changes of owners, written down: how calls are read, and what no call can reach."""

from __future__ import annotations

import ctypes
import errno
import mmap
import os
import stat

import pytest

from assembler.sandbox import linux
from assembler.sandbox.recorder import OWNER, Recorder, read_owner

NONE = 0xFFFFFFFF
CWD = -100 & 0xFFFFFFFFFFFFFFFF


@pytest.fixture
def own(monkeypatch):
    """A recorder of calls that this process made."""
    proc = os.open("/proc", os.O_RDONLY | os.O_DIRECTORY)
    made = Recorder(-1, proc)
    monkeypatch.setattr(made, "_is_valid", lambda _: True)
    here = os.getcwd()
    yield made
    os.chdir(here)
    os.close(proc)


class Text:
    """A string in this process's memory."""

    def __init__(self, text):
        self._buffer = ctypes.create_string_buffer(text)
        self.address = ctypes.addressof(self._buffer)


def record(own, name, *arguments):
    texts = [Text(a) if isinstance(a, bytes) else a for a in arguments]
    numbers = [a.address if isinstance(a, Text) else a & 0xFFFFFFFFFFFFFFFF for a in texts]
    numbers += [0] * (6 - len(numbers))
    own._record(own._decoded(name, os.getpid(), numbers), 0)


@pytest.mark.parametrize("name", ["chown", "lchown"])
def test_a_path_gets_the_owner(own, tmp_path, name):
    file = tmp_path / "f"
    file.write_text("")
    record(own, name, os.fsencode(file), 12, 34)
    assert os.getxattr(file, OWNER) == b"12:34"


def test_a_descriptor_gets_the_owner(own, tmp_path):
    with (tmp_path / "f").open("w") as file:
        record(own, "fchown", file.fileno(), 12, 34)
    assert os.getxattr(tmp_path / "f", OWNER) == b"12:34"


def test_a_name_in_a_directory_gets_the_owner(own, tmp_path):
    (tmp_path / "f").write_text("")
    folder = os.open(tmp_path, os.O_RDONLY)
    record(own, "fchownat", folder, b"f", 12, 34, 0)
    record(own, "fchownat", folder, b"", 56, 78, 0x1000)
    os.chdir(tmp_path)
    record(own, "fchownat", CWD, b"f", NONE, 99, 0)
    os.close(folder)
    assert read_owner(tmp_path / "f") == (12, 99)
    assert read_owner(tmp_path) == (56, 78)


def test_an_id_that_is_not_given_stays(own, tmp_path):
    for owner, recorded in (((NONE, 5), (-1, 5)), ((6, NONE), (6, 5)), ((NONE, NONE), (6, 5))):
        record(own, "chown", os.fsencode(tmp_path), *owner)
        assert read_owner(tmp_path) == recorded


def test_links_are_followed_where_the_call_follows_them(own, tmp_path):
    (tmp_path / "f").write_text("")
    (tmp_path / "l").symlink_to("f")
    record(own, "lchown", os.fsencode(tmp_path / "l"), 1, 2)
    record(own, "fchownat", CWD, os.fsencode(tmp_path / "l"), 1, 2, 0x100)
    assert read_owner(tmp_path / "f") == (-1, -1)
    record(own, "chown", os.fsencode(tmp_path / "l"), 1, 2)
    assert read_owner(tmp_path / "f") == (1, 2)


def test_links_of_proc_lead_to_nothing(own, tmp_path):
    """By them a command could have files written that only the sandbox has open."""
    with (tmp_path / "f").open("w") as file:
        link = f"proc/{os.getpid()}/fd/{file.fileno()}".encode()
        os.chdir("/")
        for path in (link, b"./" + link, b"//" + link, b"/./" + link):
            with pytest.raises(OSError) as caught:
                record(own, "chown", path, 1, 2)
            assert caught.value.errno == errno.ELOOP
    assert read_owner(tmp_path / "f") == (-1, -1)


@pytest.mark.parametrize("path", [b"/proc/self/fd/0", b"/dev/null", b"/sys/kernel"])
def test_what_is_the_sandboxs_own_is_not_touched(own, path):
    record(own, "chown", path, 1, 2)


def test_nothing_is_written_for_a_process_that_has_ended(own, tmp_path, monkeypatch):
    monkeypatch.setattr(own, "_is_valid", lambda _: False)
    record(own, "chown", os.fsencode(tmp_path), 1, 2)
    assert read_owner(tmp_path) == (-1, -1)


def test_what_can_hold_no_record_is_told_to_be_done(own, tmp_path):
    os.mkfifo(tmp_path / "p")
    record(own, "chown", os.fsencode(tmp_path / "p"), 1, 2)


@pytest.mark.parametrize(
    ("path", "number"),
    [
        (b"", errno.ENOENT),
        (b"/none/there", errno.ENOENT),
        (b"/etc/passwd/x", errno.ENOTDIR),
        (b"/" + b"x" * 5000, errno.ENAMETOOLONG),
        (0, errno.EIO),
        (1 << 63, errno.EFAULT),
        (0xFFFFFFFFFFFFFFFF, errno.EFAULT),
    ],
)
def test_paths_that_are_none_are_refused_as_the_kernel_does(own, path, number):
    with pytest.raises(OSError) as caught:
        record(own, "chown", path, 1, 2)
    assert caught.value.errno == number


def test_a_path_is_read_across_pages_and_not_beyond_its_end(own):
    page = mmap.PAGESIZE
    with mmap.mmap(-1, 2 * page) as memory:
        start = ctypes.addressof(ctypes.c_char.from_buffer(memory))
        memory[page - 3 : page + 3] = b"/etc/\0"
        assert own._text(os.getpid(), start + page - 3) == b"/etc/"


@pytest.mark.parametrize(
    ("before", "after"),
    [(0o4755, 0o755), (0o6755, 0o755), (0o2644, 0o2644), (0o2745, 0o2745), (0o4644, 0o4644)],
)
def test_set_id_bits_of_programs_go_with_their_owner(own, tmp_path, before, after):
    file = tmp_path / "f"
    file.write_text("")
    file.chmod(before)
    record(own, "chown", os.fsencode(file), 1, 2)
    assert stat.S_IMODE(file.stat().st_mode) == after


@pytest.mark.parametrize("raw", [b"", b"x", b"1", b"1:", b"a:b"])
def test_records_that_a_command_forged_are_none(tmp_path, raw):
    os.setxattr(tmp_path, OWNER, raw)
    assert read_owner(tmp_path) == (-1, -1)


def test_there_is_nothing_more_to_answer_when_the_listener_is_gone(monkeypatch):
    for number, more in ((errno.ENOENT, True), (errno.EINTR, True), (errno.EBADF, False)):

        def fail(*_, number=number):
            raise OSError(number, "x")

        monkeypatch.setattr(linux, "ioctl", fail)
        assert Recorder(-1, -1).answer() is more

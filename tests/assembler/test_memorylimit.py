from __future__ import annotations

import resource
import subprocess
import sys
from pathlib import PurePosixPath

import pytest

from assembler.memorylimit import (
    Hierarchy,
    MemoryLimit,
    limit_files,
    memory_limit,
    own_memory,
    parse_groups,
    parse_limit,
    parse_mounts,
    smallest,
)

Path = PurePosixPath
V2 = Hierarchy(Path("/"), Path("/sys/fs/cgroup"), is_v2=True)
V1 = Hierarchy(Path("/docker/abc"), Path("/sys/fs/cgroup/memory"), is_v2=False)
MOUNTS = """\
31 23 0:28 / /sys/fs/cgroup rw,relatime - tmpfs tmpfs rw,mode=755
32 31 0:29 / /sys/fs/cgroup/cpu rw,relatime - cgroup cgroup rw,cpu,cpuacct
35 31 0:32 /docker/abc /sys/fs/cgroup/memory rw,relatime shared:9 - cgroup cgroup rw,memory
41 31 0:38 / /a\\040b rw,relatime - cgroup2 cgroup2 rw
damaged - cgroup2
"""


def test_the_groups_of_a_process_are_read_from_both_versions():
    text = "4:cpu,memory:/docker/a:b\n3:cpuset:/\n1:name=systemd:/x\n0::/user.slice/s\n\n"
    assert parse_groups(text) == {False: Path("/docker/a:b"), True: Path("/user.slice/s")}
    assert parse_groups("") == {}


def test_hierarchies_are_found_by_their_mounts():
    assert parse_mounts(MOUNTS) == [V1, Hierarchy(Path("/"), Path("/a b"), is_v2=True)]


def test_the_limits_of_a_group_and_of_all_above_count():
    assert [str(path) for path in limit_files(Path("/a/b"), V2)] == [
        "/sys/fs/cgroup/a/b/memory.max", "/sys/fs/cgroup/a/b/memory.high",
        "/sys/fs/cgroup/a/memory.max", "/sys/fs/cgroup/a/memory.high",
        "/sys/fs/cgroup/memory.max", "/sys/fs/cgroup/memory.high",
    ]  # fmt: skip


@pytest.mark.parametrize("group", ["/docker/abc", "/", "/docker/other", "/docker/abc/../../x"])
def test_a_group_that_cannot_be_seen_is_at_the_mount_point(group):
    assert [*limit_files(Path(group), V1)] == [V1.mount / "memory.limit_in_bytes"]


@pytest.mark.parametrize(
    ("text", "size"),
    [("268435456\n", 1 << 28), ("max\n", None), ("", None), ("-1", None), ("²", None)],
)
def test_a_limit_is_a_number_or_none(text, size):
    assert parse_limit(text) == size


def test_the_smallest_limit_holds():
    assert smallest([MemoryLimit(3, "a"), MemoryLimit(2, "b"), MemoryLimit(2, "c")]).source == "b"


@pytest.fixture
def machine(tmp_path):
    """A root with a process in group /a/b of version 2."""
    (tmp_path / "proc" / "self").mkdir(parents=True)
    (tmp_path / "proc/self/cgroup").write_text("0::/a/b\n")
    (tmp_path / "proc/self/mountinfo").write_text("1 2 0:3 / /sys/fs/cgroup rw - cgroup2 c rw\n")
    (tmp_path / "sys/fs/cgroup/a/b").mkdir(parents=True)
    (tmp_path / "sys/fs/cgroup/a/b/memory.max").write_text("max\n")
    return tmp_path


def test_the_limit_of_the_group_above_is_found(machine):
    (machine / "sys/fs/cgroup/a/memory.max").write_text("268435456\n")
    assert memory_limit(machine) == MemoryLimit(1 << 28, "/sys/fs/cgroup/a/memory.max")


def test_without_limits_the_machine_is_one(machine, tmp_path):
    assert memory_limit(machine).source == "the machine's memory"
    assert memory_limit(tmp_path / "nothing") == memory_limit(machine)


def test_a_limit_of_the_shell_counts():
    limit = 1 << 33

    def set_limit():
        resource.setrlimit(resource.RLIMIT_AS, (limit, limit))

    script = "from assembler.memorylimit import *; print(memory_limit())"
    done = subprocess.run(
        [sys.executable, "-c", script], preexec_fn=set_limit, capture_output=True, text=True,
        check=True,
    )  # fmt: skip
    assert done.stdout.startswith(f"MemoryLimit(size={limit}, source='ulimit -v, ")


def test_own_memory_is_that_of_a_python():
    assert 5 << 20 < own_memory() < 1 << 33

"""`.ci/packages` on machines of all kinds: every program that it may call is a fake."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
NEEDED = ("sh", "cat", "cp", "mkdir", "mv", "rm", "mktemp", "ldd", "env", "true")
APT = """#!/bin/sh
echo "apt-get $*" >> "$LOG"
case " $* " in
*" update "*) [ ! -e locked ] || {
    rm locked
    echo "E: Could not get lock /var/lib/apt/lists/lock. It is held by process 1 (apt-get)" >&2
    exit 100
} ;;
*" download "*) : > busybox-static_1_amd64.deb ;;
esac
"""
SUDO = '#!/bin/sh\necho "sudo $*" >> "$LOG"\nexec "$@"\n'
DPKG = '#!/bin/sh\necho "dpkg $*" >> "$LOG"\nmkdir -p "$3/bin"\ncp static "$3/bin/busybox"\n'


class Machine:
    """A folder with the scripts, and a PATH on which there is only what a test puts there."""

    def __init__(self, folder):
        self.folder = folder
        self.bin = folder / "bin"
        self.bin.mkdir()
        shutil.copytree(ROOT / ".ci", folder / ".ci")
        for name in NEEDED:
            self.link(name, shutil.which(name))
        self.user(0)
        self.program("sleep", "#!/bin/sh\n")
        self.program("mksquashfs", "#!/bin/sh\n")
        self.link("python3", sys.executable)
        self.link("busybox", shutil.which("busybox"))

    def program(self, name, text):
        self.remove(name)
        (self.bin / name).write_text(text)
        (self.bin / name).chmod(0o755)

    def link(self, name, target):
        self.remove(name)
        (self.bin / name).symlink_to(target)

    def remove(self, name):
        (self.bin / name).unlink(missing_ok=True)

    def user(self, uid):
        self.program("id", f"#!/bin/sh\necho {uid}\n")

    def packages(self, *purposes, status=0):
        environment = {"PATH": str(self.bin), "LOG": str(self.folder / "log")}
        done = subprocess.run(
            [self.folder / ".ci" / "packages", *purposes],
            cwd=self.folder, env=environment, capture_output=True, text=True, check=False,
        )  # fmt: skip
        assert done.returncode == status, done.stderr
        return done

    @property
    def called(self):
        log = self.folder / "log"
        return log.read_text().splitlines() if log.exists() else []


@pytest.fixture
def machine(tmp_path):
    return Machine(tmp_path)


def test_nothing_is_installed_where_all_is_there(machine):
    machine.packages("run")
    assert machine.called == []


def test_what_is_missing_is_installed_after_waiting_for_dpkgs_lock(machine):
    machine.remove("mksquashfs")
    machine.program("apt-get", APT)
    machine.packages("run")
    (install,) = (line for line in machine.called if " install " in line)
    assert install.endswith(" squashfs-tools")
    assert "-o DPkg::Lock::Timeout=" in install


def test_the_lock_of_the_lists_is_waited_for(machine):
    machine.remove("mksquashfs")
    machine.program("apt-get", APT)
    (machine.folder / "locked").touch()
    done = machine.packages("run")
    assert sum(" update" in line for line in machine.called) == 2
    assert "waiting" in done.stderr


def test_another_failure_of_apt_is_told_at_once(machine):
    machine.remove("mksquashfs")
    machine.program("apt-get", '#!/bin/sh\necho "E: no network" >&2\nexit 100\n')
    done = machine.packages("run", status=1)
    assert "E: no network" in done.stderr
    assert "squashfs-tools" in done.stderr


def test_an_ordinary_user_asks_sudo(machine):
    machine.user(1000)
    machine.remove("mksquashfs")
    machine.program("apt-get", APT)
    machine.program("sudo", SUDO)
    machine.packages("run")
    assert [line for line in machine.called if line.startswith("sudo ")]


@pytest.mark.parametrize("sudo", [None, "#!/bin/sh\necho no >&2\nexit 1\n"])
def test_without_sudo_an_administrator_is_told_what_to_install(machine, sudo):
    machine.user(1000)
    machine.remove("mksquashfs")
    machine.remove("busybox")
    machine.program("apt-get", APT)
    if sudo:
        machine.program("sudo", sudo)
    done = machine.packages("run", "make", status=1)
    assert "an administrator has to run: apt-get install " in done.stderr
    assert "squashfs-tools busybox-static make" in done.stderr
    assert not [line for line in machine.called if " install " in line]


def test_a_machine_without_apt_is_told_the_same(machine):
    machine.remove("mksquashfs")
    assert "squashfs-tools" in machine.packages("run", status=1).stderr


def test_a_busybox_that_is_dynamic_stays_and_a_static_one_is_put_beside_it(machine):
    machine.user(1000)
    shutil.copy(shutil.which("busybox"), machine.folder / "static")
    machine.link("busybox", "/bin/ls")
    machine.program("apt-get", APT)
    machine.program("dpkg", DPKG)
    machine.packages("run")
    assert not [line for line in machine.called if " install " in line]
    found = machine.folder / "build" / "tools" / "busybox"
    assert found.read_bytes() == (machine.folder / "static").read_bytes()
    assert os.access(found, os.X_OK)
    machine.packages("run")
    assert sum(" download " in line for line in machine.called) == 1


def test_the_base_is_made_of_a_static_busybox_only(tmp_path):
    (tmp_path / "busybox").symlink_to("/bin/ls")
    done = subprocess.run(
        [sys.executable, ROOT / "fixtures" / "make_base.py", tmp_path / "out"],
        env={"PATH": str(tmp_path)}, capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert done.returncode == 1
    assert "is not static" in done.stderr
    assert "busybox-static" in done.stderr

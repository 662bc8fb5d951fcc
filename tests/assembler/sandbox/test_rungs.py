"""Which ways a machine seems to have, from its programs and files."""

from __future__ import annotations

import os
import pwd
from pathlib import Path

import pytest

from assembler.sandbox import rungs
from assembler.sandbox.rungs import CAPABILITIES, EXACT, ROOT_OWNED, Missing, Rung, all_rungs


def rung(name):
    return next(one for one in all_rungs() if one.name == name)


@pytest.fixture
def path(tmp_path, monkeypatch):
    """The only folder on PATH."""
    monkeypatch.setenv("PATH", str(tmp_path))
    return tmp_path


@pytest.fixture
def ordinary(monkeypatch):
    monkeypatch.setattr(os, "geteuid", lambda: 1000)
    monkeypatch.setattr(os, "getegid", lambda: 1001)


def put(folder, name, text):
    program = folder / name
    program.write_text(f"#!/bin/sh\n{text}\n")
    program.chmod(0o755)
    return program


def test_the_best_way_comes_first():
    assert [one.name for one in all_rungs()] == list(rungs.NAMES)


def test_an_ordinary_user_is_told_what_root_could_do(ordinary):
    for name in ("root", "chroot"):
        missing = rung(name)
        assert isinstance(missing, Missing)
        assert "not root" in missing.reason
        assert "run as root" in missing.remedy


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("echo 'proot 5.1.0: chroot without root'", "5.1"),
        ("echo 5.3", "5.3"),
        ("echo v4.99 >&2", "4.99"),
        ("echo nothing", "of an unknown version"),
        ("exit 1", "of an unknown version"),
    ],
)
def test_an_old_proot_is_refused(path, text, shown):
    program = put(path, "proot", text)
    missing = rung("proot")
    assert isinstance(missing, Missing)
    assert missing.reason == f"{program} is {shown}, older than 5.4"


@pytest.mark.parametrize("version", ["5.4.0", "5.10", "6.0"])
def test_a_recent_proot_is_taken(path, version):
    program = put(path, "proot", f"echo 'proot v{version}-abc'")
    found = rung("proot")
    assert isinstance(found, Rung)
    assert (found.program, found.fidelity, found.isolation) == (str(program), ROOT_OWNED, "proot")


def test_a_proot_that_cannot_be_executed_has_no_version(tmp_path):
    program = tmp_path / "proot"
    program.write_bytes(b"\x7fELF")
    program.chmod(0o755)
    assert rungs._proot_version(str(program)) is None
    assert rungs._proot_version(str(tmp_path / "none")) is None


def test_without_proot_there_is_none(path):
    assert rung("proot").reason == "there is no proot on PATH"


def test_ranges_need_the_helpers(path, ordinary):
    assert rung("ranges").reason == "newuidmap and newgidmap are not installed"


def test_ranges_need_lines_for_the_user(path, ordinary, monkeypatch):
    for name in ("newuidmap", "newgidmap"):
        put(path, name, "")
    monkeypatch.setattr(rungs, "_subordinate", lambda _: None)
    assert rung("ranges").reason == "/etc/subuid and /etc/subgid have no range for this user"


def test_ranges_map_the_user_to_root_and_the_range_to_what_follows(path, ordinary, monkeypatch):
    for name in ("newuidmap", "newgidmap"):
        put(path, name, "")
    monkeypatch.setattr(rungs, "_subordinate", lambda file: (100_000 + len(file.name), 65_536))
    found = rung("ranges")
    assert found.fidelity == EXACT
    assert found.namespace.uids == ((0, 1000, 1), (1, 100_006, 65_536))
    assert found.namespace.gids == ((0, 1001, 1), (1, 100_006, 65_536))
    assert found.namespace.writer == "helpers"
    assert found.ids.hold(65_536, 1)
    assert not found.ids.hold(65_537, 1)


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("other:1:2\nme:100000:65536\nme:7:8\n", (100000, 65536)),
        ("1000:100000:65536\n", (100000, 65536)),
        ("# me\n\nme:1\nme:a:b\nme:1:2:3\n", None),
        ("", None),
    ],
)
def test_the_first_sound_line_of_the_user_counts(tmp_path, monkeypatch, ordinary, text, found):
    file = tmp_path / "subuid"
    file.write_text(text)
    monkeypatch.setattr(pwd, "getpwuid", lambda _: pwd.struct_passwd(("me", *[0] * 6)))
    assert rungs._subordinate(file) == found
    assert rungs._subordinate(tmp_path / "none") is None


def test_a_user_without_a_name_is_found_by_number(tmp_path, monkeypatch, ordinary):
    def nobody(_):
        raise KeyError

    monkeypatch.setattr(pwd, "getpwuid", nobody)
    file = tmp_path / "subuid"
    file.write_text("1000:5:6\n")
    assert rungs._subordinate(file) == (5, 6)


def test_a_map_of_the_same_ids_is_read_from_the_kernels(tmp_path):
    file = tmp_path / "uid_map"
    file.write_text("         0     100000          1\n         1  200000  65536\n")
    assert rungs._same_ids(str(file)) == ((0, 0, 1), (1, 1, 65536))


def test_roots_in_different_ids_are_kept_apart(ordinary, path, monkeypatch):
    recorded = rung("recorded")
    assert (recorded.manner, recorded.ids.hold(0, 0)) == ("one", False)
    namespace = recorded.namespace_for(5, 6)
    assert (namespace.uids, namespace.gids) == (((5, 1000, 1),), ((6, 1001, 1),))
    for name in ("newuidmap", "newgidmap"):
        put(path, name, "")
    monkeypatch.setattr(rungs, "_subordinate", lambda _: (0x10, 0x20))
    assert rung("ranges").manner == "map-0.3e8.1-1.10.20-0.3e9.1-1.10.20"


def test_owners_are_recorded_for_root_alone():
    recorded, faked = rung("recorded"), rung("faked")
    assert recorded.records(0)
    assert not recorded.records(1000)
    assert not faked.records(0)


def test_a_chroot_leaves_no_capability_that_leads_out(monkeypatch):
    monkeypatch.setattr(os, "geteuid", lambda: 0)
    mask = rung("chroot").capabilities
    for name in ("SYS_CHROOT", "MKNOD"):
        assert not mask >> CAPABILITIES[name] & 1
    assert mask >> CAPABILITIES["CHOWN"] & 1
    assert rung("recorded").capabilities >> CAPABILITIES["SYS_CHROOT"] & 1


def test_no_way_leaves_power_over_the_machine():
    power = {
        "DAC_READ_SEARCH": 2, "NET_ADMIN": 12, "NET_RAW": 13, "SYS_MODULE": 16, "SYS_RAWIO": 17,
        "SYS_PTRACE": 19, "SYS_ADMIN": 21, "SYS_BOOT": 22, "SYS_TIME": 25, "BPF": 39,
    }  # fmt: skip
    for one in all_rungs():
        if isinstance(one, Rung):
            assert not any(one.capabilities >> bit & 1 for bit in power.values())


def test_capabilities_are_read_from_proc(monkeypatch):
    monkeypatch.setattr(
        Path, "read_text", lambda *_a, **_k: "Name:\tx\nCapEff:\t0000000000200000\n"
    )
    assert rungs._has(21)
    assert not rungs._has(7)
    monkeypatch.setattr(Path, "read_text", lambda *_a, **_k: "Name:\tx\n")
    assert not rungs._has(21)

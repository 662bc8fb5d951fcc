"""The documented Dockerfile upon a real Debian from a real registry, judged by umoci and others."""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import subprocess
import sys
import zlib
from dataclasses import replace
from pathlib import Path

import pytest
from support.debian import CREATED, debian_layout
from support.images import oci_layout
from support.layers import block, char, directory, fifo, file, hardlink, layer, symlink
from support.ordinary import open_way, ordinary
from support.registry import Registry
from support.trees import ROOT, Entry, differences, snapshot_squashfs, snapshot_umoci

COMMAND = Path(sys.executable).with_name("golem-assemble")
REFUSE = Path(__file__).parents[1] / "support" / "refuse_namespaces.py"
EXAMPLE = Path(__file__).resolve().parents[2] / "fixtures" / "golem-example"
EPOCH = 1706933106  # CREATED, in seconds
DIRECTORY = Entry("directory", 0o755, 0, 0, EPOCH)
EMPTY_FILE = Entry("file", 0o644, 0, 0, EPOCH, 0, hashlib.sha256().hexdigest())
PATH = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"


@pytest.fixture(scope="module")
def base():
    """Where the registry serves Debian."""
    with Registry() as registry:
        yield registry.push_layout(debian_layout(), "debian:latest")


@pytest.fixture(scope="module")
def store(tmp_path_factory):
    return tmp_path_factory.mktemp("store")


def build(base, store, out, **options):
    command = [
        COMMAND, "build", "-t", "golem-example", "--build-context",
        f"debian:latest=docker://{base}", "--store", store, "-o", out, "--report", f"{out}.json",
        ".",
    ]  # fmt: skip
    return subprocess.run(
        command, **({"cwd": EXAMPLE, "capture_output": True, "text": True, "check": True} | options)
    )


@pytest.fixture(scope="module")
def built(base, store, tmp_path_factory):
    out = tmp_path_factory.mktemp("out") / "example.gvmi"
    return out, build(base, store, out)


def trailer(path):
    data = path.read_bytes()
    length = int(data[-8:])
    raw = data[-8 - length : -8]
    assert zlib.crc32(raw) == int.from_bytes(data[-12 - length : -8 - length], "little")
    assert (len(data) - 12 - length) % 4096 == 0
    return json.loads(raw)


def test_it_says_what_docker_says(built):
    assert "Successfully tagged golem-example:latest" in built[1].stdout.splitlines()


def test_the_trailer_has_volumes_workdir_and_the_bases_environment(built):
    config = trailer(built[0])
    assert config["Volumes"] == {"/golem/input": {}, "/golem/output": {}}
    assert config["WorkingDir"] == "/golem/work"
    assert config["Env"] == [f"PATH={PATH}"]
    report = json.loads(Path(f"{built[0]}.json").read_text())
    assert f"sha256:{config['Image']}" == report["image_id"]
    assert "User" not in config


@pytest.fixture(scope="module")
def unpacked():
    """The base as umoci unpacks it."""
    return snapshot_umoci(debian_layout())


@pytest.fixture(scope="module")
def tree(built):
    return snapshot_squashfs(built[0])


def test_the_tree_is_what_umoci_unpacks_and_the_guests_directories(unpacked, tree):
    expected = dict(unpacked)
    for name in (b"golem", b"golem/input", b"golem/output", b"golem/work"):
        expected[name] = DIRECTORY
    # mmdebstrap copies two of the three files that a guest writes to from its machine.
    expected.setdefault(b"etc/hosts", EMPTY_FILE)
    # Where no layer has an entry for the root, its time is the build's.
    expected[ROOT] = replace(expected[ROOT], mtime=EPOCH)
    assert differences(expected, tree) == []
    assert len(tree) > 5000
    assert any(entry.links for entry in tree.values())
    assert CREATED.startswith("2024-02-03T04:05:06")


def test_the_hash_is_the_files_sha3(built):
    done = subprocess.run([COMMAND, "hash", built[0]], capture_output=True, text=True, check=True)
    openssl = subprocess.run(
        ["openssl", "dgst", "-sha3-224", "-r", built[0]], capture_output=True, text=True, check=True
    )
    assert done.stdout.split() == openssl.stdout.split()[:1]


def test_verify_finds_nothing_wrong(built):
    done = subprocess.run([COMMAND, "verify", built[0]], capture_output=True, text=True, check=True)
    assert all(line.startswith("ok ") for line in done.stdout.splitlines())


def test_the_tagged_image_is_one_that_others_read(built, unpacked, store, tmp_path):
    shown = subprocess.run(
        [COMMAND, "inspect", "--json", "--store", store, "golem-example"],
        capture_output=True, text=True, check=True,
    )  # fmt: skip
    image = json.loads(shown.stdout)
    assert image["volumes"] == ["/golem/input", "/golem/output"]
    copied = tmp_path / "copy"
    source = f"oci:{store}:golem-example:latest"
    subprocess.run(
        ["skopeo", "--insecure-policy", "copy", "--quiet", source, f"oci:{copied}:latest"],
        check=True,
    )
    expected = dict(unpacked)
    expected[b"golem"] = expected[b"golem/work"] = DIRECTORY
    assert differences(expected, snapshot_umoci(copied), ignore={"mtime"}) == []


@pytest.mark.parametrize(
    "variant", ["again", "cold", "unprivileged", "umask and surroundings", "one processor"]
)
def test_the_same_build_gives_the_same_bytes(built, base, store, tmp_path, variant):
    out = tmp_path / "again.gvmi"
    environment = os.environ | {"PATH": os.environ["PATH"]}
    match variant:
        case "again":
            build(base, store, out)
        case "cold":
            build(base, tmp_path / "fresh", out)
        case "unprivileged":
            unprivileged(base, tmp_path, out)
        case "umask and surroundings":
            (tmp_path / "here").mkdir()
            shutil.copy(EXAMPLE / "Dockerfile", tmp_path / "here")
            environment |= {"TZ": "Asia/Kathmandu", "LC_ALL": "C", "HOME": str(tmp_path)}
            build(base, store, out, env=environment, cwd=tmp_path / "here", umask=0o077)
        case "one processor":
            done = build(base, store, out, preexec_fn=lambda: os.sched_setaffinity(0, {0}))
            assert done.returncode == 0
    assert out.read_bytes() == built[0].read_bytes()


def unprivileged(base, folder, out):
    """Build as uid 1000 without capabilities and with user namespaces refused."""
    command = [
        *ordinary(folder), "/usr/bin/python3", REFUSE, COMMAND, "build", "-t", "golem-example",
        "--build-context", f"debian:latest=docker://{base}", "--store", folder / "store", "-o", out,
        ".",
    ]  # fmt: skip
    open_way(COMMAND)
    open_way(REFUSE)
    refusing = ["/usr/bin/python3", REFUSE, "unshare", "--user", "true"]
    refused = subprocess.run(refusing, capture_output=True)
    assert b"Operation not permitted" in refused.stderr
    subprocess.run(command, cwd=EXAMPLE, check=True, capture_output=True, text=True)


def test_another_epoch_changes_what_the_build_stamps_and_no_more(tree, base, store, tmp_path):
    out = tmp_path / "epoch.gvmi"
    build(base, store, out, env=os.environ | {"SOURCE_DATE_EPOCH": "1000000000"})
    second = snapshot_squashfs(out)
    assert {name for name in tree if tree[name] != second[name]} == {
        ROOT, b"etc/hosts", b"golem", b"golem/input", b"golem/output", b"golem/work",
    }  # fmt: skip
    assert second[ROOT].mtime == 1000000000


@pytest.fixture(scope="module")
def small(tmp_path_factory):
    """An image with one of each kind of thing."""
    items = [
        directory("d", uid=1000),
        file("d/f", b"x" * 5000, mode=0o4755, uid=5_000_000, xattrs={"user.a": b"b"}),
        hardlink("d/g", "d/f"),
        symlink("l", "d"),
        char("null", 1, 3),
        block("big", 259, 70_000),
        fifo("p"),
        file("empty", mtime=0xFFFFFFFF),
        file("n" * 255, b"y"),
    ]
    return oci_layout(tmp_path_factory.mktemp("small"), [layer(*items)]).path


@pytest.mark.parametrize("compression", ["gzip", "lzo", "xz", "lz4", "zstd"])
def test_every_compression_holds_the_same_tree(small, tmp_path, compression):
    out = tmp_path / "out.gvmi"
    level = ["--level", "1"] if compression in {"gzip", "lzo", "zstd"} else []
    command = [COMMAND, "convert", "--store", tmp_path / "store", "-o", out, "--quiet"]
    subprocess.run([*command, "--compression", compression, *level, f"oci:{small}"], check=True)
    found = snapshot_squashfs(out)
    expected = snapshot_umoci(small)
    guest = {b"proc", b"sys", b"dev", b"tmp", b"etc", b"etc/hosts", b"etc/hostname"}
    assert found.keys() - expected.keys() == guest | {b"etc/resolv.conf"}
    kept = {name: entry for name, entry in found.items() if name in expected and name != ROOT}
    del expected[ROOT]
    assert differences(expected, kept) == []

"""Bad input and faults, through the installed command: one sentence, its status, nothing left."""

from __future__ import annotations

import hashlib
import json
import os
import random
import re
import resource
import signal
import subprocess
import sys
import tarfile
import time
from dataclasses import replace
from pathlib import Path

import pytest
from support.images import Layout, oci_layout
from support.layers import directory, file, gzipped, hardlink, layer, raw, raw_header, symlink
from support.runs import unwatched

COMMAND = Path(sys.executable).with_name("golem-assemble")
GOOD = layer(file("f", b"x" * 100_000), directory("d"))
# More than a pipe holds.
BIG = layer(file("f", bytes(3_000_000)))


class Place:
    """A folder to convert in; knows how to see that nothing was left in it."""

    def __init__(self, folder):
        self.folder = folder
        self.out = folder / "x.gvmi"
        self.store = folder / "store"

    def command(self, image, *options):
        return [COMMAND, "convert", "-q", "--store", self.store, "-o", self.out, *options, image]

    def image(self, *layers, **options):
        return f"oci:{oci_layout(self.folder / 'image', list(layers), {}, **options).path}"

    def convert(self, image, *options, status=0, **process):
        done = subprocess.run(
            self.command(image, *options), capture_output=True, text=True, check=False, **process
        )
        assert done.returncode == status, done.stderr
        self.check(status)
        if status:
            assert done.stderr.startswith("golem-assemble: ")
            assert done.stderr.count("\n") == 1
            assert "Traceback" not in done.stderr
        return done.stderr

    def check(self, status):
        assert self.out.exists() == (status == 0)
        assert not list(self.folder.glob(".*.part"))
        if (self.store / "blobs").is_dir():
            assert not list((self.store / "tmp").iterdir())
            for blob in (self.store / "blobs" / "sha256").iterdir():
                assert hashlib.sha256(blob.read_bytes()).hexdigest() == blob.name

    def program(self, name, script):
        """Put a program before all others on PATH; return the environment with it."""
        folder = self.folder / "bin"
        folder.mkdir(exist_ok=True)
        path = folder / name
        path.write_text(script)
        path.chmod(0o755)
        return os.environ | {"PATH": f"{folder}:{os.environ['PATH']}"}


@pytest.fixture
def place(tmp_path):
    return Place(tmp_path)


UP = file("a/../../b", b"")
LOOP = [symlink("l", "m"), symlink("m", "l"), file("l/x", b"")]


@pytest.mark.parametrize(
    ("tar", "problem"),
    [
        (layer(UP), '".." in its path'),
        (layer(hardlink("h", "../x")), '".." in its path'),
        (layer(hardlink("h", "none")), "which does not exist"),
        (layer(directory("d"), hardlink("h", "d")), "a hard link to the directory"),
        (layer(*LOOP), "symbolic links on the way"),
        (layer(file("n" * 256, b"")), "more than 255 bytes"),
        (layer(raw(raw_header(b"s", kind=b"s"))), "(socket)"),
        (layer(raw(raw_header(b"s", kind=b"?"))), "none that an image can hold"),
        (layer(file("f", uid=2**32)), "its owner 4294967296 is none that Linux has"),
        (layer(raw(raw_header(b"f", gid=b"\x80\0\0\1" + bytes(4)))), "its owner 4294967296"),
        (GOOD[:-51_200], "the tar is cut off"),
        (GOOD[:-512] + b"junk" * 128, "data follow a lone block of zeros"),
        (b"\1" * 512, "entry"),
    ],
)
def test_hostile_layers(place, tar, problem):
    error = place.convert(place.image(tar), status=11)
    assert problem in error
    assert "layer sha256:" in error


@pytest.mark.parametrize("compression", ["gzip", "zstd"])
def test_cut_streams(place, compression):
    layout = Layout(place.folder / "image")
    whole = layout.layer(GOOD, compression)
    cut = layout.blob_path(whole.descriptor["digest"]).read_bytes()[:-5]
    digest = hashlib.sha256(cut).hexdigest()
    (place.folder / "image" / "blobs" / "sha256" / digest).write_bytes(cut)
    whole.descriptor.update(digest=f"sha256:{digest}", size=len(cut))
    layout.tag(layout.image([whole], {}), "latest")
    error = place.convert(f"oci:{layout.path}", status=11)
    assert f"its {compression} stream is cut off" in error


def test_a_blob_of_another_digest(place):
    image = place.image(GOOD)
    for blob in (place.folder / "image" / "blobs" / "sha256").iterdir():
        if blob.read_bytes()[:2] == b"\x1f\x8b":
            data = bytearray(blob.read_bytes())
            data[9] ^= 1
            blob.write_bytes(data)
    assert "expected sha256:" in place.convert(image, status=9)


def test_a_config_with_other_diff_ids(place):
    layout = Layout(place.folder / "image")
    first, second = layout.layer(GOOD), layout.layer(layer(file("g", b"")))
    swapped = [
        replace(first, diff_id=second.diff_id),
        replace(second, diff_id=first.diff_id),
    ]
    layout.tag(layout.image(swapped, {}), "latest")
    assert "diff_id" in place.convert(f"oci:{layout.path}", status=9)


@pytest.mark.parametrize(
    ("limit", "items"),
    [
        ("entries=10", [file(f"f{n}", b"") for n in range(11)]),
        ("directory_entries=10", [file(f"f{n}", b"") for n in range(11)]),
        ("total_bytes=10000", [file("f", bytes(20_000))]),
        ("file_bytes=10000", [file("f", bytes(20_000))]),
        ("name_bytes=20", [file("d/" * 10 + "f", b"")]),
        ("header_bytes=1000", [file("f", b"", xattrs={"user.a": b"x" * 2000})]),
    ],
)
def test_each_limit_is_named_and_can_be_raised(place, limit, items):
    image = place.image(layer(*items))
    name = limit.partition("=")[0]
    assert f"--limit {name}=N" in place.convert(image, "--limit", limit, status=12)
    place.convert(image, "--limit", f"{name}=1000000")


def test_a_directory_of_too_many_names_is_refused_by_default(place):
    names = b"".join(tarfile.TarInfo(f"d/{n}").tobuf(tarfile.USTAR_FORMAT) for n in range(100_001))
    assert "directory_entries" in place.convert(place.image(names + bytes(1024)), status=12)


def test_foreign_and_old_images_are_refused_with_advice(place):
    layout = Layout(place.folder / "image")
    foreign = layout.layer(GOOD)
    foreign.descriptor["urls"] = ["https://example.invalid/x"]
    layout.tag(layout.image([foreign], {}), "latest")
    place.convert(f"oci:{layout.path}")
    place.out.unlink()
    layout.blob_path(foreign.descriptor["digest"]).unlink()
    assert "foreign layer" in place.convert(f"oci:{layout.path}", status=13)
    old = layout.blob(
        b'{"schemaVersion": 1}', "application/vnd.docker.distribution.manifest.v1+json"
    )
    layout.tag(old, "old")
    assert "schema 1" in place.convert(f"oci:{layout.path}:old", status=13)


@pytest.mark.parametrize(
    "text", ["", "[]", "{", '{"manifests": 1}', '{"manifests": [{}]}', "[" * 99999]
)
def test_broken_indexes(place, text):
    image = place.image(GOOD)
    (place.folder / "image" / "index.json").write_text(text)
    place.convert(image, status=10)


def test_broken_archives(place):
    (place.folder / "a.tar").write_bytes(b"no tar" * 1000)
    place.convert(f"oci-archive:{place.folder}/a.tar", status=10)
    place.convert(f"docker-archive:{place.folder}/a.tar", status=10)
    (place.folder / "b.tar").write_bytes(gzipped(GOOD)[:-9])
    place.convert(f"docker-archive:{place.folder}/b.tar", status=10)


@pytest.mark.parametrize(
    ("script", "problem"),
    [
        ("echo mksquashfs version 4.4", "too old"),
        ("exit 3", "does not tell its version"),
        (
            "[ $1 = -version ] && echo version 4.5 && exit; head -c 5 >/dev/null; kill -9 $$",
            "ended by SIGKILL (out of memory?): it and golem-assemble take about ",
        ),
        (
            "[ $1 = -version ] && echo version 4.5 && exit; "
            "echo 'FATAL ERROR: Out of memory (add)' >&2; exit 1",
            " MiB are allowed (",
        ),
        (
            "[ $1 = -version ] && echo version 4.5 && exit; "
            "echo 'FATAL ERROR: Failed to create thread' >&2; exit 1",
            "the limit on processes (ulimit -u, pids.max)",
        ),
        ("[ $1 = -version ] && echo version 4.5 && exit; kill -SEGV $$", "ended by SIGSEGV"),
        ("[ $1 = -version ] && echo version 4.5 && exit; echo FATAL oh >&2; exit 1", "FATAL oh"),
        ("[ $1 = -version ] && echo version 4.5 && exit; exit 0", "stopped before"),
        ("[ $1 = -version ] && echo version 4.5 && exit; cat >/dev/null", "cannot be used"),
    ],
)
def test_a_mksquashfs_that_fails(place, script, problem):
    environment = place.program("mksquashfs", f"#!/bin/sh\n{script}\n")
    assert problem in place.convert(place.image(BIG), status=18, env=environment)


def test_warnings_of_mksquashfs_are_passed_on(place):
    script = '#!/bin/sh\n[ "$1" = -version ] || echo odd thing >&2\nexec /usr/bin/mksquashfs "$@"\n'
    environment = place.program("mksquashfs", script)
    done = subprocess.run(
        [*place.command(place.image(GOOD)), "--report", place.folder / "r.json"],
        env=environment, check=True, capture_output=True, text=True,
    )  # fmt: skip
    assert done.stderr == ""
    report = json.loads((place.folder / "r.json").read_text())
    assert "mksquashfs: odd thing" in report["warnings"]


TELLING = """#!/bin/sh
[ "$1" = -version ] && exec /usr/bin/mksquashfs "$@"
echo "$@" >&2
/usr/bin/mksquashfs "$@"
cat /proc/self/oom_score_adj >&2
"""


def test_mksquashfs_gets_less_memory_where_less_is_allowed_and_writes_the_same(place):
    image = place.image(BIG)
    place.convert(image, "--block-size", "1048576")
    whole = place.out.read_bytes()

    def limit():
        resource.setrlimit(resource.RLIMIT_AS, (900 << 20, 900 << 20))

    done = subprocess.run(
        [*place.command(image), "--block-size", "1048576", "--report", place.folder / "r.json"],
        env=place.program("mksquashfs", TELLING), preexec_fn=limit, check=True,
    )  # fmt: skip
    assert done.returncode == 0
    told = json.loads((place.folder / "r.json").read_text())["warnings"]
    megabytes = next(re.search(r"-mem (\d+)M", line) for line in told if "-mem" in line)
    assert 16 <= int(megabytes[1]) < 225
    assert place.out.read_bytes() == whole


def test_a_limit_on_reserved_memory_is_told_to_be_one(place):
    def limit():
        resource.setrlimit(resource.RLIMIT_AS, (4 << 30, 4 << 30))

    script = "[ $1 = -version ] && echo version 4.5 && exit; echo Out of memory >&2; exit 1"
    environment = place.program("mksquashfs", f"#!/bin/sh\n{script}\n")
    error = place.convert(place.image(BIG), status=18, env=environment, preexec_fn=limit)
    assert "4096 MiB are allowed (ulimit -v, which counts what is only reserved, too)" in error


def test_mksquashfs_is_what_the_kernel_ends_first(place):
    environment = place.program("mksquashfs", TELLING)
    done = subprocess.run(
        [*place.command(place.image(GOOD)), "--report", place.folder / "r.json"],
        env=environment, check=True,
    )  # fmt: skip
    assert done.returncode == 0
    told = json.loads((place.folder / "r.json").read_text())["warnings"]
    assert "mksquashfs: 500" in told


def test_a_missing_mksquashfs_is_named_with_its_package(place):
    environment = os.environ | {"PATH": str(COMMAND.parent)}
    assert "install the package squashfs-tools" in place.convert(
        place.image(GOOD), status=18, env=environment
    )


def limited(size):
    """No file may grow past *size*: what a full disk does, for anybody."""

    def limit():
        signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
        resource.setrlimit(resource.RLIMIT_FSIZE, (size, size))

    return limit


def test_a_store_whose_disk_is_full(place):
    error = place.convert(place.image(BIG), status=14, preexec_fn=limited(2_000_000))
    assert "--store" in error


def test_an_output_whose_disk_is_full(place):
    noise = os.urandom(2_000_000)
    script = '#!/bin/sh\n[ "$1" = -version ] || ulimit -f 100\nexec /usr/bin/mksquashfs "$@"\n'
    environment = place.program("mksquashfs", script)
    place.convert(place.image(layer(file("f", noise))), status=18, env=environment)
    full = (
        '#!/bin/sh\n[ "$1" = -version ] && exec /usr/bin/mksquashfs "$@"\n'
        "echo Write failed because No space left on device >&2\nexit 1\n"
    )
    environment = place.program("mksquashfs", full)
    assert "choose another place by -o" in place.convert(
        f"oci:{place.folder}/image", status=17, env=environment
    )


def test_places_that_cannot_be_written(place, tmp_path):
    image = place.image(GOOD)
    place.out = tmp_path / "none" / "x.gvmi"
    assert "does not exist" in place.convert(image, status=17)
    place.out = tmp_path / "x.gvmi"
    (tmp_path / "file").write_text("")
    place.store = tmp_path / "file"
    assert "--store" in place.convert(image, status=14)


def test_read_only_places(place, tmp_path):
    image = place.image(GOOD)
    closed = tmp_path / "closed"
    closed.mkdir(mode=0o555)
    place.out = closed / "x.gvmi"
    # Nothing is closed to root, but for those of its capabilities that it gives up.
    drop = ["setpriv", "--bounding-set=-all", "--inh-caps=-all"] if os.geteuid() == 0 else []
    done = subprocess.run(
        [*drop, *place.command(image)], capture_output=True, text=True, check=False
    )
    assert done.returncode == 17, done.stderr
    assert "cannot be written" in done.stderr
    assert not list(closed.iterdir())


def test_a_report_that_cannot_be_written(place):
    command = [*place.command(place.image(GOOD)), "--report", "/none/r.json"]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 17
    assert "/none" in done.stderr


def test_a_damaged_blob_in_the_store_is_told_and_removed(place):
    image = place.image(GOOD)
    subprocess.run(
        [COMMAND, "build", "-q", "-t", "mine", "--build-context", f"x={image}", "--store",
         place.store, "-o", place.folder / "y.gvmi", "-f", "-", place.folder],
        input=b"FROM x\n", check=True, stdout=subprocess.DEVNULL,
    )  # fmt: skip
    blob = max((place.store / "blobs" / "sha256").iterdir(), key=lambda path: path.stat().st_size)
    data = bytearray(blob.read_bytes())
    data[len(data) // 2] ^= 0xFF
    blob.write_bytes(data)
    done = subprocess.run(place.command("mine"), capture_output=True, text=True, check=False)
    assert done.returncode == 14
    assert "was damaged on disk and has been removed" in done.stderr
    assert not blob.exists()


# Tells its process id, and stops itself: the build is held in the middle.
HOLDING = """#!/bin/sh
[ "$1" = -version ] && exec /usr/bin/mksquashfs "$@"
echo $$ >"$FLAG"
kill -STOP $$
"""


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP, signal.SIGKILL])
def test_signals_while_mksquashfs_runs(place, number):
    flag = place.folder / "flag"
    os.mkfifo(flag)
    path = place.program("mksquashfs", HOLDING)["PATH"]
    environment = unwatched() | {"FLAG": str(flag), "PATH": path}
    image = place.image(layer(file("f", os.urandom(3_000_000))))
    process = subprocess.Popen(place.command(image), env=environment, stderr=subprocess.PIPE)
    held = int(flag.read_text())
    process.send_signal(number)
    stderr = process.communicate()[1]
    if number == signal.SIGKILL:
        assert process.returncode == -9
        os.kill(held, signal.SIGKILL)
        place.check(process.returncode)  # what was being written never had a name
        place.convert(image)
        return
    assert process.returncode == 128 + number
    assert stderr.decode().startswith(f"golem-assemble: stopped by {number.name}")
    assert not Path(f"/proc/{held}").exists()
    place.check(process.returncode)


def test_ends_at_random_moments_leave_nothing(place):
    moments = random.Random(7)
    context = place.folder / "context"
    context.mkdir()
    (context / "data").write_bytes(moments.randbytes(4_000_000))
    (context / "Dockerfile").write_text("FROM x\nCOPY data /copied/\nWORKDIR /w\n")
    image = place.image(layer(file("f", moments.randbytes(12_000_000))))
    command = [
        COMMAND, "build", "-q", "-t", "t", "--build-context", f"x={image}",
        "--store", place.store, "-o", place.out, context,
    ]  # fmt: skip
    began = time.monotonic()
    subprocess.run(command, check=True, capture_output=True)
    whole = time.monotonic() - began
    for number in [signal.SIGINT, signal.SIGTERM, signal.SIGKILL] * 6:
        place.out.unlink(missing_ok=True)
        process = subprocess.Popen(
            command, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, env=unwatched()
        )
        try:
            process.wait(moments.uniform(0, whole))
        except subprocess.TimeoutExpired:
            process.send_signal(number)
        stderr = process.communicate()[1].decode()
        assert process.returncode in {0, -number, 128 + number}, stderr
        assert "Traceback" not in stderr
        if number == signal.SIGKILL:
            subprocess.run(command, check=True, capture_output=True)
            place.check(0)
        else:
            # A signal may come when the file has its name already; then it is whole.
            place.check(0 if place.out.exists() else 1)
        if place.out.exists():
            subprocess.run([COMMAND, "verify", place.out], check=True, stdout=subprocess.DEVNULL)


def test_two_builds_of_the_same_output_at_once(place):
    image = place.image(layer(file("f", os.urandom(3_000_000))))
    both = [subprocess.Popen(place.command(image)) for _ in range(2)]
    assert [process.wait() for process in both] == [0, 0]
    place.check(0)
    subprocess.run([COMMAND, "verify", place.out], check=True, stdout=subprocess.DEVNULL)


@pytest.mark.parametrize("mtime", [-1_000_000_000, 0, 4_000_000_000, 1 << 35])
def test_times_never_come_from_the_clock(place, mtime):
    image = place.image(layer(file("f", b"", mtime=mtime)), created="2999-01-01T00:00:00Z")
    place.convert(image)
    first = place.out.read_bytes()
    command = ["unsquashfs", "-UTC", "-lln", place.out]
    shown = subprocess.run(command, capture_output=True, text=True, check=True).stdout
    assert "2106-02-07 06:28 squashfs-root\n" in shown
    place.out.unlink()
    place.convert(image)
    assert place.out.read_bytes() == first

"""Where outputs go: links, devices, FIFOs, standard output, folders, several at once."""

from __future__ import annotations

import hashlib
import json
import os
import pty
import socket
import stat
import subprocess
import tarfile
import threading
from pathlib import Path

import pytest
from support.images import oci_layout
from support.layers import file, layer

ROOT = os.geteuid() == 0
# Nothing is closed to root, but for those of its capabilities that it gives up.
DROP = ["setpriv", "--bounding-set=-all", "--inh-caps=-all"] if ROOT else []


@pytest.fixture
def image(tmp_path):
    oci_layout(tmp_path / "image", [layer(file("f", b"x" * 3000))], {"Volumes": {"/v": {}}})
    return "oci:image"


@pytest.fixture
def expected(run, image, tmp_path):
    run("convert", "-q", "-o", "expected.gvmi", image)
    return (tmp_path / "expected.gvmi").read_bytes()


@pytest.fixture
def device(tmp_path):
    """Return a device like /dev/null (3) or /dev/full (7); for root, who could lose it, our own."""

    def device(minor):
        if not ROOT:
            return Path({3: "/dev/null", 7: "/dev/full"}[minor])
        path = tmp_path / f"device{minor}"
        os.mknod(path, 0o666 | stat.S_IFCHR, os.makedev(1, minor))
        return path

    return device


class Reader:
    """Reads a FIFO to its end while the block runs."""

    def __init__(self, path):
        os.mkfifo(path)
        self._path = path
        self.data = b""
        self._thread = threading.Thread(target=self._read, daemon=True)

    def _read(self):
        self.data = self._path.read_bytes()

    def __enter__(self):
        self._thread.start()
        return self

    def __exit__(self, *_exc):
        self._thread.join(10)


@pytest.mark.parametrize("option", ["-o", "--output=type=gvmi,dest=", "--report"])
def test_a_device_is_written_into_and_stays(run, image, tmp_path, device, option):
    null = device(3)
    before = null.lstat()
    words = [f"{option}{null}"] if "=" in option else [option, null]
    run("convert", *words, image)
    assert (null.lstat().st_ino, null.lstat().st_mode) == (before.st_ino, before.st_mode)


@pytest.mark.parametrize("option", ["-o", "--report"])
def test_a_full_device_is_told(run, image, device, option):
    full = device(7)
    error = run("convert", option, full, image, status=17).stderr
    assert f"{full}: no space left on device; make room there, or choose another" in error
    assert f"by {option}" in error
    assert stat.S_ISCHR(full.stat().st_mode)


@pytest.mark.parametrize("link", [False, True])
def test_a_fifo_is_written_into(run, image, tmp_path, expected, link):
    with Reader(tmp_path / "fifo") as reader:
        (tmp_path / "link").symlink_to("fifo")
        run("convert", "-o", "link" if link else "fifo", image)
    assert reader.data == expected
    assert stat.S_ISFIFO((tmp_path / "fifo").stat().st_mode)


def test_a_reader_that_goes_is_told(run, image, tmp_path):
    path = tmp_path / "fifo"
    os.mkfifo(path)
    threading.Thread(target=lambda: path.open("rb").close(), daemon=True).start()
    (tmp_path / "big").write_bytes(os.urandom(500_000))
    (tmp_path / "Dockerfile").write_text("FROM scratch\nCOPY big /\n")
    assert "its reader went" in run("build", "-o", "fifo", ".", status=17).stderr


@pytest.mark.parametrize(
    ("kind", "dest"),
    [
        ("gvmi", "-"), ("squashfs", "/dev/stdout"), ("tar", "/dev/fd/1"), ("oci", "-"),
        ("docker", "/proc/self/fd/1"),
    ],
)  # fmt: skip
def test_standard_output_takes_every_type(run, project, tmp_path, kind, dest):
    project("FROM scratch\nCOPY a.txt /\nVOLUME /v\n")
    run("build", "-q", "--output", f"type={kind},dest=file", "project")
    done = run("build", "--output", f"type={kind},dest={dest}", "project", text=False)
    assert done.stdout == (tmp_path / "file").read_bytes()
    assert b"image     " in done.stderr


def test_standard_output_may_be_a_file_that_is_appended_to(run, image, tmp_path, expected):
    target = tmp_path / "log"
    target.write_bytes(b"before ")
    with target.open("ab") as stdout:
        environment = os.environ | {"XDG_CACHE_HOME": str(tmp_path / "cache")}
        for dest in ("-", "/dev/stdout"):
            run("convert", "-o", dest, image, capture_output=False, stdout=stdout, env=environment)
    assert target.read_bytes() == b"before " + expected + expected


def test_a_file_may_be_called_dash(run, image, tmp_path, expected):
    assert run("convert", "-q", "-o", "./-", image).stdout == "-\n"
    assert (tmp_path / "-").read_bytes() == expected


@pytest.mark.parametrize("dest", ["-", "/dev/stdout", "NAME"])
def test_a_terminal_is_refused_before_the_work(run, dest):
    ours, theirs = pty.openpty()
    dest = os.ttyname(theirs) if dest == "NAME" else dest
    options = {"capture_output": False, "stdout": theirs, "stderr": subprocess.PIPE}
    assert "is a terminal" in run("convert", "-o", dest, "oci:none", status=17, **options).stderr
    os.close(theirs)
    os.close(ours)


def test_the_report_may_go_to_standard_output(run, image, tmp_path):
    done = run("convert", "-o", "x.gvmi", "--report", "-", image)
    found = json.loads(done.stdout)
    assert found["path"] == str(tmp_path / "x.gvmi")
    assert "image     x.gvmi" in done.stderr
    done = run("convert", "-o", "-", "--report", "r.json", image, text=False)
    found = json.loads((tmp_path / "r.json").read_text())
    assert found["path"] == "-"
    assert found["hash"] == hashlib.sha3_224(done.stdout).hexdigest()


def test_a_closed_or_unwritable_descriptor_is_refused(run, command, image, tmp_path):
    run("convert", "-o", "/dev/fd/77", "oci:none", status=17)
    with (tmp_path / "image" / "index.json").open() as readable:
        done = run("convert", "-o", "-", "oci:none", status=17, capture_output=False,
                   stdout=readable, stderr=subprocess.PIPE)  # fmt: skip
        assert "standard output is not open for writing" in done.stderr
    # What the program opened itself is nobody's output.
    for number in (3, 4, 5):
        run("convert", "-o", f"/dev/fd/{number}", image, status=17)
    done = subprocess.run(
        ["sh", "-c", '"$0" convert -o - oci:none >&-', command],
        cwd=tmp_path, capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert done.returncode == 17, done.stderr


@pytest.mark.parametrize("target", ["file", "sub/file", "missing"])
def test_a_link_is_followed_and_stays(run, image, tmp_path, expected, target):
    (tmp_path / "sub").mkdir()
    (tmp_path / "file").write_text("old")
    (tmp_path / "link").symlink_to(target)
    (tmp_path / "sub" / "second").symlink_to("../link")
    run("convert", "-o", "sub/second", "--report", "r", image)
    assert (tmp_path / target).read_bytes() == expected
    assert os.readlink(tmp_path / "link") == target
    assert os.readlink(tmp_path / "sub" / "second") == "../link"


def test_a_link_that_is_a_loop_or_leads_to_no_folder_is_refused(run, tmp_path):
    (tmp_path / "loop").symlink_to("loop")
    (tmp_path / "lost").symlink_to("none/x")
    for option in ("-o", "--report"):
        assert "lead nowhere" in run("convert", option, "loop", "oci:none", status=17).stderr
        assert "does not exist" in run("convert", option, "lost", "oci:none", status=17).stderr


def test_what_replaces_a_file_has_its_permissions(run, image, tmp_path):
    for name in ("x.gvmi", "r.json"):
        (tmp_path / name).write_text("old")
        (tmp_path / name).chmod(0o640)
        if ROOT:
            os.chown(tmp_path / name, 12, 34)
    run("convert", "-o", "x.gvmi", "--report", "r.json", image)
    for name in ("x.gvmi", "r.json"):
        found = (tmp_path / name).stat()
        assert found.st_size > 100
        assert stat.S_IMODE(found.st_mode) == 0o640
        assert not ROOT or (found.st_uid, found.st_gid) == (12, 34)


@pytest.mark.parametrize("option", ["-o", "--report"])
def test_a_read_only_file_is_refused_before_the_work(command, tmp_path, option):
    target = tmp_path / "x"
    target.write_text("old")
    target.chmod(0o444)
    done = subprocess.run(
        [*DROP, command, "convert", "--store", tmp_path / "s", option, target, "oci:none"],
        capture_output=True, text=True, check=False, cwd=tmp_path,
    )  # fmt: skip
    assert done.returncode == 17, done.stderr
    assert f"{target} cannot be written (it is read-only); choose another place by {option}" in (
        done.stderr
    )
    assert target.read_text() == "old"


@pytest.mark.parametrize(
    ("path", "problem"),
    [
        ("none/r.json", "the folder"), ("folder", "is a folder"),
        ("file/r.json", "Not a directory"), ("n" * 300, "File name too long"),
        ("socket", "is a socket"),
    ],
)  # fmt: skip
def test_the_report_is_checked_before_the_work(run, tmp_path, path, problem):
    (tmp_path / "folder").mkdir()
    (tmp_path / "file").write_text("")
    with socket.socket(socket.AF_UNIX) as bound:
        here = os.open(tmp_path, os.O_PATH)
        bound.bind(f"/proc/self/fd/{here}/socket")
        os.close(here)
        error = run("convert", "--report", path, "oci:none", status=17).stderr
        assert problem in error
        assert "by --report" in error
        assert "by -o" not in error


@pytest.mark.parametrize("path", ["new/", "new/deep/", "there", "there/", ".", "./"])
def test_a_folder_takes_the_default_name(run, image, tmp_path, expected, path):
    (tmp_path / "there").mkdir()
    name = run("convert", "-q", image).stdout.strip()
    (tmp_path / name).unlink()
    done = run("convert", "-q", "-o", path, image)
    assert done.stdout == f"{os.path.normpath(os.path.join(path, name))}\n"
    assert (tmp_path / path / name).read_bytes() == expected


def test_a_folder_of_another_type_takes_the_default_name(run, project, tmp_path):
    project("FROM scratch\nCOPY a.txt /\n")
    run("build", "-t", "me/x:1", "--output", "type=oci,dest=new/", "project")
    (path,) = (tmp_path / "new").iterdir()
    assert path.name.startswith("me-x-1-")
    assert path.name.endswith(".oci.tar")


@pytest.mark.parametrize("path", ["file/", "file/sub/", "n" * 300 + "/"])
def test_a_folder_that_cannot_be_made_is_refused_before_the_work(run, tmp_path, path):
    (tmp_path / "file").write_text("")
    assert "by -o" in run("convert", "-o", path, "oci:none", status=17).stderr


def test_several_outputs_are_all_written(run, project, tmp_path):
    project("FROM scratch\nCOPY a.txt /\nVOLUME /v\n")
    outputs = {"gvmi": "a.gvmi", "squashfs": "a.sq", "tar": "a.tar", "oci": "o.tar"}
    words = [
        word for kind, dest in outputs.items() for word in ("--output", f"type={kind},dest={dest}")
    ]
    run("build", "-q", "-o", "alone.gvmi", "project")
    done = run("build", "-q", *words, "--output", "type=image", "-o", "b.gvmi", "--report", "r",
               "project")  # fmt: skip
    assert done.stdout.split()[:4] == list(outputs.values())
    assert done.stdout.split()[4].startswith("sha256:")
    alone = (tmp_path / "alone.gvmi").read_bytes()
    assert (tmp_path / "a.gvmi").read_bytes() == alone == (tmp_path / "b.gvmi").read_bytes()
    assert alone.startswith((tmp_path / "a.sq").read_bytes())
    with tarfile.open(tmp_path / "a.tar") as archive:
        assert archive.getnames() == ["a.txt"]
    report = json.loads((tmp_path / "r").read_text())
    assert [output["type"] for output in report["outputs"]] == [*outputs, "image", "gvmi"]
    assert report["path"] == str(tmp_path / "a.gvmi")
    assert len(report["warnings"]) == len(set(report["warnings"]))


def test_convert_writes_several_outputs_of_an_image(run, image, tmp_path, expected):
    run("convert", "-o", "a.gvmi", "-o", "b.gvmi", "-o", "type=tar,dest=x.tar", image)
    assert (tmp_path / "a.gvmi").read_bytes() == expected == (tmp_path / "b.gvmi").read_bytes()
    with tarfile.open(tmp_path / "x.tar") as archive:
        assert archive.getnames() == ["f"]
    error = run("convert", "-o", "type=oci,dest=x", image, status=15).stderr
    assert "choose one of gvmi, squashfs, tar" in error


@pytest.mark.parametrize(
    "words",
    [
        ["-o", "x", "-o", "./x"], ["-o", "x", "--report", "x"], ["-o", "-", "-o", "/dev/stdout"],
        ["-o", "-", "--report", "-"], ["-o", "link", "-o", "x"], ["-o", ".", "-o", "./"],
    ],
)  # fmt: skip
def test_outputs_in_one_place_are_refused_before_the_work(run, tmp_path, words):
    (tmp_path / "link").symlink_to("x")
    assert "would be written twice" in run("convert", *words, "oci:none", status=17).stderr


def test_all_outputs_are_checked_before_the_work(run, tmp_path):
    error = run("convert", "-o", "a", "-o", "none/b", "oci:none", status=17).stderr
    assert "the folder" in error
    assert os.listdir(tmp_path) in ([], ["cache"])


def test_a_failure_leaves_an_old_output_and_a_pipe_as_they_are(run, project, tmp_path):
    (tmp_path / "x.gvmi").write_text("old")
    project("FROM scratch\nCOPY a.txt /proc\n")
    for words in (["-o", "x.gvmi"], ["-o", "-"]):
        done = run("build", *words, "project", status=16)
        assert done.stdout == ""
    assert (tmp_path / "x.gvmi").read_text() == "old"
    assert not list(tmp_path.glob(".*.part"))


def test_a_type_with_a_comma_in_its_file_is_quoted(run, project, tmp_path):
    project("FROM scratch\nCOPY a.txt /\n")
    run("build", "-q", "--output", 'type=tar,"dest=a,b.tar"', "project")
    assert (tmp_path / "a,b.tar").is_file()
    assert "its value is empty" in run("build", "-o", "", "project", status=2).stderr


# Folders that others write to.


SWAPPING = """#!/bin/sh
[ "$1" = -version ] && exec /usr/bin/mksquashfs "$@"
for name in .x.gvmi.*; do
    [ -f "$name" ] && ln -sf victim "$name"
done
exec /usr/bin/mksquashfs "$@"
"""


def test_a_name_that_is_swapped_while_mksquashfs_starts_is_not_written_through(
    run, image, tmp_path, expected
):
    (tmp_path / "victim").write_text("precious")
    (tmp_path / "bin").mkdir()
    (tmp_path / "bin" / "mksquashfs").write_text(SWAPPING)
    (tmp_path / "bin" / "mksquashfs").chmod(0o755)
    path = f"{tmp_path}/bin:{os.environ['PATH']}"
    run("convert", "-q", "-o", "x.gvmi", image, env=os.environ | {"PATH": path})
    assert (tmp_path / "x.gvmi").read_bytes() == expected
    assert not (tmp_path / "x.gvmi").is_symlink()
    assert (tmp_path / "victim").read_text() == "precious"


def test_fifos_with_names_of_temporary_files_keep_nobody_waiting(run, image, tmp_path):
    store = tmp_path / "store" / "tmp"
    run("images", "--store", "store")
    run("convert", "-q", "--store", "store", "-o", "x.gvmi", image)
    names = [".x.gvmi.x.part", ".x.gvmi.0123456789abcdef.part"]
    for path in (*(tmp_path / name for name in names), store / ".tmp.a.part"):
        os.mkfifo(path)
    (tmp_path / ".x.gvmi.notes.part").write_text("somebody's")
    run("convert", "-q", "--store", "store", "-o", "x.gvmi", image, timeout=20)
    assert {path.name for path in tmp_path.glob(".*.part")} == {*names, ".x.gvmi.notes.part"}


@pytest.mark.parametrize("words", [["-o", "-"], ["--output", "type=tar,dest=-"], ["-o", "x"]])
def test_an_output_is_written_where_no_standard_input_was_given(command, image, tmp_path, words):
    # Number 0 is free then, and what a tool inherits must not be one of them.
    line = '"$0" convert --store store "$@" <&-'
    done = subprocess.run(
        ["sh", "-c", line, command, *words, image], cwd=tmp_path, capture_output=True, check=True
    )
    written = (tmp_path / "x").read_bytes() if words[1] == "x" else done.stdout
    assert len(written) > 3000

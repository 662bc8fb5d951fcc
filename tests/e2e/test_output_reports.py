"""What public bug reports about other tools' outputs describe, tried here."""

from __future__ import annotations

import io
import json
import socket
import subprocess
import tarfile
import threading

import pytest

DOCKERFILE = "FROM scratch\nCOPY a.txt /\nVOLUME /v\n"


def inspected(place):
    command = ["skopeo", "inspect", "--raw", "--config", place]
    return json.loads(subprocess.run(command, check=True, capture_output=True).stdout)


def piped(command, path, *arguments, **options):
    """Run the command with its standard output in a pipe to cat."""
    script = '"$0" "$@" | cat'
    return subprocess.run(
        ["sh", "-c", script, command, *arguments, "--store", path / "store"],
        cwd=path, capture_output=True, check=True, **options,
    )  # fmt: skip


# containers/podman 7017 (an OCI archive could not be written into a pipe), 352 and 23063, skopeo
# 2623 (progress got into the archive).
@pytest.mark.parametrize("mode", ["plain", "rich", "json", "auto"])
@pytest.mark.parametrize("kind", ["oci", "docker"])
def test_a_pipe_gets_an_archive_and_nothing_else(command, project, tmp_path, kind, mode):
    folder = project(DOCKERFILE)
    output = f"type={kind},dest=-"
    done = piped(command, tmp_path, "build", "--progress", mode, "--output", output, folder)
    (tmp_path / "got.tar").write_bytes(done.stdout)
    assert inspected(f"{kind}-archive:{tmp_path}/got.tar")["config"]["Volumes"] == {"/v": {}}
    with tarfile.open(fileobj=io.BytesIO(done.stdout)) as archive:
        size = max(member.offset_data + -(-member.size // 512) * 512 for member in archive)
    assert done.stdout[size:].strip(b"\0") == b""


# moby/buildkit 5556 (oci and docker at once gave an invalid OCI image), docker/buildx 3306 (the
# metadata told of one of several outputs).
def test_archives_of_two_types_at_once_are_both_sound_and_told(run, project, tmp_path):
    project(DOCKERFILE)
    run(
        "build", "--output", "type=oci,dest=o.tar", "--output", "type=docker,dest=d.tar",
        "-o", "x.gvmi", "--report", "r.json", "project",
    )  # fmt: skip
    report = json.loads((tmp_path / "r.json").read_text())
    one = inspected(f"oci-archive:{tmp_path}/o.tar")
    assert one == inspected(f"docker-archive:{tmp_path}/d.tar")
    run("build", "-q", "--output", "type=oci,dest=alone.tar", "project")
    assert (tmp_path / "alone.tar").read_bytes() == (tmp_path / "o.tar").read_bytes()
    assert [(item["type"], item["path"]) for item in report["outputs"]] == [
        ("oci", f"{tmp_path}/o.tar"), ("docker", f"{tmp_path}/d.tar"),
        ("gvmi", f"{tmp_path}/x.gvmi"),
    ]  # fmt: skip
    assert [bool(item["hash"]) for item in report["outputs"]] == [False, False, True]
    assert report["hash"] == report["outputs"][2]["hash"]


# GoogleContainerTools/kaniko 572: the archive of an image without a name was empty.
def test_an_archive_of_an_image_without_a_name_holds_it(run, project, tmp_path):
    project(DOCKERFILE)
    run("build", "-q", "--output", "type=docker,dest=d.tar", "project")
    assert inspected(f"docker-archive:{tmp_path}/d.tar")["config"]["Volumes"] == {"/v": {}}
    run("convert", "-q", "-o", "x.gvmi", "docker-archive:d.tar")


# containers/skopeo 1708: a second try failed, as what the first had half written was there.
def test_a_second_try_replaces_what_is_there(run, project, tmp_path):
    (tmp_path / "d.tar").write_bytes(b"half")
    project("FROM scratch\nCOPY none /\n")
    run("build", "--output", "type=docker,dest=d.tar", "project", status=3)
    assert (tmp_path / "d.tar").read_bytes() == b"half"
    project(DOCKERFILE)
    run("build", "-q", "--output", "type=docker,dest=d.tar", "project")
    assert inspected(f"docker-archive:{tmp_path}/d.tar")


# containers/podman 12402: /dev/stdout could not be opened, as no socket can be.
@pytest.mark.parametrize("dest", ["-", "/dev/stdout"])
def test_standard_output_may_be_a_socket(command, project, tmp_path, dest):
    folder = project(DOCKERFILE)
    ours, theirs = socket.socketpair()
    got = bytearray()

    def read():
        while chunk := ours.recv(1 << 16):
            got.extend(chunk)

    reader = threading.Thread(target=read)
    reader.start()
    with ours:
        with theirs:
            subprocess.run(
                [command, "build", "--store", tmp_path / "s", "--output", f"type=tar,dest={dest}",
                 folder],
                stdout=theirs, stderr=subprocess.PIPE, check=True,
            )  # fmt: skip
        reader.join(20)
    with tarfile.open(fileobj=io.BytesIO(got)) as archive:
        assert archive.getnames() == ["a.txt"]

"""What is read of a context before anything is built: the Dockerfile and its patterns."""

from __future__ import annotations

import os
import threading

import pytest

from assembler.context import Context
from assembler.errors import BuildError
from assembler.folder import Folder

TEXT = b"FROM scratch\n"


@pytest.fixture
def outside(tmp_path_factory):
    path = tmp_path_factory.mktemp("outside") / "secret"
    path.write_bytes(b"root:x:0:0\n")
    return path


@pytest.fixture
def context(tmp_path):
    with Folder(str(tmp_path)) as folder:
        yield Context(folder, "project", tmp_path)


def refused(context, wanted=None):
    with pytest.raises(BuildError) as caught:
        context.build_file(wanted)
    assert "root:x" not in str(caught.value)
    return str(caught.value)


def test_the_contexts_own_files_are_read(context, tmp_path):
    (tmp_path / "Dockerfile").write_bytes(TEXT)
    (tmp_path / ".dockerignore").write_bytes(b"a\n")
    found = context.build_file(None)
    assert (found.text, found.name, found.ignore_name) == (TEXT, "Dockerfile", ".dockerignore")
    (tmp_path / "Dockerfile.dockerignore").write_bytes(b"b\n")
    assert context.build_file(None).ignore_name == "Dockerfile.dockerignore"


@pytest.mark.parametrize(
    "link", ["docker/Dockerfile", "/docker/Dockerfile", "l/../docker/Dockerfile"]
)
def test_links_inside_the_context_are_followed(context, tmp_path, link):
    (tmp_path / "docker").mkdir()
    (tmp_path / "l").mkdir()
    (tmp_path / "docker" / "Dockerfile").write_bytes(TEXT)
    (tmp_path / "Dockerfile").symlink_to(link)
    (tmp_path / "x").symlink_to("docker")
    assert context.build_file(None).text == TEXT
    assert context.read("x/Dockerfile") == TEXT


@pytest.mark.parametrize("name", ["Dockerfile", ".dockerignore", "Dockerfile.dockerignore"])
@pytest.mark.parametrize("target", ["absolute", "relative", "through", "nothing", "loop"])
def test_links_that_lead_out_of_the_context_are_refused(context, tmp_path, outside, name, target):
    (tmp_path / "Dockerfile").write_bytes(TEXT)
    (tmp_path / name).unlink(missing_ok=True)
    (tmp_path / "d").symlink_to(outside.parent)
    targets = {
        "absolute": outside,
        "relative": os.path.relpath(outside, tmp_path),
        "through": "d/secret",
        "nothing": "none",
        "loop": name,
    }
    (tmp_path / name).symlink_to(targets[target])
    assert refused(context).startswith(
        f"{name}: a symbolic link on its way leads to nothing in the context project; links are "
        "not followed out of it"
    )


def test_what_f_names_is_trusted_but_not_the_patterns_beside_it(context, tmp_path, outside):
    outside.write_bytes(TEXT)
    (tmp_path / "Dockerfile").symlink_to(outside)
    assert context.build_file(str(tmp_path / "Dockerfile")).text == TEXT
    (tmp_path / "Dockerfile.dockerignore").symlink_to(outside)
    assert "leads to nothing" in refused(context, str(tmp_path / "Dockerfile"))


@pytest.mark.parametrize("name", ["Dockerfile", ".dockerignore"])
@pytest.mark.parametrize(
    ("make", "problem"),
    [(os.mkfifo, "not a regular file"), (os.mkdir, "is a directory")],
)
def test_what_is_no_file_is_an_error_and_never_waited_for(context, tmp_path, name, make, problem):
    (tmp_path / "Dockerfile").write_bytes(TEXT)
    (tmp_path / name).unlink(missing_ok=True)
    make(tmp_path / name)
    assert refused(context) == f"{name}: it cannot be read ({problem})"
    if name == "Dockerfile":
        named = str(tmp_path / name)
        assert refused(context, named) == f"{named}: it cannot be read ({problem})"


def test_a_pipe_of_the_shell_is_read(context):
    reading, writing = os.pipe()
    writer = threading.Thread(target=lambda: (os.write(writing, TEXT), os.close(writing)))
    writer.start()
    assert context.build_file(f"/dev/fd/{reading}").text == TEXT
    writer.join()
    os.close(reading)

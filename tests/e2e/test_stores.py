"""Where the content store is: relative, absent, mistyped, forbidden."""

from __future__ import annotations

import json
import os
import subprocess

import pytest
from support.images import oci_layout
from support.layers import file, layer
from support.machinecode import call, program

EXIT_GROUP = 231
LOOKING = [
    ["images"], ["images", "-q"], ["images", "--format", "json"], ["df"], ["prune"],
    ["prune", "--dry-run"],
]  # fmt: skip
NAMING = [["rmi", "none"], ["tag", "none", "y"]]


@pytest.fixture
def image(tmp_path):
    return f"oci:{oci_layout(tmp_path / 'image', [layer(file('f', b'x'))], {}).path}"


def test_a_relative_store_serves_run(run, image, project, tmp_path):
    (tmp_path / "project" / "true").write_bytes(program(call(EXIT_GROUP, 0)))
    (tmp_path / "project" / "true").chmod(0o755)
    project('FROM x\nCOPY true /true\nRUN ["/true"]\nVOLUME /v\n')
    options = ["--build-context", f"x={image}", "--store", "./st/../store", "-o", "x.gvmi"]
    run("build", *options, "project")
    assert (tmp_path / "store" / "blobs").is_dir()
    assert "yes" in run("sandbox", "--store", "store").stdout


@pytest.mark.parametrize("home", ["cache", "./cache", ""])
def test_a_cache_home_that_is_not_absolute_is_ignored(run, image, tmp_path, home):
    environment = os.environ | {"XDG_CACHE_HOME": home, "HOME": str(tmp_path / "home")}
    run("convert", "-o", "x.gvmi", image, env=environment)
    run("pull", "none", env=environment, status=None)
    assert (tmp_path / "home" / ".cache" / "golem-assemble" / "blobs").is_dir()
    assert not (tmp_path / "cache").exists()


@pytest.mark.parametrize("arguments", [*LOOKING, *NAMING])
def test_a_command_that_looks_makes_no_store(run, tmp_path, arguments):
    done = run(*arguments, "--store", "none", status=5 if arguments in NAMING else 0)
    again = run(*arguments, status=done.returncode)
    assert done.stdout == again.stdout
    assert os.listdir(tmp_path) == []
    (tmp_path / "none").mkdir()
    run(*arguments, "--store", "none", status=done.returncode)
    assert os.listdir(tmp_path / "none") == []


def test_what_there_is_without_a_store_is_nothing(run):
    assert run("images").stdout.split() == ["REPOSITORY", "TAG", "IMAGE", "ID", "CREATED", "SIZE"]
    assert json.loads(run("images", "--format", "json").stdout) == []
    rows = run("df").stdout.splitlines()[1:]
    assert all(row.endswith("   0       0 B    0 B") for row in rows)
    assert run("prune").stdout == "reclaimed: 0 B\n"
    assert run("prune", "--dry-run").stdout == "reclaimable: 0 B\n"


def test_the_history_of_a_layout_and_a_gvmi_need_no_store(run, image, tmp_path):
    before = sorted(os.listdir(tmp_path))
    assert run("history", image).stdout.startswith("CREATED")
    assert "linux/amd64" in run("inspect", image).stdout
    assert sorted(os.listdir(tmp_path)) == before


def spoil_file(root):
    root.write_text("")


def spoil_loop(root):
    root.symlink_to(root.name)


def spoil_dangling(root):
    root.symlink_to("none")


@pytest.mark.parametrize("spoil", [spoil_file, spoil_loop, spoil_dangling])
@pytest.mark.parametrize("arguments", [["images"], ["prune"], ["tag", "a", "b"], ["convert"]])
def test_something_else_in_the_stores_place_is_named(run, image, tmp_path, spoil, arguments):
    spoil(tmp_path / "store")
    arguments = [*arguments, image] if arguments == ["convert"] else arguments
    error = run(*arguments, "--store", "store", status=14).stderr
    assert f"{tmp_path}/store: " in error
    assert "--store" in error
    assert "Traceback" not in error


@pytest.mark.parametrize("store", ["file/x", "/proc/none/x", "n" * 300, "/sys/x", "/dev/null"])
@pytest.mark.parametrize("arguments", [["images"], ["convert"]])
def test_a_store_that_cannot_be_made_is_named(run, image, tmp_path, store, arguments):
    (tmp_path / "file").write_text("")
    arguments = [*arguments, image] if arguments == ["convert"] else arguments
    done = run(*arguments, "--store", store, status=None)
    # What is not there holds nothing, whether or not it could be made.
    absent = arguments == ["images"] and store in {"/proc/none/x", "/sys/x"}
    assert done.returncode == (0 if absent else 14), done.stderr
    if not absent:
        assert "--store" in done.stderr
        assert done.stderr.count("golem-assemble: ") == 1


@pytest.mark.parametrize("arguments", [["images"], ["prune"], ["df"]])
def test_a_folder_that_is_no_store_is_named(run, image, tmp_path, arguments):
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "thesis").write_text("")
    for folder in ("mine", image.removeprefix("oci:")):
        error = run(*arguments, "--store", folder, status=14).stderr
        assert "not a content store" in error
    assert os.listdir(tmp_path / "mine") == ["thesis"]


def test_a_store_that_nobody_may_write_is_named(run, command, image, tmp_path):
    closed = tmp_path / "closed"
    closed.mkdir(mode=0o555)
    # Nothing is closed to root, but for those of its capabilities that it gives up.
    drop = ["setpriv", "--bounding-set=-all", "--inh-caps=-all"] if os.geteuid() == 0 else []
    for words in (["convert", image], ["pull", "debian:latest"]):
        done = subprocess.run(
            [*drop, command, *words, "--store", "closed/store"],
            cwd=tmp_path, capture_output=True, text=True, check=False,
        )  # fmt: skip
        assert done.returncode == 14, done.stderr
        assert f"{closed}/store: the content store cannot be written" in done.stderr
    assert os.listdir(closed) == []


# Stores that others could have changed.


def step_notes(store):
    return sorted((store / "steps").iterdir())


def test_a_store_that_others_write_to_is_refused_at_the_default_place(
    run, image, project, tmp_path
):
    project("FROM x\nCOPY a.txt /a\n")
    build = ["build", "--progress", "plain", "--build-context", f"x={image}", "-o", "x.gvmi"]
    run(*build, "project")
    store = tmp_path / "cache" / "golem-assemble"
    assert store.stat().st_mode & 0o7777 == 0o700
    (store / "steps").chmod(0o777)
    # What a stranger would do: have the step end in nothing.
    for note in step_notes(store):
        note.write_text('{"layer": null}')
    (tmp_path / "x.gvmi").unlink()
    for arguments in ([*build, "project"], ["images"], ["prune"], ["convert", image]):
        error = run(*arguments, status=14).stderr
        assert f"other users can write to {store / 'steps'} (mode 0777)" in error
        assert "--store" in error
    assert not (tmp_path / "x.gvmi").exists()


@pytest.mark.parametrize("arguments", [["images"], ["prune"], ["convert", "-q"], ["convert"]])
def test_a_store_that_others_write_to_is_told_where_it_was_named(run, image, tmp_path, arguments):
    (tmp_path / "store").mkdir()
    (tmp_path / "store").chmod(0o777)
    run("pull", "-q", image, "--store", "store", status=None)
    arguments = [*arguments, image] if arguments[0] == "convert" else arguments
    error = run(*arguments, "--store", "store").stderr
    assert error.count(f"other users can write to {tmp_path / 'store'} (mode 0777)") == 1
    assert "warning" in error

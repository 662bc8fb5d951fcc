"""What people type who know `docker build`, `docker load` and `docker images`."""

from __future__ import annotations

import hashlib
import json
import os
import subprocess
import tarfile

import pytest
from support.images import Layout, docker_archive, oci_archive, oci_layout
from support.layers import file, layer
from support.registry import Registry

from assembler.cli import foreign

SCRATCH = "FROM scratch\nVOLUME /v\n"
ONE, TWO = layer(file("one", b"1")), layer(file("two", b"2"))


@pytest.fixture
def image(here, tmp_path):
    """Build a Dockerfile's text into the store alone, with options."""

    def image(text, *options, status=0):
        (tmp_path / "Dockerfile").write_text(text)
        return here("build", "--output", "type=image", *options, ".", status=status)

    return image


def test_a_build_argument_without_a_value_keeps_the_default(image, here, monkeypatch):
    monkeypatch.delenv("UNSET", raising=False)
    monkeypatch.setenv("SET", "x")
    text = "FROM scratch\nARG UNSET=default\nARG SET=default\nENV A=$UNSET B=$SET\nVOLUME /v\n"
    image(text, "--build-arg", "UNSET", "--build-arg", "SET", "-qt", "x")
    assert json.loads(here("inspect", "--json", "x").out)["env"][1:] == ["A=default", "B=x"]


def test_switches_have_values(image, here):
    image(SCRATCH, "-t", "x")
    assert "sha256:" in image(SCRATCH, "--quiet=true", "--no-cache=false", "--pull=false").out
    assert "Successfully tagged" in image(SCRATCH, "--quiet", "-t", "x", "--quiet=false").out
    assert "--no-cache=maybe: write" in image(SCRATCH, "--no-cache=maybe", status=2).err


@pytest.mark.parametrize("option", sorted(foreign.BUILD))
def test_options_of_other_builders_are_refused_with_a_way_out(here, option):
    if True in foreign.BUILD[option].harmless:
        return
    value = [] if foreign.BUILD[option].switch else ["value"]
    said = here("build", option, *value, ".", status=2).err
    assert said.startswith(f"golem-assemble: build: {option} is not supported: ")
    assert said.count("\n") == 1


def test_what_is_so_anyway_is_accepted(image):
    image(SCRATCH, "--rm", "--force-rm", "--provenance=false", "--sbom=false", "--load=false")
    assert (
        "--rm=false is not supported: nothing is left" in image(SCRATCH, "--rm=false", status=2).err
    )


def test_the_ids_and_digests_are_written_as_docker_and_buildx_do(image, here, tmp_path):
    names = ("-t", "one", "-t", "127.0.0.1:5000/me/two:3")
    image(SCRATCH, *names, "--iidfile", "id", "--metadata-file", "meta.json")
    shown = json.loads(here("images", "--format", "json", "one").out)[0]
    assert (tmp_path / "id").read_text() == shown["id"]
    meta = json.loads((tmp_path / "meta.json").read_text())
    assert meta["containerimage.config.digest"] == shown["id"]
    assert meta["containerimage.digest"] == meta["containerimage.descriptor"]["digest"]
    assert meta["containerimage.digest"] == shown["digest"]
    assert meta["image.name"] == "docker.io/library/one:latest,127.0.0.1:5000/me/two:3"
    assert meta["golem-assemble.report"]["tags"] == ["one:latest", "127.0.0.1:5000/me/two:3"]
    # As docker does: a failed build leaves no id of an earlier one.
    image("FROM scratch\nCOPY none /\n", "--iidfile", "id", status=3)
    assert not (tmp_path / "id").exists()


def test_an_id_goes_into_a_pipe_and_through_a_link(image, tmp_path):
    os.mkfifo(tmp_path / "pipe")
    (tmp_path / "id").touch()
    (tmp_path / "link").symlink_to("id")
    reading = os.open(tmp_path / "pipe", os.O_RDONLY | os.O_NONBLOCK)
    try:
        image(SCRATCH, "-q", "--iidfile", "pipe", "--metadata-file", "meta.json")
        assert os.read(reading, 100).startswith(b"sha256:")
    finally:
        os.close(reading)
    assert (tmp_path / "pipe").is_fifo()
    image(SCRATCH, "-q", "--iidfile", "link", "--metadata-file", "meta.json")
    assert (tmp_path / "link").is_symlink()
    assert (tmp_path / "id").read_text().startswith("sha256:")


@pytest.mark.parametrize("option", ["--iidfile", "--metadata-file"])
def test_where_they_go_is_checked_before_the_work(here, tmp_path, option):
    (tmp_path / "Dockerfile").write_text(SCRATCH)
    said = here("build", option, "none/file", ".", status=17).err
    assert said.endswith(f"make it, or choose another by {option}\n")
    assert "none/file: the folder" in said
    assert "by -o" not in said
    assert not (tmp_path / "cache").exists()


def test_build_check_is_check(image, here, tmp_path):
    (tmp_path / "Dockerfile").write_text("FROM 127.0.0.1:1/none\nVOLUME /v\nUSER me\n")
    checked = here("check", ".").out
    assert "UserIgnored" in checked
    assert here("build", "--check", "-t", "x", ".").out == checked
    assert "x" not in here("images").out
    assert "COPPY" in image("FROM x\nCOPPY y\n", "--check", status=1).out


@pytest.mark.parametrize("value", ["bridge", "container:x"])
def test_a_network_that_there_is_not_is_refused(here, value):
    said = here("build", "--network", value, ".", status=2).err
    assert f"--network {value}: choose one of default, none, host" in said


def test_pull_and_offline_contradict_each_other(here):
    assert (
        "--pull and --offline contradict" in here("build", "--pull", "--offline", ".", status=2).err
    )


def test_pull_asks_the_registry_although_the_store_has_the_name(image, here, tmp_path):
    old = oci_layout(tmp_path / "old", [ONE], {"Env": ["A=old"]}).path
    new = oci_layout(tmp_path / "new", [TWO], {"Env": ["A=new"]}).path
    with Registry() as registry:
        name = f"{registry.address}/base:1"
        registry.push_layout(old, "base:1")
        here("pull", name)
        registry.push_layout(new, "base:1")
        text = f"FROM {name}\nVOLUME /v\n"
        for options, expected in (
            ([], "A=old"),
            (["--pull"], "A=new"),
            (["--pull=false"], "A=old"),
        ):
            image(text, "-qt", "x", *options)
            assert json.loads(here("inspect", "--json", "x").out)["env"] == [expected]
        image("FROM x\nVOLUME /w\n", "-qt", f"{registry.address}/local", "--output", "type=image")
        said = image(f"FROM {registry.address}/local\n", "--pull", status=5).err
        assert f"{registry.address}/local" in said


def test_progress_has_dockers_names(image):
    assert "VOLUME /v" in image(SCRATCH, "--progress", "tty").err
    assert json.loads(image(SCRATCH, "--progress=rawjson").err.splitlines()[0])
    assert image(SCRATCH, "--progress=quiet").err == ""


def test_images_are_listed_by_name(image, here):
    image(SCRATCH, "-t", "debian:1", "-t", "debian:2", "-t", "me/debian:1")

    def listed(*names):
        return [line.split()[:2] for line in here("images", *names).out.splitlines()[1:]]

    assert listed("debian") == [["debian", "1"], ["debian", "2"]]
    assert listed("debian:2") == listed("docker.io/library/debian:2") == [["debian", "2"]]
    assert listed("me/*") == [["me/debian", "1"]]
    assert listed("none") == []


def test_what_was_built_is_loaded_again(image, here, tmp_path):
    for kind in ("oci", "docker"):
        (tmp_path / "Dockerfile").write_text("FROM scratch\nENV A=b\nVOLUME /v\n")
        here("build", "-qt", "me/x:1", "-t", "y", "--output", f"type={kind},dest=x.tar", ".")
        image_id = json.loads(here("inspect", "--json", "y").out)["image_id"]
        options = ("--store", f"of-{kind}")
        loaded = here("load", *options, "-i", "x.tar").out
        assert loaded == "Loaded image: me/x:1\nLoaded image: y:latest\n"
        assert json.loads(here("inspect", *options, "--json", "y").out)["image_id"] == image_id


@pytest.mark.parametrize("shape", ["old", "new"])
def test_what_docker_save_wrote_is_loaded(here, tmp_path, shape):
    docker_archive(tmp_path / "x.tar", [ONE, TWO], {"Env": ["A=b"]}, "me/x:1", shape=shape)
    assert here("load", "--input", "x.tar", "-q").out == ""
    assert here("ls", "me/x:1").out.split() == ["one", "two"]
    here("prune")
    assert here("ls", "me/x:1").out.split() == ["one", "two"]


def test_an_archive_comes_on_standard_input_compressed(run, tmp_path):
    docker_archive(tmp_path / "x.tar", [ONE], repo_tag="x:1")
    packed = subprocess.run(["gzip", "-c", tmp_path / "x.tar"], capture_output=True, check=True)
    assert run("load", input=packed.stdout, text=False).stdout == b"Loaded image: x:1\n"
    assert b"standard input" in run("load", input=b"no tar", text=False, status=10).stderr


def test_what_skopeo_wrote_is_loaded(here, tmp_path):
    layout = oci_layout(tmp_path / "x", [ONE]).path
    for kind, name in (("docker-archive", ":me/x:1"), ("oci-archive", ":me/x:2")):
        target = f"{kind}:{tmp_path / kind}{name}"
        subprocess.run(["skopeo", "copy", "-q", f"oci:{layout}:latest", target], check=True)
        assert here("load", "-i", kind).out == f"Loaded image: me/x:{name[-1]}\n"


def test_of_several_platforms_one_is_loaded(here, tmp_path):
    layout = Layout(tmp_path / "x")
    images = [
        layout.image([data], platform=platform)
        for data, platform in ((ONE, "linux/arm64"), (TWO, "linux/amd64"))
    ]
    layout.tag(layout.index([*images, layout.attestation(images[0])]), "me/x:1")
    oci_archive(tmp_path / "x.tar", layout)
    here("load", "-i", "x.tar")
    assert here("ls", "me/x:1").out.split() == ["two"]
    here("load", "--platform", "linux/arm64", "-i", "x.tar")
    assert here("ls", "me/x:1").out.split() == ["one"]
    here("load", "--platform", "linux/riscv64", "-i", "x.tar", status=6)


def test_an_archive_without_a_name_is_given_one(here, tmp_path):
    oci_archive(tmp_path / "x.tar", oci_layout(tmp_path / "x", [ONE], tag="latest"))
    said = here("load", "-i", "x.tar", status=15).err
    assert "x.tar: an image in it has no name; give it one by -t NAME[:TAG]" in said
    assert "0" in here("df").out.splitlines()[2].split()[2]
    assert here("load", "-t", "mine:2", "-i", "x.tar").out == "Loaded image: mine:2\n"


@pytest.mark.parametrize(
    ("options", "status", "problem"),
    [
        (["-i", "none"], 5, "no such file"),
        (["-i", "rootfs.tar"], 10, "neither index.json nor manifest.json in it"),
        (["-i", "bad.tar"], 4, "must be lower case"),
        (["-i", "x.tar", "-t", "x@sha256:" + "0" * 64], 2, "cannot hold a digest"),
        (["-i", "lies.tar"], 9, "layer sha256:"),
    ],
)
def test_what_cannot_be_loaded_is_told_and_gets_no_name(here, tmp_path, options, status, problem):
    (tmp_path / "rootfs.tar").write_bytes(ONE)
    docker_archive(tmp_path / "x.tar", [ONE], repo_tag="x:1")
    docker_archive(tmp_path / "bad.tar", [ONE], repo_tag="Bad:1")
    data = (tmp_path / "x.tar").read_bytes()
    (tmp_path / "lies.tar").write_bytes(data.replace(ONE, TWO))
    assert problem in here("load", *options, status=status).err
    assert here("images", "-q").out == ""


def test_the_load_of_a_terminal_is_refused(command, tmp_path):
    primary, secondary = os.openpty()
    try:
        done = subprocess.run(
            [command, "load"], stdin=secondary, capture_output=True, text=True, check=False
        )
    finally:
        os.close(primary)
        os.close(secondary)
    assert done.returncode == 2
    assert "name a file by -i FILE" in done.stderr


def test_what_is_loaded_is_what_was_saved(here, tmp_path):
    layout = oci_layout(tmp_path / "x", [ONE, TWO], tag="me/x:1")
    oci_archive(tmp_path / "x.tar", layout)
    here("load", "-i", "x.tar")
    digest = json.loads(here("images", "--format", "json").out)[0]["digest"]
    with tarfile.open(tmp_path / "x.tar") as archive:
        manifest = archive.extractfile(f"blobs/{digest.replace(':', '/')}").read()
    assert f"sha256:{hashlib.sha256(manifest).hexdigest()}" == digest


def test_what_standard_output_is_redirected_to_is_written_and_not_removed(command, tmp_path):
    (tmp_path / "Dockerfile").write_text(SCRATCH)
    line = [command, "build", "-q", "--store", "s", "--iidfile", "/dev/stdout", "-o", "x.gvmi", "."]
    with (tmp_path / "out").open("wb") as out:
        subprocess.run(line, cwd=tmp_path, stdout=out, stderr=subprocess.DEVNULL, check=True)
    assert (tmp_path / "out").read_text().startswith("sha256:")

"""What a build makes is what other tools take: skopeo, umoci and buildah."""

from __future__ import annotations

import hashlib
import json
import subprocess

import pytest
from support.trees import ROOT, differences, snapshot_directory, snapshot_squashfs, snapshot_umoci

TEXT = """\
FROM scratch AS one
COPY --chmod=4750 --chown=5:6 dir /d/
FROM one
WORKDIR /w
COPY a.txt /d/
LABEL kind=test
ENV a=b
ENTRYPOINT ["/d/a.txt"]
VOLUME /v
"""


def skopeo(*arguments):
    command = ["skopeo", "--insecure-policy", *arguments]
    return subprocess.run(command, capture_output=True, check=True).stdout


def blob(layout, digest):
    return (layout / "blobs" / "sha256" / digest.partition(":")[2]).read_bytes()


@pytest.fixture
def image(run, project, tmp_path):
    """A store in which `x:1` was built, as a layout and as skopeo names it."""
    project(TEXT)
    run("build", "-q", "-t", "x:1", "--store", "store", "-o", "x.gvmi", "project")
    return tmp_path / "store", f"oci:{tmp_path / 'store'}:x:1"


def test_skopeo_copies_it_and_shows_its_config(image, tmp_path):
    _, name = image
    skopeo("copy", "-q", name, f"oci:{tmp_path / 'copy'}:x")
    config = json.loads(skopeo("inspect", "--config", name))
    assert config["config"] | {"Env": config["config"]["Env"][1:]} == {
        "Env": ["a=b"], "Entrypoint": ["/d/a.txt"], "Labels": {"kind": "test"},
        "Volumes": {"/v": {}}, "WorkingDir": "/w",
    }  # fmt: skip
    assert [(entry["created_by"], not entry.get("empty_layer")) for entry in config["history"]] == [
        ("COPY --chown=5:6 --chmod=4750 dir /d/", True),
        ("WORKDIR /w", True),
        ("COPY a.txt /d/", True),
        ("LABEL kind=test", False),
        ("ENV a=b", False),
        ('ENTRYPOINT ["/d/a.txt"]', False),
        ("VOLUME [/v]", False),
    ]
    assert config["os"] == "linux"
    assert config["architecture"]


def test_diff_ids_are_the_digests_of_the_plain_layers(image):
    layout, name = image
    manifest = json.loads(skopeo("inspect", "--raw", name))
    config = json.loads(blob(layout, manifest["config"]["digest"]))
    plain = [blob(layout, layer["digest"]) for layer in manifest["layers"]]
    assert [layer["mediaType"] for layer in manifest["layers"]] == [
        "application/vnd.oci.image.layer.v1.tar"
    ] * 3
    assert config["rootfs"]["diff_ids"] == [
        f"sha256:{hashlib.sha256(data).hexdigest()}" for data in plain
    ]
    assert [layer["size"] for layer in manifest["layers"]] == [len(data) for data in plain]


def test_umoci_unpacks_the_tree_that_is_in_the_gvmi(image, tmp_path):
    layout, _ = image
    tree = snapshot_umoci(layout, "x:1")
    assert (tree[b"d/deep/c.txt"].mode, tree[b"d/deep/c.txt"].uid) == (0o4750, 5)
    packed = snapshot_squashfs(tmp_path / "x.gvmi")
    assert tree.keys() < packed.keys()
    assert {name: packed[name].sha256 for name in tree if name != ROOT} == {
        name: entry.sha256 for name, entry in tree.items() if name != ROOT
    }


def test_buildah_begins_with_it(image, tmp_path):
    layout, name = image
    places = ("--root", str(tmp_path / "r"), "--runroot", str(tmp_path / "rr"))
    policy = tmp_path / "policy.json"
    policy.write_text('{"default": [{"type": "insecureAcceptAnything"}]}')

    def buildah(*arguments):
        command = ["buildah", "--storage-driver", "vfs", *places, *arguments]
        done = subprocess.run(command, capture_output=True, text=True)
        assert done.returncode == 0, done.stderr
        return done.stdout.strip()

    container = buildah("from", "--signature-policy", policy, name)
    shown = json.loads(buildah("inspect", container))["OCIv1"]
    assert shown["config"] == json.loads(skopeo("inspect", "--config", name))["config"]
    want, have = snapshot_umoci(layout, "x:1"), snapshot_directory(buildah("mount", container))
    # buildah shows every container's root as 0555.
    want.pop(ROOT), have.pop(ROOT)
    # A directory that a later layer puts a file into has the time of the unpacking.
    assert differences(want, have, ignore={"mtime"}) == []
    buildah("rm", container)


@pytest.mark.parametrize("kind", ["oci", "docker"])
def test_archives_are_what_other_tools_load(run, project, tmp_path, kind):
    project("FROM scratch\nCOPY dir /d/\nVOLUME /v\n")
    run("build", "-q", "-t", "me/x:1", "-o", "x.gvmi", "project")
    output = ["--output", f"type={kind},dest=x.tar"]
    assert run("build", "-q", "-t", "me/x:1", *output, "project").stdout == "x.tar\n"
    source = f"oci-archive:{tmp_path / 'x.tar'}:1"
    if kind == "docker":
        source = f"docker-archive:{tmp_path / 'x.tar'}:me/x:1"
    skopeo("copy", "-q", source, f"oci:{tmp_path / 'copy'}:x")
    tree = snapshot_umoci(tmp_path / "copy", "x")
    assert tree[b"d/b.txt"].size == len("dir/b.txt")
    again = json.loads(run("inspect", "--json", f"{kind}-archive:x.tar").stdout)
    assert again["image_id"] == json.loads(run("inspect", "--json", "me/x:1").stdout)["image_id"]
    run("build", "-q", "-t", "me/x:1", "--output", f"type={kind},dest=y.tar", "project")
    assert (tmp_path / "x.tar").read_bytes() == (tmp_path / "y.tar").read_bytes()
    run("build", "-q", "--output", f"type={kind}", "project")
    unnamed = next(tmp_path.glob(f"project-latest-*.{kind}.tar"))
    run("convert", "-q", "-o", "z.gvmi", f"{kind}-archive:{unnamed}")

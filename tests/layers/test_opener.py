from __future__ import annotations

import os
import tomllib
from importlib.metadata import EntryPoint
from pathlib import Path

import fs
import pytest
from fs.errors import CreateFailed, FilesystemClosed
from fs.opener.registry import Registry
from support.images import Layout, docker_archive, oci_archive
from support.layers import file, layer, whiteout

from layers.imagefs import ImageFS
from layers.opener import ImageOpener

CREATED = "2020-09-13T12:26:40.123456789Z"
CREATED_SECONDS = 1_600_000_000


@pytest.fixture
def layout(tmp_path, monkeypatch):
    """A layout with the tags x (two layers), multi (two platforms), odd and local (times)."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    images = Layout(tmp_path / "a layout")
    base = layer(file("etc/name", b"lower"), file("etc/old", b"old"))
    upper = layer(whiteout("etc/old"), file("new", b"upper"))
    images.tag(images.image([base, upper], created=CREATED), "x")
    platforms = [
        images.image([layer(file("arch", name))], platform=f"linux/{name.decode()}")
        for name in (b"amd64", b"arm64")
    ]
    images.tag(images.index(platforms), "multi")
    images.tag(images.image([base], created="some day"), "odd")
    images.tag(images.image([base], created="2020-09-13T12:26:40"), "local")
    return images.path


def descriptors():
    return sorted(os.listdir("/proc/self/fd"))


def test_a_layout_opens_by_its_url(layout):
    with fs.open_fs(f"oci://{layout}?tag=x") as image:
        assert isinstance(image, ImageFS)
        assert sorted(image.walk.files("/")) == ["/etc/name", "/new"]
        assert image.readtext("etc/name") == "lower"


def test_a_store_that_others_can_write_to_is_refused_or_warned_of(layout, tmp_path):
    for name in ("own", "cache/golem-assemble"):
        (tmp_path / name).mkdir(parents=True)
        (tmp_path / name).chmod(0o777)
    named = pytest.warns(UserWarning, match="other users can write to")
    with named, fs.open_fs(f"oci://{layout}?tag=x&store={tmp_path}/own") as image:
        assert image.listdir("/") == ["etc", "new"]
    with pytest.raises(CreateFailed, match="other users can write to"):
        fs.open_fs(f"oci://{layout}?tag=x")


def test_edits_are_possible_and_gone_when_closed(layout):
    before = {path: path.read_bytes() for path in layout.rglob("*") if path.is_file()}
    for _ in range(2):
        with fs.open_fs(f"oci://{layout}?tag=x", writeable=True) as image:
            assert image.listdir("/") == ["etc", "new"]
            image.writetext("etc/name", "edited")
            image.removetree("/")
            image.create("made")
            assert image.getinfo("made", ["details"]).raw["details"]["modified"] == CREATED_SECONDS
    assert {path: path.read_bytes() for path in layout.rglob("*") if path.is_file()} == before


@pytest.mark.parametrize(("tag", "mtime"), [("odd", 0), ("local", CREATED_SECONDS)])
def test_edits_have_the_time_of_the_image_if_it_has_one(layout, tag, mtime):
    with fs.open_fs(f"oci://{layout}?tag={tag}") as image:
        image.touch("made")
        assert image.getinfo("made", ["details"]).raw["details"]["modified"] == mtime


@pytest.mark.parametrize(
    ("query", "architecture"), [("", "amd64"), ("&platform=linux/arm64", "arm64")]
)
def test_the_platform_can_be_chosen(layout, query, architecture):
    with fs.open_fs(f"oci://{layout}?tag=multi{query}") as image:
        assert image.readtext("arch") == architecture


def test_relative_paths_begin_at_the_current_directory(layout):
    with fs.open_fs("oci://a%20layout?tag=x&store=elsewhere", cwd=str(layout.parent)) as image:
        assert image.exists("new")
    assert (layout.parent / "elsewhere" / "oci-layout").is_file()
    assert not (layout.parent / "cache").exists()


def test_the_store_is_the_default_one_unless_another_is_named(layout):
    fs.open_fs(f"oci://{layout}?tag=x").close()
    assert (layout.parent / "cache/golem-assemble/oci-layout").is_file()


def test_archives_open_too(layout, tmp_path):
    archive = oci_archive(tmp_path / "image.tar", layout)
    with fs.open_fs(f"oci-archive://{archive}?tag=x") as image:
        assert image.readtext("new") == "upper"
    layers = [layer(file("a", b"of docker save"))]
    saved = docker_archive(tmp_path / "saved.tar", layers, repo_tag="name:x")
    with fs.open_fs(f"docker-archive://{saved}?tag=name:x") as image:
        assert image.readtext("a") == "of docker save"


@pytest.mark.parametrize(
    ("url", "sentence"),
    [
        (
            "oci://{layout}?tag=nowhere",
            "there is no tag 'nowhere'; there is @0 x (linux/amd64), @1 multi",
        ),
        ("oci://{layout}{{0}}", "there is no such folder"),
        ("oci-archive://{layout}/none.tar", "none.tar"),
        ("oci://{layout}?tag=x&platform=linux/arm64", "there is no image for linux/arm64"),
        ("oci://{layout}?platform=a/b/c/d", "not a platform"),
        ("oci://{layout}?tga=x", "no parameter 'tga'; there are tag, platform, store"),
        ("oci://user@{layout}", "must be written as %40"),
        ("oci://", "a path must follow oci://"),
        ("oci://{layout}?tag=x&store={layout}/index.json", "index.json"),
    ],
)
@pytest.mark.parametrize("create", [False, True])
def test_what_cannot_be_opened_is_said_in_our_words(layout, url, sentence, create):
    before = descriptors()
    with pytest.raises(CreateFailed) as caught:
        fs.open_fs(url.format(layout=layout), create=create)
    assert sentence in str(caught.value)
    assert descriptors() == before


def test_a_damaged_layer_leaves_no_files_open(layout):
    for blob in (layout / "blobs/sha256").iterdir():
        if blob.read_bytes().startswith(b"\x1f\x8b"):
            blob.write_bytes(blob.read_bytes()[:-1] + b"!")
    before = descriptors()
    with pytest.raises(CreateFailed, match="sha256:"):
        fs.open_fs(f"oci://{layout}?tag=x")
    assert descriptors() == before


def test_closing_gives_the_layers_back(layout):
    before = descriptors()
    image = fs.open_fs(f"oci://{layout}?tag=x")
    image.writetext("new", "edited")
    assert descriptors() != before
    image.close()
    image.close()
    assert descriptors() == before
    assert list((layout.parent / "cache/golem-assemble/tmp").iterdir()) == []
    with pytest.raises(FilesystemClosed):
        image.listdir("/")


def test_the_entry_points_name_the_protocols_of_the_opener():
    project = tomllib.loads((Path(__file__).parents[2] / "pyproject.toml").read_text())
    declared = project["project"]["entry-points"]["fs.opener"]
    assert sorted(declared) == sorted(ImageOpener().protocols)
    for name, value in declared.items():
        assert EntryPoint(name, value, "fs.opener").load() is ImageOpener


def test_the_opener_can_be_installed_by_hand(layout):
    registry = Registry(load_extern=False)
    registry.install(ImageOpener)
    with registry.open_fs(f"oci://{layout}?tag=x") as image:
        assert image.exists("new")

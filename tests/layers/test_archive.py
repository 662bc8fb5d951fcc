from __future__ import annotations

import gzip
import hashlib
import json
import subprocess

import pytest
from support.images import (
    Layout,
    docker_archive,
    dumps,
    image_config,
    oci_archive,
    oci_layout,
    sha256,
)
from support.layers import directory, file, gzipped, hardlink, layer, symlink, zstd

from layers import archive as archive_module
from layers import descriptor as media
from layers import spool as spool_module
from layers.archive import Archive, DockerArchive, OciArchive
from layers.descriptor import Descriptor
from layers.digest import Digest
from layers.errors import (
    AmbiguousImage,
    DigestMismatch,
    ImageNotFound,
    LimitExceeded,
    MalformedImage,
)
from layers.image import JSON_LIMIT
from layers.limits import Limits
from layers.tempfiles import TempArea

LOWER = layer(file("a", b"lower"))
UPPER = layer(file("b", b"upper"))


@pytest.fixture
def opened(tmp_path):
    """Opens archives, and closes them at the end of the test."""
    held = []

    def open_archive(data, limits=None):
        path = tmp_path / "archive.tar"
        if isinstance(data, bytes):
            path.write_bytes(data)
        else:
            path = data
        archive = Archive(path, "the archive", TempArea(tmp_path), limits or Limits())
        held.append(archive)
        return archive

    yield open_archive
    for archive in held:
        archive.close()


def saved(*members, entry=None, config=None):
    """A `docker save` of one layer with other members, or another manifest.json."""
    document = (
        dumps(image_config([sha256(LOWER)], None, "linux/amd64")) if config is None else config
    )
    manifest = {"Config": "c.json", "RepoTags": ["x:1"], "Layers": ["l/layer.tar"]}
    listed = [manifest if entry is None else manifest | entry]
    own = [file("manifest.json", json.dumps(listed).encode()), file("c.json", document)]
    names = {item.name for item in members}
    return layer(*(item for item in own if item.name not in names), *members)


WHOLE = file("l/layer.tar", LOWER)


# Members.


def test_members_are_found_by_name(opened):
    archive = opened(layer(file("./a/b", b"text"), directory("d")))
    assert "a/b" in archive
    assert "a" not in archive
    assert (archive.size("a/b"), archive.read("a/b")) == (4, b"text")
    assert list(archive.chunks("a/b")) == [b"text"]


@pytest.mark.parametrize("name", ["none", "d"])
def test_a_member_that_is_no_file_is_missing(opened, name):
    archive = opened(layer(directory("d")))
    with pytest.raises(MalformedImage, match=f"^the archive: {name} is missing in the archive$"):
        archive.read(name)


def test_links_between_members_are_followed(opened):
    archive = opened(
        layer(
            file("1/layer.tar", b"x"),
            symlink("2/layer.tar", "../1/layer.tar"),
            symlink("3/layer.tar", "../2/layer.tar"),
            hardlink("4/layer.tar", "1/layer.tar"),
            symlink("5", "5"),
            symlink("6", "nowhere"),
        )
    )
    assert [archive.read(f"{number}/layer.tar") for number in (2, 3, 4)] == [b"x"] * 3
    with pytest.raises(MalformedImage, match="5 is a loop of links in the archive"):
        archive.read("5")
    with pytest.raises(MalformedImage, match="6 is missing in the archive"):
        archive.read("6")


@pytest.mark.parametrize("pack", [bytes, gzipped, zstd])
def test_a_compressed_archive_is_unpacked(opened, pack):
    data = bytes(range(256)) * 4000
    archive = opened(pack(layer(file("a", data))))
    assert b"".join(archive.chunks("a")) == data


def test_no_file_is_told(opened, tmp_path):
    for path in (tmp_path / "none", tmp_path):
        with pytest.raises(ImageNotFound, match="^the archive: there is no such file$"):
            opened(path)


@pytest.mark.parametrize(
    ("data", "problem"),
    [
        (b"no tar at all " * 99, "the archive is not a sound tar archive: entry "),
        (layer(file("a", bytes(999)))[:800], "not a sound tar archive: the tar is cut off"),
        (gzipped(LOWER)[:-3], "^the archive: its gzip stream is cut off$"),
        (gzipped(LOWER) + b"x", "^the archive: data that are not gzip follow its gzip stream$"),
        (gzipped(b"no tar " * 99), "not a sound tar archive"),
    ],
)
def test_a_broken_archive_is_told(opened, data, problem):
    with pytest.raises(MalformedImage, match=problem):
        opened(data)


def test_a_compressed_archive_may_be_a_bomb(opened):
    with pytest.raises(LimitExceeded, match="^the archive: its plain size passes the limit of 999"):
        opened(gzip.compress(bytes(1 << 20)), Limits(total_bytes=999))


def test_an_archive_of_too_many_members_is_refused(opened, monkeypatch):
    monkeypatch.setattr(archive_module, "_MEMBER_LIMIT", 3)
    with pytest.raises(MalformedImage, match="^the archive: more than 3 members$"):
        opened(layer(*(file(str(number)) for number in range(4))))


def test_a_large_member_is_no_json(opened):
    archive = opened(layer(file("manifest.json", b" " * (JSON_LIMIT + 1))))
    with pytest.raises(MalformedImage, match="manifest.json has 16,777,217 bytes, too many for JS"):
        DockerArchive(archive).load(None)


def test_an_archive_that_becomes_shorter_is_told(opened, tmp_path):
    archive = opened(layer(file("a", bytes(1 << 20))))
    chunks = archive.chunks("a")
    next(chunks)
    with (tmp_path / "archive.tar").open("r+b") as writer:
        writer.truncate(1 << 18)
    with pytest.raises(MalformedImage, match="^the archive: the file became shorter while it was"):
        list(chunks)


# oci-archive.


def test_an_oci_archive_is_a_layout_in_a_tar(opened, tmp_path):
    layout = oci_layout(tmp_path / "layout", [LOWER], compression=None)
    blobs = OciArchive(opened(oci_archive(tmp_path / "a.tar", layout)))
    (image,) = blobs.index().manifests
    assert json.loads(blobs.read(image))["layers"][0]["digest"] == sha256(LOWER)
    with blobs.open_blob(Descriptor("", Digest.of(LOWER), len(LOWER))) as chunks:
        assert b"".join(chunks) == LOWER


def test_a_blob_of_an_oci_archive_is_verified(opened):
    digest = Digest.of(LOWER)
    blobs = OciArchive(
        opened(layer(file("index.json", b"{}"), file(f"blobs/sha256/{digest.hex}", UPPER)))
    )
    with pytest.raises(DigestMismatch, match=f"^the archive: blob {digest}: expected {digest}"):
        blobs.read(Descriptor("", digest, len(LOWER)))
    with pytest.raises(ImageNotFound, match="is missing; the archive is incomplete, make it agai"):
        blobs.read(Descriptor("", Digest.of(b""), 0))


def test_what_is_no_oci_archive_is_told(opened):
    with pytest.raises(
        MalformedImage, match="^the archive: no index.json in it, so no OCI archive"
    ):
        OciArchive(opened(saved(WHOLE)))


# docker-archive.


@pytest.mark.parametrize("shape", ["old", "new"])
@pytest.mark.parametrize("tag", [None, "example:latest", "latest", "docker.io/library/example"])
def test_what_docker_saves_is_loaded(opened, tmp_path, shape, tag):
    path = docker_archive(
        tmp_path / "saved.tar", [LOWER, UPPER, LOWER], {"User": "me"}, shape=shape
    )
    source = DockerArchive(opened(path))
    manifest, config = source.load(tag)
    assert json.loads(config)["config"] == {"User": "me"}
    assert manifest.config.digest == Digest.of(config)
    assert [found.digest for found in manifest.layers] == [
        Digest.of(tar) for tar in (LOWER, UPPER, LOWER)
    ]
    for found, tar in zip(manifest.layers, (LOWER, UPPER, LOWER), strict=True):
        assert (found.media_type, found.size) == (media.DOCKER_LAYER_TAR, len(tar))
        with source.open_blob(found) as chunks:
            assert b"".join(chunks) == tar


def test_a_compressed_layer_is_known_by_its_own_digest(opened):
    blob = gzipped(LOWER)
    named = f"blobs/sha256/{hashlib.sha256(blob).hexdigest()}"
    for path in ("l/layer.tar", named):
        source = DockerArchive(opened(saved(file(path, blob), entry={"Layers": [path]})))
        (found,) = source.load(None)[0].layers
        assert (found.media_type, found.digest) == (media.DOCKER_LAYER_GZIP, Digest.of(blob))
        with source.open_blob(found) as chunks:
            assert b"".join(chunks) == blob


def test_an_altered_layer_is_told(opened):
    source = DockerArchive(opened(saved(file("l/layer.tar", UPPER))))
    (found,) = source.load(None)[0].layers
    with (
        pytest.raises(DigestMismatch, match=f"^the archive: layer {Digest.of(LOWER)}: "),
        source.open_blob(found) as chunks,
    ):
        list(chunks)


def test_a_config_whose_name_is_a_digest_is_verified(opened):
    name = "0" * 64 + ".json"
    archive = opened(saved(WHOLE, file(name, b"{}"), entry={"Config": name}))
    with pytest.raises(DigestMismatch, match=f"^the archive: config {name}: expected sha256:0000"):
        DockerArchive(archive).load(None)


def two_images(one=("example:1", "registry.test/team/example:v1"), two=("other:2",)):
    config = dumps(image_config([sha256(LOWER)], None, "linux/amd64"))
    shared = {"Config": "c.json", "Layers": ["l/layer.tar"]}
    listed = [
        shared | {"RepoTags": one},
        shared | {"RepoTags": two, "Config": "d.json"},
    ]
    return layer(
        file("manifest.json", json.dumps(listed).encode()),
        file("c.json", config),
        file("d.json", config + b"\n"),
        WHOLE,
    )


@pytest.mark.parametrize(
    ("tag", "first"),
    [
        ("example:1", True),
        ("docker.io/library/example:1", True),
        ("registry.test/team/example:v1", True),
        ("v1", True),
        ("other:2", False),
        ("2", False),
    ],
)
def test_an_image_is_chosen_by_its_name(opened, tag, first):
    _, config = DockerArchive(opened(two_images())).load(tag)
    assert config.endswith(b"\n") != first


def test_several_images_need_a_name(opened):
    problem = (
        "^the archive: holds several images; there is @0 example:1 "
        "registry.test/team/example:v1, @1 other:2; name one in full, or add :@ and its number$"
    )
    with pytest.raises(AmbiguousImage, match=problem):
        DockerArchive(opened(two_images())).load(None)


@pytest.mark.parametrize("names", [(["x:latest"], ["y:latest"]), (["x:latest"], ["x:latest"])])
def test_a_name_that_two_images_have_is_ambiguous(opened, names):
    source = DockerArchive(opened(two_images(*names)))
    for tag in ("latest", None):
        with pytest.raises(AmbiguousImage, match="several images; there is @0 x:latest, @1 "):
            source.load(tag)
    assert source.load("@0") != source.load("@1")


def test_the_tag_of_one_image_of_several_names_is_not_ambiguous(opened):
    entry = {"RepoTags": ["x:latest", "y:latest"]}
    source = DockerArchive(opened(saved(WHOLE, entry=entry)))
    loaded = source.load("latest")
    assert loaded == source.load("y") == source.load(None) == source.load("@0")
    twice = [{"Config": "c.json", "RepoTags": [name], "Layers": ["l/layer.tar"]} for name in "xy"]
    members = [file("manifest.json", json.dumps(twice).encode()), WHOLE]
    assert DockerArchive(opened(saved(*members))).load(None) == loaded


def test_images_without_names_are_chosen_by_their_number_as_skopeo_does(opened, tmp_path):
    (tmp_path / "two.tar").write_bytes(two_images(None, None))
    source = DockerArchive(opened(tmp_path / "two.tar"))
    with pytest.raises(AmbiguousImage, match=r"there is @0 \(untagged\), @1 \(untagged\);"):
        source.load(None)
    for number in ("@0", "@1"):
        name = f"docker-archive:{tmp_path}/two.tar:{number}"
        shown = subprocess.run(
            ["skopeo", "inspect", "--raw", name], check=True, capture_output=True
        )
        config = json.loads(shown.stdout)["config"]["digest"]
        assert str(source.load(number)[0].config.digest) == config
    for number in ("@2", "@99999999999999999999"):
        with pytest.raises(ImageNotFound, match=f"no image number {number}; there is @0"):
            source.load(number)


@pytest.mark.parametrize("tag", ["example:3", "example", "UPPER CASE", ""])
def test_a_name_that_is_not_there_is_told(opened, tag):
    with pytest.raises(ImageNotFound, match=f"there is no tag '{tag}'; there is @0 example:1 reg"):
        DockerArchive(opened(two_images())).load(tag)


def test_an_image_without_names_can_be_loaded_without_one(opened):
    source = DockerArchive(opened(saved(WHOLE, entry={"RepoTags": None})))
    assert source.load(None)[0].layers
    with pytest.raises(ImageNotFound, match=r"there is no tag 'x:1'; there is @0 \(untagged\)"):
        source.load("x:1")


@pytest.mark.parametrize(
    ("entry", "problem"),
    [
        ({"Config": None}, "manifest.json needs Config, RepoTags and Layers"),
        ({"Layers": "text"}, "manifest.json needs Config, RepoTags and Layers"),
        ({"Layers": [1]}, "manifest.json needs Config, RepoTags and Layers"),
        ({"RepoTags": "x:1"}, "manifest.json needs Config, RepoTags and Layers"),
        ({"Config": "../c.json"}, r"'../c.json': .* leaves the image"),
        ({"Layers": [""]}, "manifest.json: '': its name is empty"),
        ({"Layers": ["x/layer.tar"]}, "x/layer.tar is missing in the archive"),
        ({"Layers": []}, "its layers and diff_ids differ in number"),
        ({"Config": "none.json"}, "none.json is missing in the archive"),
    ],
)
def test_a_manifest_that_makes_no_sense_is_told(opened, entry, problem):
    with pytest.raises(MalformedImage, match=problem):
        DockerArchive(opened(saved(WHOLE, entry=entry))).load(None)


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        (b"{", "manifest.json is not valid JSON"),
        (b"[" * 99_999, "manifest.json is not valid JSON"),
        (b"{}", "manifest.json must be a list of images"),
        (b"[]", "manifest.json must be a list of images"),
        (b"[7]", "manifest.json needs Config, RepoTags and Layers"),
    ],
)
def test_a_manifest_that_is_none_is_told(opened, text, problem):
    with pytest.raises(MalformedImage, match=f"^the archive: {problem}"):
        DockerArchive(opened(saved(WHOLE, file("manifest.json", text)))).load(None)


def test_a_config_that_is_none_is_told(opened):
    with pytest.raises(MalformedImage, match="^the archive: config c.json is not valid JSON"):
        DockerArchive(opened(saved(WHOLE, config=b"{"))).load(None)


def test_what_docker_did_not_save_is_told(opened, tmp_path):
    layout = Layout(tmp_path / "layout")
    with pytest.raises(MalformedImage, match=r"no manifest.json in it, .*oci-archive:FILE"):
        DockerArchive(opened(oci_archive(tmp_path / "a.tar", layout)))


def test_a_compressed_archive_is_no_bomb(opened, monkeypatch):
    # The ratio counts above a GiB; here above a MiB.
    monkeypatch.setattr(spool_module, "_RATIO_FREE", 1 << 20)
    with pytest.raises(LimitExceeded, match="the archive: the ratio of its plain .* limit of 200"):
        opened(gzipped(saved(file("l/layer.tar", b"same" * (1 << 20)))))


@pytest.mark.parametrize("copies", [1, 40])
def test_the_number_of_layers_is_checked_before_one_is_opened(opened, monkeypatch, copies):
    many = image_config([sha256(LOWER)] * (100_000 // copies), None, "linux/amd64")
    entry = {"Layers": ["l/layer.tar"] * (100_000 // copies)}
    data = saved(file("l/layer.tar", gzipped(LOWER)), entry=entry, config=dumps(many))
    if copies > 1:
        listed = json.dumps([{"Config": "c.json", "RepoTags": []} | entry] * copies).encode()
        data = saved(
            file("manifest.json", listed), file("l/layer.tar", gzipped(LOWER)), config=dumps(many)
        )
    archive = opened(data)
    monkeypatch.setattr(archive, "chunks", pytest.fail)
    with pytest.raises(MalformedImage, match=r"layers.*more than 2"):
        list(DockerArchive(archive).images())


def test_a_member_that_is_several_layers_is_hashed_once(opened, monkeypatch):
    config = dumps(image_config([sha256(LOWER)] * 50, None, "linux/amd64"))
    entry = {"Layers": ["l/layer.tar"] * 50}
    archive = opened(saved(file("l/layer.tar", gzipped(LOWER)), entry=entry, config=config))
    source, read = DockerArchive(archive), []
    whole = archive.chunks

    def count(path):
        for chunk in whole(path):
            read.append(path)
            yield chunk

    monkeypatch.setattr(archive, "chunks", count)
    assert len(source.load(None)[0].layers) == 50
    assert read.count("l/layer.tar") == 51  # their heads, and once the whole

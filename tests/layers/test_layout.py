from __future__ import annotations

import json

import pytest
from builders import blob_of, damage
from support.images import Layout as Writer
from support.images import oci_layout
from support.layers import file, layer

from layers.descriptor import Descriptor, Platform
from layers.digest import Digest
from layers.errors import (
    AmbiguousImage,
    DigestMismatch,
    ImageNotFound,
    MalformedImage,
    PlatformNotFound,
)
from layers.image import JSON_LIMIT
from layers.layout import Layout, choose_tag

AMD64, ARM64, S390X = (Platform("linux", name) for name in ("amd64", "arm64", "s390x"))
TAR = layer(file("a", b"x"))


@pytest.fixture
def written(tmp_path):
    return oci_layout(tmp_path / "layout", [TAR], compression=None)


@pytest.fixture
def several(tmp_path):
    """Images named one and two, and `multi` once for each of two platforms."""
    images = Writer(tmp_path / "layout")
    for name in ("one", "two"):
        images.tag(images.image([layer(file(name))]), name)
    return images


def choose(writer, tag, platform=AMD64):
    return choose_tag(Layout(writer.path).index(), tag, platform, "oci:x")


def test_a_blob_is_read_and_verified(written):
    source = Layout(written.path)
    (image,) = source.index().manifests
    assert json.loads(source.read(image))["schemaVersion"] == 2
    tar = Descriptor("", Digest.of(TAR), len(TAR))
    with source.open_blob(tar) as chunks:
        assert b"".join(chunks) == TAR
    damage(blob_of(written, TAR))
    with pytest.raises(DigestMismatch, match=f"^oci:{written.path}: blob {tar.digest}: expected"):
        source.read(tar)


def test_a_missing_blob_is_told(written):
    blob_of(written, TAR).unlink()
    tar = Descriptor("", Digest.of(TAR), len(TAR))
    with pytest.raises(ImageNotFound, match=r"is missing; the layout is incomplete, copy it again"):
        Layout(written.path).read(tar)


def test_no_folder_is_told(tmp_path):
    (tmp_path / "file").write_bytes(b"")
    for name in ("none", "file"):
        with pytest.raises(ImageNotFound, match=f"^oci:{tmp_path}/{name}: there is no such folder"):
            Layout(tmp_path / name)


@pytest.mark.parametrize("name", ["oci-layout", "index.json"])
def test_a_folder_that_is_no_layout_is_told(written, name):
    (written.path / name).unlink()
    with pytest.raises(ImageNotFound, match=r"not an OCI image layout .* skopeo copy"):
        Layout(written.path)


@pytest.mark.parametrize("version", ["2.0.0", None, 1, ""])
def test_a_layout_of_another_version_is_told(written, version):
    (written.path / "oci-layout").write_text(json.dumps({"imageLayoutVersion": version}))
    with pytest.raises(MalformedImage, match="layout version .* is not 1.x"):
        Layout(written.path)


def test_an_index_that_is_too_large_is_not_read(written):
    with (written.path / "index.json").open("r+b") as index:
        index.truncate(JSON_LIMIT + 1)
    with pytest.raises(MalformedImage, match="index.json: more than 16,777,216 bytes of JSON"):
        Layout(written.path).index()


def test_an_index_that_is_no_json_is_told(written):
    (written.path / "index.json").write_text("{")
    with pytest.raises(MalformedImage, match="index.json is not valid JSON"):
        Layout(written.path).index()


# Tags.


def test_the_only_image_needs_no_tag(written):
    assert choose(written, None) == choose(written, "latest")


def test_a_tag_chooses(several):
    assert choose(several, "one") != choose(several, "two")


def test_a_tag_may_be_the_end_of_a_whole_reference(tmp_path):
    images = Writer(tmp_path)
    images.tag(images.image([]), "docker.io/library/thing:v1")
    assert choose(images, "v1") == choose(images, "docker.io/library/thing:v1")
    with pytest.raises(ImageNotFound):
        choose(images, "1")


def test_a_tag_that_is_not_there_is_answered_with_those_that_are(several):
    problem = r"^oci:x: there is no tag 'three'; there is @0 one \(linux/amd64\), @1 two \(linu"
    with pytest.raises(ImageNotFound, match=problem):
        choose(several, "three")


def test_several_images_need_a_tag(several):
    several.tag(several.image([]))
    problem = (
        r"^oci:x: holds several images; there is @0 one .*, @1 two .*, @2 \(untagged\) .*; name"
    )
    with pytest.raises(AmbiguousImage, match=problem):
        choose(several, None)


def containerd(images, *names):
    """Images as `ctr image export` names them: a tag, and the whole name beside it."""
    for name in names:
        image = images.image([layer(file(name))])
        images.tag(
            image
            | {
                "annotations": {
                    "org.opencontainers.image.ref.name": name.rpartition(":")[2],
                    "io.containerd.image.name": name,
                }
            }
        )
    return Layout(images.path).index().manifests


def test_a_tag_that_two_whole_names_share_is_ambiguous(tmp_path):
    images = Writer(tmp_path)
    found = containerd(images, "docker.io/library/x:latest", "docker.io/library/y:latest")
    problem = (
        r"^oci:x: 'latest' fits several images; there is @0 docker.io/library/x:latest "
        r"\(linux/amd64\), @1 docker.io/library/y:latest \(linux/amd64\); name one in full, or"
    )
    with pytest.raises(AmbiguousImage, match=problem) as caught:
        choose(images, "latest")
    assert len(caught.value.choices) == 2
    with pytest.raises(AmbiguousImage):
        choose(images, None)
    for name in ("docker.io/library/y:latest", "y:latest", "y", "library/y", "@1"):
        assert choose(images, name) == found[1]
    with pytest.raises(ImageNotFound, match="no tag 'z'"):
        choose(images, "z")


def test_whole_references_of_one_tag_are_ambiguous_by_it(tmp_path):
    images = Writer(tmp_path)
    for name in ("foo/bar:1.0.0", "foo/baz:1.0.0"):
        images.tag(images.image([layer(file(name))]), name)
    with pytest.raises(AmbiguousImage, match=r"'1.0.0' fits several images"):
        choose(images, "1.0.0")
    assert choose(images, "foo/baz:1.0.0") == Layout(images.path).index().manifests[1]
    assert choose(images, "docker.io/foo/baz:1.0.0") == choose(images, "foo/baz:1.0.0")


def test_one_image_under_several_names_is_not_ambiguous(tmp_path):
    images = Writer(tmp_path)
    image = images.image([TAR])
    images.tag(image, "foo/bar:1", "foo/baz:1")
    for tag in ("1", None):
        assert str(choose(images, tag).digest) == image["digest"]


def test_images_of_one_name_and_platform_are_ambiguous(tmp_path):
    """Which one was meant the file does not say; a number does."""
    images = Writer(tmp_path)
    for name in ("a", "b"):
        images.tag(images.image([layer(file(name))]))
    with pytest.raises(AmbiguousImage, match=r"@0 \(untagged\) \(linux/amd64\), @1 \(untagged"):
        choose(images, None)
    assert choose(images, "@0") != choose(images, "@1")
    with pytest.raises(ImageNotFound, match=r"there is no image number @2; there is @0 \("):
        choose(images, "@2")


def test_names_of_different_platforms_are_still_different_images(tmp_path):
    images = Writer(tmp_path)
    images.tag(images.image([TAR], platform="linux/arm64"), "foo/bar:1")
    images.tag(images.image([TAR], platform="linux/amd64"), "foo/baz:1")
    with pytest.raises(AmbiguousImage):
        choose(images, "1", AMD64)


def test_a_strangers_names_are_shown_without_control_characters(tmp_path):
    images = Writer(tmp_path)
    images.tag(images.image([TAR]), "\x1b[2J" + "x" * 999)
    with pytest.raises(ImageNotFound) as caught:
        choose(images, "none")
    assert str(caught.value).isprintable()
    assert len(str(caught.value)) < 300


def test_an_empty_layout_is_told(tmp_path):
    empty = Writer(tmp_path)
    with pytest.raises(ImageNotFound, match="^oci:x: the layout holds no image$"):
        choose(empty, None)
    with pytest.raises(ImageNotFound, match="^oci:x: there is no tag 't'; there is none$"):
        choose(empty, "t")


@pytest.mark.parametrize("tag", [None, "multi"])
def test_of_several_platforms_under_one_tag_the_wanted_one_is_chosen(tmp_path, tag):
    images = Writer(tmp_path)
    for name in ("amd64", "arm64"):
        # `Writer.tag` keeps one of each name: here two images stand under the same.
        named = images.image([layer(file(name))], platform=f"linux/{name}")
        if tag:
            named["annotations"] = {"org.opencontainers.image.ref.name": tag}
        images.tag(named)
    assert choose(images, tag, ARM64).platform == ARM64
    assert choose(images, tag, AMD64).platform == AMD64
    with pytest.raises(PlatformNotFound, match="for linux/s390x; there is linux/amd64, linux/arm"):
        choose(images, tag, S390X)


def test_a_long_list_of_platforms_ends(tmp_path):
    images = Writer(tmp_path / "layout")
    for number in range(100):
        platform = {"os": "linux", "architecture": f"a{number}"}
        images.tag(images.image([layer(file(f"f{number}"))]) | {"platform": platform})
    with pytest.raises(PlatformNotFound, match="and 80 more"):
        choose(images, None)


def test_attestations_are_no_images(tmp_path):
    images = Writer(tmp_path)
    image = images.image([TAR])
    images.tag(image)
    images.tag(images.attestation(image))
    assert str(choose(images, None).digest) == image["digest"]

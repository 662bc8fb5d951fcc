from __future__ import annotations

import json
import os
from contextlib import contextmanager
from dataclasses import replace

import pytest
from builders import blob_of, contents, damage, paths
from support.images import Layout, oci_archive, oci_layout
from support.layers import file, gzipped, layer, pax_header, whiteout

from layers.errors import (
    Cancelled,
    DigestMismatch,
    LimitExceeded,
    MalformedLayer,
    StoreError,
    Unsupported,
)
from layers.limits import Limits
from layers.reference import parse_source
from layers.rootfs import open_rootfs
from layers.session import Session
from layers.sources import open_image
from layers.store import ContentStore

LOWER = layer(file("a", b"lower"), file("gone"))
UPPER = layer(file("b", b"upper"), whiteout("gone"))


class Watcher:
    """An observer that keeps what it is told."""

    def __init__(self):
        self.layers = []
        self.plain = {}
        self.done = []
        self.warnings = []

    def layers_known(self, layers):
        self.layers = [str(found.digest) for found in layers]

    def unpacked(self, digest, count):
        self.plain[str(digest)] = self.plain.get(str(digest), 0) + count

    def layer_done(self, digest):
        self.done.append(str(digest))

    def warn(self, text):
        self.warnings.append(text)


@pytest.fixture
def session(tmp_path):
    return Session(ContentStore(tmp_path / "store"), observer=Watcher())


@contextmanager
def opened(source, session):
    with (
        open_image(parse_source(source), session) as image,
        open_rootfs(image, session) as tree,
    ):
        yield tree


def rootfs(layout, session):
    return opened(f"oci:{layout.path}", session)


def with_layers(layout, **changes):
    """The layout's manifest with its layers' descriptors changed."""
    (image,) = json.loads((layout.path / "index.json").read_bytes())["manifests"]
    manifest = json.loads(layout.blob_path(image["digest"]).read_bytes())
    for found in manifest["layers"]:
        found.update(changes)
    other = Layout(layout.path)
    other.tag(other.blob(json.dumps(manifest).encode(), image["mediaType"]), "latest")
    return other


def test_layers_are_read_and_merged(tmp_path, session):
    layout = oci_layout(tmp_path / "x", [LOWER, UPPER])
    with rootfs(layout, session) as tree:
        assert paths(tree) == ["a", "b"]
        assert contents(tree.find(b"a")) == b"lower"
    seen = session.observer
    assert sorted(seen.layers) == sorted(seen.done) == sorted(seen.plain)
    assert sorted(seen.plain.values()) == sorted([len(LOWER), len(UPPER)])
    assert seen.warnings == []


def test_an_image_without_layers_is_an_empty_root(tmp_path, session):
    with rootfs(oci_layout(tmp_path / "x", []), session) as tree:
        assert paths(tree) == []


def test_a_layer_that_stands_twice_is_read_once_and_applied_twice(tmp_path, session):
    again = layer(file("gone", b"back"))
    layout = oci_layout(tmp_path / "x", [again, UPPER, again, LOWER])
    with rootfs(layout, session) as tree:
        assert paths(tree) == ["a", "b", "gone"]
    assert len(session.observer.done) == 3


def test_many_layers_are_merged_in_their_order(tmp_path, session):
    tars = [layer(file("n", b"%d" % number, mtime=number)) for number in range(20)]
    with rootfs(oci_layout(tmp_path / "x", tars), session) as tree:
        assert contents(tree.find(b"n")) == b"19"


def test_leaving_closes_what_was_open_and_leaves_no_files(tmp_path, session):
    layout = oci_layout(tmp_path / "x", [LOWER, UPPER])
    before = len(os.listdir("/proc/self/fd"))
    with rootfs(layout, session):
        assert len(os.listdir("/proc/self/fd")) == before + 2
    assert len(os.listdir("/proc/self/fd")) == before
    with pytest.raises(KeyError), rootfs(layout, session):
        raise KeyError
    assert len(os.listdir("/proc/self/fd")) == before
    assert list((session.store.root / "tmp").iterdir()) == []


def test_a_layer_that_says_it_is_huge_is_refused_before_it_is_read(tmp_path, session):
    layout = with_layers(oci_layout(tmp_path / "x", [LOWER]), size=(32 << 30) + 1)
    with pytest.raises(LimitExceeded, match=r"its size passes .* \(blob_bytes\)"):
        rootfs(layout, session).__enter__()
    assert session.observer.plain == {}


def test_layers_that_are_huge_together_are_refused_before_one_is_read(tmp_path, session):
    tars = [layer(file("n", b"%d" % number)) for number in range(5)]
    layout = with_layers(oci_layout(tmp_path / "x", tars), size=32 << 30)
    with pytest.raises(LimitExceeded, match=r"the size of all layers .* \(total_bytes\)"):
        rootfs(layout, session).__enter__()
    assert session.observer.plain == {}


@pytest.mark.parametrize("name", ["total_bytes", "entries"])
def test_layers_are_counted_together_while_they_are_read(tmp_path, session, name):
    tars = [layer(*(file(f"{number}-{n}") for n in range(1000))) for number in range(30)]
    most = 3 * len(tars[0]) if name == "total_bytes" else 3000
    limited = replace(session, limits=Limits().override(name, most))
    with pytest.raises(LimitExceeded, match=rf"the image's .* \({name}\)"):
        rootfs(oci_layout(tmp_path / "x", tars), limited).__enter__()
    assert 3 <= len(session.observer.done) < 10


FOREIGN = [
    ({"urls": ["https://example.test/layer"]}, r"elsewhere than the image \(https://example.test/"),
    (
        {"mediaType": "application/vnd.docker.image.rootfs.foreign.diff.tar.gzip"},
        r"foreign layer, .*\(application/vnd.docker.image.rootfs.foreign",
    ),
    (
        {"mediaType": "application/vnd.oci.image.layer.nondistributable.v1.tar+gzip"},
        "push the image again with its layers inside",
    ),
]


@pytest.mark.parametrize(("changes", "advice"), FOREIGN)
def test_foreign_layers_are_read_where_their_blobs_are(tmp_path, session, changes, advice):
    layout = with_layers(oci_layout(tmp_path / "x", [LOWER]), **changes)
    archive = oci_archive(tmp_path / "x.tar", layout)
    blob = blob_of(layout, gzipped(LOWER))
    for source in (f"oci:{layout.path}", f"oci-archive:{archive}"):
        with opened(source, session) as tree:
            assert paths(tree) == ["a", "gone"]
    blob.unlink()
    archive = oci_archive(tmp_path / "without.tar", layout)
    for source in (f"oci:{layout.path}", f"oci-archive:{archive}"):
        # A session that failed is stopped.
        another = Session(session.store)
        with pytest.raises(Unsupported, match=advice), opened(source, another):
            pass


def test_encrypted_layers_are_refused_before_any_is_read(tmp_path, session):
    changes = {"mediaType": "application/vnd.oci.image.layer.v1.tar+gzip+encrypted"}
    layout = with_layers(oci_layout(tmp_path / "x", [LOWER]), **changes)
    advice = "is encrypted; decrypt the image first"
    with pytest.raises(Unsupported, match=advice), rootfs(layout, session):
        pass
    assert session.observer.layers == []


def test_a_media_type_that_does_not_tell_the_truth_is_a_warning(tmp_path, session):
    media_type = "application/vnd.oci.image.layer.v1.tar+zstd"
    layout = with_layers(oci_layout(tmp_path / "x", [LOWER]), mediaType=media_type)
    with rootfs(layout, session) as tree:
        assert paths(tree) == ["a", "gone"]
    (warning,) = session.observer.warnings
    assert f"is gzip, though its media type says zstd ({media_type}); it was read as" in warning


def test_an_attribute_that_cannot_be_read_is_a_warning(tmp_path, session):
    odd = pax_header({b"LIBARCHIVE.xattr.user.a": b"not base64"})
    with rootfs(oci_layout(tmp_path / "x", [layer(odd, file("a"))]), session) as tree:
        assert paths(tree) == ["a"]
    (warning,) = session.observer.warnings
    assert warning.startswith("layer sha256:")
    assert 'entry "a": its extended attribute LIBARCHIVE.xattr.user.a is not base64' in warning


@pytest.mark.parametrize("media_type", ["", "application/octet-stream"])
def test_a_media_type_that_promises_nothing_is_none(tmp_path, session, media_type):
    layout = with_layers(oci_layout(tmp_path / "x", [LOWER]), mediaType=media_type)
    with rootfs(layout, session):
        assert session.observer.warnings == []


def test_a_damaged_layer_is_told(tmp_path, session):
    layout = oci_layout(tmp_path / "x", [LOWER, UPPER], compression=None)
    damage(blob_of(layout, UPPER))
    with pytest.raises(DigestMismatch), rootfs(layout, session):
        pass
    assert session.stop.is_set()


def test_a_wrong_diff_id_is_told(tmp_path, session):
    images = Layout(tmp_path / "x")
    rootfs_field = {"type": "layers", "diff_ids": ["sha256:" + "0" * 64]}
    images.tag(images.image([LOWER], rootfs=rootfs_field))
    with pytest.raises(DigestMismatch, match=r"its plain tar \(diff_id\)"), rootfs(images, session):
        pass


def test_a_malformed_layer_is_named_by_its_digest(tmp_path, session):
    bad = layer(file("a/../../b"))
    layout = oci_layout(tmp_path / "x", [LOWER, bad], compression=None)
    digest = blob_of(layout, bad).name
    refusal = pytest.raises(MalformedLayer, match=f'^layer sha256:{digest}: entry "a/../../b"')
    with refusal, rootfs(layout, session):
        pass


def test_too_many_entries_end_the_reading_of_a_layer(tmp_path, session):
    limited = Session(session.store, Limits(entries=2))
    layout = oci_layout(tmp_path / "x", [layer(*(file(str(n)) for n in range(9)))])
    refusal = pytest.raises(LimitExceeded, match="its number of entries passes the limit of 2")
    with refusal, rootfs(layout, limited):
        pass


def test_work_that_was_stopped_is_cancelled_at_once(tmp_path, session):
    layout = oci_layout(tmp_path / "x", [LOWER])
    session.stop.set()
    with pytest.raises(Cancelled), rootfs(layout, session):
        pass


def test_the_first_failure_is_raised_and_stops_the_others(tmp_path, session):
    """One layer fails while another is being read: that one must end, and not hide the failure."""
    good, bad = layer(file("good", bytes(3 << 20))), layer(file("bad"))
    layout = oci_layout(tmp_path / "x", [good, bad], compression=None)

    class Source:
        """Gives the good layer's chunks when the bad one has stopped the work."""

        def __init__(self, image):
            self._image = image

        @contextmanager
        def open_blob(self, found):
            if found.size < len(good):
                raise MalformedLayer(str(found.digest), "broken")
            yield self._chunks(found)

        def _chunks(self, found):
            assert session.stop.wait(30)
            with self._image.source.open_blob(found) as chunks:
                yield from chunks

    with open_image(parse_source(f"oci:{layout.path}"), session) as image:
        slow = type(image)(
            image.name, image.manifest, image.config, image.config_raw, Source(image)
        )
        with pytest.raises(MalformedLayer, match="broken"), open_rootfs(slow, session):
            pass
    assert session.observer.done == []


def test_a_full_disk_is_told(tmp_path, session, monkeypatch):
    layout = oci_layout(tmp_path / "x", [LOWER])

    def full(*_arguments):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "pwrite", full)
    with pytest.raises(StoreError, match="no space left on"), rootfs(layout, session):
        pass


def test_compressed_layers_of_every_kind_are_read(tmp_path, session):
    images = Layout(tmp_path / "x")
    stack = [images.layer(layer(file(str(kind))), kind) for kind in (None, "gzip", "zstd")]
    images.tag(images.image(stack))
    with rootfs(images, session) as tree:
        assert paths(tree) == ["None", "gzip", "zstd"]


def test_gzip_of_several_members_is_one_layer(tmp_path, session):
    images = Layout(tmp_path / "x")
    found = images.layer(LOWER)
    halves = gzipped(LOWER[:700]) + gzipped(LOWER[700:])
    blob = images.blob(halves, found.descriptor["mediaType"])
    images.tag(images.image([type(found)(blob, found.diff_id)]))
    with rootfs(images, session) as tree:
        assert paths(tree) == ["a", "gone"]

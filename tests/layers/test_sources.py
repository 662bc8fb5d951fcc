from __future__ import annotations

import json
import socket
from pathlib import Path

import pytest
from builders import damage
from support.images import (
    DOCKER,
    OCI,
    Layout,
    docker_archive,
    dumps,
    image_config,
    oci_archive,
    oci_layout,
    sha256,
)
from support.layers import file, gzipped, layer

from layers import sources
from layers.descriptor import Descriptor, Platform
from layers.digest import Digest
from layers.errors import (
    AmbiguousImage,
    Cancelled,
    DigestMismatch,
    ImageNotFound,
    MalformedImage,
    PlatformNotFound,
    RegistryUnavailable,
    StoreError,
    Unsupported,
)
from layers.image import JSON_LIMIT
from layers.reference import Reference, parse_source
from layers.session import Session
from layers.sources import RegistryBlobs, Wanted, open_image
from layers.store import ContentStore

TAR = layer(file("a", b"x"))
ARM64 = Wanted(Platform("linux", "arm64"), explicit=True)


@pytest.fixture
def session(tmp_path):
    return Session(ContentStore(tmp_path / "store"))


@pytest.fixture
def images(tmp_path):
    return Layout(tmp_path / "layout")


@pytest.fixture
def no_network(monkeypatch):
    """Whoever opens a connection fails the test."""
    monkeypatch.setattr(socket.socket, "connect", lambda *_arguments: pytest.fail("a connection"))


def load(text, session, wanted=None):
    """An image's config and the plain bytes of its layers, from wherever it is."""
    with open_image(parse_source(text), session, wanted) as image:
        blobs = []
        for found in image.manifest.layers:
            with image.source.open_blob(found) as chunks:
                blobs.append(b"".join(chunks))
        return image.config, blobs


def architecture(text, session, wanted=None):
    return load(text, session, wanted)[0].platform.architecture


def keep(session, *tars, tag=None, **fields):
    """Put an image into the store; its manifest's descriptor."""
    store = session.store
    config = dumps({"os": "linux", "architecture": "amd64",
                    "rootfs": {"diff_ids": [sha256(tar) for tar in tars]}} | fields)  # fmt: skip
    layers = [{"digest": str(store.add(tar)), "size": len(tar)} for tar in tars]
    manifest = dumps(
        {
            "schemaVersion": 2,
            "mediaType": DOCKER.manifest,
            "config": {"digest": str(store.add(config)), "size": len(config)},
            "layers": layers,
        }
    )
    found = Descriptor(DOCKER.manifest, store.add(manifest), len(manifest))
    if tag:
        store.tag(tag, found)
    return found


# Every transport.


@pytest.mark.usefixtures("no_network")
def test_every_local_transport_gives_the_same_image(session, tmp_path):
    layout = oci_layout(tmp_path / "layout", [TAR], {"User": "me"}, compression=None)
    oci_archive(tmp_path / "oci.tar", layout)
    for shape in ("old", "new"):
        docker_archive(tmp_path / f"{shape}.tar", [TAR], {"User": "me"}, shape=shape)
    for text in (
        f"oci:{layout.path}",
        f"oci:{layout.path}:latest",
        f"oci-archive:{tmp_path}/oci.tar",
        f"oci-archive:{tmp_path}/oci.tar:latest",
        f"docker-archive:{tmp_path}/old.tar",
        f"docker-archive:{tmp_path}/new.tar:example:latest",
        f"oci-archive:{tmp_path}/new.tar",
    ):
        config, blobs = load(text, session)
        assert (config.user, blobs) == ("me", [TAR])


@pytest.mark.parametrize("media", [None, DOCKER])
@pytest.mark.parametrize("compression", [None, "gzip", "zstd"])
def test_media_types_of_both_families_are_read(session, images, media, compression):
    options = {} if media is None else {"media": media}
    images.tag(images.image([TAR], compression=compression, **options), "t")
    assert len(load(f"oci:{images.path}:t", session)[1]) == 1


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("oci:/none", "^oci:/none: there is no such folder"),
        ("oci-archive:/none.tar", "^oci-archive:/none.tar: there is no such file"),
        ("docker-archive:/none.tar:x:1", "^docker-archive:/none.tar: there is no such file"),
    ],
)
def test_what_is_not_there_is_told_as_it_was_typed(session, text, problem):
    with pytest.raises(ImageNotFound, match=problem):
        load(text, session)


def test_a_path_may_hold_colons(session, tmp_path):
    docker_archive(tmp_path / "a:b.tar", [TAR])
    layout = oci_layout(tmp_path / "a:b" / "layout", [TAR], compression=None)
    for text in (
        f"docker-archive:{tmp_path}/a:b.tar",
        f"docker-archive:{tmp_path}/a:b.tar:example:latest",
        f"oci:{layout.path}",
        f"oci:{layout.path}:latest",
    ):
        assert load(text, session)[1] == [TAR]


def test_a_whole_name_chooses_of_a_layout_and_its_archive(session, tmp_path, images):
    for name in ("bar", "baz"):
        images.tag(images.image([TAR], {"User": name}), f"foo/{name}:1.0.0")
    oci_archive(tmp_path / "a.tar", images)
    for source in (f"oci:{images.path}", f"oci-archive:{tmp_path}/a.tar"):
        for tag in ("foo/baz:1.0.0", "docker.io/foo/baz:1.0.0", "@1"):
            assert load(f"{source}:{tag}", session)[0].user == "baz"
        with pytest.raises(AmbiguousImage):
            load(f"{source}:1.0.0", session)


def test_an_archive_is_closed_when_the_image_is(session, tmp_path):
    docker_archive(tmp_path / "a.tar", [TAR])
    before = sorted(Path("/proc/self/fd").iterdir())
    for text in (f"docker-archive:{tmp_path}/a.tar", f"docker-archive:{tmp_path}/a.tar"):
        load(text, session)
    with pytest.raises(KeyError), open_image(parse_source(text), session):
        raise KeyError
    with pytest.raises(ImageNotFound):
        load(f"docker-archive:{tmp_path}/a.tar:none:1", session)
    assert sorted(Path("/proc/self/fd").iterdir()) == before


# Platforms and indexes.


@pytest.fixture
def multi(images):
    """An index of two platforms, with attestations first, in another index."""
    both = [images.image([layer(file(name))], platform=f"linux/{name}")
            for name in ("amd64", "arm64")]  # fmt: skip
    attested = [images.attestation(image) for image in both]
    inner = images.index([*attested, *both])
    images.tag(inner, "multi")
    images.tag(images.index([images.index([inner])]), "nested")
    return images


@pytest.mark.parametrize("tag", ["multi", "nested"])
def test_the_wanted_platform_is_chosen(session, multi, tag):
    text = f"oci:{multi.path}:{tag}"
    assert architecture(text, session) == "amd64"
    assert architecture(text, session, ARM64) == "arm64"


def test_a_platform_that_is_not_there_is_answered_with_those_that_are(session, multi):
    wanted = Wanted(Platform("linux", "s390x"))
    problem = "there is no image for linux/s390x; there is linux/amd64, linux/arm64 (choose by"
    with pytest.raises(PlatformNotFound) as caught:
        load(f"oci:{multi.path}:multi", session, wanted)
    assert problem in str(caught.value)


def test_a_long_list_of_platforms_ends(session, images):
    one = images.image([TAR])
    many = [one | {"platform": {"os": f"o{number}" + "x" * 1000, "architecture": "a"}}
            for number in range(1000)]  # fmt: skip
    images.tag(images.index(many), "t")
    with pytest.raises(PlatformNotFound, match="and 980 more") as caught:
        load(f"oci:{images.path}:t", session)
    assert len(str(caught.value)) < 5000


def test_an_index_of_attestations_alone_has_no_image(session, images):
    images.tag(images.index([images.attestation(images.image([TAR]))]), "t")
    with pytest.raises(PlatformNotFound, match="there is none at all"):
        load(f"oci:{images.path}:t", session)


def test_the_only_platform_will_do_unless_another_was_asked_for(session, images):
    images.tag(images.image([TAR], platform="linux/arm64/v8"), "t")
    text = f"oci:{images.path}:t"
    assert architecture(text, session) == "arm64"
    assert architecture(text, session, ARM64) == "arm64"
    with pytest.raises(
        PlatformNotFound, match="there is no image for linux/amd64; there is linux/"
    ):
        load(text, session, Wanted(explicit=True))


def test_an_older_variant_of_arm_will_do(session, images):
    images.tag(images.index([images.image([TAR], platform="linux/arm/v6")]), "t")
    wanted = Wanted(Platform.parse("linux/arm/v7"), explicit=True)
    assert architecture(f"oci:{images.path}:t", session, wanted) == "arm"


def test_indexes_are_nested_so_deep_and_no_deeper(session, images):
    found = images.image([TAR])
    for depth in range(5):
        found = images.index([found])
        images.tag(found, f"depth{depth}")
    load(f"oci:{images.path}:depth2", session)
    with pytest.raises(MalformedImage, match="indexes are nested more than 4 deep"):
        load(f"oci:{images.path}:depth4", session)


@pytest.mark.parametrize("kind", ["manifest", "config"])
def test_documents_that_claim_to_be_huge_are_not_read(session, images, kind):
    image = images.image([TAR])
    if kind == "manifest":
        images.tag(image | {"size": JSON_LIMIT + 1}, "t")
    else:
        raw = json.loads(images.blob_path(image["digest"]).read_bytes())
        raw["config"]["size"] = JSON_LIMIT + 1
        images.tag(images.blob(dumps(raw), image["mediaType"]), "t")
    with pytest.raises(MalformedImage, match=rf"a {kind} of 16,777,217 bytes is not read"):
        load(f"oci:{images.path}:t", session)


def test_a_layout_that_was_altered_is_told(session, images):
    image = images.image([TAR])
    images.tag(image, "t")
    damage(images.blob_path(image["digest"]), b"{ ")
    with pytest.raises(DigestMismatch):
        load(f"oci:{images.path}:t", session)


def test_schema_1_is_refused(session, images):
    raw = dumps({"schemaVersion": 1, "fsLayers": []})
    images.tag(images.blob(raw, ""), "t")
    with pytest.raises(Unsupported, match="schema 1"):
        load(f"oci:{images.path}:t", session)


# What public bug reports tell of other readers.


def test_what_crane_and_ctr_save_is_read(session, tmp_path):
    """apple/container#1103: a config named by its digest, layers as HEX.tar.gz."""
    config = dumps(image_config([sha256(TAR)], {"User": "me"}, "linux/amd64"))
    blob = gzipped(TAR)
    names = {"config": sha256(config), "layer": sha256(blob).partition(":")[2] + ".tar.gz"}
    saved = [{"Config": names["config"], "RepoTags": ["x:1"], "Layers": [names["layer"]]}]
    members = [file(names["config"], config), file(names["layer"], blob),
               file("manifest.json", dumps(saved))]  # fmt: skip
    (tmp_path / "crane.tar").write_bytes(layer(*members))
    found, blobs = load(f"docker-archive:{tmp_path}/crane.tar", session)
    assert (found.user, blobs) == ("me", [blob])


def test_platforms_that_docker_did_not_save_are_not_needed(session, tmp_path, images):
    """socktainer#314: docker save keeps the index of all platforms, and one platform's blobs."""
    here = images.image([TAR], compression=None)
    there = images.image([layer(file("b"))], platform="linux/arm64")
    images.tag(images.index([there, images.attestation(there), here]), "x")
    images.blob_path(there["digest"]).unlink()
    oci_archive(tmp_path / "saved.tar", images)
    for source in (f"oci:{images.path}", f"oci-archive:{tmp_path}/saved.tar"):
        assert load(source, session)[1] == [TAR]
        problem = f"blob {there['digest']} is missing; the .* is incomplete"
        with pytest.raises(ImageNotFound, match=problem):
            load(source, session, ARM64)


@pytest.mark.parametrize("rootfs", [{}, None, {"type": "layers", "diff_ids": None}])
def test_an_image_without_layers_says_so_in_any_way(session, images, rootfs):
    """moby/moby#27568: null where there is no list."""
    images.tag(images.image([], rootfs=rootfs, history=None, created=None, config=None), "x")
    found, blobs = load(f"oci:{images.path}", session)
    assert (found.diff_ids, blobs) == ((), [])


@pytest.mark.parametrize("names", [None, [], ["x:1"]])
def test_documents_may_leave_out_what_they_need_not_say(session, tmp_path, images, names):
    """buildah#4395, container-libs#573: no media type at all; dxWDL#437: no names."""
    image = images.image([TAR], compression=None)
    raw = json.loads(images.blob_path(image["digest"]).read_bytes())
    del raw["mediaType"]
    plain = images.blob(dumps(raw), OCI.manifest)
    inner = images.blob(dumps({"schemaVersion": 2, "manifests": [plain]}), OCI.index)
    (images.path / "index.json").write_bytes(dumps({"schemaVersion": 2, "manifests": [inner]}))
    assert load(f"oci:{images.path}", session)[1] == [TAR]
    config = dumps(image_config([sha256(TAR)], None, "linux/amd64"))
    saved = [{"Config": "c.json", "RepoTags": names, "Layers": ["l.tar"]}]
    members = [file("manifest.json", dumps(saved)), file("c.json", config), file("l.tar", TAR)]
    (tmp_path / "saved.tar").write_bytes(layer(*members))
    assert load(f"docker-archive:{tmp_path}/saved.tar", session)[1] == [TAR]


def test_the_other_kind_of_archive_is_told_by_its_name(session, tmp_path, images):
    """skopeo#2782, #1448: "manifest.json: file does not exist", and "index.json"."""
    images.tag(images.image([TAR]), "x")
    oci_archive(tmp_path / "oci.tar", images)
    docker_archive(tmp_path / "docker.tar", [TAR])
    with pytest.raises(MalformedImage, match="an OCI archive is read as oci-archive:FILE"):
        load(f"docker-archive:{tmp_path}/oci.tar", session)
    with pytest.raises(
        MalformedImage, match="what docker save writes is read as docker-archive:FI"
    ):
        load(f"oci-archive:{tmp_path}/docker.tar", session)


# What descriptors say of what they point at.


def write_index(images, **changes):
    """Write index.json anew, with one entry changed; `None` takes a field away."""
    path = images.path / "index.json"
    index = json.loads(path.read_bytes())
    entry = index["manifests"][0] | changes
    index["manifests"] = [{key: value for key, value in entry.items() if value is not None}]
    path.write_bytes(dumps(index))


@pytest.mark.parametrize("media_type", [None, "", OCI.index, OCI.manifest, "text/plain"])
@pytest.mark.parametrize("kind", ["manifest", "index"])
def test_a_manifest_and_an_index_are_known_by_their_content(session, images, media_type, kind):
    image = images.image([TAR], compression=None)
    images.tag(image if kind == "manifest" else images.index([image]), "t")
    write_index(images, mediaType=media_type)
    oci_archive(images.path.parent / "a.tar", images)
    for source in (f"oci:{images.path}", f"oci-archive:{images.path.parent}/a.tar"):
        assert load(f"{source}:t", session)[1] == [TAR]


def test_entries_of_an_index_need_no_media_type(session, images):
    image = images.image([TAR], compression=None)
    del image["mediaType"]
    images.tag(images.index([image]), "t")
    assert load(f"oci:{images.path}:t", session)[1] == [TAR]


@pytest.mark.parametrize("media_type", [None, OCI.index, OCI.layer["gzip"]])
def test_manifests_are_asked_for_as_such_whatever_their_type(session, monkeypatch, media_type):
    config = dumps({"os": "linux", "architecture": "amd64", "rootfs": {"diff_ids": []}})
    manifest = dumps({"config": blob_json(config, OCI.config), "layers": []})
    entry = blob_json(manifest, media_type) | {"platform": {"os": "linux", "architecture": "amd64"}}
    index = dumps({"manifests": [entry]})
    registry = FakeRegistry([index, manifest])
    registry.only_blobs = {Digest.of(config): config}
    monkeypatch.setattr(sources, "_registry", lambda *_arguments: registry)
    assert load("127.0.0.1:1/x", session)[0].platform == Platform("linux", "amd64")


def blob_json(data, media_type):
    found = {"mediaType": media_type, "digest": sha256(data), "size": len(data)}
    return found if media_type else {k: v for k, v in found.items() if k != "mediaType"}


@pytest.mark.parametrize(
    ("own", "expected"),
    [
        ({"architecture": ""}, "linux/arm/v6"),
        ({"architecture": "", "os": ""}, "linux/arm/v6"),
        ({"architecture": None, "os": None}, "linux/arm/v6"),
        ({"os": ""}, "linux/amd64"),
        ({}, "linux/amd64"),
    ],
)
def test_an_index_says_the_platform_where_the_config_does_not(session, images, own, expected):
    image = images.image([TAR], **own) | {
        "platform": {"os": "linux", "architecture": "arm", "variant": "v6"}
    }
    images.tag(image, "entry")
    images.tag(images.index([image]), "index")
    wanted = Wanted(Platform.parse(expected), explicit=True) if own else None
    config, _ = load(f"oci:{images.path}:entry", session, wanted)
    assert str(config.platform) == expected
    if own != {} and expected != "linux/amd64":
        assert load(f"oci:{images.path}:index", session, wanted)[0].platform == config.platform


def test_what_is_manifest_and_index_at_once_is_refused(session, images):
    image = images.image([TAR])
    raw = json.loads(images.blob_path(image["digest"]).read_bytes())
    for media_type in (OCI.manifest, OCI.index):
        both = images.blob(dumps(raw | {"manifests": [image], "mediaType": media_type}), media_type)
        images.tag(both, "t")
        with pytest.raises(MalformedImage, match="has the fields of index and manifest at once"):
            load(f"oci:{images.path}:t", session)


def test_half_a_surrogate_pair_is_replaced_wherever_it_is(session, tmp_path, images):
    odd = '{"Env": ["A=\\ud800"], "Labels": {"\\udc00": "\\udfff"}}'
    config = dumps(image_config([sha256(TAR)], {}, "linux/amd64"))
    config = config.replace(b'"config": {}', b'"config": ' + odd.encode())
    assert b"ud800" in config
    manifest = dumps(
        {
            "schemaVersion": 2,
            "config": images.blob(config, OCI.config),
            "layers": [images.layer(TAR, None).descriptor],
            "annotations": {"name": "half"},
        }
    ).replace(b'"half"', rb'"\ud800"')
    images.tag(images.blob(manifest, OCI.manifest), "half")
    index = images.path / "index.json"
    index.write_bytes(index.read_bytes().replace(b'"half"', rb'"\ud800"'))
    saved = [{"Config": "c.json", "RepoTags": ["half"], "Layers": ["l.tar"]}]
    members = {"manifest.json": dumps(saved).replace(b'"half"', rb'"\ud800"'), "c.json": config}
    (tmp_path / "saved.tar").write_bytes(
        layer(*(file(name, data) for name, data in members.items()), file("l.tar", TAR))
    )
    for source in (f"oci:{images.path}:\ufffd", f"docker-archive:{tmp_path}/saved.tar:\ufffd"):
        found, blobs = load(source, session)
        assert blobs == [TAR]
        assert found.env == ("A=\ufffd",)
        assert found.settings["Labels"] == {"\ufffd": "\ufffd"}
        assert found.serialize()


# The store.


@pytest.mark.usefixtures("no_network")
def test_a_tag_of_the_store_wins_over_a_registry(session):
    keep(session, TAR, tag="example:latest", architecture="arm64")
    for text in ("example", "example:latest", "docker.io/library/example", "docker://example"):
        assert load(text, session)[1] == [TAR]
    with pytest.raises(PlatformNotFound):
        load("example", session, Wanted(explicit=True))


@pytest.mark.usefixtures("no_network")
def test_a_digest_that_the_store_has_is_not_asked_for(session):
    found = keep(session, TAR)
    assert load(f"127.0.0.1:1/some/thing@{found.digest}", session)[1] == [TAR]
    assert load(f"127.0.0.1:1/some/thing:tag@{found.digest}", session)[1] == [TAR]


@pytest.mark.usefixtures("no_network")
@pytest.mark.usefixtures("no_network")
def test_offline_what_the_store_lacks_is_refused_by_name(session):
    session = Session(session.store, offline=True)
    with pytest.raises(RegistryUnavailable, match=r"debian:12: it is not in the store, .*--offli"):
        load("debian:12", session)
    with pytest.raises(RegistryUnavailable, match=r"golem-assemble pull 127\.0\.0\.1:1/x:latest"):
        load("127.0.0.1:1/x", session)
    found = keep(session, TAR, tag="debian:12")
    assert load("debian:12", session)[1] == [TAR]
    assert load(f"127.0.0.1:1/x@{found.digest}", session)[1] == [TAR]
    session.store.remove(Digest.of(TAR))
    with pytest.raises(
        RegistryUnavailable, match=rf"its blob {Digest.of(TAR)} is not in the store"
    ):
        load(f"127.0.0.1:1/x@{found.digest}", session)


def test_a_tag_of_the_store_is_not_taken_for_another_digest(session):
    keep(session, TAR, tag="127.0.0.1:1/x:1")
    other = keep(session, TAR, TAR)
    assert load(f"127.0.0.1:1/x:1@{other.digest}", session)[1] == [TAR, TAR]


@pytest.mark.usefixtures("no_network")
def test_a_manifest_of_the_store_that_was_damaged_is_told(session):
    found = keep(session, TAR)
    damage(session.store.path(found.digest), b"{ ")
    with pytest.raises(StoreError, match="was damaged on disk and has been removed"):
        load(f"127.0.0.1:1/x@{found.digest}", session)


@pytest.mark.usefixtures("no_network")
def test_a_tag_whose_blobs_are_gone_is_told(session):
    found = keep(session, TAR, tag="x:latest")
    session.store.path(found.digest).unlink()
    with pytest.raises(ImageNotFound, match=f"blob {found.digest} is not there"):
        load("x", session)


# Registries, as far as they need no server. Those with one are in tests/e2e.


class FakeRegistry:
    """A registry's client with blobs in memory."""

    def __init__(self, blobs):
        self.blobs = {Digest.of(data): data for data in blobs}
        self.only_blobs = None
        self.asked = []
        self.clones = self.closed = 0

    def clone(self):
        self.clones += 1
        return self

    def close(self):
        self.closed += 1

    def manifest(self, tag, digest):
        self.asked.append(digest or tag)
        digest = digest or next(iter(self.blobs))
        return self.blobs[digest], "", digest

    def blob(self, found):
        self.asked.append(found.digest)
        if self.only_blobs is not None:
            yield self.only_blobs[found.digest]
            return
        yield self.blobs[found.digest][:1]
        yield self.blobs[found.digest][1:]


class Counting:
    """An observer that keeps what it is told of pulled bytes."""

    def __init__(self):
        self.counts = []

    def pulled(self, digest, count):
        self.counts.append((digest, count))


def test_what_the_store_lacks_is_fetched_once(session):
    registry, observer = FakeRegistry([TAR]), Counting()
    blobs = RegistryBlobs(registry, Session(session.store, observer=observer))
    found = Descriptor("", Digest.of(TAR), len(TAR))
    for _ in range(2):
        with blobs.open_blob(found) as chunks:
            assert b"".join(chunks) == TAR
        assert blobs.read(found) == TAR
    assert registry.asked == [found.digest]
    assert (registry.clones, registry.closed) == (1, 1)
    assert observer.counts == [(found.digest, 1), (found.digest, len(TAR) - 1)]


@pytest.mark.parametrize("read", [RegistryBlobs.read, RegistryBlobs.read_manifest])
def test_small_documents_are_fetched_once(session, read):
    registry = FakeRegistry([b"{}"])
    blobs = RegistryBlobs(registry, session)
    found = Descriptor("", Digest.of(b"{}"), 2)
    assert read(blobs, found) == read(blobs, found) == b"{}"
    assert registry.asked == [found.digest]
    assert session.store.has(found)


def test_a_tag_is_always_asked_for_and_a_digest_once(session):
    registry = FakeRegistry([b"{}"])
    blobs = RegistryBlobs(registry, session)
    digest = Digest.of(b"{}")
    for text in ("x:1", "x:1", f"x@{digest}"):
        assert blobs.root(Reference.parse(text)).digest == digest
    assert registry.asked == ["1", "1"]


def test_a_digest_that_the_store_lacks_is_asked_for_once(session):
    registry = FakeRegistry([b"{}"])
    blobs = RegistryBlobs(registry, session)
    reference = Reference.parse(f"x@{Digest.of(b'{}')}")
    for _ in range(2):
        assert blobs.root(reference).digest == reference.digest
    assert registry.asked == [reference.digest]
    assert session.store.path(reference.digest).read_bytes() == b"{}"


def test_a_document_that_claims_to_be_huge_is_not_fetched(session):
    registry = FakeRegistry([])
    with pytest.raises(MalformedImage, match="16,777,217 bytes are no JSON document"):
        RegistryBlobs(registry, session).read(Descriptor("", Digest.of(b""), JSON_LIMIT + 1))
    assert registry.asked == []


def test_a_blob_that_was_altered_on_its_way_is_not_kept(session):
    registry = FakeRegistry([TAR])
    found = Descriptor("", Digest.of(TAR), len(TAR))
    registry.blobs[found.digest] = b"x" * len(TAR)
    blobs = RegistryBlobs(registry, session)
    with pytest.raises(DigestMismatch), blobs.open_blob(found):
        pass
    assert not session.store.has(found)
    assert registry.closed == 1


def test_a_fetch_stops_when_the_work_does(session):
    registry = FakeRegistry([TAR])
    session.stop.set()
    found = Descriptor("", Digest.of(TAR), len(TAR))
    blobs = RegistryBlobs(registry, Session(session.store, observer=Counting(), stop=session.stop))
    with pytest.raises(Cancelled), blobs.open_blob(found):
        pass
    assert not session.store.has(found)


def test_a_registry_that_nobody_runs_is_told(session, monkeypatch):
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    monkeypatch.setattr(Session, "sleep", lambda _session, _seconds: None)
    problem = rf"^127.0.0.1:{port}/x:1: 127.0.0.1:{port}: connection refused; is it running"
    with pytest.raises(RegistryUnavailable, match=problem):
        load(f"127.0.0.1:{port}/x:1", session)

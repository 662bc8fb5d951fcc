from __future__ import annotations

import json

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from layers import descriptor as media
from layers.descriptor import Descriptor, Platform
from layers.digest import Digest
from layers.errors import DigestMismatch, LayersError, MalformedImage, Unsupported
from layers.image import (
    JSON_LIMIT,
    Image,
    ImageConfig,
    Index,
    Manifest,
    build_manifest,
    manifest_kind,
    parse_object,
)

BLOB = Descriptor(media.OCI_LAYER_TAR, Digest.of(b"layer"), 5)
CONFIG = Descriptor(media.OCI_CONFIG, Digest.of(b"{}"), 2)


def dumps(**data):
    return json.dumps(data).encode()


def manifest(**changes):
    return dumps(
        **{
            "schemaVersion": 2,
            "mediaType": media.OCI_MANIFEST,
            "config": CONFIG.to_json(),
            "layers": [BLOB.to_json()],
        }
        | changes
    )


# JSON.


@pytest.mark.parametrize(
    ("raw", "problem"),
    [
        (b"", "x is not valid JSON: "),
        (b"{", "x is not valid JSON: "),
        (b"\xff\xfe", "x is not valid JSON: "),
        (b"[" * 100_000, "x is not valid JSON: "),
        (b"[]", "x must be a JSON object"),
        (b'"text"', "x must be a JSON object"),
        (b" " * (JSON_LIMIT + 1), "x: 16,777,217 bytes of JSON, more than 16,777,216"),
    ],
)
def test_what_is_no_json_object_is_told(raw, problem):
    with pytest.raises(MalformedImage, match=f"^{problem}"):
        parse_object(raw, "x")


# Indexes and manifests.


def test_an_index_keeps_its_bytes_and_its_order():
    raw = dumps(manifests=[CONFIG.to_json(), BLOB.to_json()], vendor="kept")
    index = Index.parse(raw, "x")
    assert index.raw is raw
    assert [entry.digest for entry in index.manifests] == [CONFIG.digest, BLOB.digest]


@pytest.mark.parametrize("manifests", [None, {}, "no", 7])
def test_an_index_needs_a_list(manifests):
    with pytest.raises(MalformedImage, match="x: an index needs a list of manifests"):
        Index.parse(dumps(manifests=manifests), "x")


def test_a_manifest_keeps_its_bytes_and_knows_its_digest():
    raw = manifest()
    parsed = Manifest.parse(raw, "x")
    assert (parsed.raw, parsed.digest) == (raw, Digest.of(raw))
    assert (parsed.media_type, parsed.config, parsed.layers) == (
        media.OCI_MANIFEST, CONFIG, (BLOB,),
    )  # fmt: skip


def test_a_manifest_without_media_type_is_oci_s():
    assert Manifest.parse(manifest(mediaType=None), "x").media_type == media.OCI_MANIFEST
    assert Manifest.parse(manifest(mediaType=media.DOCKER_MANIFEST), "x").media_type == (
        media.DOCKER_MANIFEST
    )


@pytest.mark.parametrize(
    ("changes", "problem"),
    [
        ({"config": None}, "x: a manifest needs a config and a list of layers"),
        ({"layers": {}}, "x: a manifest needs a config and a list of layers"),
        ({"config": {"digest": "sha256:1", "size": 1}}, "is no digest"),
        ({"layers": ["text"]}, "a descriptor must be an object"),
        ({"layers": [BLOB.to_json()] * 2001}, "x: 2001 layers, more than 2000"),
        ({"layers": [BLOB.to_json() | {"size": -1}]}, "size -1 is no size"),
        ({"layers": [BLOB.to_json() | {"size": True}]}, "size True is no size"),
        ({"layers": [BLOB.to_json() | {"size": 1 << 63}]}, "size 9223372036854775808 is no size"),
    ],
)
def test_a_manifest_that_breaks_the_specification_is_told(changes, problem):
    with pytest.raises(MalformedImage, match=problem):
        Manifest.parse(manifest(**changes), "x")


def test_schema_1_is_refused_with_advice():
    for raw, media_type in ((manifest(schemaVersion=1), ""), (b"", media.SCHEMA_1[1])):
        with pytest.raises(Unsupported, match=r"Docker schema 1 .*skopeo copy --format oci"):
            if manifest_kind(raw, media_type, "x") is Manifest:
                Manifest.parse(raw, "x")


def test_what_is_no_container_image_is_refused():
    config = CONFIG.to_json() | {"mediaType": "application/vnd.cncf.helm.config.v1+json"}
    with pytest.raises(Unsupported, match=r"x holds 'application/vnd.cncf.helm.*name an image tha"):
        Manifest.parse(manifest(config=config), "x")


@pytest.mark.parametrize(
    ("raw", "media_type", "kind"),
    [
        (dumps(manifests=[]), media.OCI_INDEX, Index),
        (dumps(manifests=[]), media.OCI_MANIFEST, Index),
        (dumps(manifests=[], config=None, layers=None), media.DOCKER_MANIFEST, Index),
        (dumps(layers=[], config={}), media.DOCKER_MANIFEST, Manifest),
        (dumps(layers=[], config={}), media.OCI_INDEX, Manifest),
        (dumps(), media.DOCKER_LIST, Index),
        (dumps(), media.DOCKER_MANIFEST, Manifest),
        (dumps(mediaType=media.OCI_INDEX), "", Index),
        (dumps(mediaType=media.DOCKER_LIST), "application/json", Index),
        (dumps(manifests=[]), "", Index),
        (dumps(mediaType=media.OCI_MANIFEST, manifests=[]), "", Index),
        (dumps(layers=[]), "", Manifest),
        (dumps(layers=[]), "text/plain", Manifest),
    ],
)
def test_an_index_is_told_from_a_manifest(raw, media_type, kind):
    assert manifest_kind(raw, media_type, "x") is kind


@pytest.mark.parametrize("media_type", [media.OCI_MANIFEST, media.OCI_INDEX, ""])
@pytest.mark.parametrize(
    "also",
    [{"manifests": []}, {"manifests": [BLOB.to_json()]}, {"Manifests": []}, {"fsLayers": [{}]}],
)
def test_what_is_a_manifest_and_something_else_is_refused(media_type, also):
    raw = manifest(mediaType=media_type, **also)
    for parse in (Manifest.parse, Index.parse):
        with pytest.raises(MalformedImage, match=r"x has the fields of .* and .* at once, so tha"):
            parse(raw, "x")


@pytest.mark.parametrize("also", [{"config": {}}, {"layers": []}, {"LAYERS": []}, {"history": []}])
def test_an_index_with_a_manifests_fields_is_refused(also):
    with pytest.raises(MalformedImage, match="x has the fields of"):
        Index.parse(dumps(manifests=[], **also), "x")


def test_a_manifest_that_is_built_reads_back():
    parsed = Manifest.parse(build_manifest(CONFIG, [BLOB, BLOB]), "x")
    assert (parsed.config, parsed.layers) == (CONFIG, (BLOB, BLOB))
    assert build_manifest(CONFIG, [BLOB]) == build_manifest(CONFIG, [BLOB])


# Configs.


def test_a_config_gives_what_it_says():
    config = ImageConfig.parse(
        dumps(
            os="linux",
            architecture="arm64",
            variant="v8",
            created="2024-01-01T00:00:00Z",
            rootfs={"type": "layers", "diff_ids": [str(BLOB.digest)]},
            config={
                "Env": ["A=1"],
                "Volumes": {"/b": {}, "/a": {}},
                "WorkingDir": "/w",
                "User": "me:us",
            },
        ),
        "x",
    )
    assert config.platform == Platform("linux", "arm64")
    assert config.diff_ids == (BLOB.digest,)
    assert config.created == "2024-01-01T00:00:00Z"
    assert (config.env, config.volumes) == (("A=1",), ("/a", "/b"))
    assert (config.working_dir, config.user) == ("/w", "me:us")


@pytest.mark.parametrize(
    "raw",
    [
        b"{}",
        dumps(config=None, created=None, history=None),
        dumps(config={"Env": None, "Volumes": None, "User": None, "WorkingDir": None, "Cmd": None}),
    ],
)
def test_what_a_config_leaves_out_is_empty(raw):
    config = ImageConfig.parse(raw, "x")
    assert (config.env, config.volumes, config.working_dir, config.user) == ((), (), "", "")
    assert (config.diff_ids, config.created) == ((), None)


@pytest.mark.parametrize(
    ("data", "problem"),
    [
        ({"rootfs": []}, "x: rootfs must be an object"),
        ({"rootfs": {"diff_ids": "sha256:1"}}, "x: rootfs.diff_ids must be a list"),
        ({"rootfs": {"diff_ids": ["sha256:1"]}}, "is no digest"),
        ({"rootfs": {"diff_ids": [7]}}, "is no digest"),
        ({"created": 7}, "x: created must be a string"),
        ({"history": {}}, "x: history must be a list"),
        ({"history": ["x"]}, r"x: history\[0\] must be an object"),
        ({"history": [None, {"created_by": 5}]}, r"x: history\[1\].created_by must be a string"),
        ({"history": [{"created": 5}]}, r"x: history\[0\].created must be a string"),
        ({"history": [{"empty_layer": "no"}]}, r"x: history\[0\].empty_layer must be true or fal"),
        ({"author": []}, "x: author must be a string"),
        ({"os": 7}, "os, architecture and variant of a platform must be strings"),
        ({"config": []}, "x: config must be an object"),
        ({"config": {"Env": "A=1"}}, "x: config.Env must be a list of strings"),
        ({"config": {"Cmd": [1]}}, "x: config.Cmd must be a list of strings"),
        ({"config": {"Entrypoint": {}}}, "x: config.Entrypoint must be a list of strings"),
        ({"config": {"OnBuild": 1}}, "x: config.OnBuild must be a list of strings"),
        ({"config": {"Shell": "sh"}}, "x: config.Shell must be a list of strings"),
        ({"config": {"User": 0}}, "x: config.User must be a string"),
        ({"config": {"WorkingDir": []}}, "x: config.WorkingDir must be a string"),
        ({"config": {"StopSignal": 9}}, "x: config.StopSignal must be a string"),
        ({"config": {"Volumes": ["/a"]}}, "x: config.Volumes must be an object"),
        ({"config": {"Labels": "a=b"}}, "x: config.Labels must be an object"),
        ({"config": {"Labels": {"a": 1}}}, "x: config.Labels must be an object of strings"),
        ({"config": {"ExposedPorts": 80}}, "x: config.ExposedPorts must be an object"),
    ],
)
def test_a_config_of_wrong_types_is_told(data, problem):
    with pytest.raises(MalformedImage, match=problem):
        ImageConfig.parse(dumps(**data), "x")


def test_null_stands_for_what_is_not_there():
    for rootfs in (None, {}, {"diff_ids": None}):
        data = {"rootfs": rootfs, "history": None, "created": None, "config": None}
        assert ImageConfig.parse(dumps(**data), "x").diff_ids == ()


JSON = st.recursive(
    st.one_of(st.none(), st.booleans(), st.integers(-1, 9), st.text(max_size=3)),
    lambda inner: st.one_of(
        st.lists(inner, max_size=2), st.dictionaries(st.text(max_size=3), inner, max_size=2)
    ),
    max_leaves=4,
)
KEYS = st.sampled_from(
    ["os", "variant", "rootfs", "config", "history", "created", "layers", "manifests", "mediaType",
     "schemaVersion"]
)  # fmt: skip


@settings(max_examples=150, deadline=None, derandomize=True, database=None)
@given(
    st.dictionaries(KEYS, JSON, max_size=5),
    st.dictionaries(st.sampled_from(["Env", "Cmd", "User", "Volumes", "Labels"]), JSON),
)
def test_whatever_json_says_is_read_or_refused(data, settings_):
    raw = dumps(**(data | ({"config": settings_} if settings_ else {})))
    for parse in (Index.parse, Manifest.parse, ImageConfig.parse):
        try:
            parsed = parse(raw, "x")
        except LayersError:
            continue
        if isinstance(parsed, ImageConfig):
            # What was checked can be used.
            assert len([*parsed.env, *parsed.volumes, *parsed.diff_ids]) < 9
            assert isinstance(parsed.user + parsed.working_dir, str)


def test_unknown_fields_of_a_config_are_kept():
    raw = '{"os":"linux","vendor":{"é":[1]}}'.encode()
    assert ImageConfig.parse(raw, "x").serialize() == raw


# Images.


def load(config_raw, layers=1):
    described = Descriptor(media.OCI_CONFIG, Digest.of(config_raw), len(config_raw))
    parsed = Manifest.parse(build_manifest(described, [BLOB] * layers), "x")
    return Image.load("name", parsed, config_raw, None)


def test_an_image_is_known_by_its_config():
    raw = dumps(rootfs={"diff_ids": [str(BLOB.digest)]})
    image = load(raw)
    assert (image.name, image.id, image.config_raw) == ("name", Digest.of(raw), raw)


def test_layers_and_diff_ids_must_be_as_many():
    problem = "name: the manifest has 1 layers, the config 0 diff_ids; the image is damaged"
    with pytest.raises(MalformedImage, match=problem):
        load(b"{}")


def test_a_config_must_be_the_one_that_the_manifest_names():
    parsed = Manifest.parse(build_manifest(CONFIG, []), "x")
    with pytest.raises(DigestMismatch, match="^name: config sha256:"):
        Image.load("name", parsed, b"{ }", None)

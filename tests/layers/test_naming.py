from __future__ import annotations

import json

import pytest
from support.images import DOCKER, dumps, oci_layout

from layers import naming
from layers.descriptor import Descriptor
from layers.digest import Digest
from layers.errors import AmbiguousImage, ImageNotFound, InvalidReference
from layers.naming import find_id, find_source, find_stored
from layers.reference import LocalReference, Reference, parse_source
from layers.store import ContentStore


@pytest.fixture
def store(tmp_path, monkeypatch):
    """A store, in a folder with things whose names could be images'."""
    for folder in ("t1/a", "debian", "t1/build", "t1/skopeo"):
        (tmp_path / folder).mkdir(parents=True)
    oci_layout(tmp_path / "t1" / "layout", [])
    (tmp_path / "t1" / "build" / "Dockerfile").touch()
    for name in ("manifest.json", "version"):
        (tmp_path / "t1" / "skopeo" / name).touch()
    for name in ("file.tar", "x.gvmi", "t1/saved", "plain"):
        (tmp_path / name).touch()
    monkeypatch.chdir(tmp_path)
    return ContentStore(tmp_path / "store")


def keep(store, *names, **fields):
    """Put an image of no layers into the store; the digest that is its id."""
    config = dumps({"os": "linux", "rootfs": {"diff_ids": []}} | fields)
    manifest = dumps({"config": {"digest": str(store.add(config)), "size": len(config)},
                      "layers": []})  # fmt: skip
    found = Descriptor(DOCKER.manifest, store.add(manifest), len(manifest))
    for name in names:
        store.tag(name, found)
    return Digest.of(config)


# Local things.


@pytest.mark.parametrize(
    ("text", "advice"),
    [
        ("dir:x", "the transport dir is not read; skopeo copy dir:x oci:DIR, use that"),
        ("docker-daemon:x:1", "docker save -o FILE, as docker-archive:FILE"),
        ("containers-storage:x", "the transport containers-storage is not read; skopeo copy"),
        ("containers-storage:[overlay@/var]x:1", "the transport containers-storage is not read"),
        ("http://x.test/y", "there is no transport http://; name a registry's image HOST/NAME"),
        ("file:///x.tar", "there is no transport file://"),
        ("file.tar", "file.tar is a file: name it docker-archive:file.tar if docker save wrote it"),
        ("file.tar:x:1", "'file.tar:x:1' looks like a path"),
        ("none.tgz", "'none.tgz' looks like a path; .* image of that name is docker://none.tgz$"),
        ("none.tar.gz", "looks like a path"),
        ("x.gvmi", "x.gvmi is a .gvmi, not an image: inspect, ls, verify and hash read it"),
        ("t1/a", "t1/a is a folder, not an OCI image layout .*is docker://t1/a$"),
        ("t1/layout", "t1/layout is a folder with an OCI image layout: name it oci:t1/layout;"),
        ("./t1/layout", "name it oci:./t1/layout$"),
        ("t1/build", "t1/build is a folder with a Dockerfile: golem-assemble build t1/build"),
        ("t1/skopeo", "skopeo copy dir:t1/skopeo oci:DIR"),
        ("t1/saved", "t1/saved is a file: name it docker-archive:t1/saved"),
        ("/etc/passwd", "/etc/passwd is a file: name it .* in a tar$"),
        ("/none", "'/none' looks like a path; .*oci-archive:FILE$"),
        ("./x", "'./x' looks like a path"),
        ("../x", "looks like a path"),
        ("~/x", "looks like a path"),
        (".", "is a folder"),
        ("/" + "x" * 300, "looks like a path"),
    ],
)
def test_what_is_here_is_told_with_its_name(store, text, advice):
    with pytest.raises(InvalidReference, match=advice):
        find_source(text, store)


@pytest.mark.parametrize(
    ("text", "name"),
    [
        ("debian", "debian:latest"),  # though a folder is called so: docker takes the image
        ("plain", "plain:latest"),
        ("t1/a:latest", "t1/a:latest"),
        ("t1/b", "t1/b:latest"),
        ("docker://t1/a", "t1/a:latest"),
        ("docker://file.tar", "file.tar:latest"),
        ("docker-image://dir:x", "dir:x"),
        ("docker.io/library/dir:x", "dir:x"),
    ],
)
def test_a_registrys_image_is_still_named(store, text, name):
    assert str(find_source(text, store)) == name


@pytest.mark.parametrize("text", ["t1/a", "file.tar"])
def test_what_the_store_calls_so_is_an_image(store, text):
    keep(store, f"{text}:latest")
    assert find_source(text, store) == Reference.parse(text)


def test_transports_that_are_read_are_read(store):
    assert find_source("oci:t1/layout:x", store) == LocalReference("oci", "t1/layout", "x")


@pytest.mark.parametrize("text", ["dir:x", "./x", "/x", "x.tar", "docker-daemon:x", "https://x/y"])
def test_a_dockerfile_cannot_name_them_either(text):
    with pytest.raises(InvalidReference, match="looks like a path|transport|docker save"):
        parse_source(text)


# Ids.


def test_an_id_is_found_as_it_is_printed(store):
    identity = keep(store, "one:latest", "two:latest")
    keep(store, "other:latest", created="2024-01-01T00:00:00Z")
    named = store.resolve("one:latest")
    for text in (identity.hex, f"sha256:{identity.hex}", identity.hex[:12], str(identity)[:24]):
        assert find_stored(find_source(text, store), store).digest == named.digest
    # Less than what is printed may be a name that a registry has.
    assert find_stored(Reference.parse(identity.hex[:11]), store) is None


def test_a_name_comes_before_an_id(store):
    identity = keep(store, "one:latest")
    keep(store, f"{identity.hex[:12]}:latest", created="2024-01-01T00:00:00Z")
    named = store.resolve(f"{identity.hex[:12]}:latest")
    assert find_stored(Reference.parse(identity.hex[:12]), store) == named


def test_a_whole_id_that_is_not_there_is_asked_of_no_registry(store):
    for text in ("0" * 64, f"sha256:{'0' * 64}"):
        with pytest.raises(ImageNotFound, match="^0{64}: the store has no image of that id"):
            find_stored(find_source(text, store), store)
    assert find_stored(Reference.parse("0" * 12), store) is None


def test_the_beginning_of_several_ids_is_told_with_them(store):
    ids, number = {}, 0
    while len({identity.hex[0] for identity in ids}) == len(ids):
        number += 1
        ids[keep(store, f"n{number}:latest", author=str(number))] = f"n{number}:latest"
    first = next(one.hex[0] for one in reversed(ids))
    with pytest.raises(AmbiguousImage, match=r"several images' ids: .*; give more dig") as caught:
        find_id(first, store)
    for identity, name in ids.items():
        shown = f"{identity.hex} ({name})"
        assert (shown in caught.value.choices) == (identity.hex[0] == first)


def test_what_is_damaged_in_the_store_has_no_id(store):
    identity = keep(store, "one:latest")
    store.path(store.resolve("one:latest").digest).write_bytes(json.dumps([]).encode())
    assert find_id(identity.hex, store) is None


def test_an_id_has_hex_digits_and_not_too_many():
    assert naming.id_digits("sha256:0123", 3) == "0123"
    for text in ("01", "0" * 65, "xyz0", "0123456789AB", "sha512:0123"):
        assert naming.id_digits(text, 3) is None

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from layers.errors import InvalidReference
from layers.reference import LocalReference, Reference, parse_source

HEX = "a" * 64


@pytest.mark.parametrize(
    ("text", "host", "repository", "tag"),
    [
        ("debian", "docker.io", "library/debian", "latest"),
        ("debian:12", "docker.io", "library/debian", "12"),
        ("docker.io/debian:12", "docker.io", "library/debian", "12"),
        ("index.docker.io/golem/x", "docker.io", "golem/x", "latest"),
        ("golemfactory/blender:1.13", "docker.io", "golemfactory/blender", "1.13"),
        ("localhost/x", "localhost", "x", "latest"),
        ("127.0.0.1:5000/a/b:t", "127.0.0.1:5000", "a/b", "t"),
        ("[::1]:5000/a", "[::1]:5000", "a", "latest"),
        ("ghcr.io/a__b/c-d.e:V1", "ghcr.io", "a__b/c-d.e", "V1"),
    ],
)
def test_names_are_read_by_docker_hubs_rules(text, host, repository, tag):
    assert Reference.parse(text) == Reference(host, repository, tag)


def test_a_digest_needs_no_tag():
    reference = Reference.parse(f"debian@sha256:{HEX}")
    assert reference.tag is None
    assert str(reference) == f"debian@sha256:{HEX}"
    assert str(Reference.parse(f"h.io/x:t@sha256:{HEX}")) == f"h.io/x:t@sha256:{HEX}"


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("Debian", "lower case"),
        ("a//b", "not a repository name"),
        ("a:", "not a tag"),
        ("a:b c", "not a tag"),
        ("-x.io/a", "not a registry host"),
        ("a@sha256:12", "is no digest"),
        ("a" * 300, "at most 255"),
        ("../x", "not a"),
    ],
)
def test_what_is_no_reference_is_refused_with_the_reason(text, problem):
    with pytest.raises(InvalidReference, match=problem):
        Reference.parse(text)


@pytest.mark.parametrize(
    "text", ["", " a", "oci:", "docker-archive::x", "oci:a:@", "oci:a:@-1", "docker-archive:a:@x"]
)
def test_what_is_no_source_is_refused(text):
    with pytest.raises(InvalidReference):
        parse_source(text)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("oci:a/b", LocalReference("oci", "a/b")),
        ("oci:a/b:t", LocalReference("oci", "a/b", "t")),
        ("oci:/a:b/c", LocalReference("oci", "/a", "b/c")),
        ("oci:a:foo/baz:1.0.0", LocalReference("oci", "a", "foo/baz:1.0.0")),
        ("oci:a:@1", LocalReference("oci", "a", "@1")),
        ("oci:///a/b:t", LocalReference("oci", "/a/b", "t")),
        ("oci-archive:x.tar:1", LocalReference("oci-archive", "x.tar", "1")),
        ("docker-archive:x.tar:r/n:1", LocalReference("docker-archive", "x.tar", "r/n:1")),
        ("docker://debian:1", Reference.parse("debian:1")),
        ("docker-image://debian:1", Reference.parse("debian:1")),
    ],
)
def test_transports_are_told_apart(text, expected):
    assert parse_source(text) == expected
    assert parse_source(str(expected)) == expected


@pytest.mark.parametrize(
    ("host", "loopback"),
    [
        ("127.0.0.1:5000", True),
        ("localhost", True),
        ("[::1]:1", True),
        ("[::1]", True),
        ("10.0.0.1:1", False),
    ],
)
def test_registries_on_loopback_are_known(host, loopback):
    assert Reference(host, "x", "t").is_loopback is loopback


@given(st.text(max_size=80))
def test_any_text_is_a_reference_or_refused(text):
    try:
        reference = Reference.parse(text)
    except InvalidReference:
        return
    assert Reference.parse(str(reference)) == reference

from __future__ import annotations

import pytest

from layers.descriptor import Descriptor, Platform, choose_platform
from layers.digest import Digest
from layers.errors import MalformedImage

AMD = Platform("linux", "amd64")


def entry(platform=None, annotations=(), name=b"x"):
    return Descriptor("m", Digest.of(name), 1, platform, tuple(annotations))


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("linux/amd64", "linux/amd64"),
        ("amd64", "linux/amd64"),
        ("linux/x86_64", "linux/amd64"),
        ("linux/amd64/v1", "linux/amd64"),
        ("linux/arm64/v8", "linux/arm64"),
        ("linux/aarch64", "linux/arm64"),
        ("linux/arm", "linux/arm/v7"),
        ("linux/arm/6", "linux/arm/v6"),
        ("linux/armhf", "linux/arm/v7"),
        ("linux/armel", "linux/arm/v6"),
    ],
)
def test_platforms_are_normalised(text, expected):
    assert str(Platform.parse(text)) == expected


@pytest.mark.parametrize("text", ["", "linux/", "a/b/c/d"])
def test_what_is_no_platform_is_refused(text):
    with pytest.raises(ValueError, match="OS/ARCH"):
        Platform.parse(text)


def test_an_arm_v7_machine_takes_the_best_older_variant():
    v5, v6 = (entry(Platform("linux", "arm", v), name=v.encode()) for v in ("v5", "v6"))
    assert choose_platform([v5, v6], Platform.parse("linux/arm/v7")) is v6
    assert choose_platform([v5], Platform.parse("linux/arm/v6")) is v5


def test_a_variant_falls_back_to_none():
    plain = entry(AMD)
    assert choose_platform([plain], Platform.parse("linux/amd64/v3")) is plain


def test_a_descriptor_without_platform_is_the_last_choice():
    plain, amd = entry(), entry(AMD, name=b"y")
    assert choose_platform([plain, amd], AMD) is amd
    assert choose_platform([plain], AMD) is plain


def test_attestations_are_never_chosen():
    unknown = entry(Platform("unknown", "unknown"))
    statement = entry(AMD, [("vnd.docker.reference.type", "attestation-manifest")])
    assert choose_platform([unknown, statement], AMD) is None


def test_a_descriptor_survives_json():
    descriptor = entry(Platform("linux", "arm", "v7"), [("a", "b")])
    assert Descriptor.from_json(descriptor.to_json()) == descriptor
    assert descriptor.annotation("a") == "b"
    assert descriptor.annotation("c") is None


@pytest.mark.parametrize(
    "change",
    [{"size": -1}, {"size": "1"}, {"size": True}, {"digest": "x"}, {"mediaType": 3},
     {"platform": {"os": 1, "architecture": "a"}}],
)  # fmt: skip
def test_malformed_descriptors_are_refused(change):
    data = entry().to_json() | change
    with pytest.raises(MalformedImage):
        Descriptor.from_json(data)
    with pytest.raises(MalformedImage):
        Descriptor.from_json([])

from __future__ import annotations

import hashlib

import pytest

from layers.digest import Digest, Verifier, verified, verify
from layers.errors import DigestMismatch, MalformedImage

HEX = hashlib.sha256(b"abc").hexdigest()


def test_a_digest_is_read_and_written_alike():
    assert str(Digest.parse(f"sha256:{HEX}")) == f"sha256:{HEX}"
    assert Digest.of(b"abc") == Digest("sha256", HEX)
    assert Digest.of(b"abc").short == HEX[:12]


@pytest.mark.parametrize(
    "text",
    [
        "",
        "sha256",
        f"sha256:{HEX[:-1]}",
        f"sha256:{HEX.upper()}",
        f"md5:{HEX}",
        None,
        7,
        "sha256:../x",
    ],
)
def test_what_is_no_digest_is_refused(text):
    with pytest.raises(MalformedImage, match="is no digest"):
        Digest.parse(text)


def test_verify_returns_the_data_or_names_what_differs():
    assert verify(b"abc", Digest.of(b"abc"), "x") == b"abc"
    with pytest.raises(DigestMismatch, match="the blob: expected sha256:ba78"):
        verify(b"abd", Digest.of(b"abc"), "the blob")


def test_verified_chunks_are_passed_on_and_judged_at_the_end():
    chunks = verified([b"a", b"bc"], Verifier(Digest.of(b"abc"), 3, "x"))
    assert next(chunks) == b"a"
    assert list(chunks) == [b"bc"]


@pytest.mark.parametrize(
    ("chunks", "problem"),
    [
        ([b"ab"], "3 bytes, got 2 bytes"),
        ([b"abc", b"d"], "4 bytes or more"),
        ([b"abd"], "got sha256:"),
    ],
)
def test_wrong_content_is_told_by_size_then_by_digest(chunks, problem):
    with pytest.raises(DigestMismatch, match=problem):
        list(verified(chunks, Verifier(Digest.of(b"abc"), 3, "x")))


def test_other_registered_algorithms_work():
    digest = Digest.parse("sha512:" + hashlib.sha512(b"abc").hexdigest())
    assert verify(b"abc", digest, "x") == b"abc"

from __future__ import annotations

import pytest

from layers.urls import origin, redact


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("https://me:secret@host/x", "https://***@host/x"),
        (
            "get HTTP://token@host:1/a@b and ftp://a:b@c",
            "get HTTP://***@host:1/a@b and ftp://***@c",
        ),
        ("https://me:p@ss:word@host", "https://***@host"),
        ("https://me:secret@[::1]:5/x?a=b@c", "https://***@[::1]:5/x?a=b@c"),
        ("https://host/a@b:c", "https://host/a@b:c"),
        ("docker://alpine@sha256:00", "docker://alpine@sha256:00"),
        ("https://host?x@y 'https://host' me@host", "https://host?x@y 'https://host' me@host"),
    ],
)
def test_passwords_are_cut_out_of_urls(text, expected):
    assert redact(text) == expected


@pytest.mark.parametrize(
    ("url", "expected"),
    [
        ("https://Host/x", ("https", "host", 443)),
        ("http://host:80", ("http", "host", 80)),
        ("http://u:p@[::1]:5000/", ("http", "::1", 5000)),
        ("https://host:0/", ("https", "host", 0)),
        ("ftp://host/", None),
        ("host/x", None),
        ("https:///x", None),
        ("https://host:x/", None),
        ("https://host:99999/", None),
        ("https://[x/", None),
        ("", None),
    ],
)
def test_an_origin_is_scheme_host_and_port(url, expected):
    assert origin(url) == expected

from __future__ import annotations

import pytest

from layers.urls import origin


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

from __future__ import annotations

import pytest

from assembler.dockerfile import parse, redact
from assembler.errors import DockerfileError


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


SECRET = "s3cr3t" * 200


def test_what_is_shown_of_an_instruction_is_cut_after_its_passwords():
    text = f"FROM x\nADD https://me:{SECRET}@host/file \\\n /a\n"
    (add,) = parse(text).last.instructions
    assert add.location.shown == "ADD https://***@host/file /a"
    with pytest.raises(DockerfileError) as told:
        parse(text.replace("ADD", "ADD --bad=1"))
    assert "s3cr3t" not in str(told.value)
    assert "s3cr3t" not in str(add.location.error(f"ADD: https://me:{SECRET}@host/: no"))

"""Secrets: where they come from, and that nothing shows them."""

from __future__ import annotations

import pytest

from assembler.buildsecrets import SECRET_LIMIT, read_secrets
from assembler.errors import BuildError


@pytest.fixture
def folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "key").write_bytes(b"in the file\xff")
    return tmp_path


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("id=a,src=key", b"in the file\xff"),
        ("id=a,source=key,type=file", b"in the file\xff"),
        ("id=a,env=VAR", b"in the environment"),
        ("id=a,type=env,src=VAR", b"in the environment"),
        ("type=env,id=VAR", b"in the environment"),
        ("id=VAR", b"in the environment"),
        ("id=key", b"in the file\xff"),
    ],
)
def test_a_secret_comes_from_a_file_or_the_environment(folder, text, value):
    (secret,) = read_secrets([text], {"VAR": "in the environment"}).values()
    assert secret.data == value
    assert secret.identity in text


def test_the_variable_comes_before_the_file_of_the_same_name(folder):
    assert read_secrets(["id=key"], {"key": "v"})["key"].data == b"v"
    assert read_secrets(["id=key,type=file"], {"key": "v"})["key"].data == b"in the file\xff"


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("key", "'key' makes no sense"),
        ("src=key", "it has no id"),
        ("id=a,src=none", "--secret id=a: none cannot be read (No such file"),
        ("id=a,src=.", "--secret id=a: . cannot be read (Is a directory"),
        ("id=a,env=NONE", "--secret id=a: the environment has no NONE"),
        ("id=a,src=key,env=VAR", "give either src or env"),
        ("id=a,type=ssh", "type=ssh is unknown"),
        ("id=a,colour=red", "'colour=red' makes no sense"),
    ],
)
def test_secrets_that_cannot_be_had_are_named(folder, text, problem):
    with pytest.raises(BuildError) as raised:
        read_secrets([text], {"VAR": "x"})
    assert problem in str(raised.value)


def test_a_secret_has_a_size_limit(folder):
    (folder / "big").write_bytes(b"x" * SECRET_LIMIT)
    assert read_secrets(["id=a,src=big"], {})["a"].data == b"x" * SECRET_LIMIT
    (folder / "big").write_bytes(b"x" * (SECRET_LIMIT + 1))
    with pytest.raises(BuildError, match=r"id=a: it has more than 512,000 bytes"):
        read_secrets(["id=a,src=big"], {})


def test_a_secrets_value_is_in_no_text_made_of_it():
    assert "hidden" not in repr(read_secrets(["id=a,env=V"], {"V": "hidden"}))

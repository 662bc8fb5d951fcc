"""RUN --mount: what BuildKit's rules make of its text."""

from __future__ import annotations

import pytest

from assembler.dockerfile import expand_instruction, parse, run_mounts
from assembler.dockerfile.mounts import (
    BindMount,
    CacheMount,
    SecretMount,
    SshMount,
    TmpfsMount,
    parse_mount,
)
from assembler.dockerfile.mounttext import MountText
from assembler.dockerfile.sizes import parse_memory
from assembler.dockerfile.words import WordError
from assembler.errors import DockerfileError


def mount(text):
    return parse_mount(MountText.parse(text))


def run(text, **values):
    (instruction,) = parse(f"FROM x\n{text}").last.instructions
    return expand_instruction(instruction, values.get)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("target=/a", BindMount("/a", "", "", readonly=True)),
        ("type=bind,src=b,dst=a,rw", BindMount("a", "b", "", readonly=False)),
        ("source=b,destination=/a,from=x,readwrite=true", BindMount("/a", "b", "x", False)),
        ("target=/a,rw,ro", BindMount("/a", "", "", readonly=True)),
        ("target=/a,rw=0", BindMount("/a", "", "", readonly=True)),
        ("target=/a,readonly=F,from=stage$", BindMount("/a", "", "stage$", readonly=False)),
        ('"target=/a,b",TYPE=Bind', BindMount("/a,b", "", "", readonly=True)),
        ('"target=/a""b"', BindMount('/a"b', "", "", readonly=True)),
        ("sharing=locked,type=cache,target=/a/../b",
         CacheMount("/a/../b", "/b", "locked", None, None, None, readonly=False)),
        ("type=cache,id=i,target=a,ro,mode=700,uid=1,gid=2,sharing=Private",
         CacheMount("a", "i", "private", 0o700, 1, 2, readonly=True)),
        ("type=cache,target=/a,from=x,source=y",
         CacheMount("/a", "/a", "shared", None, None, None, False, source="y", origin="x")),
        ("type=tmpfs,target=/a", TmpfsMount("/a", None, readonly=False)),
        ("type=tmpfs,target=/a,size=1.5k,ro", TmpfsMount("/a", 1536, readonly=True)),
        ("type=secret,id=a/b", SecretMount("a/b", "/run/secrets/b", None, 0o400, 0, 0, False)),
        ("type=secret,target=/x/y", SecretMount("y", "/x/y", None, 0o400, 0, 0, False)),
        ("type=secret,src=a,env=E,required", SecretMount("a", None, "E", 0o400, 0, 0, True)),
        ("type=secret,id=a,env=E,target=/f,mode=0440,uid=5,gid=6,required=0",
         SecretMount("a", "/f", "E", 0o440, 5, 6, False)),
        ("type=ssh,mode=600,required", SshMount("default")),
    ],
)  # fmt: skip
def test_mounts_are_read_with_their_defaults(text, expected):
    assert mount(text) == expected


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("", "is empty"),
        ("type=volume,target=/a", "type=volume is unknown; there is bind, cache"),
        ("target=/a,colour=red", "'colour' is no key; there is type, from, source, target"),
        ("target", "target has no value; write target=VALUE"),
        ("target=/a,ro=maybe", "readonly=maybe is neither true nor false"),
        ("target=/a,size=1m", "size is not for type=bind, but for type=tmpfs, which must come"),
        ("size=1m,type=tmpfs", "which must come before it"),
        ("required,type=secret,id=a", "required is not for type=bind"),
        ("type=tmpfs,size=1x", "'1x' is no size"),
        ("type=tmpfs,mode=755", "mode is not for type=tmpfs"),
        ("uid=5,target=/a", "uid is not for type=bind, but for type=cache and type=secret"),
        ("type=secret,id=a,gid=staff", "gid=staff must be a number"),
        ("type=cache,target=/a,mode=9", "mode=9 must be an octal number"),
        ("type=cache,uid=4294967296", "must be a number"),
        ("type=cache,target=/a,sharing=some", "sharing=some is unknown; there is shared, private"),
        ("type=secret", "type=secret has no id"),
        ("type=secret,id=a,src=b", "mean the same"),
        ("type=secret,id=a,from=b", "from is not for type=secret"),
        ("type=secret,id=a,sharing=shared", "sharing is not for type=secret"),
        ("type=secret,id=a,env=", "is no name for a variable"),
        ("from=$x,target=/a", "from=$x cannot hold a variable; name a stage"),
        ('target="/a"', "quotes must be around a whole KEY=VALUE"),
        ('"target=/a', "must end in a quote"),
        ('"target=/a"b', "must end in a quote"),
    ],
)
def test_mounts_that_make_no_sense_name_the_key(text, problem):
    with pytest.raises(WordError) as raised:
        mount(text)
    assert problem in str(raised.value)
    assert str(raised.value).startswith("--mount")


def test_a_mount_without_variables_is_refused_where_the_file_is_read():
    with pytest.raises(DockerfileError, match=r"Dockerfile:3: RUN --mount=type=x .*type=x is unk"):
        parse("FROM x\n\nRUN --mount=type=x a")


def test_values_are_expanded_with_what_the_stage_has():
    found = run("RUN --mount=type=$t,target=/$a,id=${b:-c} x", t="cache", a="1,2")
    assert run_mounts(found) == (
        CacheMount("/1,2", "c", "shared", None, None, None, readonly=False),
    )


def test_what_variables_make_of_a_mount_is_refused_with_its_line():
    with pytest.raises(DockerfileError, match="Dockerfile:2: RUN: --mount: type=none is unknown"):
        run_mounts(run("RUN --mount=type=$t,target=/a x", t="none"))
    with pytest.raises(DockerfileError, match="Dockerfile:2: RUN: "):
        run("RUN --mount=target=${t:?missing} x")


def test_quotes_in_values_are_a_shells_as_in_other_instructions():
    (found,) = run_mounts(run("RUN --mount=target=/\\'$a\\' x", a="c"))
    assert found.target == "/$a"


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("0", 0), ("12", 12), ("12b", 12), ("1k", 1024), ("1KB", 1024), ("1KiB", 1024),
        ("2 m", 2 << 20), ("1.5g", 3 << 29), ("1t", 1 << 40), (".5k", 512),
    ],
)  # fmt: skip
def test_sizes(text, expected):
    assert parse_memory(text) == expected


@pytest.mark.parametrize("text", ["", "k", "-1", "1x", "1ib", "1ki", "1  k", "1e3", "\u0661"])
def test_what_is_no_size(text):
    with pytest.raises(WordError, match="is no size"):
        parse_memory(text)

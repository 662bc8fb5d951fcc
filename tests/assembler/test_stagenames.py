from __future__ import annotations

import pytest

from assembler import planning
from assembler.dockerfile import parse
from assembler.errors import DockerfileError
from assembler.scope import Arguments, GlobalScope, platform_args
from assembler.stagenames import check_stage_names, similar_stage
from layers.descriptor import Platform
from layers.sources import Wanted


def check(text, contexts=None, stored=()):
    dockerfile = parse(text)
    scope = GlobalScope(Arguments({}), platform_args(Platform("linux", "amd64")))
    plan = planning.plan(dockerfile, scope, contexts or {}, Wanted())
    check_stage_names(plan, dockerfile, contexts or {}, lambda name: name in stored)


STAGES = "FROM golang:1 AS builder\nFROM base AS Deps\nFROM x\n"


@pytest.mark.parametrize(
    ("name", "meant"),
    [("bulder", "builder"), ("build", "builder"), ("buidler", "builder"), ("builders", "builder"),
     ("dep", "deps"), ("depps", "deps")],
)  # fmt: skip
@pytest.mark.parametrize(
    ("line", "flag"),
    [
        ("COPY --from={} /a /b", "COPY: --from"),
        ("RUN --mount=from={},target=/x x", "RUN: --mount: from"),
    ],
)
def test_a_mistyped_stage_is_told(name, meant, line, flag):
    with pytest.raises(DockerfileError) as told:
        check(STAGES + line.format(name))
    assert str(told.value) == (
        f"Dockerfile:4: {flag}={name}: there is no stage {name}; did you mean {meant}? (if it is "
        f"an image, write {name}:latest)"
    )


@pytest.mark.parametrize(
    "name",
    ["builder", "BUILDER", "0", "nginx", "busybox", "bulder:1", "me/bulder", "localhost/bulder",
     "bulder@sha256:" + "0" * 64, "docker.io/bulder", "oci:bulder", "golang", "base", "scratch"],
)  # fmt: skip
def test_an_image_is_left_alone(name):
    check(f"{STAGES}COPY --from={name} /a /b")


def test_what_is_known_under_that_name_is_meant():
    line = "COPY --from=bulder /a /b"
    check(STAGES + line, stored={"bulder"})
    check(STAGES + line, {"bulder": "oci:x"})
    check("FROM bulder:2 AS builder\nFROM x\n" + line)
    check("FROM docker.io/library/bulder AS builder\nFROM x\n" + line)


def test_stages_that_are_not_built_are_not_looked_at():
    check("FROM a AS builder\nFROM b\nCOPY --from=bulder / /\nFROM c\n")


def test_a_stage_is_similar_whether_or_not_it_comes_before():
    assert similar_stage(parse("FROM a AS builder"), "bulder") == "builder"
    assert similar_stage(parse("FROM a"), "bulder") is None

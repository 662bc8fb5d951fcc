"""`check`'s findings: which rule speaks of which line, and which are silent."""

from __future__ import annotations

import pytest

from assembler.dockerfile import parse
from assembler.linting import lint
from assembler.scope import Arguments, GlobalScope, platform_args
from layers.descriptor import Platform

GOOD = "FROM debian:12 AS base\nENV A=1\nFROM base\nVOLUME /data\nWORKDIR /w\nCOPY $A /x/\n"


def found(text):
    scope = GlobalScope(Arguments({}), platform_args(Platform("linux", "amd64")))
    return [(finding.line, finding.rule) for finding in lint(parse(text), scope)]


def test_nothing_is_said_of_a_good_one():
    assert found(GOOD) == []


@pytest.mark.parametrize(
    ("lines", "rule"),
    [
        ("FROM a AS x\nFROM b AS x\nVOLUME /v", (2, "DuplicateStageName")),
        ("FROM a AS context\nVOLUME /v", (1, "ReservedStageName")),
        ("FROM a:$none\nVOLUME /v", (1, "UndefinedArgInFrom")),
        ("FROM --platform=$TARGETPLATFORM a\nVOLUME /v", (1, "RedundantTargetPlatform")),
        ("FROM --platform=linux/arm64 a\nVOLUME /v", (1, "FromPlatformFlagConstDisallowed")),
        ("FROM a\nVOLUME /v\nLABEL l=$none", (3, "UndefinedVar")),
        ("FROM a\nVOLUME /v\nARG x=$none", (3, "UndefinedVar")),
        ("FROM a\nVOLUME /v\nRUN --mount=target=/a,src=$none b", (3, "UndefinedVar")),
        ("FROM a\nVOLUME /v\nRUN --mount=target=${x b", (3, "Expansion")),
        ("FROM a\nVOLUME /v\nENV l=${x", (3, "Expansion")),
        ("FROM a\nVOLUME /v\nARG l=${x", (3, "Expansion")),
        ("FROM a\nVOLUME /v\nMAINTAINER me", (3, "MaintainerDeprecated")),
        ("FROM a\nVOLUME /v\nENV a b", (3, "LegacyKeyValueFormat")),
        ("FROM a\nVOLUME /v\nLABEL a b", (3, "LegacyKeyValueFormat")),
        ("FROM a\nVOLUME /v\nWORKDIR w", (3, "WorkdirRelativePath")),
        ("FROM a\nVOLUME /v\nEXPOSE 80/TCP", (3, "ExposeProtoCasing")),
        ("FROM a\nVOLUME /v\nENV DB_PASSWORD=x", (3, "SecretsUsedInArgOrEnv")),
        ("FROM a\nVOLUME /v\nARG API_TOKEN", (3, "SecretsUsedInArgOrEnv")),
        ("FROM a\nVOLUME /v\nUSER me", (3, "UserIgnored")),
        ('FROM a\nVOLUME /v\nENTRYPOINT ["a"]', (3, "CommandIgnored")),
        ("FROM a\nVOLUME /v\nWORKDIR /v/x", (3, "WorkdirInVolume")),
        ("FROM a\nVOLUME /v\nCOPY a /v/", (3, "VolumeHidesFiles")),
        ("FROM a\nVOLUME /v\nWORKDIR /v\nADD a x", (4, "VolumeHidesFiles")),
        ("FROM a", (1, "NoVolume")),
    ],
)
def test_each_rule_speaks_of_its_line(lines, rule):
    assert found(lines) == [rule]


def test_what_a_shell_expands_is_the_shells_business():
    assert found("FROM a\nVOLUME /v\nRUN echo $none ${broken") == []


def test_a_stage_upon_another_knows_its_arguments_and_begins_with_its_env():
    text = "FROM a AS x\nARG b=1\nENV c=2\nARG c=$none\nFROM x\nVOLUME /v\nLABEL l=$b m=$c\n"
    assert found(text) == [(4, "UndefinedVar")]


def test_rules_that_come_together():
    assert found("FROM a\nVOLUME /v\nCMD x\nCMD y") == [
        (3, "CommandIgnored"), (3, "JSONArgsRecommended"),
        (4, "CommandIgnored"), (4, "JSONArgsRecommended"), (4, "MultipleInstructionsDisallowed"),
    ]  # fmt: skip


@pytest.mark.parametrize(
    "line",
    [
        "ENV PUBLIC_KEY=x", "ENV KEY_FILE=x", "ENV MONKEY=x", "COPY a /volume", "LABEL a=$PATH",
        "ARG a=1\nLABEL b=$a", "ENV a=1 b=2\nLABEL c=$a$b", "WORKDIR /x\nWORKDIR y", "WORKDIR /v",
    ],
)  # fmt: skip
def test_what_is_fine_is_not_told(line):
    assert found(f"FROM a\nVOLUME /v\n{line}") == []


def test_a_dockerfile_that_grows_past_its_budget_is_an_error():
    text = "FROM a\nVOLUME /v\nENV a=" + "x" * 100_000 + "\n"
    text += "".join(f"ENV a{number}={'$a' * 10}\n" for number in range(100))
    assert (len(text) < 110_000, found(text)[-1]) == (True, (103, "Expansion"))


def test_stages_that_repeat_their_variables_too_often_are_an_error():
    text = "FROM a AS s0\nENV " + " ".join(f"a{number}=" for number in range(20_000))
    text += "".join(f"\nFROM s{number} AS s{number + 1}" for number in range(200))
    assert (103, "Expansion") in found(text)

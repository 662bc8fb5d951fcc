"""What users of other builders reported of their command lines, tried on ours.

Each test names the report. That completion repeats what is before a colon (docker/cli 512), and
completes what is complete (docker/cli 5814), is in `test_completion`.
"""

from __future__ import annotations

import json

import pytest
from support.images import oci_layout
from support.layers import file, layer


def environment(here):
    return json.loads(here("inspect", "--json", "x").out)["env"][1:]


def test_the_iidfile_has_the_id_that_images_shows(here, tmp_path):
    """docker/buildx 420, 1712: a manifest's digest, or nothing, was in it."""
    (tmp_path / "Dockerfile").write_text("FROM scratch\nVOLUME /v\n")
    for kind in ("image", "oci,dest=x.tar", "docker,dest=y.tar", "gvmi,dest=z.gvmi"):
        here("build", "-t", "x", "--iidfile", "id", "--output", f"type={kind}", ".")
        shown = here("images", "-q", "x").out.strip()
        assert (tmp_path / "id").read_text().startswith(f"sha256:{shown}")
        assert len((tmp_path / "id").read_text()) == 71


def test_a_build_argument_without_a_name_is_refused(here, tmp_path):
    """docker/buildx 2022: it was accepted."""
    (tmp_path / "Dockerfile").write_text("FROM scratch\nVOLUME /v\n")
    said = here("build", "--build-arg", "=x", "--output", "type=image", ".", status=15).err
    assert "--build-arg =x: write it as NAME=VALUE" in said


def test_a_build_argument_may_hold_commas_blanks_lines_and_equals_signs(here, tmp_path):
    """buildah 1493, kaniko 1803: what came after the comma, or the blank, was lost."""
    (tmp_path / "Dockerfile").write_text("FROM scratch\nARG A\nENV A=$A\nVOLUME /v\n")
    for value in ("one,two,three", "'a b' c", "a\nb", "a=b=c", "--no-cache", '"'):
        here("build", "-qt", "x", "--output", "type=image", "--build-arg", f"A={value}", ".")
        assert environment(here) == [f"A={value}"]


def test_an_empty_build_argument_is_a_value(here, tmp_path):
    """kaniko 847: the program crashed at `image${VARIANT}` with an empty VARIANT."""
    oci_layout(tmp_path / "base", [layer(file("f", b""))], {})
    text = 'ARG VARIANT="-x"\nARG VERSION=2\nFROM image${VARIANT}:${VERSION}\nVOLUME /v\n'
    (tmp_path / "Dockerfile").write_text(text)
    options = ["--build-arg", "VARIANT=", "--build-context", "image:2=oci:base"]
    here("build", "-qt", "x", *options, "--output", "type=image", ".")
    assert here("ls", "x").out == "f\n"


@pytest.mark.parametrize("word", ["--build-arg A=b", "--file Dockerfile", "--no-cache --pull"])
def test_an_option_and_its_value_in_one_word_are_told_apart(here, word):
    """knative/build 565, plugin-kaniko 25, kaniko 2643: `unknown flag: --build-arg VERSION`."""
    assert (
        f"{word}: an option and its value came as one word"
        in here("build", word, ".", status=2).err
    )


def test_an_empty_file_of_patterns_excludes_nothing(here, tmp_path):
    """podman 25147: where it was empty, another one counted."""
    (tmp_path / "Dockerfile").write_text("FROM scratch\nCOPY a /\nVOLUME /v\n")
    (tmp_path / "a").touch()
    (tmp_path / ".dockerignore").write_text("a\n")
    here("build", "-q", "--output", "type=image", ".", status=3)
    (tmp_path / "Dockerfile.dockerignore").touch()
    here("build", "-qt", "x", "--output", "type=image", ".")
    assert here("ls", "x").out == "a\n"


def test_a_switch_does_not_take_the_next_option_for_its_value(here, tmp_path):
    """docker/buildx 265: `--pull --load` was an invalid value of --pull."""
    (tmp_path / "Dockerfile").write_text("FROM scratch\nVOLUME /v\n")
    here("build", "--pull", "--tag", "x", "--no-cache", "--output", "type=image", ".")

"""What the command line makes no sense of is refused at once; what has no effect is told."""

from __future__ import annotations

import json

import pytest
from support.images import oci_layout

from assembler.cli import main

SCRATCH = "FROM scratch\nVOLUME /v\n"


@pytest.fixture
def refused(monkeypatch, tmp_path, capsys):
    """Run a command line in this process, where that is quicker; return what it says."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))

    def refused(*arguments):
        assert main.run(list(arguments)) == 2
        assert not (tmp_path / "cache").exists()
        return capsys.readouterr().err

    return refused


@pytest.mark.parametrize(
    "arguments",
    [["build", ""], ["check", ""], ["convert", ""], ["ls", "x.gvmi", ""], ["rmi", "a", ""]],
)
def test_an_empty_argument_is_refused(refused, arguments):
    said = refused(*arguments)
    assert f"{arguments[0]}: an argument is empty" in said
    assert said.count("\n") == 1


@pytest.mark.parametrize(
    "option",
    [
        "--platform", "-t", "--tag", "--label", "--target", "--build-arg", "--build-context", "-f",
        "--secret", "--store", "--report", "-o", "--source-date-epoch", "--limit", "--sandbox",
        "--run-timeout", "--progress",
    ],
)  # fmt: skip
def test_an_empty_value_of_an_option_is_refused(refused, option):
    assert f"{option}: its value is empty" in refused("build", option, "", ".")
    if option.startswith("--"):
        assert f"{option}: its value is empty" in refused("build", f"{option}=", ".")


@pytest.mark.parametrize(
    ("options", "problem"),
    [
        (["--sandbox", "jail"], "choose one of auto, root, ranges"),
        (["--quiet", "--progress", "loud"], "auto, rich, plain, json, none"),
        (["--level", "0"], "levels 1 to 9"),
        (["--preset", "fast", "--level", "0"], "levels 1 to 9"),
        (["--processors", "0"], "at least 1"),
        (["--processors", "100000"], "at most"),
        (["--run-output-limit", "0"], "at least 1"),
        (["--platform", "linux/amd64,linux/arm64"], "one platform"),
        (["--platform", "a/b/c/d"], "OS/ARCH"),
        (["--platform", "/"], "OS/ARCH"),
    ],
)
def test_a_value_that_makes_no_sense_is_refused_though_nothing_would_use_it(
    refused, options, problem
):
    assert problem in " ".join(refused("build", *options, ".").split())


@pytest.mark.parametrize(
    ("value", "problem"),
    [
        ("x", "write it as NAME=SOURCE"),
        ("x=", "write it as NAME=SOURCE"),
        ("=x", "write it as NAME=SOURCE"),
        ("x=oci:", "a path must follow oci:"),
        ("x=Bad", "must be lower case"),
        ("x=./none", "./none"),
    ],
)
def test_a_malformed_build_context_is_refused_though_nothing_would_use_it(
    run, project, value, problem
):
    done = run("build", "--build-context", value, ".", cwd=project(SCRATCH), status=15)
    assert f"--build-context {value}: " in done.stderr
    assert problem in done.stderr


def test_a_build_context_and_a_secret_that_nothing_uses_are_told(run, project, tmp_path):
    oci_layout(tmp_path / "base", [], {})
    folder = project(
        "ARG which=used\nFROM $which AS one\nFROM scratch\nCOPY --from=files a.txt /\nVOLUME /v\n"
    )
    contexts = [f"used=oci:{tmp_path / 'base'}", "files=.", f"tyop=oci:{tmp_path / 'base'}"]
    options = [word for value in contexts for word in ("--build-context", value)]
    (folder / "key").write_text("x")
    done = run("build", *options, "--secret", "id=key", "--output", "type=image", ".", cwd=folder)
    assert "--build-context tyop: no FROM, COPY or RUN names it; check its spelling" in done.stderr
    assert "--secret id=key: no RUN --mount=type=secret names it" in done.stderr
    assert done.stderr.count("check its spelling") == 2


def test_a_build_context_that_a_trigger_uses_is_not_told(run, project, tmp_path):
    oci_layout(tmp_path / "base", [], {"OnBuild": ["COPY --from=files a.txt /"]})
    folder = project("FROM base\nVOLUME /v\n")
    base = f"base=oci:{tmp_path / 'base'}"
    done = run(
        "build", "--build-context", base, "--build-context", "files=.", "--output", "type=image",
        ".", cwd=folder,
    )  # fmt: skip
    assert "check its spelling" not in done.stderr


def test_a_platform_is_refused_for_a_file_that_holds_one_image(run, project):
    folder = project(SCRATCH)
    run("build", "-q", "-o", "x.gvmi", ".", cwd=folder)
    for command in ("ls", "inspect"):
        done = run(command, "--platform", "linux/arm64", "x.gvmi", cwd=folder, status=2)
        assert "--platform: x.gvmi holds one image" in done.stderr
    assert "x.gvmi" in run("ls", "--limit", "entries=5", "x.gvmi", cwd=folder, status=2).stderr


@pytest.mark.parametrize(
    "options",
    [
        ["--preset", "balanced"], ["--compression", "gzip"], ["--level", "6"],
        ["--block-size", "4096"], ["--processors", "1"],
    ],
)  # fmt: skip
def test_how_to_compress_is_refused_where_nothing_is_compressed(refused, options):
    for kind in ("image", "oci", "tar"):
        said = refused("build", *options, "--output", f"type={kind}", ".")
        assert "are for .gvmi and squashfs outputs" in said


def test_a_limit_that_is_no_number_is_refused_in_our_words(refused):
    assert "entries=x: write it as NAME=N" in refused("build", "--limit", "entries=x", ".")


def test_an_empty_filter_is_refused(run):
    for text in ("reference=", "label=", "label==x"):
        assert f"--filter {text}: " in run("images", "--filter", text, status=15).stderr


def test_what_makes_the_image_useless_is_told_even_when_quiet(run, project):
    folder = project("FROM scratch\nVOLUME /golem\nWORKDIR /golem/work\nCMD x\n")
    for options in (["-q"], ["--progress", "none"]):
        done = run("build", *options, "-o", "x.gvmi", ".", cwd=folder)
        assert done.stderr == (
            "golem-assemble: warning: WORKDIR /golem/work is inside volume /golem, which is empty "
            "on a provider: the directory will not exist and every command will fail; use the "
            "volume itself or a path outside\n"
        )
    done = run("build", "-q", "-o", "x.gvmi", "--report", "r.json", ".", cwd=folder)
    warnings = json.loads((folder / "r.json").read_text())["warnings"]
    assert sum(text.startswith("WORKDIR /golem/work is inside") for text in warnings) == 1
    done = run("build", "-o", "x.gvmi", "--progress", "plain", ".", cwd=folder)
    assert done.stderr.count("warning: WORKDIR /golem/work is inside") == 1
    assert "advice: CMD is ignored" in done.stderr
    done = run("build", "-q", "--compression", "zstd", "-o", "x.gvmi", ".", cwd=folder)
    assert "warning: providers cannot mount a zstd squashfs" in done.stderr

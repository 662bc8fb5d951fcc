"""Every command that the documentation or a help text shows is run, in a folder made for it."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from support.images import docker_archive, oci_archive, oci_layout
from support.layers import file
from support.registry import Registry
from support.runs import small_base

ROOT = Path(__file__).resolve().parents[1]
BIN = Path(sys.executable).parent
PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md"))]
COMMANDS = ("build", "convert", "inspect", "ls", "verify", "hash")
LAYER = small_base(file("etc/passwd", b"root:x:0:0::/:/bin/sh\n"))
WORKER = """\
FROM debian:bookworm-slim
RUN mkdir -p /srv/worker && echo "made by RUN" > /srv/worker/made && chown 7:8 /srv/worker/made
"""
CONFIG = {"Env": ["PATH=/bin"], "Cmd": ["sh"]}
DOCKERFILE = (ROOT / "fixtures" / "golem-example" / "Dockerfile").read_text()


def shown(page, kind):
    return re.findall(rf"^```{kind}\n(.*?)^```", page.read_text(), re.DOTALL | re.MULTILINE)


def commands(page):
    return [
        line[2:]
        for block in shown(page, "console")
        for line in block.splitlines()
        if line.startswith("$ ")
    ]


def examples(command):
    done = subprocess.run(
        [BIN / "golem-assemble", command, "--help"], capture_output=True, text=True, check=True
    )
    return re.findall(
        r"^ +(golem-assemble .*)$", done.stdout.partition("Examples:")[2], re.MULTILINE
    )


@pytest.fixture(scope="module")
def sandbox(tmp_path_factory):
    """A folder with all that the documentation takes for granted; run commands in it."""
    folder = tmp_path_factory.mktemp("docs")
    environment = os.environ | {
        "PATH": f"{BIN}:{os.environ['PATH']}",
        "XDG_CACHE_HOME": str(folder / "cache"),
        "TOKEN": "not so secret",
    }
    (folder / "token.txt").write_text("not so secret")
    layout = oci_layout(folder / "base", [LAYER], CONFIG)
    shutil.copytree(layout.path, folder / "layout")
    oci_archive(folder / "base.tar", layout)
    docker_archive(folder / "saved.tar", [LAYER], CONFIG, repo_tag="debian:latest")
    (folder / "images").mkdir()
    for name in ("Dockerfile", "other.Dockerfile", "images/Dockerfile"):
        (folder / name).write_text(DOCKERFILE + "ARG VERSION=1\n")
    (folder / "worker").mkdir()
    (folder / "worker" / "Dockerfile").write_text(WORKER)
    with Registry() as registry:
        for name in ("debian:latest", "node:20"):
            registry.push_layout(layout.path, name)

        def run(command):
            command = command.replace("127.0.0.1:5000", registry.address)
            return subprocess.run(
                ["sh", "-euc", command], cwd=folder, env=environment, capture_output=True,
                text=True, check=False,
            )  # fmt: skip

        # What FROM and others name is in the store, as after a build of one's own.
        for tag in ("debian:latest", "debian:bookworm-slim"):
            done = run(
                f"echo FROM given | golem-assemble build -qt {tag} --output type=image "
                "--build-context given=oci:base -f - ."
            )
            assert done.returncode == 0, done.stderr
        assert run("golem-assemble build -qt golem-example -o example.gvmi .").returncode == 0
        yield run


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_commands_in_the_documentation_work(sandbox, page):
    for command in commands(page):
        done = sandbox(command)
        assert done.returncode == 0, f"{command}\n{done.stderr}"


@pytest.mark.parametrize("command", COMMANDS)
def test_examples_in_help_texts_work(sandbox, command):
    found = examples(command)
    assert found
    for example in found:
        done = sandbox(example)
        assert done.returncode == 0, f"{example}\n{done.stderr}"


def test_python_in_the_documentation_works(sandbox, tmp_path):
    blocks = [block for page in PAGES for block in shown(page, "python")]
    assert blocks
    for number, block in enumerate(blocks):
        script = tmp_path / f"{number}.py"
        script.write_text(block)
        done = sandbox(f"{sys.executable} {script}")
        assert done.returncode == 0, f"{block}\n{done.stderr}"
        assert "etc" in done.stdout


def test_links_between_pages_lead_somewhere():
    for page in [*PAGES, ROOT / "CONTRIBUTING.md"]:
        for target in re.findall(r"\]\((?!https?:)([^)#]+)", page.read_text()):
            assert (page.parent / target).exists(), f"{page.name}: {target}"


def test_the_table_of_exit_statuses_is_the_programs():
    from assembler.cli.exits import TABLE

    page = (ROOT / "docs" / "errors.md").read_text()
    rows = dict(re.findall(r"^\| (\d+) \| (.*) \|$", page, re.MULTILINE))
    assert {int(status) for status in rows} == {0, 1, 2} | {status for _, status, _ in TABLE}
    assert all(rows[str(status)] == text for _, status, text in TABLE)


def test_the_limits_are_documented_as_they_are():
    from dataclasses import fields

    from layers.limits import Limits

    page = (ROOT / "docs" / "security.md").read_text()
    rows = dict(re.findall(r"^\| `(\w+)` \| ([\d,]+) \|", page, re.MULTILINE))
    assert rows == {f.name: f"{getattr(Limits(), f.name):,}" for f in fields(Limits)}


def test_every_error_has_an_exit_status():
    from assembler import errors as ours
    from assembler.cli.exits import TABLE
    from layers import errors as images

    with_status = {kind for kind, _, _ in TABLE}
    roots = {ours.AssemblerError, images.LayersError, images.Cancelled}
    for module in (ours, images):
        leaves = {v for v in vars(module).values() if isinstance(v, type)} - roots
        assert leaves <= with_status


def test_the_readmes_first_command_builds_the_example():
    # Without what a make around the tests would tell this one.
    environment = {name: value for name, value in os.environ.items() if "MAKE" not in name}
    done = subprocess.run(
        ["sh", ".ci/make", "demo"],
        cwd=ROOT, capture_output=True, text=True, check=False, env=environment,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert "Successfully tagged golem-example:latest" in done.stdout
    assert "volumes   /golem/input /golem/output" in done.stdout
    following = done.stdout.partition("Go on with:\n")[2].splitlines()
    assert len(following) == 3
    for command in following:
        done = subprocess.run(
            ["sh", "-euc", command], cwd=ROOT, capture_output=True, text=True, check=False
        )
        assert done.returncode == 0, f"{command}\n{done.stderr}"

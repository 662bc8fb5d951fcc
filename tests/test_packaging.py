"""What is published: an sdist with all, a wheel that works with each Python that is here."""

from __future__ import annotations

import email
import re
import shutil
import subprocess
import sys
import tarfile
import zipfile
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
OLDEST = 11
BASE = "https://example.org/it/blob/main/"


def pythons():
    """One Python of each minor version that is on this machine, from 3.11 on."""
    places = [Path(sys.base_prefix) / "bin", Path("/usr/bin"), Path("/usr/local/bin")]
    places += sorted(Path.home().glob(".pyenv/versions/*/bin"))
    found = {}
    for path in (path for place in places for path in place.glob("python3.*")):
        match = re.fullmatch(r"python3\.(\d+)", path.name)
        if match and int(match[1]) >= OLDEST:
            found.setdefault(int(match[1]), path)
    return [found[minor] for minor in sorted(found)]


def source(folder):
    """A copy of what Git has: building must leave nothing in the sources."""
    names = subprocess.run(
        ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"],
        cwd=ROOT, capture_output=True, check=True,
    ).stdout.decode().split("\0")  # fmt: skip
    for name in filter(None, names):
        if (ROOT / name).is_file():
            (folder / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy(ROOT / name, folder / name)
    return folder


@pytest.fixture(scope="module")
def published(tmp_path_factory):
    """The folder with the sdist and the wheel that is built from it."""
    folder = tmp_path_factory.mktemp("dist")
    subprocess.run(
        [sys.executable, "-m", "build", "--no-isolation", "--outdir", folder,
         source(tmp_path_factory.mktemp("source"))],
        check=True, capture_output=True,
    )  # fmt: skip
    return folder


@pytest.fixture(scope="module")
def wheel(published):
    (found,) = published.glob("*.whl")
    return found


@pytest.fixture(scope="module")
def metadata(wheel):
    with zipfile.ZipFile(wheel) as archive:
        (name,) = (name for name in archive.namelist() if name.endswith(".dist-info/METADATA"))
        return email.message_from_bytes(archive.read(name))


def test_twine_finds_no_fault(published):
    done = subprocess.run(
        [sys.executable, "-m", "twine", "--no-color", "check", "--strict", *published.iterdir()],
        capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stdout
    assert done.stdout.count("PASSED") == 2


def test_the_metadata_say_who_and_what(metadata):
    assert metadata["License-Expression"] == "MIT"
    assert metadata["Author"] == "the golem-assemble authors"
    assert metadata["Requires-Python"] == ">=3.11"
    classified = {
        match[1]
        for value in metadata.get_all("Classifier")
        if (match := re.fullmatch(r"Programming Language :: Python :: 3\.(\d+)", value))
    }
    assert {path.name.partition(".")[2] for path in pythons()} <= classified


def test_no_link_of_the_description_is_relative(metadata):
    text = metadata.get_payload()
    assert "# golem-assemble" in text
    assert re.findall(r"\]\((?!https?://)[^)]*\)", text) == []


def test_links_lead_to_the_repository_once_it_is_set(tmp_path):
    project = source(tmp_path)
    settings = project / "pyproject.toml"
    unset = 'repository = ""'
    assert settings.read_text().count(unset) == 1
    settings.write_text(
        settings.read_text().replace(unset, 'repository = "https://example.org/it"')
    )
    script = "from setuptools import build_meta; build_meta.prepare_metadata_for_build_wheel('.')"
    subprocess.run([sys.executable, "-c", script], cwd=project, check=True, capture_output=True)
    (path,) = project.glob("*.dist-info/METADATA")
    found = email.message_from_string(path.read_text())
    targets = re.findall(r"\]\(([^)]*)\)", found.get_payload())
    assert targets
    assert all(target.startswith(BASE) for target in targets)
    assert all((ROOT / target.removeprefix(BASE)).exists() for target in targets)
    assert found.get_all("Project-URL") == [
        "Repository, https://example.org/it",
        f"Documentation, {BASE}docs/build.md",
        f"Changelog, {BASE}CHANGELOG.md",
    ]


def test_the_sdist_has_all_that_is_needed_to_test_it(published):
    (path,) = published.glob("*.tar.gz")
    with tarfile.open(path) as archive:
        names = {name.partition("/")[2] for name in archive.getnames()}
    listed = subprocess.run(
        ["git", "ls-files"], cwd=ROOT, capture_output=True, text=True, check=True
    ).stdout.splitlines()
    assert {name for name in listed if (ROOT / name).exists()} - {".gitignore"} <= names
    assert not [name for name in names if "__pycache__" in name or name.startswith("build")]


@pytest.fixture(scope="module")
def base(tmp_path_factory):
    folder = tmp_path_factory.mktemp("base")
    command = [sys.executable, ROOT / "fixtures" / "make_base.py", folder]
    subprocess.run(command, check=True)
    return folder


@pytest.mark.parametrize("python", pythons(), ids=lambda path: path.name)
def test_the_wheel_builds_an_image(python, wheel, base, tmp_path):
    subprocess.run([python, "-m", "venv", "--without-pip", tmp_path / "venv"], check=True)
    installed = tmp_path / "venv" / "bin"
    uv = Path(sys.executable).with_name("uv")
    install = [uv, "pip", "install", "--quiet", "--python", installed / "python", wheel]
    subprocess.run(install, check=True)
    done = subprocess.run(
        [installed / "golem-assemble", "build", "--quiet", "--store", tmp_path / "store",
         "-o", "x.gvmi", "--build-context", f"busybox:latest=oci:{base}",
         ROOT / "fixtures" / "busybox"],
        cwd=tmp_path, capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert (done.returncode, done.stdout, done.stderr) == (0, "x.gvmi\n", "")
    assert (tmp_path / "x.gvmi").stat().st_size > 100_000

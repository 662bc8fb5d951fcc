"""Building again: exactly the steps run that must, and the same bytes come of the same files."""

from __future__ import annotations

import os
import shutil
import subprocess
from pathlib import Path

import pytest
from support.ordinary import ordinary
from support.trees import snapshot_squashfs

TEXT = """\
FROM scratch AS one
COPY dir /d/
COPY a.txt /a
FROM scratch
WORKDIR /w
COPY --from=one /d/deep /deep/
COPY kept /kept/
COPY . /all/
"""
DIR, A, STAGE, KEPT, ALL = EVERY = [
    "COPY dir /d/", "COPY a.txt /a", "COPY --from=one /d/deep /deep/", "COPY kept /kept/",
    "COPY . /all/",
]  # fmt: skip


def steps(run, *options):
    """Build the project; return which steps were not done again."""
    done = run("build", "--progress", "plain", "--output", "type=image", *options, "project")
    lines = [line.split(" ", 1)[1] for line in done.stderr.splitlines()]
    cached = [
        place for place, _, end in (line.rpartition("] ") for line in lines) if end == "CACHED"
    ]
    shown = (line.split("] ") for line in lines if line.startswith("["))
    return [text for place, text in shown if place in cached and text != "CACHED"]


def touch(folder):
    for path in folder.rglob("*"):
        os.utime(path, (1, 1))


def write(name, text):
    return lambda folder: (folder / name).write_text(text)


def append(name, text):
    return lambda folder: (folder / name).write_text((folder / name).read_text() + text)


def chmod(name, mode):
    return lambda folder: (folder / name).chmod(mode)


def swap(old, new):
    def change(folder):
        text = (folder / "Dockerfile").read_text()
        (folder / "Dockerfile").write_text(text.replace(old, new))

    return change


CHANGES = {
    "nothing": (lambda folder: None, EVERY),
    "times alone": (touch, EVERY),
    # What is copied from the stage did not change.
    "a file of the first stage": (write("dir/b.txt", "changed"), [STAGE, KEPT]),
    "a file that goes through the stage": (write("dir/deep/c.txt", "changed"), []),
    "a file of the last step": (write("new", ""), [DIR, A, STAGE, KEPT]),
    "one byte": (write("kept/d.txt", "kept/d.txT"), [DIR, A, STAGE]),
    "a file's mode": (chmod("kept/d.txt", 0o600), [DIR, A, STAGE]),
    "a directory's mode": (chmod("kept", 0o700), [DIR, A, STAGE, KEPT]),
    "the ignore file: a file less": (append(".dockerignore", "kept/d.txt\n"), [DIR, A, STAGE]),
    "the ignore file: as before": (append(".dockerignore", "# a comment\nnobody\n"), EVERY),
    "an ignored file": (write("ignored", "x"), EVERY),
    "the working directory": (swap("WORKDIR /w", "WORKDIR /v"), [DIR, A]),
    "an owner": (swap("COPY a.txt", "COPY --chown=5 a.txt"), [DIR, STAGE, KEPT, ALL]),
    "a destination": (swap("/kept/", "/other/"), [DIR, A, STAGE]),
    "what changes no files": (swap("WORKDIR /w", "WORKDIR /w\nENV a=b\nCMD c"), EVERY),
}  # fmt: skip
IGNORE = "none\nDockerfile\n.dockerignore\nignored\n"


@pytest.mark.parametrize(("change", "cached"), CHANGES.values(), ids=CHANGES)
def test_exactly_the_steps_run_whose_inputs_changed(run, project, change, cached):
    folder = project(TEXT, IGNORE)
    assert steps(run) == []
    change(folder)
    assert steps(run) == cached


def test_nothing_is_remembered_on_request_and_after_pruning(run, project):
    project(TEXT, IGNORE)
    assert steps(run, "-t", "first") == []
    assert steps(run, "-t", "second") == EVERY
    first, second = (run("inspect", "--json", name).stdout for name in ("first", "second"))
    assert first.replace("first", "second") == second
    assert steps(run, "--no-cache") == []
    run("rmi", "first", "second")
    run("prune")
    assert steps(run) == []


def test_a_remembered_layer_that_is_damaged_is_made_anew(run, project, tmp_path):
    project("FROM scratch\nCOPY dir /d/\n")
    assert steps(run, "-t", "x") == []
    for blob in (tmp_path / "cache").rglob("sha256/*"):
        data = bytearray(blob.read_bytes())
        if len(data) > 2000:
            data[600] ^= 1
            blob.write_bytes(data)
    assert steps(run, "-t", "y") == []
    assert steps(run, "-t", "y") == ["COPY dir /d/"]
    run("ls", "y", "/d")


def copied(folder, target, order):
    """A copy of *folder*, its files made in another order."""
    for name in order(p for p in folder.rglob("*") if p.is_file()):
        made = target / name.relative_to(folder)
        made.parent.mkdir(parents=True, exist_ok=True)
        shutil.copy2(name, made)
    for inner, _, _ in os.walk(folder):
        shutil.copystat(inner, target / Path(inner).relative_to(folder))
    return target


CONTEXT = "FROM scratch\nCOPY . /x/\nADD --chown=7 kept /k/\nWORKDIR /w\n"


@pytest.fixture
def built(run, project, tmp_path):
    """The bytes that come of a context, built without what is remembered."""

    def built(context, *options, **how):
        out = tmp_path / "out.gvmi"
        run("build", "-q", "--no-cache", *options, "-o", out, context, **how)
        data = out.read_bytes()
        out.unlink()
        return data

    return built


def test_the_order_in_which_files_were_made_does_not_matter(project, built, tmp_path):
    folder = project(CONTEXT)
    for number in range(40):
        (folder / f"{number}").write_text("x")
    touch(folder)
    want = built(folder)
    assert built(copied(folder, tmp_path / "forward", sorted)) == want
    assert (
        built(copied(folder, tmp_path / "back", lambda names: sorted(names, reverse=True))) == want
    )


def test_the_umask_and_the_store_do_not_matter(project, built):
    folder = project(CONTEXT)
    want = built(folder, umask=0o022)
    assert built(folder, umask=0o077) == want
    assert built(folder, "--store", "elsewhere", umask=0) == want


def test_times_do_not_matter_with_an_epoch_and_do_without(project, built):
    folder = project(CONTEXT)
    plain, stamped = built(folder), built(folder, "--source-date-epoch", "9")
    for path in folder.rglob("*"):
        os.utime(path)
    assert built(folder, "--source-date-epoch", "9") == stamped
    assert built(folder) != plain


def test_what_was_touched_alone_is_not_copied_again(run, project, tmp_path):
    folder = project(CONTEXT)
    run("build", "-q", "-o", "a.gvmi", folder)
    touch(folder)
    run("build", "-q", "-o", "b.gvmi", folder)
    assert (tmp_path / "a.gvmi").read_bytes() == (tmp_path / "b.gvmi").read_bytes()


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can be another user")
def test_the_user_does_not_matter(run, project, built, tmp_path, command):
    folder = project(CONTEXT)
    for path in folder.rglob("*"):
        path.chmod(path.stat().st_mode | 0o055)
    want = built(folder)
    theirs = copied(folder, tmp_path / "theirs", sorted)
    for path in (theirs, *theirs.rglob("*")):
        os.chown(path, 1000, 1001)
    out = tmp_path / "user.gvmi"
    build = [command, "build", "-q", "--store", tmp_path / "s", "-o", out, theirs]
    subprocess.run([*ordinary(tmp_path), *build], check=True, cwd=tmp_path)
    assert out.read_bytes() == want
    assert snapshot_squashfs(out)[b"x/a.txt"].uid == 0

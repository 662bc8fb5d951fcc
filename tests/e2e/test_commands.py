"""Every command and option, through the installed program, on images of a few entries."""

from __future__ import annotations

import hashlib
import json
import os
import pty
import shutil
import subprocess
import sys
import tarfile
from pathlib import Path

import pytest
from support.images import docker_archive, oci_archive, oci_layout
from support.layers import char, directory, file, hardlink, layer, symlink, whiteout
from support.trees import snapshot_squashfs

from layers.store import ContentStore

COMMAND = Path(sys.executable).with_name("golem-assemble")
LAYERS = [
    layer(
        directory("d", mode=0o1777, uid=7, gid=8, mtime=1_000_000_000),
        file("d/f", b"x" * 3000, mode=0o4755, mtime=1_000_000_000),
        hardlink("d/g", "d/f"),
        file("gone", b""),
    ),
    layer(
        whiteout("gone"), symlink("zl", "d/f"), char("null", 1, 3), file("new\nline", b""),
        directory("etc"), file("etc/passwd", b"me:x:1000:1001::/:/bin/sh\n"),
    ),
]  # fmt: skip
CONFIG = {
    "Env": ["PATH=/bin"], "Volumes": {"/data": {}}, "WorkingDir": "/work", "User": "me",
    "Cmd": ["sh"],
}  # fmt: skip


@pytest.fixture(scope="module")
def layout(tmp_path_factory):
    folder = tmp_path_factory.mktemp("image") / "tiny"
    return oci_layout(folder, LAYERS, CONFIG, created="2020-01-01T00:00:00Z").path


def test_convert_names_its_output_after_the_image(run, layout, tmp_path):
    done = run("convert", f"oci:{layout}", "--quiet")
    name = done.stdout.strip()
    image_id = json.loads(run("inspect", "--json", name).stdout)["image_id"]
    assert name == f"tiny-latest-{image_id[:10]}.gvmi"
    assert done.stderr == ""
    assert [path.name for path in tmp_path.iterdir() if path.is_file()] == [name]


def test_all_transports_give_the_same_bytes(run, layout, tmp_path):
    oci_archive(tmp_path / "a.tar", layout)
    subprocess.run(["gzip", "-k", tmp_path / "a.tar"], check=True)
    hashes = set()
    sources = [f"oci:{layout}:latest", "oci-archive:a.tar", "oci-archive:a.tar.gz:latest"]
    for number, source in enumerate(sources):
        run("convert", "-q", "-o", f"{number}.gvmi", source)
        hashes.add(hashlib.sha256((tmp_path / f"{number}.gvmi").read_bytes()).hexdigest())
    assert len(hashes) == 1


@pytest.mark.parametrize("shape", ["old", "new"])
def test_what_docker_save_wrote_is_read(run, tmp_path, shape):
    docker_archive(tmp_path / "saved.tar", LAYERS, CONFIG, repo_tag="me/tiny:1", shape=shape)
    run("convert", "-q", "-o", "x.gvmi", "docker-archive:saved.tar:me/tiny:1")
    assert snapshot_squashfs(tmp_path / "x.gvmi")[b"d/f"].size == 3000


def test_the_report_tells_everything(run, layout, tmp_path):
    run("convert", "-o", "x.gvmi", "--report", "r.json", f"oci:{layout}")
    report = json.loads((tmp_path / "r.json").read_text())
    assert report["path"] == str(tmp_path / "x.gvmi")
    data = (tmp_path / "x.gvmi").read_bytes()
    assert report["hash"] == hashlib.sha3_224(data).hexdigest()
    assert report["size"] == len(data)
    assert report["volumes"] == ["/data"]
    assert report["workdir"] == "/work"
    assert report["env"] == ["PATH=/bin"]
    assert len(report["layers"]) == 2
    assert set(report["seconds"]) == {"layers", "squashfs", "hash"}
    assert any("CMD is ignored" in warning for warning in report["warnings"])
    assert report["resources"]["self_peak_rss_bytes"] > 1_000_000


def test_the_user_is_kept_on_request_as_numbers(run, layout):
    run("convert", "-q", "-o", "x.gvmi", f"oci:{layout}")
    assert "User" not in json.loads(run("inspect", "--json", "x.gvmi").stdout)["config"]
    run("convert", "-q", "-o", "x.gvmi", "--keep-user", f"oci:{layout}")
    assert json.loads(run("inspect", "--json", "x.gvmi").stdout)["config"]["User"] == "1000:1001"


def test_ls_shows_the_same_tree_of_an_image_and_of_its_file(run, layout):
    run("convert", "-q", "-o", "x.gvmi", f"oci:{layout}")
    for options in (["-l", "-R"], ["-R"], ["-l"]):
        of_image = run("ls", *options, f"oci:{layout}").stdout.splitlines()
        of_file = run("ls", *options, "x.gvmi").stdout.splitlines()
        assert set(of_image) <= set(of_file)
    listed = run("ls", "-l", "-R", "x.gvmi").stdout.splitlines()
    assert "drwxrwxrwt         7:8            0 2001-09-09 01:46 d" in listed
    assert "-rwsr-xr-x         0:0         3000 2001-09-09 01:46 d/f" in listed
    assert any(line.endswith("zl -> d/f") for line in listed)
    assert any(line.split()[2] == "1,3" for line in listed)
    assert any(line.endswith(r"new\nline") for line in listed)


def test_ls_begins_where_it_is_told(run, layout):
    assert run("ls", f"oci:{layout}", "/d").stdout.split() == ["f", "g"]
    assert run("ls", f"oci:{layout}", "zl").stdout.split() == ["zl"]
    done = run("ls", f"oci:{layout}", "/none", status=15)
    assert "/none: there is no such path in the image" in done.stderr
    done = run("ls", f"oci:{layout}", "/d/f/x", status=15)
    assert "is not a directory" in done.stderr


def test_inspect_is_for_people_too(run, layout):
    shown = run("inspect", f"oci:{layout}").stdout
    for line in ("platform  linux/amd64", "volumes   /data", "workdir   /work", "user      me"):
        assert line in shown
    run("convert", "-q", "-o", "x.gvmi", f"oci:{layout}")
    shown = run("inspect", "x.gvmi").stdout
    assert f"hash      {run('hash', 'x.gvmi').stdout.strip()}" in shown
    assert "squashfs  gzip" in shown


def test_tail_ends_are_not_packed_as_mksquashfs_loses_blocks_then(run, layout, tmp_path):
    run("convert", "-q", "-o", "x.gvmi", f"oci:{layout}")
    command = ["unsquashfs", "-s", tmp_path / "x.gvmi"]
    shown = subprocess.run(command, capture_output=True, text=True, check=True).stdout
    assert "Always-use-fragments option is not specified" in shown


def test_verify_tells_what_holds(run, layout):
    run("convert", "-q", "-o", "x.gvmi", f"oci:{layout}")
    assert run("verify", "x.gvmi").stdout.count("ok ") == 8


def test_plain_progress_is_dated_lines(run, layout):
    done = run("convert", "-o", "x.gvmi", "--progress", "plain", f"oci:{layout}")
    lines = done.stderr.splitlines()
    assert all(line[:2] == "20" and line[19] == "Z" for line in lines)
    assert sum("unpacked" in line for line in lines) == 2
    assert any("squashfs done in" in line for line in lines)
    assert any("advice: CMD is ignored" in line for line in lines)
    assert "image     x.gvmi" in done.stdout


def test_json_progress_is_one_object_a_line(run, layout):
    done = run("convert", "-o", "x.gvmi", "--progress", "json", f"oci:{layout}")
    events = [json.loads(line) for line in done.stderr.splitlines()]
    assert {event["event"] for event in events} >= {"step", "progress", "layer", "advice"}
    ended = [e["name"] for e in events if e["event"] == "step" and e["state"] == "ended"]
    assert ended == ["layers", "squashfs", "hash"]
    final = [event for event in events if event["event"] == "progress"][-1]
    assert final["squashfs"]["done"] == final["squashfs"]["total"] > 0
    assert all(state["done"] for state in final["layers"].values())


def test_no_progress_is_silence(run, layout):
    done = run("convert", "-o", "x.gvmi", "--progress", "none", f"oci:{layout}")
    assert done.stderr == ""


def test_a_terminal_gets_a_line_for_all_layers_and_one_for_squashfs(
    run, layout, tmp_path, monkeypatch
):
    monkeypatch.setenv("TERM", "xterm")
    primary, secondary = pty.openpty()
    try:
        run("convert", "-o", "x.gvmi", f"oci:{layout}", stderr=secondary,
            capture_output=False, stdout=subprocess.DEVNULL)  # fmt: skip
        shown = os.read(primary, 1 << 20).decode()
    finally:
        os.close(primary)
        os.close(secondary)
    assert "2 layers" in shown
    assert "squashfs" in shown
    assert "100%" in shown
    assert "advice:" in shown


def test_presets_and_compressions_are_applied(run, layout):
    for options, expected in (
        (["--preset", "small"], "xz"),
        (["--compression", "lz4"], "lz4"),
        (["--preset", "fast"], "gzip"),
        (["--block-size", "4096", "--processors", "1"], "gzip"),
    ):
        run("convert", "-q", "-o", "x.gvmi", *options, f"oci:{layout}")
        squashfs = json.loads(run("inspect", "--json", "x.gvmi").stdout)["squashfs"]
        assert squashfs["compression"] == expected
        assert squashfs["block_size"] == (4096 if "4096" in options else 131072)


@pytest.mark.parametrize(
    ("options", "problem"),
    [
        (["--compression", "bzip2"], "bzip2"),
        (["--compression", "xz", "--level", "3"], "has no levels"),
        (["--level", "10"], "levels 1 to 9"),
        (["--preset", "tiny"], "fast, balanced, small"),
        (["--preset", "fast", "--compression", "xz"], "either"),
        (["--block-size", "1000"], "power of two"),
        (["--processors", "0"], "at least 1"),
        (["--progress", "loud"], "auto, rich, plain, json, none"),
        (["--platform", "a/b/c/d"], "OS/ARCH"),
        (["--limit", "entries"], "NAME=N"),
        (["--limit", "nothing=1"], "there are entries"),
        (["--limit", "entries=0"], "at least 1"),
        (["--nonsense"], "No such option"),
    ],
)
def test_options_that_make_no_sense_are_refused(run, layout, tmp_path, options, problem):
    done = run("convert", *options, f"oci:{layout}", status=2)
    assert problem in " ".join(done.stderr.replace("│", " ").split())
    assert not list(tmp_path.glob("*.gvmi"))


def test_an_epoch_that_makes_no_sense_is_refused(run, layout):
    done = run("convert", "--source-date-epoch", "now", f"oci:{layout}", status=15)
    assert "whole seconds since 1970" in done.stderr


def test_the_platform_that_is_asked_for_must_be_there(run, layout):
    done = run("convert", "--platform", "linux/arm64", f"oci:{layout}", status=6)
    assert "there is linux/amd64" in done.stderr


def test_help_and_version(run):
    assert "convert" in run("--help").stdout
    for command in ("build", "convert", "inspect", "ls", "verify", "hash"):
        assert "Examples:" in run(command, "--help").stdout
    assert run("--version").stdout.startswith("golem-assemble 0.")
    assert "Usage" in run(status=2).stdout + run(status=2).stderr


def test_debug_shows_where(run, tmp_path):
    done = run("convert", "--debug", "oci:none", status=5)
    assert "Traceback" in done.stderr
    assert "Traceback" not in run("convert", "oci:none", status=5).stderr


def test_who_reads_our_output_may_leave(layout, tmp_path):
    command = f"{COMMAND} ls -R oci:{layout} --store {tmp_path / 's'} | head -c 1"
    done = subprocess.run(["sh", "-c", command], capture_output=True, text=True, check=True)
    assert done.stderr == ""


def test_build_from_scratch_with_every_instruction(run, tmp_path):
    (tmp_path / "Dockerfile").write_text(
        "ARG V=1\n"
        "FROM scratch AS base\n"
        "ARG V\n"
        "ENV A=$V B='x y'\n"
        "LABEL a=b\n"
        "WORKDIR /w\n"
        "FROM base\n"
        "USER 5:6\n"
        "WORKDIR sub\n"
        "VOLUME data\n"
        "EXPOSE 80-81\n"
        'ENTRYPOINT ["/x"]\n'
        "CMD echo hi\n"
    )
    done = run("build", "-t", "me/x:2", "--build-arg", "V=3", ".")
    assert "Successfully tagged me/x:2" in done.stdout
    (name,) = [path.name for path in tmp_path.glob("*.gvmi")]
    assert name.startswith("me-x-2-")
    shown = json.loads(run("inspect", "--json", name).stdout)
    config = shown["config"]
    assert config["Env"][1:] == ["A=3", "B=x y"]
    assert config["Volumes"] == {"/w/sub/data": {}}
    assert config["WorkingDir"] == "/w/sub"
    assert config["Cmd"] == ["/bin/sh", "-c", "echo hi"]
    assert config["ExposedPorts"] == {"80/tcp": {}, "81/tcp": {}}
    tree = snapshot_squashfs(tmp_path / name)
    assert (tree[b"w"].uid, tree[b"w/sub"].uid, tree[b"w/sub"].gid) == (0, 5, 6)
    assert "relative" in done.stderr
    again = json.loads(run("inspect", "--json", "me/x:2").stdout)
    assert again["image_id"] == shown["image_id"]


def test_a_dockerfile_may_come_from_elsewhere(run, tmp_path):
    (tmp_path / "other").write_text("FROM scratch\nVOLUME /v\n")
    run("build", "-q", "-f", "other", "-o", "a.gvmi", ".")
    run("build", "-q", "-f", "-", "-o", "b.gvmi", ".", input="FROM scratch\nVOLUME /v\n")
    assert (tmp_path / "a.gvmi").read_bytes() == (tmp_path / "b.gvmi").read_bytes()


def test_what_is_not_supported_is_refused_before_anything_is_fetched(run, tmp_path):
    (tmp_path / "Dockerfile").write_text("FROM 127.0.0.1:1/none\n\nRUN --device=x true\n")
    done = run("build", ".", status=3)
    assert done.stderr.startswith("golem-assemble: Dockerfile:3: RUN: --device=x is not supported")


def test_scratch_is_a_source_without_files(run, tmp_path):
    (tmp_path / "Dockerfile").write_text("FROM scratch\nCOPY --from=scratch . /x/\nVOLUME /v\n")
    run("build", "-q", "-o", "x.gvmi", ".")
    assert run("ls", "x.gvmi", "/x").stdout == ""


def test_a_trigger_that_needs_a_stage_that_nobody_builds_is_told(run, tmp_path):
    oci_layout(tmp_path / "base", [], {"OnBuild": ["COPY --from=one . /y/"]})
    (tmp_path / "Dockerfile").write_text("FROM scratch AS one\nFROM x\n")
    done = run("build", "--build-context", "x=oci:base", ".", status=3)
    assert "ONBUILD of x:1: COPY: from=one: nothing but a trigger" in done.stderr


def test_offline_nothing_is_asked_for(run, tmp_path):
    (tmp_path / "Dockerfile").write_text("FROM 127.0.0.1:1/none\nADD http://127.0.0.1:1/x /\n")
    done = run("build", "--offline", ".", status=3)
    assert done.stderr.startswith("golem-assemble: Dockerfile:2: ADD: http://127.0.0.1:1/x: --offl")
    (tmp_path / "Dockerfile").write_text("FROM 127.0.0.1:1/none\n")
    done = run("build", "--offline", ".", status=7)
    assert "127.0.0.1:1/none:latest: it is not in the store, and --offline contacts" in done.stderr
    (tmp_path / "Dockerfile").write_text("FROM scratch\nVOLUME /v\n")
    run("build", "--offline", "-q", "-o", "x.gvmi", ".")


def test_a_secret_that_is_required_is_missed_before_anything_is_fetched(run, tmp_path):
    text = "FROM 127.0.0.1:1/none\nRUN --mount=type=secret,id=key,required cat /run/secrets/key\n"
    (tmp_path / "Dockerfile").write_text(text)
    done = run("build", ".", status=3)
    assert "Dockerfile:2: RUN: --mount: the secret key is required and was not" in done.stderr


@pytest.mark.parametrize(
    ("options", "problem"),
    [
        (["--run-timeout", "soon"], "write it as seconds, or none"),
        (["--run-timeout", "-1"], "write it as seconds, or none"),
        (["--run-output-limit", "much"], "is no size"),
    ],
)
def test_options_for_run_that_make_no_sense_are_refused(run, options, problem):
    assert problem in run("build", *options, ".", status=2).stderr


@pytest.mark.parametrize(
    ("arguments", "status", "problem"),
    [
        (["build", "none"], 15, "it is no folder"),
        (["build", "."], 15, "there is no such Dockerfile"),
        (["build", "-t", "Bad", "."], 4, "lower case"),
        (["build", "-f", "none", "."], 15, "check -f"),
        (["build", "-f", ".", "."], 15, "cannot be read"),
        (["inspect", "none.gvmi"], 19, "no such file"),
        (["convert", "Not A Name"], 4, "must be lower case"),
        (["convert", "oci:none"], 5, "no such folder"),
        (["convert", "oci-archive:none"], 5, "no such file"),
    ],
)
def test_what_is_not_there_is_named(run, arguments, status, problem):
    done = run(*arguments, status=status)
    assert problem in done.stderr
    assert done.stderr.count("\n") == 1


def test_triggers_of_a_base_are_done_and_unused_arguments_are_told(run, tmp_path):
    config = {"OnBuild": ["ENV FROM_TRIGGER=1", "WORKDIR /triggered"]}
    oci_layout(tmp_path / "base", [], config)
    (tmp_path / "Dockerfile").write_text("FROM x\nVOLUME /v\n")
    options = ["--build-context", "x=oci:base", "--build-arg", "TYPO=1"]
    done = run("build", "-o", "x.gvmi", *options, ".")
    assert "--build-arg TYPO: no ARG of that name is declared" in done.stderr
    config = json.loads(run("inspect", "--json", "x.gvmi").stdout)["config"]
    assert config["Env"] == ["FROM_TRIGGER=1"]
    assert config["WorkingDir"] == "/triggered"
    oci_layout(tmp_path / "other", [], {"OnBuild": ["RUN --security=insecure x"]})
    done = run("build", "--build-context", "x=oci:other", ".", status=3)
    assert "ONBUILD of x:1: RUN: --security=insecure is not supported" in done.stderr


def test_files_are_copied_between_stages_and_the_image_can_be_used_again(run, project):
    project(
        "FROM scratch AS one\nCOPY . /all/\nFROM scratch\nCOPY --from=one /all/dir /d/\n"
        "COPY --chown=5:6 --chmod=600 a.txt /a\nVOLUME /v\n",
        "**/deep\nDockerfile\n.dockerignore\n",
    )
    run("build", "-q", "-t", "me/x:1", "-t", "y", "-o", "x.gvmi", "project")
    shown = run("ls", "-lR", "x.gvmi").stdout
    assert "-rw-------         5:6            5 2017-07-14 02:40 a\n" in shown
    assert " d/b.txt\n" in shown
    assert "deep" not in shown
    run("build", "-q", "--target", "one", "-o", "one.gvmi", "project")
    assert "Dockerfile" not in run("ls", "-R", "one.gvmi").stdout
    project("FROM me/x:1\nCOPY --from=y /a /b\n")
    run("build", "-q", "-o", "z.gvmi", "project")
    assert {"a", "b"} <= set(run("ls", "z.gvmi").stdout.split())


def test_contexts_may_be_tars_archives_and_dockerfiles_alone(run, project, tmp_path):
    folder = project("FROM scratch\nCOPY a.txt dir/b.txt /x/\n")
    tar = subprocess.run(["tar", "-C", folder, "-cz", "."], capture_output=True, check=True).stdout
    done = run("build", "-q", "-o", "a.gvmi", "-", input=tar, text=False)
    assert done.stdout == b"a.gvmi\n"
    shutil.make_archive(str(tmp_path / "archived"), "zip", folder)
    run("build", "-q", "-o", "b.gvmi", f"zip://{tmp_path / 'archived.zip'}")
    for name in ("a.gvmi", "b.gvmi"):
        shown = run("ls", "-lR", name).stdout
        assert "x/a.txt" in shown
        assert "x/b.txt" in shown
    run("build", "-q", "-o", "c.gvmi", "-", input="FROM scratch\nVOLUME /v\n")
    done = run("build", "-", input="FROM scratch\nCOPY a.txt /\n", status=3)
    assert "there is nothing of that name in the build context" in done.stderr


def test_a_build_may_be_a_tar_a_squashfs_or_stay_in_the_store(run, project, tmp_path):
    project("FROM scratch\nCOPY --chown=5:6 dir /d/\nVOLUME /v\n")
    run("build", "-q", "--output", "type=tar,dest=x.tar", "project")
    with tarfile.open(tmp_path / "x.tar") as archive:
        members = {member.name: member for member in archive}
    assert sorted(members) == ["d", "d/b.txt", "d/deep", "d/deep/c.txt"]
    assert members["d/b.txt"].uid == 5
    run("build", "-q", "-o", "x.gvmi", "project")
    run("build", "-q", "--output", "type=squashfs,dest=x.squashfs", "project")
    squashfs = (tmp_path / "x.squashfs").read_bytes()
    assert (tmp_path / "x.gvmi").read_bytes().startswith(squashfs)
    assert len(squashfs) < (tmp_path / "x.gvmi").stat().st_size
    done = run("build", "-q", "-t", "kept", "--output", "type=image", "project")
    assert done.stdout.startswith("sha256:")
    assert "d/b.txt" in run("ls", "-R", "kept").stdout
    report = tmp_path / "r.json"
    run("build", "--output", "type=image", "--report", report, "project")
    assert json.loads(report.read_text())["path"] is None


@pytest.mark.parametrize(
    ("output", "problem"),
    [
        ("type=zip", "--output type=zip: choose one of gvmi, squashfs"),
        ("type=oci,dst=x", "write it as type=TYPE,dest=FILE"),
        ("type=oci,dest=", "write it as type=TYPE,dest=FILE"),
        ("type=image,dest=x", "leave dest out"),
        ("x.gvmi --secret id=key", "--secret id=key: key cannot be read (No such file"),
        ("type=oci,type=tar", "write it as type=TYPE,dest=FILE"),
    ],
)
def test_outputs_that_make_no_sense_are_refused(run, project, output, problem):
    project("FROM scratch\n")
    assert problem in run("build", "--output", *output.split(), "project", status=15).stderr


def test_images_are_listed_named_forgotten_and_given_back(run, project, tmp_path):
    project("FROM scratch\nCOPY dir /d/\nLABEL kind=a\nENV a=b\n")
    run("build", "-q", "-t", "me/one:1", "-t", "two", "--output", "type=image", "project")
    project("FROM two\nCOPY a.txt /\n")
    run("build", "-q", "-t", "three", "--output", "type=image", "project")
    lines = run("images").stdout.splitlines()
    assert lines[0].split() == ["REPOSITORY", "TAG", "IMAGE", "ID", "CREATED", "SIZE"]
    assert [line.split()[:2] for line in lines[1:]] == [
        ["me/one", "1"], ["three", "latest"], ["two", "latest"],
    ]  # fmt: skip
    assert len(run("images", "-q").stdout.split()) == 2
    shown = json.loads(run("images", "--format", "json", "--filter", "reference=me/*").stdout)
    assert [item["repository"] for item in shown] == ["me/one"]
    assert shown[0]["digest"] in run("images", "--digests").stdout
    assert run("images", "-q", "--filter", "label=kind=a").stdout.count("\n") == 2
    assert run("images", "-q", "--filter", "label=kind=b").stdout == ""
    identity = shown[0]["id"].removeprefix("sha256:")[:8]
    run("tag", identity, "four:x")
    assert run("inspect", "--json", "four:x").stdout.count(identity)
    rows = run("history", "three").stdout.splitlines()
    assert rows[0].split()[0] == "CREATED"
    assert [row[22:].split()[0] for row in rows[1:]] == ["COPY", "ENV", "LABEL", "COPY"]
    assert json.loads(run("history", "--json", "three").stdout)[1]["size"] == 0
    assert "reclaimed: 0 B" in run("prune").stdout
    assert run("rmi", identity).stdout.count("Untagged: ") == 3
    assert run("images", "-q").stdout.count("\n") == 1
    run("ls", "three", "/d")
    run("rmi", "three")
    told = run("prune", "--dry-run").stdout
    assert told.count("would remove") == len(list((tmp_path / "cache").rglob("sha256/*"))) > 4
    assert "removed" not in run("prune", "--keep-storage", "1GB").stdout
    assert "Loose blobs" in run("df").stdout
    run("prune")
    assert not list((tmp_path / "cache").rglob("sha256/*"))
    assert run("df").stdout.splitlines()[2].split()[2] == "0"


def test_an_id_that_images_prints_is_accepted_by_every_command(run, project):
    context = project("FROM scratch\nCOPY dir /d/\nENV a=b\n")
    run("build", "-q", "-t", "one", "--output", "type=image", "project")
    short = run("images", "-q").stdout.strip()
    (shown,) = json.loads(run("images", "--format", "json").stdout)
    whole = shown["id"]
    for name in (short, whole, whole.removeprefix("sha256:"), f"sha256:{short}"):
        assert json.loads(run("inspect", "--json", name).stdout)["image_id"] in whole
    assert run("ls", short, "/d").stdout == "b.txt\ndeep\n"
    assert "COPY dir /d/" in run("history", whole).stdout
    run("convert", "-q", "-o", "x.gvmi", short)
    (context / "Dockerfile").write_text(
        f"FROM {short} AS base\nFROM {whole}\nCOPY --from={short} /d/b.txt /copied\n"
        "COPY --from=named /d/b.txt /other\n"
    )
    source = f"named=docker-image://{short}"
    run("build", "-q", "-t", "two", "--build-context", source, "-o", "y.gvmi", "project")
    assert {"copied", "d", "other"} <= set(run("ls", "y.gvmi").stdout.split())
    run("tag", whole, "again")
    assert run("rmi", short).stdout.count("Untagged") == 2
    done = run("inspect", whole, status=5)
    assert "the store has no image of that id" in done.stderr


@pytest.mark.parametrize("command", ["inspect", "history", "convert", "ls", "pull"])
def test_what_is_here_is_not_looked_for_in_docker_hub(run, tmp_path, command):
    oci_layout(tmp_path / "t1" / "a", [])
    docker_archive(tmp_path / "file.tar", [])
    (tmp_path / "x.gvmi").touch()
    told = {
        "file.tar": "file.tar is a file: name it docker-archive:file.tar if docker save",
        "t1/a": "t1/a is a folder with an OCI image layout: name it oci:t1/a",
        "./t1/a": "name it oci:./t1/a",
        "dir:x": "the transport dir is not read; skopeo copy dir:x oci:DIR",
        "docker-daemon:x": "docker save -o FILE",
        "x.gvmi": "x.gvmi is a .gvmi, not an image",
    }
    if command in {"inspect", "ls"}:
        del told["x.gvmi"]
    for name, advice in told.items():
        done = run(command, name, status=4)
        assert advice in done.stderr
        assert done.stderr.count("\n") == 1
    assert list(tmp_path.glob("*.gvmi")) == [tmp_path / "x.gvmi"]


@pytest.mark.parametrize(
    ("base", "context", "problem"),
    [
        ("dir:x", None, "Dockerfile:1: FROM: 'dir:x': the transport dir is not read"),
        ("./base", None, "Dockerfile:1: FROM: './base' looks like a path"),
        ("base.tar", None, "Dockerfile:1: FROM: 'base.tar' looks like a path"),
        ("debian", "debian=project", "=project is a folder, which COPY --from reads; if it is an"),
    ],
)
def test_a_dockerfile_is_told_too(run, project, base, context, problem):
    project(f"FROM {base}\n")
    options = ["--build-context", context] if context else []
    assert problem in run("build", *options, "project", status=3).stderr
    error = run("build", "--build-context", "debian=a.tar", "project", status=15).stderr
    assert "--build-context debian=a.tar: 'a.tar' looks like a path" in error


@pytest.mark.parametrize(
    ("arguments", "status", "problem"),
    [
        (["pull", "oci:x"], 15, "oci:x: pull fetches from registries; what is here is read as it"),
        (["rmi", "sha256:012"], 5, "sha256:012: the store has no such image"),
        (["rmi", "none"], 5, "none: the store has no such image"),
        (["tag", "none", "x"], 5, "the store has no such image"),
        (["images", "--filter", "x=y"], 15, "--filter x=y: write it as"),
        (["images", "--format", "xml"], 2, "choose table or json"),
        (["prune", "--keep-storage", "much"], 2, "write it as 500MB"),
    ],
)
def test_what_the_store_has_not_is_told(run, arguments, status, problem):
    assert problem in run(*arguments, status=status).stderr


def test_nothing_is_collected_while_somebody_uses_the_store(run, tmp_path):
    store = ContentStore(tmp_path / "cache" / "golem-assemble")
    with store.in_use():
        done = run("prune", status=14)
    assert "another golem-assemble is using the store" in done.stderr
    run("prune")


def prune_on_a_terminal(folder, answer, *options):
    primary, secondary = pty.openpty()
    try:
        os.write(primary, answer)
        return subprocess.run(
            [COMMAND, "prune", *options], stdin=secondary, capture_output=True, text=True,
            cwd=folder, env=os.environ | {"XDG_CACHE_HOME": str(folder / "cache")}, check=True,
        )  # fmt: skip
    finally:
        os.close(primary)
        os.close(secondary)


def test_on_a_terminal_prune_shows_what_goes_and_asks(run, project, tmp_path):
    project("FROM scratch\nCOPY dir /d/\n")
    run("build", "-q", "--output", "type=image", "project")
    blobs = [path.name for path in (tmp_path / "cache").rglob("sha256/*")]
    for answer in (b"\n", b"n\n", b"\x04"):
        done = prune_on_a_terminal(tmp_path, answer)
        assert done.stdout == "nothing was removed\n"
        assert all(f"sha256:{name}" in done.stderr for name in blobs)
        assert f"Remove these {len(blobs)}, " in done.stderr
    assert prune_on_a_terminal(tmp_path, b"", "--dry-run").stderr == ""
    assert len(list((tmp_path / "cache").rglob("sha256/*"))) == len(blobs)
    assert prune_on_a_terminal(tmp_path, b"y\n").stdout.count("removed sha256:") == len(blobs)
    # With nothing to be removed there is nothing to be asked.
    assert prune_on_a_terminal(tmp_path, b"").stdout == "reclaimed: 0 B\n"
    for option in ("-y", "--force"):
        run("build", "-q", "--no-cache", "--output", "type=image", "project")
        done = prune_on_a_terminal(tmp_path, b"", option)
        assert done.stderr == ""
        assert "removed sha256:" in done.stdout


def test_check_tells_steps_and_findings_without_building(run, project):
    project("FROM 127.0.0.1:1/none AS one\nCOPY a.txt /x\nFROM one\nUSER me\nVOLUME /v\n")
    done = run("check", "project")
    assert done.stdout.splitlines() == [
        "FROM 127.0.0.1:1/none",
        "  Dockerfile:2 COPY",
        "FROM one",
        "  Dockerfile:4 USER",
        "  Dockerfile:5 VOLUME",
        "Dockerfile:4: warning: providers ignore USER and run everything as root "
        "(--keep-user keeps it) (UserIgnored)",
    ]
    found = json.loads(run("check", "--json", "--target", "one", "project").stdout)
    assert found["stages"] == [{"from": "127.0.0.1:1/none", "steps": ["Dockerfile:2 COPY"]}]
    for text, problem in {
        "FROM x\nRUN --device=y z\n": "Dockerfile:2: error: RUN: --device=y is not supported",
        "FROM x\nCOPPY y\n": "Dockerfile:2: error: ",
        "FROM x\nVOLUME /v\n": "Dockerfile:1: error: --target none: there is no such stage",
    }.items():
        project(text)
        target = ["--target", "none"] if "VOLUME" in text else []
        assert problem in run("check", *target, "project", status=1).stdout
    run("check", "none", status=15)


@pytest.mark.parametrize("closed", ["<&-", ">&-", "2>&-", "<&- >&- 2>&-"])
def test_standard_streams_may_be_closed(command, project, tmp_path, closed):
    project("FROM scratch\nCOPY a.txt /\nVOLUME /v\n")

    def status(*arguments):
        line = ["sh", "-c", f'"$0" "$@" {closed}', command, *arguments]
        return subprocess.run(line, cwd=tmp_path, stderr=subprocess.DEVNULL, check=False).returncode

    assert status("build", "--store", "s", "-o", "x.gvmi", "project") == 0
    assert status("verify", "x.gvmi") == 0
    assert status("convert", "--store", "s", "oci:none") == 5
    if "<" in closed:
        assert status("build", "--store", "s", "-") == 3

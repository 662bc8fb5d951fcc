"""`--progress json`: every line on stderr is an event, and the last tells how it ended."""

from __future__ import annotations

import json
import os
import signal
import subprocess

import pytest
from support.images import oci_layout
from support.layers import file, layer
from support.registry import Registry
from support.runs import small_base, unwatched

JSON = ("--progress", "json")


@pytest.fixture(scope="module")
def layout(tmp_path_factory):
    return oci_layout(
        tmp_path_factory.mktemp("image") / "tiny", [layer(file("f", b"x" * 3000))], {}
    ).path


def events(done):
    """What was told: objects alone, each with its time."""
    found = [json.loads(line) for line in done.stderr.splitlines()]
    assert all(isinstance(event, dict) and event["time"] > 1e9 for event in found)
    return found


def test_the_last_event_is_the_result(run, layout, tmp_path):
    done = run("convert", *JSON, "--report", "report.json", "-o", "x.gvmi", f"oci:{layout}")
    *before, last = events(done)
    assert all(event["event"] not in {"result", "error"} for event in before)
    assert last.pop("event") == "result"
    del last["time"]
    assert last == json.loads((tmp_path / "report.json").read_text())
    assert last["path"] == str(tmp_path / "x.gvmi")
    assert last["size"] == (tmp_path / "x.gvmi").stat().st_size
    assert last["hash"] == run("hash", "x.gvmi").stdout.split()[0]
    assert last["image_id"].startswith("sha256:")
    assert last["total_seconds"] >= last["seconds"]["squashfs"] > 0
    assert last["warnings"] == [event["text"] for event in before if event["event"] == "advice"]


def test_a_builds_result_has_its_tags(run, layout, project):
    project("FROM base\n")
    last = events(
        run("build", *JSON, "-t", "one", "-t", "two:2", "--output", "type=image",
            "--build-context", f"base=oci:{layout}", "project")
    )[-1]  # fmt: skip
    assert (last["event"], last["path"]) == ("result", None)
    assert last["tags"] == ["one:latest", "two:2"]


def test_a_pulls_result_is_what_is_in_the_store(run, layout):
    with Registry() as registry:
        registry.push_layout(layout, "tiny:1")
        done = run("pull", *JSON, f"{registry.address}/tiny:1")
        *_, last = events(done)
        assert (last["event"], last["tags"]) == ("result", [f"{registry.address}/tiny:1"])
    assert done.stdout == f"{last['image_id']}\n"


def test_a_command_of_run_that_fails_is_an_event(run, tmp_path, project):
    layout = oci_layout(tmp_path / "base", [small_base()], {}).path
    project("FROM base\nRUN echo said; echo on two lines; exit 7\n")
    *before, last = events(
        run("build", *JSON, "--build-context", f"base=oci:{layout}", "project", status=20)
    )
    assert [event["line"] for event in before if event["event"] == "output"] == [
        "said", "on two lines",
    ]  # fmt: skip
    assert (last["event"], last["kind"], last["status"]) == ("error", "RunError", 20)
    assert "said\n  on two lines" in last["message"]


@pytest.mark.parametrize(
    ("arguments", "status", "kind", "message"),
    [
        (["convert", "oci:nowhere"], 5, "ImageNotFound", "nowhere"),
        (["convert", "-q", "oci:nowhere"], 5, "ImageNotFound", "nowhere"),
        (["build", "nowhere"], 15, "BuildError", "nowhere"),
        (["convert", "--level", "99", "oci:nowhere"], 2, "UsageError", "99"),
        (["convert", "--nonsense", "oci:nowhere"], 2, "UsageError", "--nonsense"),
        (["convert"], 2, "UsageError", "IMAGE"),
    ],
)
def test_an_error_is_the_only_thing_told(run, arguments, status, kind, message):
    command, *rest = arguments
    done = run(command, *JSON, *rest, status=status)
    last = events(done)[-1]
    assert (last["event"], last["status"], last["kind"]) == ("error", status, kind)
    assert message in last["message"]
    assert "traceback" not in last


def test_the_option_may_be_one_word_and_the_last_one_counts(run):
    assert events(run("convert", "--progress=json", "oci:nowhere", status=5))
    done = run("convert", *JSON, "--progress", "plain", "oci:nowhere", status=5)
    assert "golem-assemble: " in done.stderr


def test_a_name_after_two_dashes_is_no_option(run):
    done = run("convert", "--", "--progress=json", status=None)
    assert done.stderr
    assert not done.stderr.startswith("{")


def test_a_traceback_is_part_of_the_event(run):
    (*_, last) = events(run("convert", *JSON, "--debug", "oci:nowhere", status=5))
    assert last["traceback"].startswith("Traceback")
    assert "ImageNotFound" in last["traceback"]


def test_a_signal_is_an_event(command, layout, tmp_path, project):
    base = oci_layout(tmp_path / "base", [small_base()], {}).path
    project("FROM base\nRUN echo begun; sleep 600\n")
    environment = unwatched() | {"XDG_CACHE_HOME": str(tmp_path / "cache")}
    with subprocess.Popen(
        [command, "build", *JSON, "--build-context", f"base=oci:{base}", "project"],
        cwd=tmp_path, env=environment, stderr=subprocess.PIPE, text=True,
    ) as process:  # fmt: skip
        lines = iter(process.stderr)
        next(line for line in lines if '"begun"' in line)
        os.kill(process.pid, signal.SIGTERM)
        last = json.loads([*lines][-1])
    assert process.returncode == 128 + signal.SIGTERM
    assert (last["event"], last["kind"], last["status"]) == ("error", "Interrupted", 143)
    assert "SIGTERM" in last["message"]


def test_an_option_without_its_value_is_told_in_words(run):
    assert "--progress" in run("convert", "--progress", status=2).stderr


def test_events_are_alone_on_stderr_though_the_image_goes_to_stdout(run, project):
    folder = project("FROM scratch\nCOPY a.txt /\nVOLUME /v\n")
    done = run("build", "--progress", "json", "-o", "-", folder, text=False)
    events = [json.loads(line) for line in done.stderr.splitlines()]
    assert (events[-1]["event"], events[-1]["path"]) == ("result", "-")
    assert len(done.stdout) == events[-1]["size"]

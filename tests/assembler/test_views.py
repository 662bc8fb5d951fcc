from __future__ import annotations

import io
import json
import re
import time

import pytest

from assembler.liveview import RichView, Row, layer_rows
from assembler.progress import LayerState, NoView, Progress
from assembler.views import JsonView, PlainView, make_view, size
from layers.descriptor import Descriptor
from layers.digest import Digest

LAYER = Descriptor("m", Digest.of(b"x"), 1000)


def drive(view, seconds=0.11):
    """A build of one layer, as the real one tells it."""
    progress = Progress(view)
    with progress.step("layers"):
        progress.layers_known([LAYER])
        progress.pulled(Digest.of(b"of something else"), 5)
        progress.pulled(LAYER.digest, 1000)
        progress.unpacked(LAYER.digest, 3000)
        progress.layer_done(LAYER.digest)
    with progress.instruction("build 1/3", "FROM x AS build"):
        pass
    with progress.instruction("build 2/3", "COPY [a] /b"):
        progress.cached()
    with progress.instruction("build 3/3", "RUN make"):
        progress.output("[1/9] cc")
        time.sleep(seconds)
    progress.output("nobody's")
    progress.warn("[odd] markup")
    progress.advise("do")
    with progress.step("squashfs"):
        progress.squashed(1, 2)
        progress.squashed(2, 2)
    progress.close()
    return progress


def test_steps_are_timed_and_warnings_kept():
    progress = drive(NoView())
    assert set(progress.seconds) == {"layers", "Dockerfile", "squashfs"}
    assert progress.seconds["Dockerfile"] >= 0.11
    assert progress.warnings == ["[odd] markup", "do"]
    assert progress.elapsed > 0
    assert progress.state.layers[LAYER.digest].done


def test_plain_lines_tell_what_happened():
    stream = io.StringIO()
    drive(PlainView(stream))
    lines = [line.split(" ", 1)[1] for line in stream.getvalue().splitlines()]
    assert f"layer {LAYER.digest.short}: pulled 1.0 kB, unpacked 3.0 kB" in lines
    assert "warning: [odd] markup" in lines
    assert lines[-1].startswith("squashfs done in 0.0 s, 2 B in")


def test_plain_lines_tell_each_instruction_and_its_end_if_there_is_something_to_tell():
    stream = io.StringIO()
    drive(PlainView(stream))
    lines = [line.split(" ", 1)[1] for line in stream.getvalue().splitlines()]
    assert [re.sub(r"0\.\d s$", "0 s", line) for line in lines[3:10]] == [
        "[build 1/3] FROM x AS build",
        "[build 2/3] COPY [a] /b",
        "[build 2/3] CACHED",
        "[build 3/3] RUN make",
        "[build 3/3] 0.0 [1/9] cc",
        "[build 3/3] done in 0 s",
        "nobody's",
    ]


def test_json_lines_count_bytes():
    stream = io.StringIO()
    drive(JsonView(stream))
    events = [json.loads(line) for line in stream.getvalue().splitlines()]
    assert [e["event"] for e in events if e["event"] in {"warning", "advice"}] == [
        "warning",
        "advice",
    ]
    assert events[-1] | {"time": 0, "seconds": 0} == {
        "time": 0, "event": "step", "name": "squashfs", "state": "ended", "seconds": 0,
    }  # fmt: skip


def test_json_lines_tell_instructions_and_their_output():
    stream = io.StringIO()
    drive(JsonView(stream))
    events = [json.loads(line) for line in stream.getvalue().splitlines()]
    told = [event for event in events if event["event"] in {"instruction", "output"}]
    assert told[3] | {"time": 0, "seconds": 0} == {
        "time": 0, "event": "instruction", "place": "build 2/3", "text": "COPY [a] /b",
        "state": "ended", "seconds": 0, "cached": True,
    }  # fmt: skip
    assert [event["state"] for event in told if "state" in event] == ["began", "ended"] * 3
    assert told[5]["place"] == "build 3/3"
    assert told[5]["line"] == "[1/9] cc"
    assert told[7]["place"] is None


class Terminal(io.StringIO):
    def isatty(self):
        return True


def test_the_live_screen_keeps_what_is_over_above_it(monkeypatch):
    monkeypatch.setenv("TERM", "xterm")
    monkeypatch.setenv("COLUMNS", "100")
    stream = Terminal()
    drive(make_view("auto", stream), 0.4)
    shown = re.sub(r"\x1b\[[0-9;?]*[a-zA-Z]", "", stream.getvalue()).replace("\r", "\n")
    assert re.search(r"^\[build 1/3\] FROM x AS build$", shown, re.MULTILINE)
    assert re.search(r"^\[build 2/3\] COPY \[a\] /b CACHED$", shown, re.MULTILINE)
    assert re.search(r"^\[build 3/3\] RUN make done in 0.\d s$", shown, re.MULTILINE)
    assert re.search(r"^\[build 3/3\] 0.0 \[1/9\] cc$", shown, re.MULTILINE)
    assert re.search(r"^0.\d s \[build 3/3\] RUN make$", shown, re.MULTILINE)  # the live line
    assert re.search(r"^nobody's$", shown, re.MULTILINE)


def test_an_instruction_that_fails_is_not_told_to_have_ended():
    stream = io.StringIO()
    progress = Progress(PlainView(stream))
    with pytest.raises(KeyError), progress.instruction("1/1", "FROM x"):
        raise KeyError
    progress.cached()  # there is none on its way
    assert [line.split(" ", 1)[1] for line in stream.getvalue().splitlines()] == ["[1/1] FROM x"]
    assert "Dockerfile" in progress.seconds


def test_the_live_screen_shows_layers_and_squashfs():
    stream = io.StringIO()
    drive(RichView(stream))
    shown = stream.getvalue()
    assert "[odd] markup" in shown
    assert f"layer {LAYER.digest.short}" in shown
    assert "100%" in shown


DONE, ACTIVE, WAITING = (
    LayerState(100, 100, 300, done=True), LayerState(100, 50, 70), LayerState(100),
)  # fmt: skip


def layers(*states):
    return [(Digest.of(bytes([number])), state) for number, state in enumerate(states)]


def test_layers_that_are_done_or_wait_share_one_row_with_all():
    found = layers(DONE, ACTIVE, WAITING, DONE)
    assert layer_rows(found, 10) == [
        Row("2 of 4 layers", 250, 400, "pulled 250 B, unpacked 670 B"),
        Row(f"layer {found[1][0].short}", 50, 100, "pulled 50 B, unpacked 70 B"),
    ]
    assert layer_rows(layers(DONE, DONE), 10) == [
        Row("2 layers", 200, 200, "pulled 200 B, unpacked 600 B")
    ]


def test_a_single_layer_has_a_row_of_its_own():
    ((digest, state),) = found = layers(WAITING)
    assert layer_rows(found, 1) == [
        Row(f"layer {digest.short}", 0, state.size, "waiting, unpacked 0 B")
    ]


@pytest.mark.parametrize("room", [0, 1, 2, 5])
def test_layers_take_no_more_rows_than_there_is_room_for(room):
    assert len(layer_rows(layers(*[ACTIVE] * 9), room)) == room
    assert layer_rows([], room) == []


def test_all_of_nothing_is_done():
    assert Row("2 layers", 0, 0, "").fraction == 1


@pytest.mark.parametrize("name", ["dumb", "Unknown", "", None])
def test_a_terminal_that_cannot_move_its_cursor_gets_plain_lines(monkeypatch, name):
    monkeypatch.delenv("TERM", raising=False)
    if name is not None:
        monkeypatch.setenv("TERM", name)
    for mode in ("auto", "rich"):
        assert isinstance(make_view(mode, Terminal()), PlainView)


def test_the_view_fits_the_stream():
    assert isinstance(make_view("auto", io.StringIO()), PlainView)
    assert isinstance(make_view("none"), NoView)
    assert isinstance(make_view("json"), JsonView)
    with pytest.raises(ValueError, match="auto, rich, plain, json, none"):
        make_view("loud")


@pytest.mark.parametrize(
    ("count", "text"),
    [(0, "0 B"), (999, "999 B"), (1000, "1.0 kB"), (2_500_000, "2.5 MB"), (3e9, "3.00 GB")],
)
def test_sizes_are_for_people(count, text):
    assert size(count) == text

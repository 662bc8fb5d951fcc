from __future__ import annotations

import io
import json

import pytest

from assembler.progress import NoView, Progress
from assembler.views import JsonView, PlainView, RichView, make_view, size
from layers.descriptor import Descriptor
from layers.digest import Digest

LAYER = Descriptor("m", Digest.of(b"x"), 1000)


def drive(view):
    """A build of one layer, as the real one tells it."""
    progress = Progress(view)
    with progress.step("layers"):
        progress.layers_known([LAYER])
        progress.pulled(Digest.of(b"of something else"), 5)
        progress.pulled(LAYER.digest, 1000)
        progress.unpacked(LAYER.digest, 3000)
        progress.layer_done(LAYER.digest)
    progress.warn("[odd] markup")
    progress.advise("do")
    with progress.step("squashfs"):
        progress.squashed(1, 2)
        progress.squashed(2, 2)
    progress.close()
    return progress


def test_steps_are_timed_and_warnings_kept():
    progress = drive(NoView())
    assert set(progress.seconds) == {"layers", "squashfs"}
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


def test_the_live_screen_shows_layers_and_squashfs():
    stream = io.StringIO()
    drive(RichView(stream))
    shown = stream.getvalue()
    assert "[odd] markup" in shown
    assert f"layer {LAYER.digest.short}" in shown
    assert "100%" in shown


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

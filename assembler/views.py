"""The ways a build is shown: dated lines, JSON lines, a live screen. All go to stderr."""

from __future__ import annotations

import json
import os
import sys
import time
from datetime import UTC, datetime
from typing import IO, TYPE_CHECKING, Any

from assembler.printable import printable_output
from assembler.progress import NoView

if TYPE_CHECKING:
    from collections.abc import Mapping

    from assembler.progress import Doing, LayerState, State, View
    from layers.digest import Digest

_WORTH_TELLING = 0.1
"""Seconds."""

MODES = ("auto", "rich", "plain", "json", "none")


def make_view(mode: str, stream: IO[str] | None = None) -> View:
    """Return the view for `--progress`; `auto` is live on a terminal and plain elsewhere."""
    stream = stream or sys.stderr
    if mode == "auto":
        mode = "rich" if stream.isatty() else "plain"
    if mode == "rich" and _is_dumb(os.environ):
        mode = "plain"
    match mode:
        case "rich":
            from assembler.liveview import RichView  # it takes a tenth of a second

            return RichView(stream)
        case "plain":
            return PlainView(stream)
        case "json":
            return JsonView(stream)
        case "none":
            return NoView()
    raise ValueError(f"--progress is one of {', '.join(MODES)}, not {mode!r}")


def _is_dumb(environment: Mapping[str, str]) -> bool:
    """Return whether the terminal cannot move its cursor; one that has no name cannot, to Git."""
    return environment.get("TERM", "dumb").lower() in {"", "dumb", "unknown"}


def size(count: float) -> str:
    """Return a number of bytes for people, in powers of 1000 as disks and networks have them."""
    for unit in ("B", "kB", "MB"):
        if count < 1000:
            return f"{count:.0f} {unit}" if unit == "B" else f"{count:.1f} {unit}"
        count /= 1000
    return f"{count:.2f} GB"


def came(layer: LayerState) -> str:
    """Tell where a layer's blob comes from, as far as that is known."""
    if layer.pulled:
        return f"pulled {size(layer.pulled)}"
    return f"{size(layer.size)} at hand" if layer.unpacked or layer.done else "waiting"


def how_it_ended(doing: Doing, seconds: float) -> str:
    """Tell how an instruction ended; nothing of one that was done at once."""
    if doing.cached:
        return "CACHED"
    return f"done in {seconds:.1f} s" if seconds >= _WORTH_TELLING else ""


class PlainView(NoView):
    """One dated line for each thing that happened."""

    def __init__(self, stream: IO[str]) -> None:
        self._stream = stream

    def step_began(self, name: str) -> None:
        """Tell that a step began."""
        self._line(f"{name} ...")

    def step_ended(self, name: str, seconds: float, state: State) -> None:
        """Tell how long a step took."""
        fed = f", {size(state.squash_total)} in" if name == "squashfs" else ""
        self._line(f"{name} done in {seconds:.1f} s{fed}")

    def layer_done(self, layer: Digest, state: LayerState) -> None:
        """Tell of a layer that is read."""
        self._line(f"layer {layer.short}: {came(state)}, unpacked {size(state.unpacked)}")

    def instruction_began(self, doing: Doing) -> None:
        """Tell which instruction is done now."""
        self._line(f"[{doing.place}] {doing.text}")

    def instruction_ended(self, doing: Doing, seconds: float) -> None:
        """Tell how long it took, if that was any time."""
        if how := how_it_ended(doing, seconds):
            self._line(f"[{doing.place}] {how}")

    def output(self, doing: Doing | None, line: str) -> None:
        """Tell what a command printed, and after how many seconds."""
        self._line(f"[{doing.place}] {doing.seconds:.1f} {line}" if doing else line)

    def note(self, level: str, text: str) -> None:
        """Tell a warning or advice."""
        self._line(f"{level}: {text}")

    def _line(self, text: str) -> None:
        moment = datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
        print(f"{moment} {printable_output(text)}", file=self._stream, flush=True)


class JsonView(NoView):
    """One JSON object a line, each with `time` (seconds since 1970) and `event`."""

    def __init__(self, stream: IO[str]) -> None:
        self._stream = stream

    def update(self, state: State) -> None:
        """Tell the counts, in bytes."""
        layers = {
            str(digest): {
                "size": s.size,
                "pulled": s.pulled,
                "unpacked": s.unpacked,
                "done": s.done,
            }
            for digest, s in state.layers.items()
        }
        squash = {"done": state.squashed, "total": state.squash_total}
        self._event("progress", layers=layers, squashfs=squash)

    def step_began(self, name: str) -> None:
        """Tell that a step began."""
        self._event("step", name=name, state="began")

    def step_ended(self, name: str, seconds: float, state: State) -> None:
        """Tell that a step ended well."""
        self._event("step", name=name, state="ended", seconds=round(seconds, 3))

    def layer_done(self, layer: Digest, state: LayerState) -> None:
        """Tell that a layer is read."""
        self._event("layer", digest=str(layer), pulled=state.pulled, unpacked=state.unpacked)

    def instruction_began(self, doing: Doing) -> None:
        """Tell which instruction is done now."""
        self._event("instruction", place=doing.place, text=doing.text, state="began")

    def instruction_ended(self, doing: Doing, seconds: float) -> None:
        """Tell that it ended well."""
        self._event(
            "instruction", place=doing.place, text=doing.text, state="ended",
            seconds=round(seconds, 3), cached=doing.cached,
        )  # fmt: skip

    def output(self, doing: Doing | None, line: str) -> None:
        """Tell what a command printed."""
        self._event("output", place=doing.place if doing else None, line=line)

    def note(self, level: str, text: str) -> None:
        """Tell a warning or advice."""
        self._event(level, text=text)

    def result(self, fields: Mapping[str, Any]) -> bool:
        """Tell what was made."""
        self._event("result", **fields)
        return True

    def _event(self, event: str, **fields: Any) -> None:
        write_event(self._stream, event, **fields)


def write_event(stream: IO[str], event: str, **fields: Any) -> None:
    """Write one line, with the seconds since 1970 as its `time`."""
    record = {"time": round(time.time(), 3), "event": event, **fields}
    print(json.dumps(record), file=stream, flush=True)

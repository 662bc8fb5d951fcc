"""The three ways a build is shown: a live screen, dated lines, JSON lines. All go to stderr."""

from __future__ import annotations

import json
import sys
import time
from datetime import UTC, datetime
from typing import IO, TYPE_CHECKING, Any

from assembler.progress import NoView

if TYPE_CHECKING:
    from rich.console import RenderableType

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
    match mode:
        case "rich":
            return RichView(stream)
        case "plain":
            return PlainView(stream)
        case "json":
            return JsonView(stream)
        case "none":
            return NoView()
    raise ValueError(f"--progress is one of {', '.join(MODES)}, not {mode!r}")


def size(count: float) -> str:
    """Return a number of bytes for people, in powers of 1000 as disks and networks have them."""
    for unit in ("B", "kB", "MB"):
        if count < 1000:
            return f"{count:.0f} {unit}" if unit == "B" else f"{count:.1f} {unit}"
        count /= 1000
    return f"{count:.2f} GB"


def _came(layer: LayerState) -> str:
    """Tell where a layer's blob comes from, as far as that is known."""
    if layer.pulled:
        return f"pulled {size(layer.pulled)}"
    return f"{size(layer.size)} at hand" if layer.unpacked or layer.done else "waiting"


def _ended(doing: Doing, seconds: float) -> str:
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
        self._line(f"layer {layer.short}: {_came(state)}, unpacked {size(state.unpacked)}")

    def instruction_began(self, doing: Doing) -> None:
        """Tell which instruction is done now."""
        self._line(f"[{doing.place}] {doing.text}")

    def instruction_ended(self, doing: Doing, seconds: float) -> None:
        """Tell how long it took, if that was any time."""
        if how := _ended(doing, seconds):
            self._line(f"[{doing.place}] {how}")

    def output(self, doing: Doing | None, line: str) -> None:
        """Tell what a command printed, and after how many seconds."""
        self._line(f"[{doing.place}] {doing.seconds:.1f} {line}" if doing else line)

    def note(self, level: str, text: str) -> None:
        """Tell a warning or advice."""
        self._line(f"{level}: {text}")

    def _line(self, text: str) -> None:
        moment = datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
        print(f"{moment} {text}", file=self._stream, flush=True)


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

    def _event(self, event: str, **fields: Any) -> None:
        record = {"time": round(time.time(), 3), "event": event, **fields}
        print(json.dumps(record), file=self._stream, flush=True)


class RichView(NoView):
    """A live screen: a line for each layer, one for the instruction, one for squashfs.

    What is over stays above it.
    """

    def __init__(self, stream: IO[str]) -> None:
        from rich.console import Console
        from rich.live import Live
        from rich.progress import BarColumn, Progress, TextColumn

        self._console = Console(file=stream)
        self._bars = Progress(
            TextColumn("{task.description}"),
            BarColumn(bar_width=24),
            TextColumn("{task.percentage:>3.0f}%"),
            TextColumn("{task.fields[info]}"),
            console=self._console,
        )
        self._doing: Doing | None = None
        self._live = Live(get_renderable=self._screen, console=self._console, refresh_per_second=8)
        self._tasks: dict[Digest, Any] = {}
        self._squash: Any = None
        self._squash_shown = False
        self._live.start()

    def update(self, state: State) -> None:
        """Redraw what changed."""
        for digest, layer in state.layers.items():
            if digest not in self._tasks:
                description = f"layer {digest.short}"
                self._tasks[digest] = self._bars.add_task(description, total=layer.size, info="")
            self._show_layer(digest, layer)
        if state.squash_total and not self._squash_shown:
            self._show_squash(state)

    def layer_done(self, layer: Digest, state: LayerState) -> None:
        """Fill a layer's bar."""
        if layer in self._tasks:
            self._show_layer(layer, state)

    def instruction_began(self, doing: Doing) -> None:
        """Show which instruction is done now."""
        self._doing = doing

    def instruction_ended(self, doing: Doing, seconds: float) -> None:
        """Leave its line above the live ones."""
        self._doing = None
        self._above(f"[{doing.place}] {doing.text}", _ended(doing, seconds))

    def output(self, doing: Doing | None, line: str) -> None:
        """Print above the live lines what a command printed."""
        self._above(f"[{doing.place}] {doing.seconds:.1f} {line}" if doing else line)

    def note(self, level: str, text: str) -> None:
        """Print a warning or advice above the live lines."""
        from rich.markup import escape

        self._console.print(f"[yellow]{level}:[/yellow] {escape(text)}", highlight=False)

    def close(self) -> None:
        """Leave the last state on the screen."""
        self._doing = None
        self._live.stop()

    def _above(self, text: str, end: str = "") -> None:
        from rich.text import Text

        self._console.print(Text.assemble(text, " " * bool(end), (end, "dim")), soft_wrap=True)

    def _screen(self) -> RenderableType:
        """Return the lines that are drawn anew again and again."""
        from rich.console import Group
        from rich.text import Text

        doing = self._doing
        if doing is None:
            return self._bars
        now = f"[{doing.place}] {doing.text} {doing.seconds:.1f} s"
        return Group(self._bars, Text(now, overflow="ellipsis", no_wrap=True))

    def _show_layer(self, digest: Digest, layer: LayerState) -> None:
        info = f"{_came(layer)}, unpacked {size(layer.unpacked)}"
        done = layer.size if layer.done else min(layer.pulled, layer.size)
        self._bars.update(self._tasks[digest], completed=done, info=info)

    def _show_squash(self, state: State) -> None:
        if self._squash is None:
            self._squash = self._bars.add_task(
                "squashfs".ljust(18), total=state.squash_total, info=""
            )
        spent = max(time.monotonic() - state.squash_began, 1e-3)
        speed = size(state.squashed / spent)
        info = f"{size(state.squashed)} of {size(state.squash_total)}, {speed}/s"
        self._bars.update(self._squash, completed=state.squashed, info=info)
        # What comes later must not count as time that squashfs took.
        self._squash_shown = state.squashed == state.squash_total

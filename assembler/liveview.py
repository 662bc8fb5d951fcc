"""The live screen: a few rows that are redrawn, and what is over above them.

The rows take at most half of the screen, so that the output of RUN stays visible above them. Layers
that are done, or wait, share one row; only those that are being read have one of their own.
"""

from __future__ import annotations

import time
from dataclasses import dataclass, replace
from typing import IO, TYPE_CHECKING

from assembler.printable import printable, printable_output
from assembler.progress import LayerState, NoView
from assembler.views import came, how_it_ended, size

if TYPE_CHECKING:
    from collections.abc import Sequence

    from rich.console import RenderableType
    from rich.text import Text

    from assembler.progress import Doing, State
    from layers.digest import Digest

_MOST_ROWS = 12
_NAME = 18
"""Columns: as many as `layer` and a short digest take."""
_BAR = 24
_LEAST_BAR = 8
_BESIDE_BAR = 60
"""Columns for all that stands beside a bar."""


@dataclass(frozen=True, slots=True)
class Row:
    """A row with a bar: *done* of *total* bytes."""

    name: str
    done: int
    total: int
    info: str

    @property
    def fraction(self) -> float:
        """How much is done, from 0 to 1; of nothing, all is."""
        return self.done / self.total if self.total else 1.0


class RichView(NoView):
    """A live screen. It needs a terminal whose cursor can be moved."""

    def __init__(self, stream: IO[str]) -> None:
        from rich.console import Console
        from rich.live import Live

        self._console = Console(file=stream)
        self._doing: Doing | None = None
        self._layers: tuple[tuple[Digest, LayerState], ...] = ()
        self._squash: Row | None = None
        self._live = Live(
            get_renderable=self._screen,
            console=self._console,
            refresh_per_second=8,
            vertical_overflow="crop",
        )
        self._live.start()

    def update(self, state: State) -> None:
        """Redraw what changed."""
        # Copies: the screen is drawn by a thread of its own.
        self._layers = tuple((digest, replace(layer)) for digest, layer in state.layers.items())
        if state.squash_total and (self._squash is None or self._squash.fraction < 1):
            # What comes after the last byte must not count as time that squashfs took.
            self._squash = _squash_row(state)

    def layer_done(self, layer: Digest, state: LayerState) -> None:
        """Fill a layer's bar."""
        self._layers = tuple(
            (digest, replace(state) if digest == layer else known) for digest, known in self._layers
        )

    def instruction_began(self, doing: Doing) -> None:
        """Show which instruction is done now."""
        self._doing = doing

    def instruction_ended(self, doing: Doing, seconds: float) -> None:
        """Leave its line above the live ones."""
        self._doing = None
        self._above(f"[{doing.place}] {doing.text}", how_it_ended(doing, seconds))

    def output(self, doing: Doing | None, line: str) -> None:
        """Print above the live lines what a command printed."""
        self._above(f"[{doing.place}] {doing.seconds:.1f} {line}" if doing else line)

    def note(self, level: str, text: str) -> None:
        """Print a warning or advice above the live lines."""
        from rich.text import Text

        # As a text, in which neither markup nor the names of emoji mean anything.
        self._console.print(Text.assemble((f"{level}:", "yellow"), " ", printable(text)))

    def close(self) -> None:
        """Leave the last state on the screen."""
        self._doing = None
        self._live.stop()

    def _above(self, text: str, end: str = "") -> None:
        from rich.text import Text

        shown = printable_output(text)
        self._console.print(Text.assemble(shown, " " * bool(end), (end, "dim")), soft_wrap=True)

    def _screen(self) -> RenderableType:
        """Return the lines that are drawn anew again and again."""
        from rich.console import Group
        from rich.text import Text

        width, height = self._console.size
        doing, squash = self._doing, self._squash
        room = max(1, min(height // 2, _MOST_ROWS))
        shown = printable(f"{doing.seconds:.1f} s [{doing.place}] {doing.text}") if doing else ""
        below = [Text(shown)] if doing else []
        if squash is not None and len(below) < room:
            below.insert(0, self._drawn(squash, width))
        rows = layer_rows(self._layers, room - len(below))
        lines = [*(self._drawn(row, width) for row in rows), *below]
        for line in lines:
            line.no_wrap, line.overflow = True, "ellipsis"
        return Group(*lines)

    def _drawn(self, row: Row, width: int) -> Text:
        from rich.text import Text

        text = Text(f"{row.name:{_NAME}} ")
        columns = min(_BAR, width - _BESIDE_BAR)
        if columns >= _LEAST_BAR:
            full = int(columns * row.fraction)
            bar = "-" if self._console.options.ascii_only else "━"
            text.append(bar * full, "bar.finished" if full == columns else "bar.complete")
            text.append(bar * (columns - full), "bar.back").append(" ")
        text.append(f"{int(100 * row.fraction):3}%", "progress.percentage")
        return text.append(f" {row.info}")


def layer_rows(layers: Sequence[tuple[Digest, LayerState]], room: int) -> list[Row]:
    """Return at most *room* rows for *layers*: one for all, then those that are being read."""
    if not layers or room < 1:
        return []
    if len(layers) == 1:
        return [_layer_row(*layers[0])]
    active = [(digest, layer) for digest, layer in layers if _is_active(layer)]
    return [
        _folded([layer for _, layer in layers]),
        *(_layer_row(digest, layer) for digest, layer in active[: room - 1]),
    ]


def _folded(layers: Sequence[LayerState]) -> Row:
    """Return the row of all layers together."""
    begun = [layer for layer in layers if layer.done or _is_active(layer)]
    together = LayerState(
        size=sum(layer.size for layer in begun),
        pulled=sum(layer.pulled for layer in layers),
        unpacked=sum(layer.unpacked for layer in layers),
    )
    over = sum(layer.done for layer in layers)
    name = f"{len(layers)} layers"
    return Row(
        name if over == len(layers) else f"{over} of {name}",
        sum(_here(layer) for layer in layers),
        sum(layer.size for layer in layers),
        _info(together),
    )


def _layer_row(digest: Digest, layer: LayerState) -> Row:
    return Row(f"layer {digest.short}", _here(layer), layer.size, _info(layer))


def _squash_row(state: State) -> Row:
    spent = max(time.monotonic() - state.squash_began, 1e-3)
    speed = size(state.squashed / spent)
    info = f"{size(state.squashed)} of {size(state.squash_total)}, {speed}/s"
    return Row("squashfs", state.squashed, state.squash_total, info)


def _is_active(layer: LayerState) -> bool:
    return not layer.done and bool(layer.pulled or layer.unpacked)


def _here(layer: LayerState) -> int:
    """Return how many bytes of a blob are here."""
    return layer.size if layer.done else min(layer.pulled, layer.size)


def _info(layer: LayerState) -> str:
    return f"{came(layer)}, unpacked {size(layer.unpacked)}"

"""Telling how a build goes: live lines on a terminal, dated lines elsewhere, JSON on request.

A `Progress` counts; a `View` shows. The build's threads call `Progress`; it is quick.
"""

from __future__ import annotations

import threading
import time
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Protocol

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from layers.descriptor import Descriptor
    from layers.digest import Digest

_INTERVAL = 0.1
_DOCKERFILE = "Dockerfile"


@dataclass(slots=True)
class LayerState:
    """How far one layer is. All counts are bytes."""

    size: int
    pulled: int = 0
    unpacked: int = 0
    done: bool = False


@dataclass(slots=True)
class State:
    """How far a build is."""

    layers: dict[Digest, LayerState] = field(default_factory=dict)
    step: str = ""
    squashed: int = 0
    squash_total: int = 0
    squash_began: float = 0.0


@dataclass(slots=True)
class Doing:
    """An instruction on its way. *place* tells where it stands, as `build 2/5`."""

    place: str
    text: str
    began: float = field(default_factory=time.monotonic)
    cached: bool = False
    """Whether it did not have to be done again."""

    @property
    def seconds(self) -> float:
        """How long it has been on its way."""
        return time.monotonic() - self.began


class View(Protocol):
    """Shows a build to somebody."""

    def update(self, state: State) -> None:
        """Show counts that changed; called at most ten times a second."""
        ...

    def step_began(self, name: str) -> None:
        """Tell that a step began."""
        ...

    def step_ended(self, name: str, seconds: float, state: State) -> None:
        """Tell that a step ended well."""
        ...

    def layer_done(self, layer: Digest, state: LayerState) -> None:
        """Tell that a layer is read."""
        ...

    def instruction_began(self, doing: Doing) -> None:
        """Tell which instruction is done now; there is one at a time."""
        ...

    def instruction_ended(self, doing: Doing, seconds: float) -> None:
        """Tell that it ended well."""
        ...

    def output(self, doing: Doing | None, line: str) -> None:
        """Tell a line that the instruction's command printed."""
        ...

    def note(self, level: str, text: str) -> None:
        """Tell a `warning` or a piece of `advice`."""
        ...

    def close(self) -> None:
        """Stop showing."""
        ...

    def result(self, fields: Mapping[str, Any]) -> bool:
        """Tell what came of it all, if that is well; it is told last, after `close`.

        Return whether it was told where the view tells everything, so that nobody else need.
        """
        ...


class NoView:
    """Shows nothing."""

    def update(self, state: State) -> None:
        """Do nothing."""

    def step_began(self, name: str) -> None:
        """Do nothing."""

    def step_ended(self, name: str, seconds: float, state: State) -> None:
        """Do nothing."""

    def layer_done(self, layer: Digest, state: LayerState) -> None:
        """Do nothing."""

    def instruction_began(self, doing: Doing) -> None:
        """Do nothing."""

    def instruction_ended(self, doing: Doing, seconds: float) -> None:
        """Do nothing."""

    def output(self, doing: Doing | None, line: str) -> None:
        """Do nothing."""

    def note(self, level: str, text: str) -> None:
        """Do nothing."""

    def close(self) -> None:
        """Do nothing."""

    def result(self, fields: Mapping[str, Any]) -> bool:
        """Tell nobody."""
        return False


class Progress:
    """Counts a build's work, times its steps, keeps its warnings; a `layers.session.Observer`."""

    def __init__(self, view: View) -> None:
        self._view = view
        self._lock = threading.RLock()
        self._shown = 0.0
        self._began = time.monotonic()
        self._doing: Doing | None = None
        self.state = State()
        self.seconds: dict[str, float] = {}
        self.warnings: list[str] = []
        self.grave: list[str] = []

    @property
    def elapsed(self) -> float:
        """Seconds since the build began."""
        return time.monotonic() - self._began

    @contextmanager
    def step(self, name: str) -> Iterator[None]:
        """Time a step; its seconds are kept under *name*."""
        began = time.monotonic()
        with self._lock:
            self.state.step = name
            self._view.step_began(name)
        try:
            yield
        finally:
            self.seconds[name] = self.seconds.get(name, 0.0) + time.monotonic() - began
        with self._lock:
            self._view.update(self.state)
            self._view.step_ended(name, self.seconds[name], self.state)

    @contextmanager
    def instruction(self, place: str, text: str) -> Iterator[None]:
        """Show and time an instruction; the seconds of all are kept as those of the Dockerfile."""
        doing = Doing(place, text)
        with self._lock:
            self._doing = doing
            self._view.instruction_began(doing)
        try:
            yield
        finally:
            seconds = doing.seconds
            self.seconds[_DOCKERFILE] = self.seconds.get(_DOCKERFILE, 0.0) + seconds
            self._doing = None
        with self._lock:
            self._view.instruction_ended(doing, seconds)

    def cached(self) -> None:
        """Tell that the instruction on its way does not have to be done again."""
        if self._doing is not None:
            self._doing.cached = True

    def output(self, line: str) -> None:
        """Show a line that the command of the instruction on its way printed."""
        with self._lock:
            self._view.output(self._doing, line)

    def layers_known(self, layers: Sequence[Descriptor]) -> None:
        """Tell which layers will be read."""
        with self._lock:
            for layer in layers:
                self.state.layers.setdefault(layer.digest, LayerState(layer.size))
            self._view.update(self.state)

    def pulled(self, layer: Digest, count: int) -> None:
        """Tell that *count* more bytes of a blob came from a registry."""
        with self._lock:
            if layer in self.state.layers:
                self.state.layers[layer].pulled += count
            self._changed()

    def unpacked(self, layer: Digest, count: int) -> None:
        """Tell that *count* more plain bytes were unpacked."""
        with self._lock:
            self.state.layers[layer].unpacked += count
            self._changed()

    def layer_done(self, layer: Digest) -> None:
        """Tell that a layer is read."""
        with self._lock:
            self.state.layers[layer].done = True
            self._view.layer_done(layer, self.state.layers[layer])

    def squashed(self, done: int, total: int) -> None:
        """Tell that mksquashfs has taken *done* of *total* bytes."""
        with self._lock:
            if not self.state.squash_began:
                self.state.squash_began = time.monotonic()
            self.state.squashed, self.state.squash_total = done, total
            self._changed()

    def warn(self, text: str, *, grave: bool = False) -> None:
        """Keep a warning and show it; a *grave* one must be read even where nothing is shown."""
        with self._lock:
            self.warnings.append(text)
            if grave:
                self.grave.append(text)
            self._view.note("warning", text)

    def advise(self, text: str) -> None:
        """Keep a piece of advice about the image and show it."""
        with self._lock:
            self.warnings.append(text)
            self._view.note("advice", text)

    def note(self, level: str, text: str) -> None:
        """Show something that is neither a warning nor advice."""
        with self._lock:
            self._view.note(level, text)

    def close(self) -> None:
        """Stop showing."""
        self._view.close()

    def result(self, fields: Mapping[str, Any]) -> bool:
        """Tell what came of it all; see `View`."""
        return self._view.result(fields)

    def _changed(self) -> None:
        now = time.monotonic()
        if now - self._shown >= _INTERVAL:
            self._shown = now
            self._view.update(self.state)

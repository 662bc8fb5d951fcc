"""What all parts of one piece of work share: the store, the limits, who is told, and the brake."""

from __future__ import annotations

import threading
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Protocol

from layers.errors import Cancelled
from layers.limits import Limits

if TYPE_CHECKING:
    from collections.abc import Sequence

    from layers.descriptor import Descriptor
    from layers.digest import Digest
    from layers.store import ContentStore


class Observer(Protocol):
    """Is told how the work goes, from several threads; must be quick."""

    def layers_known(self, layers: Sequence[Descriptor]) -> None:
        """Tell which layers will be read."""
        ...

    def pulled(self, layer: Digest, count: int) -> None:
        """Tell that *count* more bytes of a blob came from a registry."""
        ...

    def unpacked(self, layer: Digest, count: int) -> None:
        """Tell that *count* more plain bytes were unpacked."""
        ...

    def layer_done(self, layer: Digest) -> None:
        """Tell that a layer is read."""
        ...

    def warn(self, text: str) -> None:
        """Tell a person something that is not right but does not stop the work."""
        ...


class Silent:
    """An `Observer` that tells nobody."""

    def layers_known(self, layers: Sequence[Descriptor]) -> None:
        """Do nothing."""

    def pulled(self, layer: Digest, count: int) -> None:
        """Do nothing."""

    def unpacked(self, layer: Digest, count: int) -> None:
        """Do nothing."""

    def layer_done(self, layer: Digest) -> None:
        """Do nothing."""

    def warn(self, text: str) -> None:
        """Do nothing."""


@dataclass(frozen=True, slots=True)
class Session:
    """One piece of work. Setting `stop` makes every thread of it end at its next step."""

    store: ContentStore
    limits: Limits = field(default_factory=Limits)
    observer: Observer = field(default_factory=Silent)
    stop: threading.Event = field(default_factory=threading.Event)
    offline: bool = False
    """Whether no registry may be asked, for what the store lacks."""
    pull: bool = False
    """Whether registries are asked for names that the store has, too."""

    def check(self) -> None:
        """Raise `Cancelled` once the work was told to stop."""
        if self.stop.is_set():
            raise Cancelled("stopped")

    def check_layers(self, layers: Sequence[Descriptor]) -> None:
        """Raise `LimitExceeded` for sizes that no layer has, before anything of them is fetched."""
        for layer in layers:
            self.limits.check("blob_bytes", layer.size, f"layer {layer.digest}: its size")
        total = sum({layer.digest: layer.size for layer in layers}.values())
        self.limits.check("total_bytes", total, "the size of all layers of the image")

    def sleep(self, seconds: float) -> None:
        """Wait, but not past the moment when the work is told to stop."""
        self.stop.wait(seconds)
        self.check()

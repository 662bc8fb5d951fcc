"""Setting up what a command works with, and taking it down again."""

from __future__ import annotations

from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING

import typer

from assembler.progress import NoView, Progress
from assembler.views import make_view
from layers.session import Session
from layers.store import ContentStore, default_root

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from layers.limits import Limits


@dataclass(frozen=True, slots=True)
class Work:
    """A session and who watches it."""

    session: Session
    progress: Progress


@contextmanager
def working(
    store: Path | None, limits: Limits, mode: str, *, offline: bool = False, pull: bool = False
) -> Iterator[Work]:
    """Open the store and a view; whatever happens, the view is closed and threads are told."""
    try:
        view = NoView() if mode == "none" else make_view(mode)
    except ValueError as error:
        raise typer.BadParameter(str(error), param_hint="--progress") from None
    progress = Progress(view)
    session = None
    try:
        content = ContentStore(store or default_root())
        session = Session(content, limits, progress, offline=offline, pull=pull)
        with content.in_use():
            yield Work(session, progress)
    finally:
        if session is not None:
            session.stop.set()
        progress.close()
        if mode == "none":
            for text in progress.grave:
                typer.echo(f"golem-assemble: warning: {text}", err=True)

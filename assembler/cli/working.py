"""Setting up what a command works with, and taking it down again."""

from __future__ import annotations

from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING

import typer

from assembler.cli.echo import echo
from assembler.output import temporary_folder
from assembler.progress import NoView, Progress
from assembler.views import make_view
from layers.session import Session
from layers.store import ContentStore, default_root, explained, store_exists

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from layers.limits import Limits


@dataclass(frozen=True, slots=True)
class Work:
    """A session and who watches it."""

    session: Session
    progress: Progress


@contextmanager
def working(
    store: Path | None,
    limits: Limits,
    mode: str,
    *,
    offline: bool = False,
    pull: bool = False,
    looking: bool = False,
) -> Iterator[Work]:
    """Open the store and a view; whatever happens, the view is closed and threads are told.

    A command that is only *looking* makes no store where there is none.
    """
    try:
        view = NoView() if mode == "none" else make_view(mode)
    except ValueError as error:
        raise typer.BadParameter(str(error), param_hint="--progress") from None
    progress = Progress(view)
    session = None
    try:
        with opened_store(store, partial(progress.warn, grave=True), looking=looking) as content:
            session = Session(content, limits, progress, offline=offline, pull=pull)
            with content.in_use():
                yield Work(session, progress)
    finally:
        if session is not None:
            session.stop.set()
        progress.close()
        if mode == "none":
            for text in progress.grave:
                echo(f"golem-assemble: warning: {text}", err=True)


@contextmanager
def opened_store(
    store: Path | None, warn: Callable[[str], None], *, looking: bool = False
) -> Iterator[ContentStore]:
    """Open the store; one that is not there is an empty one, made for the block, when *looking*.

    One that others could have changed is refused, but where the user named it: there *warn* tells.
    """
    root = (store or default_root()).absolute()
    if not looking or store_exists(root):
        yield ContentStore(root, None if store is None else warn)
        return
    place = temporary_folder()
    with ExitStack() as stack:
        with explained(Path(place)):
            temporary = TemporaryDirectory(prefix="golem-assemble-", dir=place)
        yield ContentStore(Path(stack.enter_context(temporary)))

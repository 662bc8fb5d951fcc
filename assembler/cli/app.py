"""The command `golem-assemble` and its parts."""

from __future__ import annotations

from typing import Annotated

import typer

from assembler import __version__
from assembler.cli import keeping, looking, making, sandboxes
from assembler.cli.command import Program
from assembler.cli.echo import echo

app = typer.Typer(
    name="golem-assemble",
    cls=Program,
    help="Build Golem .gvmi images from Dockerfiles and OCI images: no Docker, no daemon, no root.",
    no_args_is_help=True,
    rich_markup_mode=None,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)


def _version(show: bool) -> None:
    if show:
        echo(f"golem-assemble {__version__}")
        raise typer.Exit


@app.callback()
def root(
    _version: Annotated[
        bool, typer.Option("--version", help="Show the version.", callback=_version, is_eager=True)
    ] = False,
) -> None:
    """Build Golem .gvmi images from Dockerfiles and OCI images: no Docker, no daemon, no root."""


making.register(app)
looking.register(app)
keeping.register(app)
sandboxes.register(app)

"""`inspect`, `ls`, `verify` and `hash`: the commands that only look."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from assembler.cli import options as o
from assembler.cli.command import Command
from assembler.cli.completion import subjects
from assembler.cli.echo import echo, echo_json
from assembler.cli.working import working
from assembler.errors import OptionError

_INSPECT_EXAMPLES = """\
\b
Examples:
  golem-assemble inspect debian:latest
  golem-assemble inspect --json example.gvmi
"""
_LS_EXAMPLES = """\
\b
Examples:
  golem-assemble ls example.gvmi
  golem-assemble ls -l -R oci:layout /etc
"""
_VERIFY_EXAMPLES = """\
\b
Examples:
  golem-assemble verify example.gvmi
"""
_HASH_EXAMPLES = """\
\b
Examples:
  golem-assemble hash example.gvmi
"""
_Subject = Annotated[
    str,
    typer.Argument(
        metavar="IMAGE|FILE.gvmi", help="The image or the file to look at.", autocompletion=subjects
    ),
]
_File = Annotated[Path, typer.Argument(metavar="FILE.gvmi", help="The image file.")]


def register(app: typer.Typer) -> None:
    """Add the commands of this module."""
    app.command(cls=Command, epilog=_INSPECT_EXAMPLES)(inspect)
    app.command("ls", cls=Command, epilog=_LS_EXAMPLES)(list_tree)
    app.command(cls=Command, epilog=_VERIFY_EXAMPLES)(verify)
    app.command("hash", cls=Command, epilog=_HASH_EXAMPLES)(print_hash)


def _check_file(subject: str, platform: str | None, limit: list[str] | None = None) -> None:
    """Raise for options that have no effect on a .gvmi."""
    for option, value in (("--platform", platform), ("--limit", limit)):
        if value and subject.endswith(".gvmi"):
            raise OptionError(
                f"{option}: {subject} holds one image, which is read as it is; leave {option} out"
            )


def inspect(
    subject: _Subject,
    as_json: Annotated[bool, typer.Option("--json", help="Print everything as JSON.")] = False,
    platform: o.PlatformOption = None,
    store: o.Store = None,
    debug: o.Debug = False,
) -> None:
    """Show config, volumes, working directory, layers, sizes and hash."""
    from assembler import inspection

    _check_file(subject, platform)
    with working(store, o.limits(None), "none", looking=True) as work:
        found = inspection.inspect(subject, o.wanted(platform), work.session)
    if as_json:
        echo_json(found)
    else:
        for line in inspection.lines(found):
            echo(line)


def list_tree(
    subject: _Subject,
    path: Annotated[
        str, typer.Argument(metavar="PATH", help="The directory or file to list.")
    ] = "/",
    long: Annotated[bool, typer.Option("-l", help="Show modes, owners, sizes and times.")] = False,
    recursive: Annotated[bool, typer.Option("-R", help="List directories recursively.")] = False,
    platform: o.PlatformOption = None,
    store: o.Store = None,
    limit: o.LimitOption = None,
    debug: o.Debug = False,
) -> None:
    """List the files of an image or a .gvmi, without building."""
    from assembler import listing

    _check_file(subject, platform, limit)
    with (
        working(store, o.limits(limit), "none") as work,
        listing.open_listing(subject, o.wanted(platform), work.session, work.progress) as tree,
    ):
        for line in listing.lines(tree, path, long=long, recursive=recursive):
            echo(line)


def verify(file: _File, debug: o.Debug = False) -> None:
    """Check a .gvmi: trailer, CRC, squashfs, JSON types, and what a guest needs."""
    from assembler import verification

    for line in verification.verify(file):
        echo(line)


def print_hash(file: _File, debug: o.Debug = False) -> None:
    """Print the SHA3-224 hash by which Golem's SDKs name a .gvmi."""
    from assembler import gvmi

    gvmi.GvmiFile.read(file)
    echo(gvmi.image_hash(file))

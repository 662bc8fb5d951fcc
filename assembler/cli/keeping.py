"""`images`, `pull`, `load`, `tag`, `rmi`, `history`, `df` and `prune`: the images one has."""

from __future__ import annotations

import re
import sys
from contextlib import ExitStack
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from assembler.cli import completion
from assembler.cli import options as o
from assembler.cli.command import Command
from assembler.cli.echo import echo, echo_json
from assembler.cli.working import opened_store, working
from assembler.errors import OptionError
from assembler.printable import printable

if TYPE_CHECKING:
    from collections.abc import Sequence

    from assembler.images import Loose

_ID_DIGITS = 12
_COMMAND_SHOWN = 60
_IMAGES_EXAMPLES = """\
\b
Examples:
  golem-assemble images
  golem-assemble images debian
  golem-assemble images --format json --filter reference='golem-*'
"""
_PULL_EXAMPLES = """\
\b
Examples:
  golem-assemble pull 127.0.0.1:5000/debian:latest
"""
_LOAD_EXAMPLES = """\
\b
Examples:
  golem-assemble load -i saved.tar
  golem-assemble load -t mine:1 -i base.tar
"""
_TAG_EXAMPLES = """\
\b
Examples:
  golem-assemble tag debian:latest mine:1
"""
_RMI_EXAMPLES = """\
\b
Examples:
  golem-assemble rmi golem-example
"""
_HISTORY_EXAMPLES = """\
\b
Examples:
  golem-assemble history debian:latest
"""
_DF_EXAMPLES = """\
\b
Examples:
  golem-assemble df
"""
_PRUNE_EXAMPLES = """\
\b
Examples:
  golem-assemble prune --dry-run
  golem-assemble prune --keep-storage 10GB
"""


def register(app: typer.Typer) -> None:
    """Add the commands of this module."""
    app.command("images", cls=Command, epilog=_IMAGES_EXAMPLES)(list_images)
    app.command(cls=Command, epilog=_PULL_EXAMPLES)(pull)
    app.command(cls=Command, epilog=_LOAD_EXAMPLES)(load)
    app.command(cls=Command, epilog=_TAG_EXAMPLES)(tag)
    app.command(cls=Command, epilog=_RMI_EXAMPLES)(rmi)
    app.command(cls=Command, epilog=_HISTORY_EXAMPLES)(history)
    app.command(cls=Command, epilog=_DF_EXAMPLES)(df)
    app.command(cls=Command, epilog=_PRUNE_EXAMPLES)(prune)


def list_images(
    name: Annotated[
        str | None,
        typer.Argument(
            metavar="NAME[:TAG]",
            help="List these alone; * and ? stand for any characters.",
            autocompletion=completion.images,
        ),
    ] = None,
    output: Annotated[
        str, typer.Option("--format", metavar="table|json", help="How to show the images.")
    ] = "table",
    digests: Annotated[
        bool, typer.Option("--digests", help="Show the digests of the manifests, too.")
    ] = False,
    quiet: Annotated[bool, typer.Option("--quiet", "-q", help="Print the ids alone.")] = False,
    filters: Annotated[
        list[str] | None,
        typer.Option(
            "--filter",
            metavar="KEY=VALUE",
            help="List images that fit: reference=PATTERN, label=NAME[=VALUE].",
        ),
    ] = None,
    store: o.Store = None,
    debug: o.Debug = False,
) -> None:
    """List the tagged images in the store."""
    from assembler import images

    if output not in {"table", "json"}:
        raise typer.BadParameter("choose table or json", param_hint="--format")
    with working(store, o.limits(None), "none", looking=True) as work:
        stored = images.stored_images(work.session.store, filters or ())
        if name is not None:
            stored = images.named_like(stored, name)
        found = [image.fields() for image in stored]
    if quiet:
        for identity in dict.fromkeys(item["id"] for item in found):
            echo(_short(identity))
    elif output == "json":
        echo_json(found)
    else:
        _show_images(found, digests=digests)


def pull(
    image: Annotated[str, typer.Argument(metavar="IMAGE", help="The image's name in a registry.")],
    platform: o.PlatformOption = None,
    progress: o.ProgressMode = "auto",
    quiet: Annotated[
        bool, typer.Option("--quiet", "-q", help="Print the image's id alone.")
    ] = False,
    store: o.Store = None,
    limit: o.LimitOption = None,
    debug: o.Debug = False,
) -> None:
    """Fetch an image from its registry into the store."""
    from assembler import images
    from assembler.report import pull_report

    with working(store, o.limits(limit), o.shown(progress, quiet=quiet)) as work:
        pulled = images.pull(image, work.session, o.wanted(platform))
    work.progress.result(pull_report(pulled, work.progress))
    echo(str(pulled.image.id))


def load(
    source: Annotated[
        Path | None,
        typer.Option("--input", "-i", metavar="FILE", help="The archive; default standard input."),
    ] = None,
    name: Annotated[
        str | None,
        typer.Option("--tag", "-t", metavar="NAME[:TAG]", help="Name its one image like this."),
    ] = None,
    platform: o.PlatformOption = None,
    quiet: Annotated[bool, typer.Option("--quiet", "-q", help="Print nothing.")] = False,
    store: o.Store = None,
    limit: o.LimitOption = None,
    debug: o.Debug = False,
) -> None:
    """Put the images of an archive (docker save, OCI) into the store."""
    from assembler import loading
    from layers.reference import Reference

    given = Reference.parse(name) if name else None
    if given is not None and given.digest is not None:
        raise OptionError(f"-t {name}: a name for an image cannot hold a digest")
    if source is None and sys.stdin.isatty():
        raise OptionError("load: the archive comes on standard input; name a file by -i FILE")
    with working(store, o.limits(limit), "none") as work, ExitStack() as stack:
        path = source
        if path is None:
            path = stack.enter_context(loading.spooled(sys.stdin.buffer, work.session))
        loaded = loading.load(
            path, str(source or "standard input"), work.session, o.wanted(platform), given
        )
    for one in () if quiet else loaded:
        echo(f"Loaded image: {one.name.familiar}:{one.name.tag or 'latest'}")


def tag(
    source: Annotated[
        str,
        typer.Argument(
            metavar="IMAGE|ID", help="An image of the store.", autocompletion=completion.images
        ),
    ],
    target: Annotated[str, typer.Argument(metavar="NAME[:TAG]", help="The name to be added.")],
    store: o.Store = None,
    debug: o.Debug = False,
) -> None:
    """Add a tag to an image in the store."""
    from assembler import images

    with working(store, o.limits(None), "none", looking=True) as work:
        images.add_tag(work.session.store, source, target)


def rmi(
    names: Annotated[
        list[str],
        typer.Argument(
            metavar="IMAGE|ID",
            help="The tags to be removed; an id stands for all tags of its image.",
            autocompletion=completion.images,
        ),
    ],
    store: o.Store = None,
    debug: o.Debug = False,
) -> None:
    """Remove image tags; run `prune` to free disk space."""
    from assembler import images

    with working(store, o.limits(None), "none", looking=True) as work:
        for image in images.remove_tags(work.session.store, names):
            echo(f"Untagged: {image.name.familiar}:{image.name.tag or 'latest'}")


def history(
    image: Annotated[
        str,
        typer.Argument(
            metavar="IMAGE",
            help="A name, oci:DIR, oci-archive:FILE, docker-archive:FILE.",
            autocompletion=completion.images,
        ),
    ],
    full: Annotated[bool, typer.Option("--no-trunc", help="Show commands in full.")] = False,
    as_json: Annotated[bool, typer.Option("--json", help="Print everything as JSON.")] = False,
    platform: o.PlatformOption = None,
    store: o.Store = None,
    debug: o.Debug = False,
) -> None:
    """Show the command that made each layer of an image, newest first."""
    from assembler import images
    from layers.naming import find_source
    from layers.sources import open_image

    with (
        working(store, o.limits(None), "none", looking=True) as work,
        open_image(
            find_source(image, work.session.store), work.session, o.wanted(platform)
        ) as opened,
    ):
        entries = images.history(opened)
    if as_json:
        echo_json(entries)
        return
    rows = [["CREATED", "CREATED BY", "SIZE", "COMMENT"]]
    for entry in entries:
        made_by = printable(" ".join(entry["created_by"].split()))
        if not full and len(made_by) > _COMMAND_SHOWN:
            made_by = made_by[: _COMMAND_SHOWN - 3] + "..."
        rows.append([_date(entry["created"]), made_by, _size(entry["size"]), entry["comment"]])
    _table(rows)


def df(store: o.Store = None, debug: o.Debug = False) -> None:
    """Show how much the store holds, and how much `prune` would free."""
    from assembler import images

    with working(store, o.limits(None), "none", looking=True) as work:
        used = images.usage(work.session.store)
    _table(
        [
            ["TYPE", "TOTAL", "SIZE", "RECLAIMABLE"],
            ["Images", str(used.images.count), _size(used.images.size), _size(0)],
            *(
                [kind, str(share.count), _size(share.size), _size(share.size)]
                for kind, share in (
                    ("Loose blobs", used.blobs),
                    ("Cache mounts", used.caches),
                    ("Unpacked images", used.roots),
                )
            ),
        ]
    )


def prune(
    keep: Annotated[
        str,
        typer.Option(
            "--keep-storage", metavar="SIZE", help="Keep this much of what was used last, as 10GB."
        ),
    ] = "0",
    dry: Annotated[
        bool, typer.Option("--dry-run", help="List what would be removed, and remove nothing.")
    ] = False,
    yes: Annotated[
        bool, typer.Option("--yes", "-y", "--force", "-f", help="Do not ask on a terminal.")
    ] = False,
    store: o.Store = None,
    debug: o.Debug = False,
) -> None:
    """Remove layers without a tag and RUN's caches, least recently used first."""
    from assembler import images

    limit = _parse_size(keep)
    with opened_store(store, _warn, looking=True) as content:
        among = None
        if not yes and not dry and sys.stdin.isatty():
            among = _agreed(images.prune(content, limit, dry=True))
            if among is None:
                echo("nothing was removed")
                return
        gone = images.prune(content, limit, dry=dry, among=among)
    for one in gone:
        echo(f"{'would remove' if dry else 'removed'} {one.name}  {_size(one.size)}")
    total = _size(sum(one.size for one in gone))
    echo(f"{'reclaimable' if dry else 'reclaimed'}: {total}")


def _warn(text: str) -> None:
    echo(f"golem-assemble: warning: {text}", err=True)


def _agreed(found: Sequence[Loose]) -> list[str] | None:
    """Show on stderr what would go, and ask; return the names, or `None` after a no.

    What becomes loose while somebody thinks about it is not among them.
    """
    if not found:
        return []
    for one in found:
        echo(f"  {one.name}  {_size(one.size)}", err=True)
    total = _size(sum(one.size for one in found))
    echo(f"Remove these {len(found)}, {total} in all? [y/N] ", err=True, end="")
    agreed = sys.stdin.readline().strip().lower() in {"y", "yes"}
    return [one.name for one in found] if agreed else None


def _show_images(found: Sequence[dict[str, Any]], *, digests: bool) -> None:
    head = ["REPOSITORY", "TAG", "DIGEST", "IMAGE ID", "CREATED", "SIZE"]
    rows = [head] + [
        [
            item["repository"], item["tag"], item["digest"], _short(item["id"]),
            _date(item["created"]), _size(item["size"]),
        ]
        for item in found
    ]  # fmt: skip
    _table(rows if digests else [row[:2] + row[3:] for row in rows])


def _table(texts: Sequence[Sequence[str]]) -> None:
    # As they are shown: the widths are those of what is printed.
    rows = [[printable(text) for text in row] for row in texts]
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    for row in rows:
        cells = (cell.ljust(width) for cell, width in zip(row, widths, strict=True))
        echo("   ".join(cells).rstrip())


def _short(digest: str) -> str:
    return digest.partition(":")[2][:_ID_DIGITS]


def _date(created: str | None) -> str:
    return (created or "").partition(".")[0].removesuffix("Z").replace("T", " ") or "-"


def _size(count: int) -> str:
    from assembler.views import size

    return size(count)


def _parse_size(text: str) -> int:
    match = re.fullmatch(r"(\d{1,18}(?:\.\d{1,18})?)\s*([KMGT]?)B?", text.upper())
    if match is None:
        raise typer.BadParameter("write it as 500MB or 10GB", param_hint="--keep-storage")
    return int(float(match[1]) * 1000 ** " KMGT".index(match[2] or " "))

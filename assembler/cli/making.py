"""`build`, `convert` and `check`: the commands that make a .gvmi, or see whether it could be."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from assembler.cli import options as o
from assembler.cli.command import Command, grouped
from assembler.cli.completion import images, stages
from assembler.cli.dockerlike import BuildCommand, DockerOptions
from assembler.cli.echo import echo, echo_json
from assembler.cli.working import working

if TYPE_CHECKING:
    from assembler.assembling import Assembled, Settings
    from assembler.progress import Progress
    from assembler.request import Request

_BUILD_EXAMPLES = """\
\b
Examples:
  golem-assemble build .
  golem-assemble build -t golem-example -o example.gvmi .
  golem-assemble build --target 0 --label owner=me .
  golem-assemble build -f images/Dockerfile --build-arg VERSION=2 .
  golem-assemble build --build-context debian:latest=oci:base .
  golem-assemble build -t mine --output type=oci,dest=mine.tar .
  golem-assemble build --preset small --source-date-epoch 0 .
  golem-assemble build --secret id=token,src=token.txt --run-timeout 600 .
"""
_CONVERT_EXAMPLES = """\
\b
Examples:
  golem-assemble convert debian:bookworm-slim
  golem-assemble convert -o node.gvmi docker://127.0.0.1:5000/node:20
  golem-assemble convert oci:layout:latest
  golem-assemble convert docker-archive:saved.tar
"""
_CHECK_EXAMPLES = """\
\b
Examples:
  golem-assemble check .
  golem-assemble check --json -f images/Dockerfile .
"""

BuildArg = Annotated[
    list[str] | None,
    typer.Option(
        "--build-arg",
        metavar="NAME[=VALUE]",
        help="Set an ARG; without a value, from the environment.",
    ),
]


def register(app: typer.Typer) -> None:
    """Add the commands of this module."""
    app.command(cls=BuildCommand, epilog=_BUILD_EXAMPLES)(grouped(build))
    app.command(cls=Command, epilog=_CONVERT_EXAMPLES)(convert)
    app.command(cls=Command, epilog=_CHECK_EXAMPLES)(check)


def build(
    context: Annotated[
        str,
        typer.Argument(
            metavar="CONTEXT",
            help="The directory with the files; - reads a tar; or zip://FILE, and the like.",
        ),
    ],
    file: Annotated[
        str | None,
        typer.Option("--file", "-f", metavar="FILE", help="The Dockerfile; - reads it from stdin."),
    ] = None,
    tag: Annotated[
        list[str] | None,
        typer.Option("--tag", "-t", metavar="NAME[:TAG]", help="Name the image in the store."),
    ] = None,
    output: o.BuildOutput = None,
    target: Annotated[
        str | None,
        typer.Option("--target", metavar="STAGE", help="Build this stage.", autocompletion=stages),
    ] = None,
    build_context: Annotated[
        list[str] | None,
        typer.Option(
            "--build-context",
            metavar="NAME=SOURCE",
            help="Take the image or stage NAME from an image or a directory.",
        ),
    ] = None,
    build_arg: BuildArg = None,
    label: Annotated[
        list[str] | None,
        typer.Option("--label", metavar="NAME=VALUE", help="Add a label to the image."),
    ] = None,
    secret: Annotated[
        list[str] | None,
        typer.Option(
            "--secret",
            metavar="id=NAME[,src=FILE|,env=VARIABLE]",
            help="Give RUN --mount=type=secret,id=NAME a file or a variable.",
        ),
    ] = None,
    sandbox: o.Sandbox = "auto",
    run_timeout: o.RunTimeout = None,
    run_output_limit: o.RunOutputLimit = "64MiB",
    offline: o.Offline = False,
    no_cache: Annotated[
        bool, typer.Option("--no-cache", help="Do not use the build cache.")
    ] = False,
    platform: o.PlatformOption = None,
    compression: o.Compression = None,
    level: o.Level = None,
    preset: o.Preset = None,
    block_size: o.BlockSize = 131072,
    processors: o.Processors = None,
    progress: o.ProgressMode = "auto",
    quiet: o.Quiet = False,
    report: o.Report = None,
    source_date_epoch: o.Epoch = None,
    keep_user: o.KeepUser = False,
    store: o.Store = None,
    limit: o.LimitOption = None,
    debug: o.Debug = False,
    *,
    docker: DockerOptions,
) -> None:
    """Build a .gvmi image from a Dockerfile."""
    from assembler import building
    from assembler.destination import Destination
    from assembler.request import Request

    squashfs = o.squashfs_options(compression, level, preset, block_size, processors)
    request = Request.of(
        context, file, tag or (), target, build_context or (), build_arg or (), label or (),
        cache=not no_cache, secrets=secret or (),
        run=replace(o.run_options(sandbox, run_timeout, run_output_limit), network=docker.network),
    )  # fmt: skip
    docker.begin(offline=offline)
    if docker.check:
        _check(request, platform, store, as_json=False)
        return
    destinations = tuple(map(Destination.parse, output or ())) or (Destination(),)
    if not any(destination.needs_mksquashfs for destination in destinations):
        o.check_squashed(squashfs, level, preset)
    settings = o.settings(destinations, report, squashfs, platform, source_date_epoch, keep_user)
    mode = o.shown(progress, quiet=quiet)
    with working(store, o.limits(limit), mode, offline=offline, pull=docker.pull) as work:
        result = building.build(request, settings, work.session, work.progress)
    docker.write(result, work.progress)
    _tell(result, work.progress, quiet, settings)


def convert(
    image: Annotated[
        str,
        typer.Argument(
            metavar="IMAGE",
            help="A name, oci:DIR, oci-archive:FILE, docker-archive:FILE.",
            autocompletion=images,
        ),
    ],
    output: o.Output = None,
    platform: o.PlatformOption = None,
    compression: o.Compression = None,
    level: o.Level = None,
    preset: o.Preset = None,
    block_size: o.BlockSize = 131072,
    processors: o.Processors = None,
    progress: o.ProgressMode = "auto",
    quiet: o.Quiet = False,
    report: o.Report = None,
    source_date_epoch: o.Epoch = None,
    keep_user: o.KeepUser = False,
    store: o.Store = None,
    limit: o.LimitOption = None,
    debug: o.Debug = False,
) -> None:
    """Convert a container image to a .gvmi image."""
    from assembler import assembling
    from assembler.destination import OF_ANY_IMAGE, Destination
    from layers.naming import find_source

    squashfs = o.squashfs_options(compression, level, preset, block_size, processors)
    parsed = (Destination.parse(text, OF_ANY_IMAGE) for text in output or ())
    destinations = tuple(parsed) or (Destination(),)
    if not any(destination.needs_mksquashfs for destination in destinations):
        o.check_squashed(squashfs, level, preset)
    settings = o.settings(destinations, report, squashfs, platform, source_date_epoch, keep_user)
    with working(store, o.limits(limit), o.shown(progress, quiet=quiet)) as work:
        source = find_source(image, work.session.store)
        result = assembling.convert(source, settings, work.session, work.progress)
    _tell(result, work.progress, quiet, settings)


def _tell(result: Assembled, progress: Progress, quiet: bool, settings: Settings) -> None:
    """Write the report, and tell people: on stderr, when standard output is for a file."""
    from assembler import report
    from assembler.destination import writes_stdout

    fields = report.report(result, progress)
    if settings.report is not None:
        report.write_report(settings.report, fields)
    told = progress.result(fields)
    lines = report.summary(result, progress)
    if quiet:
        lines = [output.shown or str(result.image_id) for output in result.outputs]
    taken = writes_stdout(settings.outputs, settings.report)
    if taken and told:
        return  # on stderr there are events and nothing else
    for line in lines:
        echo(line, err=taken)


def check(
    context: Annotated[
        str, typer.Argument(metavar="CONTEXT", help="The directory with the Dockerfile.")
    ],
    file: Annotated[
        str | None,
        typer.Option("--file", "-f", metavar="FILE", help="The Dockerfile; - reads it from stdin."),
    ] = None,
    target: Annotated[
        str | None,
        typer.Option(
            "--target", metavar="STAGE", help="Plan for this stage.", autocompletion=stages
        ),
    ] = None,
    build_arg: BuildArg = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print everything as JSON.")] = False,
    platform: o.PlatformOption = None,
    store: o.Store = None,
    debug: o.Debug = False,
) -> None:
    """Check a Dockerfile, and plan its build, without building."""
    from assembler.request import Request

    request = Request.of(context, file, target=target, arguments=build_arg or ())
    _check(request, platform, store, as_json=as_json)


def _check(request: Request, platform: str | None, store: Path | None, *, as_json: bool) -> None:
    from assembler import checking

    with working(store, o.limits(None), "none") as work:
        found = checking.check(request, o.wanted(platform), work.session)
    if as_json:
        echo_json(found.fields())
    else:
        for line in found.lines():
            echo(line)
    if found.failed:
        raise typer.Exit(1)

"""The options that several commands share, and what becomes of them."""

from __future__ import annotations

import math
import os
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from assembler.destination import OF_ANY_IMAGE, SUFFIXES
from assembler.errors import OptionError
from assembler.output import output_path
from assembler.request import RunOptions
from assembler.squashfs import COMPRESSIONS, PRESETS, SquashfsOptions
from assembler.views import MODES
from layers.descriptor import Platform
from layers.errors import StoreError
from layers.limits import Limits
from layers.sources import Wanted

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from assembler.assembling import Settings
    from assembler.destination import Destination

_DOCKER_MODES = {"tty": "rich", "rawjson": "json", "quiet": "none"}


def _output(kinds: Iterable[str]) -> Any:
    return typer.Option(
        "--output",
        "-o",
        metavar="OUT.gvmi|type=TYPE,dest=FILE",
        help=f"Where the image goes, and as what: {', '.join(kinds)}; a file, a folder, or - for "
        "standard output; default NAME-TAG-ID.gvmi here; may be given several times.",
    )


Output = Annotated[list[str] | None, _output(OF_ANY_IMAGE)]
BuildOutput = Annotated[list[str] | None, _output(SUFFIXES)]
PlatformOption = Annotated[
    str | None,
    typer.Option(
        "--platform",
        metavar="OS/ARCH[/VARIANT]",
        help="The platform to choose; default linux/amd64.",
    ),
]
Compression = Annotated[
    str | None,
    typer.Option(
        "--compression",
        metavar="|".join(COMPRESSIONS),
        help="The compression of the squashfs; default that of --preset.",
    ),
]
Level = Annotated[
    int | None,
    typer.Option(
        "--level", metavar="N", help="The compression level, from 1; default that of --preset."
    ),
]
Preset = Annotated[
    str | None,
    typer.Option(
        "--preset",
        metavar="|".join(PRESETS),
        help="fast is gzip 1, balanced gzip 6 (the default), small xz.",
    ),
]
BlockSize = Annotated[
    int,
    typer.Option(
        "--block-size", metavar="BYTES", help="Squashfs block size (power of two, 4096 to 1048576)."
    ),
]
Processors = Annotated[
    int | None,
    typer.Option("--processors", metavar="N", help="Processors for mksquashfs; default all."),
]
ProgressMode = Annotated[
    str,
    typer.Option("--progress", metavar="|".join(MODES), help="How progress is shown, on stderr."),
]
Quiet = Annotated[bool, typer.Option("--quiet", "-q", help="Print the output's path alone.")]
Report = Annotated[
    Path | None,
    typer.Option(
        "--report",
        metavar="FILE",
        parser=output_path,
        help="Write all there is to tell as JSON; - for standard output.",
    ),
]
Epoch = Annotated[
    str | None,
    typer.Option(
        "--source-date-epoch",
        metavar="N",
        help="Seconds since 1970 for what the build stamps; default $SOURCE_DATE_EPOCH, else the "
        "base image's creation.",
    ),
]
KeepUser = Annotated[bool, typer.Option("--keep-user", help="Keep USER in the image, as UID:GID.")]


def _store(text: str) -> Path:
    if not text:
        raise StoreError("--store is empty; pass the directory of the content store")
    return Path(text)


Store = Annotated[
    Path | None,
    typer.Option(
        "--store",
        metavar="DIR",
        parser=_store,
        help="The content store; default $XDG_CACHE_HOME/golem-assemble.",
    ),
]
LimitOption = Annotated[
    list[str] | None,
    typer.Option(
        "--limit",
        metavar="NAME=N",
        help="Raise a limit on what images may hold (docs/security.md).",
    ),
]
Sandbox = Annotated[
    str,
    typer.Option(
        "--sandbox",
        metavar="auto|NAME",
        help="How RUN is isolated; golem-assemble sandbox lists the names.",
    ),
]
RunTimeout = Annotated[
    str | None,
    typer.Option(
        "--run-timeout", metavar="SECONDS|none", help="How long one RUN may take; default no limit."
    ),
]
RunOutputLimit = Annotated[
    str,
    typer.Option("--run-output-limit", metavar="BYTES", help="How much one RUN may print."),
]
Offline = Annotated[
    bool,
    typer.Option("--offline", help="Contact no registry, fetch no URL, give RUN no network."),
]
Debug = Annotated[bool, typer.Option("--debug", help="Show the traceback of an error.")]


def wanted(platform: str | None) -> Wanted:
    """Return the platform that was asked for, or the default."""
    if platform is None:
        return Wanted()
    if "," in platform:
        raise typer.BadParameter(
            f"{platform}: an image here is for one platform; build once for each",
            param_hint="--platform",
        )
    try:
        return Wanted(Platform.parse(platform), explicit=True)
    except ValueError as error:
        raise typer.BadParameter(str(error), param_hint="--platform") from None


def squashfs_options(
    compression: str | None,
    level: int | None,
    preset: str | None,
    block_size: int,
    processors: int | None,
) -> SquashfsOptions:
    """Join preset and single options; the single ones win."""
    if preset is not None and preset not in PRESETS:
        raise typer.BadParameter(f"choose one of {', '.join(PRESETS)}", param_hint="--preset")
    if preset is not None and compression is not None:
        raise typer.BadParameter("give either --preset or --compression", param_hint="--preset")
    preset_compression, preset_level = PRESETS[preset or "balanced"]
    if compression is None:
        compression = preset_compression
        level = preset_level if level is None else level
    try:
        return SquashfsOptions(compression, level, block_size, processors)
    except ValueError as error:
        raise typer.BadParameter(str(error)) from None


def check_squashed(options: SquashfsOptions, level: int | None, preset: str | None) -> None:
    """Raise for options that say how to compress, where nothing is compressed."""
    default = squashfs_options(None, None, None, SquashfsOptions().block_size, None)
    if level is not None or preset is not None or options != default:
        raise OptionError(
            "--compression, --level, --preset, --block-size and --processors are for .gvmi and "
            "squashfs outputs; leave them out for this type of --output"
        )


def run_options(sandbox: str, timeout: str | None, output_limit: str) -> RunOptions:
    """Read the options about RUN; a timeout of `none` or 0 is none."""
    from assembler.dockerfile.sizes import parse_memory
    from assembler.dockerfile.words import WordError
    from assembler.sandbox.rungs import NAMES

    if sandbox not in ("auto", *NAMES):
        raise typer.BadParameter(
            f"{sandbox}: choose one of auto, {', '.join(NAMES)}", param_hint="--sandbox"
        )
    try:
        limit = parse_memory(output_limit)
    except WordError as error:
        raise typer.BadParameter(str(error), param_hint="--run-output-limit") from None
    if limit < 1:
        raise typer.BadParameter("it must be at least 1 byte", param_hint="--run-output-limit")
    return RunOptions(sandbox, _seconds(timeout), limit)


def shown(progress: str, *, quiet: bool) -> str:
    """Return one of `views.MODES`; Docker's names for them are taken too."""
    mode = _DOCKER_MODES.get(progress, progress)
    if mode not in MODES:
        raise typer.BadParameter(f"choose one of {', '.join(MODES)}", param_hint="--progress")
    return "none" if quiet else mode


def _seconds(text: str | None) -> float | None:
    if text is None or text == "none":
        return None
    try:
        seconds = float(text)
    except ValueError:
        seconds = -1.0
    if not 0 <= seconds < math.inf:
        raise typer.BadParameter("write it as seconds, or none", param_hint="--run-timeout")
    return seconds or None


def settings(
    outputs: tuple[Destination, ...],
    report: Path | None,
    squashfs: SquashfsOptions,
    platform: str | None,
    epoch: str | None,
    keep_user: bool,
) -> Settings:
    """Join what `build` and `convert` have in common."""
    from assembler.assembling import Settings, chosen_epoch

    return Settings(
        outputs=outputs,
        report=report,
        squashfs=squashfs,
        wanted=wanted(platform),
        epoch=chosen_epoch(epoch, os.environ),
        keep_user=keep_user,
    )


def limits(values: Sequence[str] | None) -> Limits:
    """Return the limits, with those that were raised by name."""
    result = Limits()
    for value in values or ():
        name, equals, number = value.partition("=")
        try:
            if not equals or not number.isdecimal():
                raise ValueError("write it as NAME=N")
            result = result.override(name, int(number))
        except ValueError as error:
            raise typer.BadParameter(f"{value}: {error}", param_hint="--limit") from None
    return result

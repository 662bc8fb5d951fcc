"""Options that `build` has because `docker build` has them, and what becomes of them."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from assembler.cli import foreign
from assembler.cli.command import Command
from assembler.errors import OptionError
from assembler.printable import json_text

if TYPE_CHECKING:
    from assembler.assembling import Assembled
    from assembler.progress import Progress

NETWORKS = ("default", "none", "host")


class BuildCommand(Command):
    """`build`, which tells of the options that other builders have and it has not."""

    foreign = foreign.BUILD


@dataclass(frozen=True, slots=True)
class DockerOptions:
    """See `docker build --help`."""

    check: Annotated[
        bool, typer.Option("--check", help="Check the Dockerfile and build nothing, as `check`.")
    ] = False
    pull: Annotated[
        bool,
        typer.Option("--pull", help="Ask the registry for images, whatever the store has."),
    ] = False
    network: Annotated[
        str,
        typer.Option(
            "--network",
            metavar="|".join(NETWORKS),
            help="Network of each RUN that does not choose one; host is the default.",
        ),
    ] = "default"
    iidfile: Annotated[
        Path | None, typer.Option("--iidfile", metavar="FILE", help="Write the image's id there.")
    ] = None
    metadata_file: Annotated[
        Path | None,
        typer.Option(
            "--metadata-file", metavar="FILE", help="Write digests and names as JSON, as buildx."
        ),
    ] = None

    def begin(self, *, offline: bool) -> None:
        """Refuse before the work what makes no sense or could not be written after it."""
        from assembler.output import check_target

        if self.network not in NETWORKS:
            raise OptionError(
                f"--network {self.network}: choose one of {', '.join(NETWORKS)}; there are no "
                "other networks here"
            )
        if self.pull and offline:
            raise OptionError("--pull and --offline contradict each other; give one of them")
        if self.metadata_file is not None:
            check_target(self.metadata_file, "--metadata-file", binary=False)
        if self.iidfile is not None:
            place = check_target(self.iidfile, "--iidfile", binary=False)
            if not self.check and not place.is_stream:
                # As docker does: the id of an earlier build must not pass for a failed one's.
                place.path.unlink(missing_ok=True)

    def write(self, result: Assembled, progress: Progress) -> None:
        """Write what was asked for; nothing is written of a build that failed."""
        from assembler.output import write_text
        from assembler.report import metadata

        if self.iidfile is not None:
            write_text(self.iidfile, "--iidfile", str(result.image_id))
        if self.metadata_file is not None:
            text = json_text(metadata(result, progress)) + "\n"
            write_text(self.metadata_file, "--metadata-file", text)

"""Options that `build` has because `docker build` has them, and what becomes of them."""

from __future__ import annotations

import json
import os
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from assembler.cli import foreign
from assembler.cli.command import Command
from assembler.errors import OptionError, OutputError

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
        if self.network not in NETWORKS:
            raise OptionError(
                f"--network {self.network}: choose one of {', '.join(NETWORKS)}; there are no "
                "other networks here"
            )
        if self.pull and offline:
            raise OptionError("--pull and --offline contradict each other; give one of them")
        for option, path in self._files():
            _check_target(option, path)
        if not self.check and self.iidfile is not None and self.iidfile.is_file():
            # As docker does: the id of an earlier build must not pass for that of one that failed.
            self.iidfile.resolve().unlink()

    def write(self, result: Assembled, progress: Progress) -> None:
        """Write what was asked for; nothing is written of a build that failed."""
        from assembler.report import metadata

        if self.iidfile is not None:
            _put(self.iidfile, str(result.image_id))
        if self.metadata_file is not None:
            _put(self.metadata_file, json.dumps(metadata(result, progress), indent=2) + "\n")

    def _files(self) -> list[tuple[str, Path]]:
        named = (("--iidfile", self.iidfile), ("--metadata-file", self.metadata_file))
        return [(option, path) for option, path in named if path is not None]


def _put(path: Path, text: str) -> None:
    """Write a file whole or not at all; a link is followed, a device or a pipe is written into."""
    from assembler.output import atomic

    if _is_special(path):
        path.write_text(text, encoding="utf-8")
        return
    with atomic(path.resolve()) as temp:
        temp.write(text.encode())


def _is_special(path: Path) -> bool:
    return path.exists() and not path.is_file() and not path.is_dir()


def _check_target(option: str, path: Path) -> None:
    from assembler.output import check_target

    if _is_special(path) and os.access(path, os.W_OK):
        return
    try:
        check_target(path.resolve())
    except OutputError as error:
        raise OutputError(f"{option} {str(error).replace('by -o', f'by {option}')}") from None

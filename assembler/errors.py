"""The errors of building and packing: each says what happened, to which thing, and what to do.

Everything raised on purpose by `assembler` descends from `AssemblerError`; what comes from
`layers` descends from `layers.errors.LayersError`. The exit status of each class is the command
line's business (`assembler.cli.exits`).
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from layers.errors import LayersError


class AssemblerError(Exception):
    """Root of this package's errors; its text is one paragraph for a person."""


class OptionError(AssemblerError):
    """The command line makes no sense: an option that there is not, or a value that is none."""


class DockerfileError(AssemblerError):
    """A Dockerfile says something that is wrong, or that is not supported.

    The text begins with `NAME:LINE:` so that editors can jump there.
    """

    def __init__(self, name: str, line: int, message: str) -> None:
        super().__init__(f"{name}:{line}: {message}")
        self.name = name
        self.line = line
        self.message = message


def locate(error: LayersError | DownloadError, place: str, step: str) -> None:
    """Let *error*'s text begin with the line at *place* and the *step* there.

    It stays what it is, with its data and its exit status: `layers` knows no Dockerfile.
    """
    text = str(error)
    if not text.startswith(f"{place}: "):
        error.args = (f"{place}: {step}: {text}",)


class BuildError(AssemblerError):
    """The build cannot be done as asked: a context, an option or an instruction's effect."""


class DownloadError(AssemblerError):
    """A server does not give what ADD wants from it, for a reason that may pass."""


class RunError(AssemblerError):
    """A command of RUN failed; the text has its line, its status and its last words."""


class SandboxError(AssemblerError):
    """There is no sandbox for RUN on this machine, or it broke."""


class GuestError(AssemblerError):
    """The image could be made, but no provider could run it."""


class OutputError(AssemblerError):
    """The output cannot be written where it was asked for."""


class SquashfsError(AssemblerError):
    """mksquashfs or unsquashfs is missing, too old, failed, or was killed."""


class GvmiError(AssemblerError):
    """A file is not a sound .gvmi."""

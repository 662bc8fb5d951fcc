"""Where a build goes, and as what: `-o FILE`, or BuildKit's `--output type=...,dest=...`."""

from __future__ import annotations

import csv
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Self

from assembler.errors import BuildError, OutputError
from assembler.output import (
    STDOUT,
    Place,
    check_folder,
    check_target,
    make_folder,
    output_path,
)

if TYPE_CHECKING:
    from collections.abc import Collection, Sequence

SUFFIXES = {
    "gvmi": ".gvmi",
    "squashfs": ".squashfs",
    "tar": ".tar",
    "oci": ".oci.tar",
    "docker": ".docker.tar",
    "image": "",
}
"""What file names end in by default, by type."""
OF_ANY_IMAGE = ("gvmi", "squashfs", "tar")
"""The types that `convert` writes: those that need a tree, and no image in the store."""


@dataclass(frozen=True, slots=True)
class Destination:
    """A type of `SUFFIXES`, and a file or a folder, if one was named."""

    kind: str = "gvmi"
    path: Path | None = None
    ends_in_slash: bool = False
    """Whether the path was written as that of a folder, which is made."""

    @classmethod
    def parse(cls, text: str, kinds: Collection[str] = SUFFIXES) -> Self:
        """Read the option's value; raise `BuildError` for what is none."""
        if not text:
            raise BuildError("--output is empty; write it as type=TYPE,dest=FILE, or as a file")
        if "=" not in text.partition(",")[0]:
            return cls._at("gvmi", text)
        fields: dict[str, str] = {}
        # As BuildKit does: a value with a comma in it can be quoted.
        for item in next(csv.reader([text])):
            key, equals, value = item.partition("=")
            if not equals or not value or key not in {"type", "dest"} or key in fields:
                raise BuildError(f"--output {text}: write it as type=TYPE,dest=FILE, or as a file")
            fields[key] = value
        kind = fields.get("type", "gvmi")
        if kind not in kinds:
            raise BuildError(f"--output type={kind}: choose one of {', '.join(kinds)}")
        if kind == "image" and "dest" in fields:
            raise BuildError("--output type=image goes to the store alone; leave dest out")
        return cls._at(kind, fields["dest"]) if "dest" in fields else cls(kind)

    @classmethod
    def _at(cls, kind: str, path: str) -> Self:
        return cls(kind, output_path(path), path.endswith("/"))

    @property
    def needs_mksquashfs(self) -> bool:
        """Whether a squashfs is made."""
        return self.kind in {"gvmi", "squashfs"}

    @property
    def folder(self) -> Path | None:
        """The folder that the output is put into, under its default name."""
        if self.path is None:
            return Path()
        return self.path if self.ends_in_slash or self.path.is_dir() else None

    def target(self, default_name: str) -> Path:
        """Return the file to be written; a folder is made for it where it is missing."""
        folder = self.folder
        if folder is None:
            return self.path or STDOUT
        make_folder(folder)
        return folder / default_name

    def check(self) -> tuple[str, str] | None:
        """Raise `OutputError` if nothing can be written there; return what no other may be."""
        if self.kind == "image":
            return None
        try:
            folder = self.folder
        except OSError as error:
            raise OutputError(f"{self.path} cannot be written ({error.strerror})") from None
        if folder is not None:
            check_folder(folder)
            return str(folder.resolve()), f"*{SUFFIXES[self.kind]}"
        return _identity(check_target(self.path or STDOUT))


def check_outputs(destinations: Sequence[Destination], report: Path | None) -> None:
    """Raise `OutputError` for what cannot be written, or would be written twice."""
    found = [destination.check() for destination in destinations]
    if report is not None:
        found.append(_identity(check_target(report, "--report", binary=False)))
    named = [identity for identity in found if identity is not None]
    for identity in named:
        if named.count(identity) > 1:
            place = "/".join(identity) if identity[1] else identity[0]
            raise OutputError(
                f"{place} would be written twice; name another place by -o or --report"
            )


def writes_stdout(destinations: Sequence[Destination], report: Path | None) -> bool:
    """Whether an output goes to standard output, where people are then told nothing."""
    named = [d.path for d in destinations if d.path is not None and d.folder is None]
    return any(Place.of(path).is_stdout for path in (*named, *([report] if report else ())))


def _identity(place: Place) -> tuple[str, str] | None:
    """Return what makes two places one; any number of outputs may go into a device."""
    if place.is_stdout:
        return "standard output", ""
    return None if place.is_stream else (str(place.path.parent), place.path.name)

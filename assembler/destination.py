"""Where a build goes, and as what: `-o FILE`, or BuildKit's `--output type=...,dest=...`."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Self

from assembler.errors import BuildError

SUFFIXES = {
    "gvmi": ".gvmi",
    "squashfs": ".squashfs",
    "tar": ".tar",
    "oci": ".oci.tar",
    "docker": ".docker.tar",
    "image": "",
}
"""What file names end in by default, by type."""


@dataclass(frozen=True, slots=True)
class Destination:
    """A type of `SUFFIXES`, and a file, if one was named."""

    kind: str = "gvmi"
    path: Path | None = None

    @classmethod
    def parse(cls, text: str | None) -> Self:
        """Read the option's value; raise `BuildError` for what is none."""
        if text is None:
            return cls()
        if "=" not in text.partition(",")[0]:
            return cls(path=Path(text))
        fields: dict[str, str] = {}
        for item in text.split(","):
            key, equals, value = item.partition("=")
            if not equals or not value or key not in {"type", "dest"} or key in fields:
                raise BuildError(f"--output {text}: write it as type=TYPE,dest=FILE, or as a file")
            fields[key] = value
        kind = fields.get("type", "gvmi")
        if kind not in SUFFIXES:
            raise BuildError(f"--output type={kind}: choose one of {', '.join(SUFFIXES)}")
        if kind == "image" and "dest" in fields:
            raise BuildError("--output type=image goes to the store alone; leave dest out")
        return cls(kind, Path(fields["dest"]) if "dest" in fields else None)

    @property
    def needs_mksquashfs(self) -> bool:
        """Whether a squashfs is made."""
        return self.kind in {"gvmi", "squashfs"}

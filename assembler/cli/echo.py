"""What commands print: the one way for their text to standard output and error."""

from __future__ import annotations

from typing import Any

import typer

from assembler.printable import json_text, printable


def echo(line: str, *, err: bool = False, end: str = "\n") -> None:
    """Print one line for people; what would steer their terminal becomes visible."""
    typer.echo(printable(line) + end, err=err, nl=False)


def echo_json(value: Any) -> None:
    """Print *value* as JSON, for programs and for people."""
    typer.echo(json_text(value))

"""Words of instructions, checked and turned into what configs and histories have. Pure."""

from __future__ import annotations

import json
import re
import signal
from typing import TYPE_CHECKING

from assembler.dockerfile import instructions as ast
from assembler.errors import BuildError
from layers.decimals import decimal

if TYPE_CHECKING:
    from collections.abc import Iterable

_PORT = re.compile(r"(\d{1,5})(?:-(\d{1,5}))?(?:/([a-z]+))?", re.ASCII)
_PROTOCOLS = frozenset({"tcp", "udp", "sctp"})
_PORT_MAX = 65535
_REALTIME_SIGNALS = 30


def expand_ports(spec: str) -> list[str]:
    """Return `PORT/PROTOCOL` for each port of `PORT[-PORT][/PROTOCOL]`."""
    match = _PORT.fullmatch(spec.lower())
    first, last = (int(match[1]), int(match[2] or match[1])) if match else (0, 0)
    protocol = (match[3] or "tcp") if match else ""
    if not 0 < first <= last <= _PORT_MAX or protocol not in _PROTOCOLS:
        raise BuildError(f"{spec!r} is no port; write PORT, PORT-PORT, with /tcp, /udp or /sctp")
    return [f"{port}/{protocol}" for port in range(first, last + 1)]


def is_signal(text: str) -> bool:
    """Whether *text* is a signal's number or name, with or without SIG, in any case."""
    if text.isascii() and text.isdigit():
        return bool(decimal(text, signal.SIGRTMAX))
    name = text.upper().removeprefix("SIG")
    base, sign, offset = name.partition("+" if name.startswith("RTMIN") else "-")
    if sign and base in {"RTMIN", "RTMAX"}:
        return decimal(offset, _REALTIME_SIGNALS) is not None
    return f"SIG{name}" in signal.Signals.__members__


def copy_text(instruction: ast.Copy | ast.Add) -> str:
    """Return COPY's or ADD's flags, sources and destination for the history."""
    flags = [
        f"--{name}={value}" for name in ("chown", "chmod") if (value := getattr(instruction, name))
    ]
    if isinstance(instruction, ast.Copy) and instruction.origin:
        flags.append(f"--from={instruction.origin}")
    inline = [f"<<{item.name}" for item in instruction.inline]
    return " ".join([*flags, *instruction.sources, *inline, instruction.destination])


def quoted(words: Iterable[str]) -> str:
    """Return words as histories show a JSON form."""
    return f"[{' '.join(json.dumps(word, ensure_ascii=False) for word in words)}]"

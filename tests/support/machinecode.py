"""Tiny x86-64 programs that do system calls and nothing else, as files to put into an image."""

from __future__ import annotations

import struct
from dataclasses import dataclass

BASE = 0x1000_0000
_HEADERS = 64 + 56
_REGISTERS = (b"\x48\xbf", b"\x48\xbe", b"\x48\xba", b"\x49\xba", b"\x49\xb8", b"\x49\xb9")
"""mov rdi|rsi|rdx|r10|r8|r9, 8 bytes"""
_RAX = b"\x48\xb8"
_SYSCALL = b"\x0f\x05"
_INT_80 = b"\xcd\x80"
# The last result, negated, is the exit status: 0, or the number of the error.
_EXIT = b"\xf7\xd8\x89\xc7\xb8\xe7\x00\x00\x00\x0f\x05"


@dataclass(frozen=True, slots=True)
class Call:
    """A system call. Arguments are numbers, or bytes, of which the address is given."""

    number: int
    arguments: tuple[int | bytes, ...] = ()
    instruction: bytes = _SYSCALL


def call(number: int, *arguments: int | bytes) -> Call:
    return Call(number, arguments)


def call_32_bit(number: int) -> Call:
    return Call(number, (), _INT_80)


def program(*calls: Call) -> bytes:
    """An ELF executable that does *calls*; it exits with the number of the last one's error."""
    size = sum(len(_code(one, [0] * len(one.arguments))) for one in calls) + len(_EXIT)
    code, data = b"", b""
    for one in calls:
        values = []
        for argument in one.arguments:
            if isinstance(argument, bytes):
                values.append(BASE + _HEADERS + size + len(data))
                data += argument
            else:
                values.append(argument)
        code += _code(one, values)
    whole = _HEADERS + size + len(data)
    header = b"\x7fELF\2\1\1" + bytes(9)
    header += struct.pack("<HHIQQQIHHHHHH", 2, 62, 1, BASE + _HEADERS, 64, 0, 0, 64, 56, 1, 0, 0, 0)
    header += struct.pack("<IIQQQQQQ", 1, 7, 0, BASE, BASE, whole, whole, 4096)
    return header + code + _EXIT + data


def _code(one: Call, values: list[int]) -> bytes:
    moves = [
        register + struct.pack("<Q", value & 0xFFFFFFFFFFFFFFFF)
        for register, value in zip(_REGISTERS, values, strict=False)
    ]
    return b"".join(moves) + _RAX + struct.pack("<Q", one.number) + one.instruction

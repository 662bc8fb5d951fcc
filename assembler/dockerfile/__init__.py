"""Dockerfiles: text in, instructions out. Pure: no file is read here, no image known.

lexer        directives, comments, continuations, here-documents -> logical lines
words        quotes, flags, JSON arrays
parser       logical lines -> typed `instructions`
stages       the whole file; `parse` is the entry
expansion    `$NAME` and its forms; `expanding` knows where they apply
"""

from __future__ import annotations

from assembler.dockerfile.expanding import expand_instruction
from assembler.dockerfile.expansion import ExpansionError, expand, expand_words
from assembler.dockerfile.instructions import ExecForm, Instruction, ShellForm
from assembler.dockerfile.stages import Dockerfile, Stage, parse

__all__ = [
    "Dockerfile",
    "ExecForm",
    "ExpansionError",
    "Instruction",
    "ShellForm",
    "Stage",
    "expand",
    "expand_instruction",
    "expand_words",
    "parse",
]

"""Dockerfiles: text in, instructions out. Pure: no file is read here, no image known.

words, flags     what an instruction's text is cut into; JSON arrays; `--name=value`
heredocs         here-documents
lexer            directives, comments, continuations, here-documents -> logical lines
parser, copying  logical lines -> typed `instructions`
mounts           RUN's `--mount`; `mounttext` cuts it up
redacting        what is shown of URLs
stages           the whole file; `parse` is the entry
expansion        `$NAME` and its forms, `patterns` in them; `expanding` knows where they apply

BuildKit's frontend is the reference for what a text means. Raised is `DockerfileError`, with the
line; `expand` and `expand_words`, which know no line, raise `ExpansionError`.
"""

from __future__ import annotations

from assembler.dockerfile.expanding import expand_instruction
from assembler.dockerfile.expansion import (
    Budget,
    ExpansionError,
    Quoting,
    Recording,
    expand,
    expand_words,
)
from assembler.dockerfile.instructions import ExecForm, Instruction, ShellForm
from assembler.dockerfile.lexer import Location
from assembler.dockerfile.mounts import run_mounts
from assembler.dockerfile.redacting import redact
from assembler.dockerfile.stages import Dockerfile, Stage, parse, parse_trigger

__all__ = [
    "Budget",
    "Dockerfile",
    "ExecForm",
    "ExpansionError",
    "Instruction",
    "Location",
    "Quoting",
    "Recording",
    "ShellForm",
    "Stage",
    "expand",
    "expand_instruction",
    "expand_words",
    "parse",
    "parse_trigger",
    "redact",
    "run_mounts",
]

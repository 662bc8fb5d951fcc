"""What shells complete: images of the store, `.gvmi` files, stages. Quick, quiet, and read only."""

from __future__ import annotations

import io
import json
import os
from contextlib import redirect_stderr, redirect_stdout, suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any

import typer

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, MutableMapping

VARIABLE = "_GOLEM_ASSEMBLE_COMPLETE"
"""Set by the scripts of `--show-completion`: the shell wants words, and nothing else is done."""
_READ_MAX = 4_000_000
_BREAKS = (":", "=")
"""What bash cuts words at, beside blanks (COMP_WORDBREAKS)."""


def answer(program: Callable[[], None]) -> int:
    """Let *program* print completions; return its status. Nothing else is printed, ever."""
    before = ""
    if os.environ.get(VARIABLE) == "complete_bash":
        before = join_words(os.environ)
    printed = io.StringIO()
    status = 1
    with redirect_stdout(printed), redirect_stderr(io.StringIO()):
        try:
            program()
        except SystemExit as leaving:
            status = leaving.code if isinstance(leaving.code, int) else 1
        except Exception:  # a shell shows whatever is printed in the middle of its line
            return status
    for line in printed.getvalue().splitlines():
        print(line.removeprefix(before))
    return status


def join_words(environ: MutableMapping[str, str]) -> str:
    """Join what bash has cut at colons and equals signs; return what it will not replace.

    It takes `debian:la` for three words, of which a completion replaces the last one.
    """
    cut = environ.get("COMP_WORDS", "").split("\n")
    current = environ.get("COMP_CWORD", "")
    current_index = int(current) if current.isdecimal() else 0
    words: list[str] = []
    place = 0
    for index, word in enumerate(cut):
        if words and index > 1 and (word in _BREAKS or words[-1].endswith(_BREAKS)):
            words[-1] += word
        else:
            words.append(word)
        if index == current_index:
            place = len(words) - 1
    environ["COMP_WORDS"], environ["COMP_CWORD"] = "\n".join(words), str(place)
    word = words[place] if place < len(words) else ""
    if word.startswith("--"):
        word = word.partition("=")[2]
    return word[: word.rfind(":") + 1]


def images(ctx: typer.Context, incomplete: str) -> list[str]:
    """Return the names in the store that begin so; an own store is named by `--store` before."""
    with suppress(Exception):
        return sorted({name for name in _names(ctx) if name.startswith(incomplete)})
    return []


def subjects(ctx: typer.Context, incomplete: str) -> list[str]:
    """Return the names in the store and the `.gvmi` files that begin so."""
    with suppress(Exception):
        head = incomplete.rpartition("/")[0]
        folder = Path(head) if head else Path("/" if incomplete.startswith("/") else ".")
        names = (str(path) for path in folder.iterdir() if path.suffix == ".gvmi")
        files = [name for name in names if name.isprintable()]
        return images(ctx, incomplete) + sorted(f for f in files if f.startswith(incomplete))
    return images(ctx, incomplete)


def stages(ctx: typer.Context, incomplete: str) -> list[str]:
    """Return the names of the Dockerfile's stages; it is that of `-f`, or of this folder."""
    with suppress(Exception):
        from assembler.dockerfile import parse

        context, file = ctx.params.get("context"), ctx.params.get("file")
        path = Path(file) if file else Path(context or ".") / "Dockerfile"
        parsed = parse(_read(path), path.name)
        return [stage.name for stage in parsed.stages if stage.name.startswith(incomplete or "")]
    return []


def _names(ctx: typer.Context) -> Iterator[str]:
    """Yield the store's names. A store that there is not is not made, and no lock is taken."""
    from layers.store import REF_NAME, default_root

    root = Path(ctx.params.get("store") or default_root())
    index: Any = json.loads(_read(root / "index.json"))
    for entry in index["manifests"]:
        name = entry.get("annotations", {}).get(REF_NAME)
        if isinstance(name, str) and name.isprintable() and " " not in name:
            yield name


def _read(path: Path) -> bytes:
    if not path.is_file():  # reading a FIFO would wait
        return b""
    with path.open("rb") as file:
        return file.read(_READ_MAX)

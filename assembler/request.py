"""What somebody asks `build` for: options as text become names, sources and values."""

from __future__ import annotations

import os
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Self

from assembler.buildsecrets import read_secrets
from assembler.errors import BuildError
from layers.errors import InvalidReference
from layers.reference import Reference, parse_source

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from assembler.buildsecrets import Secret


@dataclass(frozen=True, slots=True)
class RunOptions:
    """How RUNs are done. *sandbox* names a way to isolate them; `auto` is the best that works."""

    sandbox: str = "auto"
    timeout: float | None = None
    """Seconds that one RUN may take; `None` is without end."""
    output_limit: int = 64 << 20
    """Bytes that one RUN may print."""
    network: str = "default"
    """What `RUN --network=default` means: `none`, or `default` and `host`, the machine's."""


@dataclass(frozen=True, slots=True)
class Request:
    """What to build. *file* is the Dockerfile's path, `-`, or `None` for the context's own."""

    context: str
    file: str | None
    tags: tuple[Reference, ...]
    target: str | None
    contexts: Mapping[str, str]
    arguments: Mapping[str, str]
    """Build arguments; one without a value that the environment lacks is left out."""
    labels: Mapping[str, str]
    cache: bool = True
    secrets: Mapping[str, Secret] = field(default_factory=dict)
    run: RunOptions = field(default_factory=RunOptions)

    @property
    def context_name(self) -> str:
        """What an image without a name is called after."""
        if self.context == "-":
            return "context"
        return Path(self.context.partition("://")[2] or self.context).resolve().stem or "context"

    @classmethod
    def of(
        cls,
        context: str,
        file: str | None = None,
        tags: Sequence[str] = (),
        target: str | None = None,
        contexts: Sequence[str] = (),
        arguments: Sequence[str] = (),
        labels: Sequence[str] = (),
        *,
        cache: bool = True,
        secrets: Sequence[str] = (),
        run: RunOptions | None = None,
    ) -> Self:
        """Read the options' text, and the secrets; raise `BuildError` for what is wrong there."""
        if context == "-" and file == "-":
            raise BuildError("the context and the Dockerfile cannot both come on standard input")
        return cls(
            context=context,
            file=file,
            tags=tuple(map(_parse_tag, tags)),
            target=target,
            contexts=dict(map(_parse_context, contexts)),
            arguments=dict(_parse_arguments(arguments)),
            labels=dict(map(_parse_label, labels)),
            cache=cache,
            secrets=read_secrets(secrets, os.environ),
            run=run or RunOptions(),
        )


def _parse_tag(tag: str) -> Reference:
    reference = Reference.parse(tag)
    if reference.digest is not None:
        raise BuildError(f"-t {tag}: a name for an image cannot hold a digest")
    return reference


def _parse_context(text: str) -> tuple[str, str]:
    name, equals, source = text.partition("=")
    if not name or not equals or not source:
        raise BuildError(f"--build-context {text}: write it as NAME=SOURCE, as debian=oci:folder")
    if source.startswith("oci-layout://"):
        source = "oci:" + source.removeprefix("oci-layout://")
    if source.startswith("docker-image://"):
        source = source.removeprefix("docker-image://")
    if source.startswith(("https:", "http:", "git:", "git@", "ssh:")):
        raise BuildError(
            f"--build-context {text}: contexts are not fetched; clone or download it, and name the "
            "folder"
        )
    if "/" in source and source.startswith((".", "/")) and not Path(source).is_dir():
        raise BuildError(f"--build-context {text}: {source} is not a directory")
    if not Path(source).is_dir():
        try:
            parse_source(source)
        except InvalidReference as error:
            raise BuildError(f"--build-context {text}: {error}") from None
    return name, source


def _parse_arguments(texts: Sequence[str]) -> Iterator[tuple[str, str]]:
    """Yield names and values; a name alone takes its value from the environment, if it has one."""
    for text in texts:
        name, equals, value = text.partition("=")
        if not name:
            raise BuildError(f"--build-arg {text}: write it as NAME=VALUE")
        if equals:
            yield name, value
        elif name in os.environ:
            yield name, os.environ[name]


def _parse_label(text: str) -> tuple[str, str]:
    name, _, value = text.partition("=")
    if not name:
        raise BuildError(f"--label {text}: write it as NAME=VALUE")
    return name, value

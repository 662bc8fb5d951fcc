"""`build`: a Dockerfile, its base image, and the image that comes of them."""

from __future__ import annotations

import gzip
import os
import sys
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Self

from assembler import dockerfile, planning
from assembler.assembling import Assembled, Settings, Subject, check_before_work, finish, open_tree
from assembler.builder import Builder, scratch_config
from assembler.epoch import epoch_of_created
from assembler.errors import BuildError
from assembler.scope import Arguments, GlobalScope, StageScope, platform_args
from layers import descriptor as media
from layers import tarwriter
from layers.descriptor import Descriptor
from layers.digest import Digest
from layers.image import ImageConfig, build_manifest
from layers.reference import Reference
from layers.tree import Tree

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from assembler.dockerfile import Dockerfile
    from assembler.planning import Plan
    from assembler.progress import Progress
    from layers.image import Image
    from layers.session import Session

_DOCKERFILE_LIMIT = 10_000_000


@dataclass(frozen=True, slots=True)
class Request:
    """What to build."""

    text: bytes
    file_name: str
    context_name: str
    tag: Reference | None
    contexts: dict[str, str]
    arguments: dict[str, str]

    @classmethod
    def of(
        cls,
        context: Path,
        file: str | None,
        tag: str | None,
        contexts: Sequence[str],
        arguments: Sequence[str],
    ) -> Self:
        """Read the Dockerfile and the options' text; raise `BuildError` for what is wrong there."""
        if not context.is_dir():
            advice = (
                "a context on standard input is not supported yet"
                if str(context) == "-"
                else "it is no folder"
            )
            raise BuildError(f"{context}: {advice}; name the folder that holds the Dockerfile")
        text, name = _read_dockerfile(context, file)
        return cls(
            text=text,
            file_name=name,
            context_name=context.resolve().name,
            tag=_parse_tag(tag),
            contexts=dict(_parse_context(item) for item in contexts),
            arguments=dict(_parse_argument(item) for item in arguments),
        )


def build(request: Request, settings: Settings, session: Session, progress: Progress) -> Assembled:
    """Build the last stage of the Dockerfile into a `.gvmi`."""
    parsed = dockerfile.parse(request.text, request.file_name)
    for warning in parsed.warnings:
        progress.warn(warning)
    arguments = Arguments(request.arguments)
    scope = GlobalScope(arguments, platform_args(settings.wanted.platform))
    plan = planning.plan(parsed, scope, request.contexts, settings.wanted)
    check_before_work(settings)
    with _base(plan, session, progress) as (image, tree):
        config = image.config if image else scratch_config(plan.wanted.platform)
        epoch = settings.epoch
        if epoch is None:
            epoch = epoch_of_created(config.created)
        builder = Builder(tree, config, epoch, parsed.escape, progress.warn)
        with progress.step("Dockerfile"):
            _run(builder, plan, parsed, scope)
        for name in arguments.unused():
            progress.warn(
                f"--build-arg {name}: no ARG of that name is declared; check its spelling"
            )
        layer = _added_layer(builder)
        result = builder.result(Digest.of(layer) if layer else None)
        raw = result.serialize()
        name = str(request.tag) if request.tag else f"{request.context_name}-latest"
        subject = Subject(tree, result, Digest.of(raw), name.replace(":", "-"), epoch)
        packed, trailer = finish(subject, settings, progress)
        if request.tag:
            with progress.step("tag"):
                _tag(request.tag, image, raw, layer, session)
    return Assembled(
        packed=packed,
        config=result,
        image_id=Digest.of(raw),
        base_digest=image.manifest.digest if image else None,
        layers=tuple(item.digest for item in image.manifest.layers) if image else (),
        tag=str(request.tag) if request.tag else None,
        trailer=trailer,
    )


@contextmanager
def _base(plan: Plan, session: Session, progress: Progress) -> Iterator[tuple[Image | None, Tree]]:
    with ExitStack() as stack:
        if plan.base is None:
            yield None, Tree()
        else:
            yield stack.enter_context(open_tree(plan.base, plan.wanted, session, progress))


def _run(builder: Builder, plan: Plan, parsed: Dockerfile, scope: GlobalScope) -> None:
    where = f"ONBUILD of {plan.base_name}"
    triggers = tuple(dockerfile.parse_trigger(text, where) for text in builder.take_triggers())
    planning.check_supported(triggers)
    for number, stage in enumerate(plan.stages):
        stage_scope = StageScope(scope)
        builder.begin_stage(stage_scope)
        inherited = triggers if number == 0 else ()
        for instruction in (*inherited, *stage.instructions):
            builder.do(instruction, stage_scope)


def _added_layer(builder: Builder) -> bytes | None:
    """Return the tar of what the instructions added; `None` if that is nothing."""
    if not builder.added:
        return None
    headers = [
        tarwriter.header(path, node) for path, node in sorted(builder.added, key=lambda a: a[0])
    ]
    return b"".join([*headers, tarwriter.END])


def _tag(
    tag: Reference, image: Image | None, config: bytes, layer: bytes | None, session: Session
) -> None:
    """Put the whole image into the store, so that its name can be used again, and name it."""
    store = session.store
    layers = list(image.manifest.layers) if image else []
    if image is not None:
        for base_layer in layers:
            if not store.has(base_layer):
                with image.source.open_blob(base_layer) as chunks:
                    store.ingest(base_layer, chunks)
    if layer is not None:
        blob = gzip.compress(layer, mtime=0)
        layers.append(Descriptor(media.OCI_LAYER_GZIP, store.add(blob), len(blob)))
    manifest = build_manifest(Descriptor(media.OCI_CONFIG, store.add(config), len(config)), layers)
    platform = ImageConfig.parse(config, "config").platform
    store.tag(
        str(tag), Descriptor(media.OCI_MANIFEST, store.add(manifest), len(manifest), platform)
    )


def _read_dockerfile(context: Path, file: str | None) -> tuple[bytes, str]:
    if file == "-":
        return _limited(sys.stdin.buffer.read(_DOCKERFILE_LIMIT + 1), "-"), "Dockerfile"
    path = Path(file) if file else context / "Dockerfile"
    try:
        with path.open("rb") as stream:
            return _limited(stream.read(_DOCKERFILE_LIMIT + 1), str(path)), path.name
    except FileNotFoundError:
        advice = "check -f" if file else "name it by -f"
        raise BuildError(f"{path}: there is no such Dockerfile; {advice}") from None
    except OSError as error:
        raise BuildError(f"{path}: it cannot be read ({error.strerror})") from None


def _limited(data: bytes, name: str) -> bytes:
    if len(data) > _DOCKERFILE_LIMIT:
        raise BuildError(
            f"{name}: more than {_DOCKERFILE_LIMIT:,} bytes; no Dockerfile is that long"
        )
    return data


def _parse_tag(tag: str | None) -> Reference | None:
    if tag is None:
        return None
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
    if Path(source).is_dir() or source.startswith(("https:", "http:", "git:")):
        raise BuildError(
            f"--build-context {text}: only images are supported yet (docker://..., oci:DIR, "
            "oci-archive:FILE, docker-archive:FILE)"
        )
    return name, source


def _parse_argument(text: str) -> tuple[str, str]:
    name, equals, value = text.partition("=")
    if not name:
        raise BuildError(f"--build-arg {text}: write it as NAME=VALUE")
    if not equals:
        if name not in os.environ:
            raise BuildError(f"--build-arg {name}: it has no value, and the environment has none")
        value = os.environ[name]
    return name, value

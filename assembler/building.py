"""`build`: a Dockerfile, its base images, and the image that comes of them."""

from __future__ import annotations

from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING

from assembler import dockerfile, planning
from assembler.assembling import (
    Assembled,
    Settings,
    Subject,
    check_before_work,
    export_tar,
    target_path,
    write_outputs,
)
from assembler.builder import Builder, scratch_config
from assembler.context import open_context
from assembler.copystep import Times
from assembler.epoch import epoch_of_created
from assembler.errors import locate
from assembler.exporting import write_archive
from assembler.hands import Manner
from assembler.packing import Packed
from assembler.running import Machine
from assembler.scope import Arguments, GlobalScope, StageScope, platform_args
from assembler.stagenames import check_stage_names, is_stored, similar_stage
from assembler.stepkey import first_key
from assembler.storing import keep_image
from assembler.unused import unused_options
from assembler.workplace import Workplace
from layers.digest import Digest
from layers.errors import AccessDenied, ImageNotFound, LayersError
from layers.image import Manifest
from layers.tree import Tree
from layers.treesize import check_tree

if TYPE_CHECKING:
    from collections.abc import Iterator

    from assembler.destination import Destination
    from assembler.dockerfile import Dockerfile, Instruction, Stage
    from assembler.planning import Plan, StagePlan
    from assembler.progress import Progress
    from assembler.request import Request
    from layers.descriptor import Descriptor
    from layers.image import Image, ImageConfig
    from layers.reference import LocalReference, Reference
    from layers.session import Session


_WARNINGS = 20
"""Of sockets; a context may hold very many."""


@dataclass(frozen=True, slots=True)
class BuiltStage:
    """A stage that is done. *image* is the one that it begins with, through all its parents."""

    tree: Tree
    config: ImageConfig
    image: Image | None
    made: tuple[Descriptor, ...]
    """The layers that were made upon that image, bottom first."""
    epoch: int
    key: str


def build(request: Request, settings: Settings, session: Session, progress: Progress) -> Assembled:
    """Build the wanted stage of the Dockerfile, into the store and into what was asked for."""
    with built(request, settings, session, progress) as result:
        check_tree(result.tree, session.limits)
        raw = result.config.serialize()
        name = str(request.tags[0]) if request.tags else f"{request.context_name}-latest"
        subject = Subject(
            result.tree, result.config, Digest.of(raw), name.replace(":", "-"), result.epoch
        )
        with progress.step("store"):
            descriptor = keep_image(result.image, raw, result.made, session)
        other = partial(_write_other, subject, descriptor, request, session, progress)
        outputs, trailer = write_outputs(subject, settings, progress, other)
        for tag in request.tags:
            session.store.tag(str(tag), descriptor)
    base = result.image
    return Assembled(
        outputs=outputs,
        config=result.config,
        image_id=Digest.of(raw),
        base_digest=base.manifest.digest if base else None,
        layers=tuple(
            layer.digest for layer in (*(base.manifest.layers if base else ()), *result.made)
        ),
        tags=tuple(map(str, request.tags)),
        trailer=trailer,
        manifest=descriptor,
    )


def _write_other(
    subject: Subject,
    descriptor: Descriptor,
    request: Request,
    session: Session,
    progress: Progress,
    output: Destination,
) -> Packed:
    """Write an output that is no squashfs; for `image` there is nothing to write."""
    kind = output.kind
    if kind == "tar":
        return export_tar(subject, output, progress)
    if kind == "image":
        manifest = Manifest.parse(session.store.read(descriptor), "the manifest")
        return Packed(None, sum(layer.size for layer in manifest.layers), kind=kind)
    target = target_path(subject, output)
    with progress.step(kind):
        size = write_archive(
            target, descriptor, request.tags, session.store, docker=kind == "docker"
        )
    return Packed(target, size, kind=kind)


@contextmanager
def built(
    request: Request, settings: Settings, session: Session, progress: Progress
) -> Iterator[BuiltStage]:
    """Build the wanted stage; its tree's data can be read inside the context.

    Everything that can be known beforehand is checked before anything is fetched.
    """
    with ExitStack() as stack:
        context = stack.enter_context(open_context(request.context, session))
        file = context.build_file(request.file)
        parsed = dockerfile.parse(file.text, file.name)
        for warning in parsed.warnings:
            progress.warn(warning)
        arguments = Arguments(request.arguments)
        scope = GlobalScope(arguments, platform_args(settings.wanted.platform))
        plan = planning.plan(parsed, scope, request.contexts, settings.wanted, request.target)
        check_stage_names(plan, parsed, request.contexts, partial(is_stored, session.store))
        for planned in plan.stages:
            _check(planned.stage.instructions, request, session)
        check_before_work(settings)
        source = context.source(file.rules, file.ignore_name)
        workplace = Workplace(
            session, progress, stack, parsed, request.contexts, settings.wanted, source,
            cache=request.cache, needs_checksums=settings.epoch is not None,
            run_options=request.run, latest=settings.epoch,
        )  # fmt: skip
        runs = [run for planned in plan.stages for run in planning.runs(planned.stage.instructions)]
        if runs:
            workplace.commands(runs[0].location.place)  # before anything is fetched in vain
        stages = _Stages(plan, parsed, scope, workplace, settings, request)
        result = stages.build()
        for text in unused_options(parsed, stages.triggers, scope, request):
            progress.warn(text)
        for path in source.skipped[:_WARNINGS]:
            progress.warn(f"{path} is a socket, which no image can hold; it was left out")
        if len(source.skipped) > _WARNINGS:
            progress.warn(f"{len(source.skipped) - _WARNINGS:,} more sockets were left out")
        yield result


def _check(instructions: tuple[Instruction, ...], request: Request, session: Session) -> None:
    """Raise for what this machine and these options do not allow."""
    planning.check_secrets(instructions, request.secrets)
    if session.offline:
        planning.check_offline(instructions)


class _Places:
    """Counts a stage's instructions, FROM first: `build 2/5`, as BuildKit does."""

    def __init__(self, stage: Stage, stages: int) -> None:
        self._name = stage.name or (f"stage-{stage.index}" if stages > 1 else "")
        self._count = 0
        self.total = 1 + len(stage.instructions)

    def next(self) -> str:
        """Return where the next instruction stands."""
        self._count += 1
        return f"{self._name} {self._count}/{self.total}".lstrip()


class _Stages:
    """The stages of a plan, built one after another."""

    def __init__(
        self,
        plan: Plan,
        parsed: Dockerfile,
        scope: GlobalScope,
        workplace: Workplace,
        settings: Settings,
        request: Request,
    ) -> None:
        self._plan = plan
        self._parsed = parsed
        self._scope = scope
        self._workplace = workplace
        self._settings = settings
        self._request = request
        self._built: dict[int, BuiltStage] = {}
        self._scopes: dict[int, StageScope] = {}
        self.triggers: list[Instruction] = []
        """Those of all base images, once they were done."""
        self._machine = Machine(
            request.secrets,
            network=not workplace.session.offline,
            default_network=request.run.network,
        )

    def build(self) -> BuiltStage:
        """Build all; return the target."""
        for planned in self._plan.stages:
            built = self._build(planned)
            self._built[planned.stage.index] = built
            self._workplace.trees[planned.stage.index] = built.tree
        return self._built[self._plan.target.stage.index]

    def _build(self, planned: StagePlan) -> BuiltStage:
        progress = self._workplace.progress
        places = _Places(planned.stage, len(self._parsed.stages))
        with progress.instruction(places.next(), planned.stage.from_.location.shown):
            base = self._begin(planned)
        times = Times(base.epoch, self._settings.epoch)
        manner = Manner(times, self._parsed.escape, progress.warn, progress.cached, self._machine)
        builder = Builder(
            base.tree, base.config, manner, self._workplace, planned.stage.index, base.key
        )
        where = f"ONBUILD of {planned.base_name}"
        triggers = tuple(dockerfile.parse_trigger(text, where) for text in builder.take_triggers())
        self.triggers += triggers
        planning.check_supported(triggers)
        _check(triggers, self._request, self._workplace.session)
        scope = self._scopes[planned.stage.index] = self._scope_of(planned, builder)
        places.total += len(triggers)
        for instruction in (*triggers, *planned.stage.instructions):
            with progress.instruction(places.next(), instruction.location.shown):
                builder.do(instruction, scope)
        if planned is self._plan.target:
            builder.label(self._request.labels)
        made = (*base.made, *builder.layers)
        return BuiltStage(builder.tree, builder.result(), base.image, made, base.epoch, builder.key)

    def _scope_of(self, planned: StagePlan, builder: Builder) -> StageScope:
        try:
            scope = StageScope(self._scope)
            if planned.parent is not None:
                scope = self._scopes[planned.parent.index].inherit()
            builder.begin_stage(scope)
        except dockerfile.ExpansionError as error:
            raise planned.stage.from_.location.error(f"FROM: {error}") from None
        return scope

    def _begin(self, planned: StagePlan) -> BuiltStage:
        """Return what a stage begins with, as if it were built; its tree may be changed."""
        if planned.parent is not None:
            parent = self._built[planned.parent.index]
            return BuiltStage(
                self._workplace.copy(parent.tree),
                parent.config,
                parent.image,
                parent.made,
                parent.epoch,
                parent.key,
            )
        image, tree = None, Tree()
        config = scratch_config(planned.wanted.platform)
        if planned.base is not None:
            image, tree = self._open(planned, planned.base)
            tree, config = self._workplace.copy(tree), image.config
        epoch = self._settings.epoch
        if epoch is None:
            epoch = epoch_of_created(config.created)
        key = first_key(image.manifest.digest if image else "", epoch, self._settings.epoch)
        return BuiltStage(tree, config, image, (), epoch, key)

    def _open(self, planned: StagePlan, base: Reference | LocalReference) -> tuple[Image, Tree]:
        try:
            return self._workplace.open(base, planned.wanted)
        except LayersError as error:
            step = "FROM" if str(base) in str(error) else f"FROM {planned.base_name}"
            locate(error, planned.stage.from_.location.place, step)
            meant = similar_stage(self._parsed, planned.base_name)
            if meant and isinstance(error, ImageNotFound | AccessDenied):
                error.args = (f"{error}; or did you mean the stage {meant}?",)
            raise

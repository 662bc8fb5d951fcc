"""An image's layers, read in parallel and merged: a `Tree`, and the open files its data are in."""

from __future__ import annotations

import os
from concurrent.futures import FIRST_EXCEPTION, ThreadPoolExecutor, wait
from contextlib import ExitStack, contextmanager
from threading import Lock
from typing import TYPE_CHECKING

from layers.codec import Compression
from layers.errors import Cancelled, ImageNotFound, Unsupported
from layers.merge import LayerIndex, merge
from layers.spool import unpack
from layers.store import explained
from layers.tarindex import index_layer

if TYPE_CHECKING:
    from collections.abc import Iterator
    from concurrent.futures import Future

    from layers.descriptor import Descriptor
    from layers.digest import Digest
    from layers.image import BlobSource, Image
    from layers.limits import Limits
    from layers.session import Session
    from layers.tree import Tree

_ENTRIES_AT_ONCE = 1000
_SPARE_WORKERS = 1
"""Beyond one for each processor: somebody may wait for a registry."""


@contextmanager
def open_rootfs(image: Image, session: Session) -> Iterator[Tree]:
    """Read and merge the layers of *image*. The tree's file data can be read inside the context.

    Each layer is decompressed once, into a file without a name that is gone on leaving.
    """
    layers = image.manifest.layers
    for layer in layers:
        _refuse_encrypted(layer)
    session.check_layers(layers)
    session.observer.layers_known(layers)
    with ExitStack() as spools:
        indexes = _read_all(image, session, spools)
        # A layer may stand in an image twice; it is read once and applied as often as it stands.
        ordered = (indexes[layer.digest] for layer in layers)
        yield merge(ordered, session.limits, session.observer.warn)


def _read_all(image: Image, session: Session, spools: ExitStack) -> dict[Digest, LayerIndex]:
    diff_ids = dict(
        zip((d.digest for d in image.manifest.layers), image.config.diff_ids, strict=True)
    )
    descriptors = {d.digest: d for d in image.manifest.layers}
    totals = _Totals(session.limits)
    workers = max(1, min(len(descriptors), len(os.sched_getaffinity(0)) + _SPARE_WORKERS))
    # The largest first, so that none is left alone with it at the end.
    by_size = sorted(descriptors.items(), key=lambda item: -item[1].size)
    with ThreadPoolExecutor(workers, thread_name_prefix="layer") as pool:
        futures = {
            digest: pool.submit(
                _read, image.source, descriptor, diff_ids[digest], session, spools, totals
            )
            for digest, descriptor in by_size
        }
        try:
            wait(futures.values(), return_when=FIRST_EXCEPTION)
            _raise_first(list(futures.values()))
        except BaseException:
            session.stop.set()
            pool.shutdown(wait=True, cancel_futures=True)
            raise
        return {digest: future.result() for digest, future in futures.items()}


def _raise_first(futures: list[Future[LayerIndex]]) -> None:
    """Raise the failure that stopped the others, not theirs at being stopped."""
    failures = [f.exception() for f in futures if f.done() and f.exception() is not None]
    for failure in failures:
        if failure is not None and not isinstance(failure, Cancelled):
            raise failure


class _Totals:
    """What all layers have unpacked so far; several threads tell it."""

    def __init__(self, limits: Limits) -> None:
        self._limits = limits
        self._lock = Lock()
        self._found = {"total_bytes": 0, "entries": 0}

    def add(self, name: str, count: int, what: str) -> None:
        """Count; raise `LimitExceeded` once all layers together pass the limit *name*."""
        with self._lock:
            self._found[name] += count
            self._limits.check(name, self._found[name], what)


def _read(
    source: BlobSource,
    descriptor: Descriptor,
    diff_id: Digest,
    session: Session,
    spools: ExitStack,
    totals: _Totals,
) -> LayerIndex:
    name = str(descriptor.digest)

    def advance(count: int) -> None:
        session.check()
        totals.add("total_bytes", count, f"layer {name}: the image's plain size")
        session.observer.unpacked(descriptor.digest, count)

    session.check()
    with explained(session.store.root), open_layer(source, descriptor) as chunks:
        spool, compression = unpack(
            chunks, descriptor, diff_id, session.store.area, session.limits, advance
        )
        spools.callback(spool.close)
        entries = []
        for entry in index_layer(spool, name, session.limits, session.observer.warn):
            entries.append(entry)
            if len(entries) > session.limits.entries:
                session.limits.check(
                    "entries", len(entries), f"layer {name}: its number of entries"
                )
            if len(entries) % _ENTRIES_AT_ONCE == 0:
                totals.add("entries", _ENTRIES_AT_ONCE, f"layer {name}: the image's entries")
    _compare_media_type(descriptor, compression, session)
    session.observer.layer_done(descriptor.digest)
    return LayerIndex(name, entries, spool)


def _compare_media_type(descriptor: Descriptor, actual: Compression, session: Session) -> None:
    promised = Compression.of_media_type(descriptor.media_type)
    if promised is not None and promised is not actual:
        session.observer.warn(
            f"layer {descriptor.digest} is {actual.value}, though its media type says "
            f"{promised.value} ({descriptor.media_type}); it was read as what it is"
        )


@contextmanager
def open_layer(source: BlobSource, layer: Descriptor) -> Iterator[Iterator[bytes]]:
    """Open a layer's chunks; a foreign layer that the source does not have is told as such.

    Foreign layers may lie at addresses of their own (Windows' base layers, as a rule). Those are
    never asked.
    """
    try:
        with source.open_blob(layer) as chunks:
            yield chunks
    except ImageNotFound:
        if not _is_foreign(layer):
            raise
        raise Unsupported(
            f"layer {layer.digest} is a foreign layer, kept elsewhere than the image "
            f"({layer.urls[0] if layer.urls else layer.media_type}); push the image again with its "
            "layers inside (skopeo copy does it from a machine that has them)"
        ) from None


def _is_foreign(layer: Descriptor) -> bool:
    media_type = layer.media_type
    return bool(layer.urls) or "foreign" in media_type or "nondistributable" in media_type


def _refuse_encrypted(layer: Descriptor) -> None:
    if "encrypted" in layer.media_type:
        raise Unsupported(
            f"layer {layer.digest} is encrypted; decrypt the image first (skopeo copy)"
        )

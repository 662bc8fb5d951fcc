"""A finished build in the content store: its base's layers, config and manifest."""

from __future__ import annotations

from typing import TYPE_CHECKING

from layers import descriptor as media
from layers.descriptor import Descriptor
from layers.image import ImageConfig, build_manifest

if TYPE_CHECKING:
    from collections.abc import Sequence

    from layers.image import Image
    from layers.session import Session


def keep_image(
    base: Image | None,
    config: bytes,
    made: Sequence[Descriptor],
    session: Session,
) -> Descriptor:
    """Put the whole image into the store; return its manifest's descriptor.

    *made* are the layers upon *base*, which are in the store already.
    """
    store = session.store
    layers = list(base.manifest.layers) if base else []
    if base is not None:
        for layer in layers:
            if not store.has(layer):
                with base.source.open_blob(layer) as chunks:
                    store.ingest(layer, chunks)
    layers += made
    manifest = build_manifest(Descriptor(media.OCI_CONFIG, store.add(config), len(config)), layers)
    platform = ImageConfig.parse(config, "config").platform
    return Descriptor(media.OCI_MANIFEST, store.add(manifest), len(manifest), platform)

"""What a tree holds in all: links count once, holes as whoever reads them has them."""

from __future__ import annotations

from typing import TYPE_CHECKING

from layers.sparse import hole_bytes

if TYPE_CHECKING:
    from layers.limits import Limits
    from layers.tree import Data, Node, Tree


def check_tree(tree: Tree, limits: Limits) -> None:
    """Raise `LimitExceeded` for more data or holes than one image may have.

    Each layer has been within its limits; what came of several need not be.
    """
    found: dict[Node, Data] = {node: node.data for node in tree.nodes() if node.data is not None}
    total = holes = 0
    for data in found.values():
        total += data.size
        holes += hole_bytes(data.size, data.segments) if data.segments is not None else 0
    limits.check("hole_bytes", holes, "the image: the size of the holes in its files")
    limits.check("total_bytes", total, "the image: the size of its files")

"""RUN's other side of the process boundary: trees as records, and what a command changed.

    records         a `Tree` -> flat records, for a process that shares only descriptors with us
    unpacking       records -> real files
    removal         real files -> nothing
    placing         where on a disk they go
    attributes      extended attributes: the image's, the machine's, and marks of ours
    manner          whose files are, which times they may have
    walking         a real tree, path by path
    original        what was there before the command
    changes         what is there after it, compared
    upper, plain    which changes there are: in an overlay's upper directory, in a tree itself
    harvest         changes -> a layer's tar, down a `tarpipe`

All but `records_of` and `hidden_owners` runs in a child of its own (`python -I -S`), inside the
namespaces in which owners and attributes mean what the command meant by them. So these modules
import the standard library, `layers.tarwriter` and what that stands on, and nothing else.
"""

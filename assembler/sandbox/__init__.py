"""RUN's other side of the process boundary: trees as records, and what a command changed.

    records         a `Tree` -> flat records, for a process that shares only descriptors with us
    unpacking       records -> real files; `remove_tree` takes them away again
    attributes      extended attributes: what is ours or the machine's, and what is the image's
    original        what was there before the command, to compare with
    upper, plain    an overlay's upper directory, or a tree changed in place -> changes
    harvest         changes -> a layer's tar, down a pipe

All but `records_of` and `hidden_owners` runs in a child of its own (`python -I -S`), inside the
namespaces in which owners and attributes mean what the command meant by them. So these modules
import the standard library, `layers.tarwriter` and what that stands on, and nothing else.
"""

"""RUN's sandbox: a command is run upon a tree, and what it changed becomes a layer.

The builder's side:

    command         what is to be run, and what it sees
    rungs, ladder   the ways to run it, best first; which of them this machine has, by trying
    treearea, roots unpacked images in the store, and the root that a command gets
    runner          starting the other side, and listening to it

The other side is a program of its own (`python -I -S`), in the namespaces where owners and
attributes mean what the command means by them, with nothing of the builder's in its memory:

    job, program    what it is asked to do; its processes
    userns, view    entering a user namespace; the image as root, devices, mounts
    surroundings    the same where nothing can be mounted
    init            the first process, and what the command gives up before it begins
    seccomp, recorder   refused calls; changes of owners, written down
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

So these import the standard library, `layers.tarwriter` and what that stands on, and nothing else.
"""

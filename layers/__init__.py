"""OCI images as data: where they come from, how their layers merge, and the file system they make.

The package knows nothing of Golem, Dockerfiles or terminals and can be used alone. From the core
(pure data) to the edge (I/O):

    digest, reference, descriptor, image     the words of the specifications, as types
    jsontext                                 JSON of strangers
    choice                                   which of several images a name means
    kinds, tarheader, tarnames, sparse, tarindex
                                             one pass over a layer tar -> `Entry` records
    tree, aufs, merge                        entries of all layers -> one `Tree`
    imagefs                                  the `Tree` as a PyFilesystem, copy on write
    tarwriter, tarstream                     the `Tree` -> spans of tar bytes -> a pipe
    codec, spool                             a compressed blob -> a plain tar on disk, verified
    leftovers, tempfiles                     what must not be left behind
    store, layout, archive                   images on this machine
    storetrust                               who else could have changed the store
    auth, registry                           images elsewhere
    naming                                   what a person means by an image's name
    sources                                  `open_image(reference)`: any of these -> `Image`

`layers` never imports `assembler`.
"""

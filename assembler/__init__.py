"""From a Dockerfile or an image to a `.gvmi`: everything that knows of Golem or of Dockerfiles.

    dockerfile      a Dockerfile's text -> instructions (pure)
    scope, planning, builder, building    instructions x base image -> tree and config
    guest, trailer  what a provider needs of an image, and reads from its trailer
    squashfs, superblock, gvmi, packing   tree and config -> a file, whole or not at all
    inspection, listing, squashlist, verification    looking at what there is
    progress, views, report               telling
    cli             options into settings, results into text

Stands on `layers`, which knows nothing of it.
"""

__version__ = "0.1.0"

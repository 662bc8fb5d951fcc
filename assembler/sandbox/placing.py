"""Where on a disk trees go."""

from __future__ import annotations

import fcntl
import os
import struct

_GET_FLAGS, _SET_FLAGS, _TOP_OF_TREES = 0x80086601, 0x40086602, 0x20000


def spread(folder: bytes | str) -> bool:
    """Ask ext4 to put each directory made in *folder* into a part of the disk of its own.

    Elsewhere than what was removed from *folder* before, that is: for minutes ext4 takes no inode
    number that was just given back, and walks over all of them for each file it makes. After the
    removal of one distribution another one takes 6 s in place of 0.3 s. Return whether it heeds.
    """
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        # The kernel reads and writes an int, whatever the numbers of the calls say.
        (flags,) = struct.unpack("i", fcntl.ioctl(descriptor, _GET_FLAGS, bytes(4)))
        fcntl.ioctl(descriptor, _SET_FLAGS, struct.pack("i", flags | _TOP_OF_TREES))
    except OSError:
        # Other file systems have neither the flag nor the need.
        return False
    finally:
        os.close(descriptor)
    return True

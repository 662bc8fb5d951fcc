"""Exit statuses: one for each kind of failure that a script would treat differently."""

from __future__ import annotations

from assembler import errors as ours
from layers import errors as images

OK = 0
INTERNAL = 1
USAGE = 2

TABLE: tuple[tuple[type[Exception], int, str], ...] = (
    (ours.OptionError, USAGE, "the command line makes no sense"),
    (ours.DockerfileError, 3, "the Dockerfile is wrong, or uses what is not supported"),
    (images.InvalidReference, 4, "a name is no image reference"),
    (images.AmbiguousImage, 5, "there is no such image, tag or blob, or several fit"),
    (images.ImageNotFound, 5, "there is no such image, tag or blob, or several fit"),
    (images.PlatformNotFound, 6, "the image is not there for this platform"),
    (images.RegistryUnavailable, 7, "a registry or server cannot be reached, or keeps failing"),
    (ours.DownloadError, 7, "a registry or server cannot be reached, or keeps failing"),
    (images.AccessDenied, 8, "the registry wants (other) credentials"),
    (images.DigestMismatch, 9, "content is not what its digest or size promises"),
    (images.MalformedImage, 10, "a manifest, index, config or archive is broken"),
    (images.MalformedLayer, 11, "a layer is broken or hostile"),
    (images.LimitExceeded, 12, "something passes a limit (--limit raises it)"),
    (images.Unsupported, 13, "valid, but not supported"),
    (images.StoreError, 14, "the content store cannot be used, or its disk is full"),
    (ours.BuildError, 15, "the build cannot be done as asked"),
    (ours.GuestError, 16, "no provider could run this image"),
    (ours.OutputError, 17, "the output cannot be written, or its disk is full"),
    (ours.SquashfsError, 18, "mksquashfs or unsquashfs is missing, too old, or failed"),
    (ours.GvmiError, 19, "the file is not a sound .gvmi"),
    (ours.RunError, 20, "a command of RUN failed"),
    (ours.SandboxError, 21, "this machine gives no sandbox for RUN, or it broke"),
)
SIGNAL_BASE = 128


def status_of(error: BaseException) -> int:
    """Return the exit status for an error; `INTERNAL` for what is not in the table."""
    return next((status for kind, status, _ in TABLE if isinstance(error, kind)), INTERNAL)

"""The errors of reading images: each says what happened, to which thing, and what to do.

Everything raised on purpose by `layers` descends from `LayersError`. A leaf exists where a caller
would act differently; its data are attributes, its text is one paragraph for a person.
"""

from __future__ import annotations


class LayersError(Exception):
    """Root of this package's errors."""


class InvalidReference(LayersError):
    """A name that is no image reference."""


class ImageNotFound(LayersError):
    """The place answers, but has no such image, tag or blob."""


class AmbiguousImage(ImageNotFound):
    """A name that fits several images; *choices* are what there is, in order."""

    def __init__(self, text: str, choices: tuple[str, ...]) -> None:
        super().__init__(text)
        self.choices = choices


class PlatformNotFound(LayersError):
    """The image exists, but not for the platform asked for."""


class RegistryUnavailable(LayersError):
    """The registry cannot be reached, or keeps failing."""


class AccessDenied(LayersError):
    """The registry wants (other) credentials."""


class DigestMismatch(LayersError):
    """Content whose digest or size is not what its descriptor promised."""

    def __init__(self, what: str, expected: str, actual: str) -> None:
        super().__init__(
            f"{what}: expected {expected}, got {actual}; the content was altered or damaged on its "
            "way: try again, and if it stays so, report it to whoever serves the image"
        )
        self.expected = expected
        self.actual = actual


class MalformedImage(LayersError):
    """A manifest, index or config that breaks its specification."""


class MalformedLayer(LayersError):
    """A layer whose compression, tar structure or entries are broken or hostile."""

    def __init__(self, layer: str, problem: str) -> None:
        super().__init__(
            f"layer {layer}: {problem}; the layer is malformed or hostile, rebuild it or take "
            "another tag"
        )
        self.layer = layer
        self.problem = problem


class LimitExceeded(LayersError):
    """Something from outside is larger than any honest image needs."""

    def __init__(self, what: str, limit_name: str, limit: int) -> None:
        super().__init__(
            f"{what} passes the limit of {limit:,} ({limit_name}); if you trust this image, raise "
            f"it with --limit {limit_name}=N"
        )
        self.limit_name = limit_name
        self.limit = limit


class Unsupported(LayersError):
    """Valid, but not something this package reads; the text names the way out."""


class StoreError(LayersError):
    """The content store on this machine cannot be used."""


class Cancelled(LayersError):
    """The work was told to stop because another part of it failed."""

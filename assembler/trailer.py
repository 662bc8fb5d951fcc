"""From an OCI image config to the ContainerConfig in a `.gvmi` trailer."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from assembler import gvmi
from assembler.errors import GuestError
from assembler.guest import clean_volumes

if TYPE_CHECKING:
    from layers.digest import Digest
    from layers.image import ImageConfig

_KEPT = (
    "ArgsEscaped", "Cmd", "Entrypoint", "Env", "Healthcheck", "Labels", "OnBuild", "Shell",
    "StopSignal", "StopTimeout", "WorkingDir",
)  # fmt: skip


def container_config(
    config: ImageConfig, image_id: Digest, user: tuple[int, int] | None
) -> dict[str, Any]:
    """Return the trailer's JSON object, typed as a provider's reader wants it.

    `User` is only there when *user*, a uid and gid, is given: providers take nothing but numbers.
    """
    settings = config.settings
    result = {key: settings[key] for key in _KEPT if settings.get(key) is not None}
    result["Domainname"] = ""
    result["Hostname"] = ""
    result["Image"] = image_id.hex
    # Whatever a base has inside a volume's object would make the trailer unreadable.
    result["Volumes"] = {volume: {} for volume in clean_volumes(config.volumes)}
    if settings.get("ExposedPorts"):
        result["ExposedPorts"] = {port: {} for port in sorted(settings["ExposedPorts"])}
    if user is not None:
        result["User"] = f"{user[0]}:{user[1]}"
    problems = gvmi.type_problems(result)
    if problems:
        raise GuestError(
            f"the image's config cannot be put into a .gvmi: {'; '.join(problems)}; mend the image"
        )
    return result

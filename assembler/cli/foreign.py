"""Options of `docker build`, buildx, podman and kaniko that `build` does not have, and why.

Whoever types one learns in a sentence what to do instead. What changes nothing here is accepted.
"""

from __future__ import annotations

from assembler.cli.arguments import Foreign

_NO_LIMITS = "RUN has no limits of its own; use ulimit, systemd-run or the container around it"
_NO_REMOTE_CACHE = (
    "steps are remembered in the store; carry the store along (--store DIR), and --no-cache leaves "
    "it out"
)
_NO_ATTESTATIONS = "no attestations are made; --report FILE and --metadata-file FILE tell the facts"
_NO_CAPABILITIES = (
    "no RUN gets more rights than its sandbox gives (golem-assemble sandbox); build the image up "
    "to there elsewhere and use it in FROM"
)
_HOSTS = "RUN has this machine's /etc/hosts and resolv.conf; write the name there"
_PUSH = (
    "nothing is pushed; write --output type=oci,dest=FILE and use skopeo copy oci-archive:FILE "
    "docker://NAME"
)
_SQUASH = "a .gvmi has no layers, so it is squashed anyway; for other outputs use another tool"
_REGISTRY_LOGIN = (
    "credentials are those that docker, podman or skopeo login left (REGISTRY_AUTH_FILE names them)"
)


def _switch(advice: str, *harmless: bool) -> Foreign:
    return Foreign(advice, switch=True, harmless=harmless or (False,))


BUILD: dict[str, Foreign] = {
    # docker build, buildx build
    "--add-host": Foreign(_HOSTS),
    "--allow": Foreign(_NO_CAPABILITIES),
    "--annotation": Foreign("images get no annotations; --label NAME=VALUE adds a label"),
    "--attest": Foreign(_NO_ATTESTATIONS),
    "--builder": Foreign("there are no builders to choose; golem-assemble itself builds"),
    "--cache-from": Foreign(_NO_REMOTE_CACHE),
    "--cache-to": Foreign(_NO_REMOTE_CACHE),
    "--call": Foreign("use --check, or golem-assemble check"),
    "--cgroup-parent": Foreign(_NO_LIMITS),
    "--compress": _switch("the context is read where it is and sent nowhere; leave it out"),
    "--cpu-period": Foreign(_NO_LIMITS),
    "--cpu-quota": Foreign(_NO_LIMITS),
    "--cpu-shares": Foreign(_NO_LIMITS),
    "-c": Foreign(_NO_LIMITS),
    "--cpuset-cpus": Foreign(f"{_NO_LIMITS}; --processors N is for mksquashfs"),
    "--cpuset-mems": Foreign(_NO_LIMITS),
    "--disable-content-trust": _switch(
        "signatures are not checked; pin images by digest", True, False
    ),
    "--force-rm": _switch("nothing is left of a build", True, False),
    "--isolation": Foreign("use --sandbox NAME; golem-assemble sandbox lists the names"),
    "--load": _switch(
        "the image is in golem-assemble's store anyway; for Docker, write --output "
        "type=docker,dest=FILE and use docker load -i FILE"
    ),
    "--memory": Foreign(_NO_LIMITS),
    "-m": Foreign(_NO_LIMITS),
    "--memory-swap": Foreign(_NO_LIMITS),
    "--no-cache-filter": Foreign("write --no-cache, which leaves out no stage"),
    "--policy": Foreign("there are no policies; pin images by digest"),
    "--provenance": Foreign(_NO_ATTESTATIONS, harmless=(False,)),
    "--push": _switch(_PUSH),
    "--rm": _switch("nothing is left of a step that could be kept; leave it out", True),
    "--sbom": Foreign(_NO_ATTESTATIONS, harmless=(False,)),
    "--security-opt": Foreign(_NO_CAPABILITIES),
    "--shm-size": Foreign("write RUN --mount=type=tmpfs,target=/dev/shm,size=SIZE"),
    "--squash": _switch(_SQUASH),
    "--ssh": Foreign("no RUN gets an SSH agent; write --secret id=key,src=FILE, or COPY a clone"),
    "--ulimit": Foreign(_NO_LIMITS),
    # podman build, buildah build
    "--authfile": Foreign(_REGISTRY_LOGIN),
    "--cap-add": Foreign(_NO_CAPABILITIES),
    "--cap-drop": Foreign(_NO_CAPABILITIES),
    "--creds": Foreign(_REGISTRY_LOGIN),
    "--device": Foreign(_NO_CAPABILITIES),
    "--dns": Foreign(_HOSTS),
    "--env": Foreign("write ENV in the Dockerfile, or --build-arg for an ARG"),
    "--format": Foreign("write --output type=TYPE; what is in the store is OCI"),
    "--ignorefile": Foreign("call the file as the Dockerfile, with .dockerignore at its end"),
    "--layers": _switch("every step is a layer; --no-cache does all of them again", True),
    "--squash-all": _switch(_SQUASH),
    "--timestamp": Foreign("use --source-date-epoch SECONDS"),
    "--tls-verify": Foreign("certificates are checked, except on loopback, which is plain http"),
    "--volume": Foreign("write RUN --mount=type=bind, and --build-context NAME=DIR"),
    "-v": Foreign("write RUN --mount=type=bind, and --build-context NAME=DIR"),
    # kaniko
    "--context": Foreign("name the context as the argument, without an option"),
    "--destination": Foreign(f"use -t NAME[:TAG]; {_PUSH}"),
    "-d": Foreign(f"use -t NAME[:TAG]; {_PUSH}"),
    "--dockerfile": Foreign("use -f FILE"),
    "--no-push": _switch("nothing is pushed", True),
    "--tar-path": Foreign("use --output type=docker,dest=FILE"),
    "--tarPath": Foreign("use --output type=docker,dest=FILE"),
}  # fmt: skip
"""By all names, with their dashes."""

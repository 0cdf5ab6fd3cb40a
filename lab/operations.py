"""Images built from Debian packages without a registry, and what the mirror is given."""

from __future__ import annotations

from collections.abc import Generator, Iterable, Mapping, Sequence
from hashlib import sha256
from pathlib import Path

from pyinfra import host
from pyinfra.api import QuoteString, StringCommand, operation
from pyinfra.api.command import PyinfraCommand
from pyinfra.facts.docker import DockerContainer, DockerImage

from lab import images
from lab.facts import PublishedConfig
from lab.fleet import KEYS, USER, Member
from lab.images import Image
from lab.packages import MMDEBSTRAP
from ollama_stack.operations.docker import hold_to_it, stale_services
from ollama_stack.shell import or_explain
from ollama_stack.stack.compose import COMMAND

BUILD = "/var/tmp/ollama-lab"  # noqa: S108 root's alone: made anew with mode 700 for each build
CLEAR = f"rm -rf --one-file-system {BUILD}"
PUBLISHER = "ollama-lab-publisher"
LABEL = "ollama-lab-server"
CAPABILITIES = (
    *("AUDIT_CONTROL", "DAC_READ_SEARCH", "IPC_LOCK", "LINUX_IMMUTABLE", "NET_ADMIN"),
    *("NET_BROADCAST", "SYS_ADMIN", "SYS_NICE", "SYS_PTRACE", "SYSLOG"),
)
# What an installer asks for: a user, a key, host keys of its own. It prints the public ones.
FIRST_BOOT = f"""
useradd --create-home --shell /bin/bash {USER}
echo '{USER} ALL=(ALL) NOPASSWD: ALL' >/etc/sudoers.d/{USER}
install -d -m 700 -o {USER} -g {USER} ~{USER}/.ssh
install -m 600 -o {USER} -g {USER} /dev/stdin ~{USER}/.ssh/authorized_keys
timeout 60 sh -c 'until systemctl is-active --quiet ssh; do sleep 0.2; done'
rm -f /etc/ssh/ssh_host_*
ssh-keygen -A >/dev/null
systemctl restart ssh
cut -d' ' -f1,2 /etc/ssh/ssh_host_*.pub
"""

Commands = Generator[PyinfraCommand | str, None, None]


@operation()
def project(path: str, up_failed: str) -> Commands:
    """Have a compose project up and healthy, exactly as its file says.

    A failed start ends with the containers' last log lines and ``up_failed`` (``setting: problem;
    way out``).
    """
    stale = stale_services(path)
    if stale is None:
        host.noop(f"{path} is already up, healthy and as declared")
        return
    compose = StringCommand(COMMAND, "--file", QuoteString(path))
    up = StringCommand(
        compose, "--progress plain up --detach --wait --wait-timeout 180 --remove-orphans"
    )
    if stale:
        up = StringCommand(up, "--force-recreate", *map(QuoteString, stale))
    logs = StringCommand("{", compose, "logs --no-color --tail 20 >&2; false; }")
    yield or_explain(StringCommand(up, "||", logs), up_failed)
    yield from hold_to_it(path)


def apt_sources(codename: str, origin: str) -> str:
    """A command that prints this host's own apt sources as another release has them."""
    return (
        "apt-get indextargets --format 'deb $(REPO_URI) $(RELEASE) $(COMPONENT)'"
        f" 'Created-By: Packages' 'Origin: {origin}' "
        f'| sed "s/$(. /etc/os-release && echo $VERSION_CODENAME)/{codename}/"'
    )


def at_once(jobs: Iterable[StringCommand]) -> StringCommand:
    """A command that runs all of them side by side, and fails if one has failed."""
    begun = [StringCommand("{", job, '; } & jobs="$jobs $!";') for job in jobs]
    return StringCommand(
        *begun, "failed=0; for job in $jobs; do wait $job || failed=1; done; exit $failed"
    )


@operation()
def built(recipes: Sequence[Image], release: str, origin: str) -> Commands:
    """Have images built from recipes, from the apt sources this host itself uses.

    ``release``: its codename, of which a recipe is that names none.
    """
    missing = [recipe for recipe in recipes if not _is_built(recipe.name, recipe.recipe)]
    if not missing:
        host.noop("all are already built from these recipes")
        return
    yield f"{CLEAR} && mkdir --mode=700 {BUILD}"
    builds = [_build(recipe, recipe.codename or release, origin) for recipe in missing]
    yield or_explain(
        at_once(builds),
        "lab: mmdebstrap could not build an image; check that `apt-get update` works here",
    )
    yield CLEAR


def _is_built(image: str, recipe: str) -> bool:
    found = host.get_fact(DockerImage, object_id=image)
    return bool(found) and (found[0]["Config"]["Labels"] or {}).get("recipe") == recipe


def _build(recipe: Image, codename: str, origin: str) -> StringCommand:
    folder = f"{BUILD}/{recipe.recipe}"
    root = f"{folder}/root"
    changes = [*recipe.changes, f"LABEL recipe={recipe.recipe}"]
    steps: list[StringCommand | str] = [
        f"mkdir -p {root}",
        *(
            StringCommand("install -D --mode=755", QuoteString(str(source)), f"{root}/{path}")
            for path, source in recipe.files.items()
        ),
        *(
            StringCommand("gcc -shared -fPIC -O2 -o", f"{root}/{path}", QuoteString(str(source)))
            for path, source in recipe.shared_objects.items()
        ),
        f"{apt_sources(codename, origin)} >{folder}/sources.list",
        StringCommand(
            f"TMPDIR={folder} {MMDEBSTRAP} --variant=minbase",
            f"--include={','.join(recipe.packages)}",
            QuoteString(f"--customize-hook=sync-in {root} /"),
            f"{codename} {folder}/root.tar {folder}/sources.list",
        ),
        StringCommand(
            "docker import",
            *(bit for change in changes for bit in ("--change", QuoteString(change))),
            f"{folder}/root.tar {recipe.name}",
        ),
    ]
    return StringCommand(*steps, _separator=" && ")


@operation()
def app(image: str, base: Image, root: Path, wheels: Path) -> Commands:
    """Have the app's image built from its own Dockerfile, on a Python of this host's distribution."""
    sources = [path for path in sorted((root / "app").rglob("*")) if path.is_file()]
    text = b"".join(path.read_bytes() for path in sources if "__pycache__" not in path.parts)
    recipe = sha256(f"{base.recipe} {wheels}".encode() + text).hexdigest()[:16]
    if _is_built(image, recipe):
        host.noop(f"{image} is already built from this recipe")
        return
    yield f"{CLEAR} && mkdir --mode=700 {BUILD}"
    yield StringCommand(
        *("cp -R", QuoteString(str(root / "app")), QuoteString(str(root / ".dockerignore")), BUILD)
    )
    yield StringCommand("cp -R", QuoteString(str(wheels)), f"{BUILD}/wheels")
    yield StringCommand(
        "DOCKER_BUILDKIT=0 docker build --quiet --force-rm --network none --build-arg PIP_NO_INDEX=1",
        *(f"--build-arg BASE={base.name} --label recipe={recipe}", "--tag", QuoteString(image)),
        f"--file {BUILD}/app/Dockerfile {BUILD}",
    )
    yield CLEAR


def key_pair(folder: Path) -> StringCommand:
    """Have the key that the lab's servers let in."""
    keys = QuoteString(str(folder))
    return StringCommand(
        *("mkdir -p -m 700", keys, "&& cd", keys),
        "&& { test -f key || ssh-keygen -q -t ed25519 -N '' -f key; }",
    )


@operation()
def server(member: Member) -> Commands:
    """Have a fresh Debian server that lets USER in with the lab's key; one that runs is kept.

    Systemd and a Docker of its own need more than Docker's default rights, but not all of them.
    """
    recipe = images.server(member.codename)
    built = host.get_fact(DockerImage, object_id=recipe.name)
    found = host.get_fact(DockerContainer, object_id=member.container)
    if found and built and found[0]["Image"] == built[0]["Id"] and found[0]["State"]["Running"]:
        host.noop(f"{member.name} already runs")
        return
    yield key_pair(KEYS)
    yield f"docker rm --force --volumes {member.container} >/dev/null 2>&1 || true"
    yield (
        f"docker run --detach --name {member.container} --hostname {member.name} --label {LABEL} "
        + " ".join(f"--cap-add {name}" for name in CAPABILITIES)
        + " --security-opt seccomp=unconfined --security-opt apparmor=unconfined"
        " --security-opt systempaths=unconfined --device-cgroup-rule 'a *:* rwm' --cgroupns host --stop-signal SIGRTMIN+3"
        " --volume /sys/fs/cgroup:/sys/fs/cgroup:rw --tmpfs /run --tmpfs /run/lock"
        " --cpu-shares 256"  # they give way to the lab's own containers
        # Overlay2 cannot be on an overlay; and a disk of their own can be filled.
        f" --volume /var/lib/containerd {member.disk}"
        f" --publish 127.0.0.1:{member.port}:22 {recipe.name}"
    )
    # Its apt reaches the registries as this machine's own does.
    inside = f"docker exec --interactive {member.container}"
    yield f"apt-config dump | grep ^Acquire:: | {inside} sh -c 'cat >/etc/apt/apt.conf.d/90lab'"
    yield StringCommand(
        f"{inside} sh -ec", QuoteString(FIRST_BOOT), "<", QuoteString(str(KEYS / "key.pub")),
        f"| sed 's/^/[127.0.0.1]:{member.port} /' >", QuoteString(str(KEYS / member.name)),
    )  # fmt: skip
    yield StringCommand("cd", QuoteString(str(KEYS)), "&& cat host-* >known_hosts")


@operation()
def pushed(references: Mapping[str, str], registry: str) -> Commands:
    """Have local images in a registry, each by its reference, and only there, so that a deploy pulls them."""
    missing = {image: name for image, name in references.items() if not _has(registry, image, name)}
    if not missing:
        host.noop(f"{registry} already has {', '.join(references.values())}")
        return
    yield at_once(
        StringCommand(
            *("docker tag", QuoteString(image), target),
            *("&& docker push --quiet", target, "&& docker rmi", target),
        )
        for image, name in missing.items()
        for target in [QuoteString(f"{registry.partition('://')[2]}/{name}")]
    )


def _has(registry: str, image: str, name: str) -> bool:
    built = host.get_fact(DockerImage, object_id=image)
    published = host.get_fact(PublishedConfig, registry=registry, reference=name)
    return bool(built) and built[0]["Id"] == published


@operation()
def model_pushed(model: str, modelfile: Path, files: Path, server: str, registry: str) -> Commands:
    """Have a model in a registry: created and pushed by a throw-away Ollama server.

    The Modelfile finds ``files`` under /lab.
    """
    if host.get_fact(PublishedConfig, registry=registry, reference=f"library/{model}"):
        host.noop(f"{registry} already has {model}")
        return
    target = QuoteString(f"{registry.partition('://')[2]}/library/{model}")
    yield f"docker rm --force --volumes {PUBLISHER} >/dev/null 2>&1 || true"
    yield StringCommand(
        f"docker run --detach --name {PUBLISHER}",
        *("--volume", QuoteString(f"{files}:/lab:ro")),
        *("--volume", QuoteString(f"{modelfile}:/Modelfile:ro"), QuoteString(server)),
    )
    run = f"docker exec {PUBLISHER} ollama"
    yield f"timeout 60 sh -c 'until {run} ps; do sleep 0.5; done' >/dev/null 2>&1"
    yield StringCommand(run, "create", target, "--file /Modelfile")
    yield StringCommand(run, "push --insecure", target)
    yield f"docker rm --force --volumes {PUBLISHER}"

"""The page's image, built on its host: it needs no registry of the site's own, and no way to PyPI."""

from __future__ import annotations

from hashlib import sha256
from io import BytesIO

from pyinfra import host
from pyinfra.api import QuoteString, StringCommand, operation
from pyinfra.facts.docker import DockerImage
from pyinfra.facts.server import Arch

from ollama_stack.facts.memory import known
from ollama_stack.facts.release import LOCK
from ollama_stack.page_image import REQUIREMENTS, packed, page
from ollama_stack.pinned_wheels import downloaded
from ollama_stack.shell import Commands, or_explain, uploaded
from ollama_stack.stack.compose import DOCKER

# As app/Dockerfile labels its stages; of them only those without a name are looked for.
LABEL = "org.opencontainers.image.title=ollama-stack-app"
BUILT_IN = "ollama-stack.built-in"  # host/release knows by it which pages are ours to remove


@operation()
def built(image: str, base: str, python: str, folder: str) -> Commands:
    """Have the page's image under the name that says what is in it.

    ``base``: as the engine pulls it. ``python``: its version. ``folder``: ours on the host; what is built from
    is there for as long as it takes.
    """
    if known(DockerImage, object_id=image):
        host.noop(f"{image} is already there")
        return
    place = f"{folder}/build"
    context = packed(page(), downloaded(REQUIREMENTS, python, known(Arch)))
    yield _pulled(base)
    yield from _unpacked(context, place)
    yield or_explain(
        _in_the_end(_build(image, base, folder, f"{place}/page"), place),
        f"app_base_image: the page cannot be built on {base}, what runs is untouched; Docker's output is above. It "
        f"must have Python {python} (app_base_python) with pip, and not be Alpine's; or name a ready image in "
        "app_image (docs/page.md)",
    )


def _pulled(base: str) -> StringCommand:
    """The base image, from its registry unless it is there."""
    name = QuoteString(base)
    return or_explain(
        StringCommand(
            *(f"{DOCKER} image inspect", name, f">/dev/null 2>&1 || {DOCKER} pull --quiet", name)
        ),
        f"app_base_image: {base} cannot be pulled, what runs is untouched; check the name and that its registry "
        "answers (mirror)",
    )


def _unpacked(context: bytes, place: str) -> Commands:
    """The build's folder, checked."""
    archive, page = f"{place}/page.tar", f"{place}/page"
    yield StringCommand("rm -rf", QuoteString(place))
    yield StringCommand("umask 022 && mkdir -p", QuoteString(page))
    yield uploaded(host, BytesIO(context), archive)
    checksum = f"{sha256(context).hexdigest()}  {archive}"
    yield StringCommand(
        *("echo", QuoteString(checksum), "| sha256sum --check --quiet &&"),
        *("umask 022 && tar --extract --no-same-owner --file", QuoteString(archive)),
        *("--directory", QuoteString(page), "|| { rm -rf", QuoteString(place), "; false; }"),
    )


def _build(image: str, base: str, folder: str, context: str) -> StringCommand:
    """By whichever builder the engine has; no step of it reaches a network."""
    return StringCommand(
        f"{DOCKER} build --quiet --force-rm --network none --build-arg PIP_NO_INDEX=1",
        *("--label", QuoteString(f"{BUILT_IN}={folder}"), "--build-arg"),
        *(QuoteString(f"BASE={base}"), "--tag", QuoteString(image)),
        *("--file", QuoteString(f"{context}/app/Dockerfile"), QuoteString(context)),
    )


def _in_the_end(build: StringCommand, place: str) -> StringCommand:
    """However it ends, its folder and the old builder's stages go; BuildKit keeps a cache that it bounds itself.

    It holds the lock's file: a build that outlives its run is waited for by the next one.
    """
    return StringCommand(
        *("( flock 9;", build, "; built=$?; rm -rf", QuoteString(place)),
        f"; {DOCKER} image prune --force --filter label={LABEL} >/dev/null 2>&1; test $built = 0 ) 9>>{LOCK}",
    )

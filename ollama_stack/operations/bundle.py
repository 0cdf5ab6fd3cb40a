"""What a host lacks of a bundle, carried there file by file, each checked by its digest."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Container, Sequence
from pathlib import Path, PurePosixPath

from pyinfra import host
from pyinfra.api import FunctionCommand, Host, QuoteString, State, StringCommand, operation
from pyinfra.facts.docker import DockerImage
from pyinfra.facts.server import Command

from ollama_stack.bundle.file import PIECE, whole
from ollama_stack.bundle.packed import blob_path, layout
from ollama_stack.facts.bundle import Blobs, ModelBlobs
from ollama_stack.facts.memory import known
from ollama_stack.facts.model import Models, manifest_path
from ollama_stack.facts.ollama import call
from ollama_stack.operations.model import SILENT, has
from ollama_stack.shell import Commands, fail, or_explain, renamed
from ollama_stack.stack.compose import DOCKER


@operation()
def loaded(image: str, bundle: str, folder: str) -> Commands:
    """Have an image of the bundle's; ``image``: as an engine pulls it.

    ``folder``: ours on the host; what has arrived there is kept until the image is loaded.
    """
    packed = whole(bundle).images[image]
    if known(DockerImage, object_id=packed.name):
        host.noop(f"{packed.name} is already there")
        return
    place = f"{folder}/bundle"
    blobs = f"{place}/blobs/sha256"
    there = host.get_fact(Blobs, folder=blobs)
    yield StringCommand("umask 022 && mkdir -p", QuoteString(blobs))
    yield from _carried(bundle, packed.blobs, there, place, lambda digest: _staged(place, digest))
    files = {**layout([packed]), blob_path(packed.digest): packed.manifest}
    for path, content in files.items():
        yield _printed(content, f"{place}/{path}")
    yield or_explain(
        StringCommand(
            *("tar --create --directory", QuoteString(place), "--exclude=./upload ."),
            f"| {DOCKER} load --quiet >/dev/null && {DOCKER} image inspect",
            *(QuoteString(packed.name), ">/dev/null && rm -rf", QuoteString(place)),
        ),
        f"bundle: Docker does not take {packed.name}, see its output above; what runs is untouched",
    )


@operation()
def model_carried(
    model: str,
    pristine: str,
    digest: str,
    bundle: str,
    volume: str,
    folder: str,
    begun: StringCommand,
) -> Commands:
    """Have a model of the bundle's under the tag ``pristine``, in the volume of the server that runs.

    Its manifest is the registry's, so its digest is that of a pulled one. ``digest``: the only one that is taken.
    ``begun``: the command that goes before. ``folder``: ours on the host.
    """
    models = known(Models)
    if has(models, pristine, digest):
        host.noop(f"{pristine} is already there")
        return
    if models is None:  # not there yet, or too busy to say: never a reason to carry it again
        yield or_explain(call("/api/version"), SILENT)
        if has(host.get_fact(Models), pristine, digest):
            return
    yield begun
    packed, place = whole(bundle).models[model], f"{folder}/bundle"
    there = host.get_fact(ModelBlobs, volume=volume)

    def kept(blob: str) -> StringCommand:
        moved = renamed(f"{place}/upload/file", "incoming")  # maybe to another disk
        return _in_volume(volume, moved, blob, f"models/blobs/{blob.replace(':', '-')}")

    yield from _carried(bundle, packed.blobs, there, place, kept)
    path = f"models/{manifest_path(pristine)}"
    yield _in_volume(volume, _printed(packed.manifest, "incoming"), packed.digest, path)
    yield StringCommand("rm -rf", QuoteString(place))
    yield or_explain(call("/api/show", {"model": pristine}), SILENT)


def _carried(
    bundle: str,
    digests: Sequence[str],
    there: Container[str],
    place: str,
    keep: Callable[[str], StringCommand],
) -> Commands:
    """What is not there, file by file, to where the login may write; ``keep`` then checks it and takes it away."""
    missing = [digest for digest in digests if digest not in there]
    size = whole(bundle).size(missing) / 1e6
    host.log(f"carry {len(missing)} of {len(digests)} files, {size:.0f} MB")
    login, upload = str(host.get_fact(Command, command="id --user", _sudo=False)), f"{place}/upload"
    yield StringCommand(
        *("umask 022 && mkdir -p", QuoteString(place), "&& install --directory --mode=700"),
        *("--owner", QuoteString(login), QuoteString(upload)),
    )
    for digest in missing:
        yield FunctionCommand(send, (bundle, digest, f"{upload}/file"), {})
        yield or_explain(
            keep(digest),
            f"bundle: {digest} has not come to the host as it left; see to its disk, then run again: what has "
            "arrived is kept",
        )


def send(state: State, host: Host, bundle: str, digest: str, path: str) -> bool:
    """One file of the bundle's, as the login itself writes it: by a copy of sudo's there would be two."""
    try:
        with whole(bundle).blob(digest) as source:
            if host.name == "@local":  # where pyinfra would read it whole into memory
                with Path(path).open("wb") as target:
                    shutil.copyfileobj(source, target, PIECE)
                return True
            return bool(host.put_file(source, path))
    except OSError as error:
        return fail(
            host,
            f"bundle: {digest} cannot be written to {path} ({error}); see to the room there, and that the login "
            "may enter that folder",
        )


def _staged(place: str, digest: str) -> StringCommand:
    new = f"{place}/upload/file"
    return StringCommand(
        *("chown 0:0", QuoteString(new), "&& chmod 644", QuoteString(new), "&&"),
        *(_sum(digest, new), "&&", renamed(new, f"{place}/{blob_path(digest)}")),
    )


def _in_volume(volume: str, arrives: StringCommand, digest: str, path: str) -> StringCommand:
    """A file that ``arrives`` as ``incoming`` in the volume, which gets its name once it is whole on the disk."""
    folder = PurePosixPath(path).parent
    return StringCommand(
        "place=$(docker volume inspect --format '{{.Mountpoint}}'",
        *(QuoteString(volume), ') && cd "$place" && umask 022 && mkdir -p', str(folder), "&&"),
        *(arrives, "&&", _sum(digest, "incoming"), "&& chmod 644 incoming &&"),
        # As its server would have made it: with userns-remap that is another user.
        *("chown -R --reference=. incoming", "/".join(folder.parts[:2]), "&&"),
        renamed("incoming", path),
    )


def _sum(digest: str, path: str) -> StringCommand:
    line = f"{digest.removeprefix('sha256:')}  {path}"
    return StringCommand("echo", QuoteString(line), "| sha256sum --check --quiet")


def _printed(content: bytes, path: str) -> StringCommand:
    return StringCommand("printf %s", QuoteString(content.decode()), ">", QuoteString(path))

"""Pure: what was measured on a host, and what a model needs there of memory and disk."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass, field, replace

from pydantic import BaseModel, TypeAdapter, computed_field

from ollama_stack.capacity.budget import (
    IMAGES,
    SHAPES,
    WIDEST,
    Shape,
    budget,
    formula,
    known_shape,
    runs_llama_server,
)
from ollama_stack.capacity.manifest import Manifest
from ollama_stack.config.settings import Settings
from ollama_stack.config.types import size_bytes

UNPACKED = 3  # an image on disk against its layers at the registry; the lab's is 2.6


@dataclass(frozen=True)
class Measured:
    """What the preflight read on one host; memory and disk in bytes."""

    release: str
    architecture: str
    cpus: int
    memory: int
    disk_free: int
    data_root: str
    docker: str | None
    engine_proxy: bool
    """The engine pulls through a proxy or mirrors of its own."""
    container_owners: dict[str, str]
    """Compose project ("" for none) of each container that has a name of ours."""
    port_owners: dict[str, str]
    """The programs that have a port which is to be ours, by setting."""
    missing_addresses: list[str]
    """Settings whose address the host does not have."""
    to_pull: dict[str, Manifest]
    """What is not there yet, by setting, as its registry has it."""
    model_shape: Shape | None = None
    """As the server has it."""
    model_sizes: dict[str, int] = field(default_factory=dict)
    """Bytes of every model that the server has, by name."""
    ollama: str | None = None
    """Version of the server that runs there."""
    no_packages: str = ""
    """Why the controller cannot download what the page is to be built from, by pip's output."""
    bundle_faults: list[str] = field(default_factory=list)
    """Why the bundle cannot make of the host what is declared, each with its way out."""
    daemon_config_fault: str = ""
    """Why Docker's settings there are no JSON object."""
    system_faults: list[str] = field(default_factory=list)
    """What the host itself cannot do, each with its way out."""
    other_engine: str | None = None
    """What is there instead of Docker: snap or Podman."""
    image_root: str | None = None
    """Where images go, if that is another disk than data_root's: Docker 29 keeps them with containerd."""
    image_free: int = 0
    """Bytes free there."""


# A dry run leaves what it measured in the file that this variable names: the plan reads it.
MEASUREMENTS_PATH = "OLLAMA_STACK_MEASURED"
# By host: what was measured, or why it could not be.
MEASUREMENTS = TypeAdapter(dict[str, Measured | list[str]])


class Sum(BaseModel, frozen=True):
    """What is needed, term by term, against what there is, in bytes; where the figures are from."""

    available: int
    terms: dict[str, int]
    source: str
    formula: str = ""
    """Of the memory sum: which arithmetic of the compute buffer, of which versions."""
    models: tuple[str, ...] = ()
    """Of the memory sum: those that are counted, the largest that may be in memory at once."""

    @computed_field  # type: ignore[prop-decorator]  # pydantic's own idiom
    @property
    def needed(self) -> int:
        """All terms together."""
        return sum(self.terms.values())

    @computed_field  # type: ignore[prop-decorator]  # pydantic's own idiom
    @property
    def headroom(self) -> int:
        """What is left; below 0 it does not fit."""
        return self.available - self.needed

    def shown(self, unit: float, digits: int = 0) -> str:
        """The terms on one line, in units of so many bytes."""
        return ", ".join(f"{name} {size / unit:.{digits}f}" for name, size in self.terms.items())


def memory_sum(settings: Settings, measured: Measured | None = None) -> Sum | None:
    """The memory limit against what the model needs; None if nobody knows the model's shape."""
    server = measured.model_shape if measured else None
    manifest = measured.to_pull.get("model_name") if measured else None
    weights = manifest.weights if manifest else None
    known = known_shape(settings.model_name, server, weights, _declared(settings))
    if not known:
        return None
    running = measured.ollama if measured else None
    llama_server = runs_llama_server(settings.ollama_image, running)
    guessed = llama_server and not known[0].feed_forward

    def terms(shape: Shape) -> dict[str, int]:
        return budget(
            shape,
            settings.ollama_image,
            settings.ollama_num_parallel,
            settings.model_num_ctx,
            settings.ollama_cache_ram,
            running,
        )

    weighed = _weighed(settings, measured) if measured else {}
    shapes = {settings.model_name: known[0]} | {
        name: SHAPES.get(name) or replace(known[0], weights=weighed.get(name, known[0].weights))
        for name in sorted(set(settings.allowed_models))
        if name != settings.model_name
    }
    sizes = {name: sum(terms(shape).values()) for name, shape in shapes.items()}
    first, *beside = _counted(settings, sizes)
    return Sum(
        available=size_bytes(settings.ollama_memory),
        terms=terms(shapes[first]) | {f"{name} beside it": sizes[name] for name in beside},
        source=_source(settings.model_name, known[1], [first, *beside], weighed)
        + (f", feed_forward taken as {WIDEST} x embedding" if guessed else ""),
        formula=formula(llama_server),
        models=(first, *beside),
    )


def _weighed(settings: Settings, measured: Measured) -> dict[str, int]:
    """Bytes of the models whose weights the server or their registry says, by name."""
    sizes = dict(measured.model_sizes)
    for model in settings.served_models:
        manifest = measured.to_pull.get(model.setting)
        size = manifest.weights if manifest else sizes.get(model.pristine)
        if size:
            sizes[model.name] = size
    return sizes


def _source(own: str, source: str, models: list[str], weighed: Collection[str]) -> str:
    """Where the figures of the counted models are from; ``source``: of ``own``, which is model_name."""
    unknown = [name for name in models if name != own and name not in SHAPES]
    parts = [source]
    if models[0] != own:
        parts = [f"our table of {models[0]}, the largest"] if models[0] in SHAPES else []
    parts += [
        f"{name} taken as large as {own}" + (" but for its weights" if name in weighed else "")
        for name in unknown
    ]
    return ", ".join(parts)


def _counted(settings: Settings, sizes: dict[str, int]) -> list[str]:
    """The largest models that are in memory at once, model_name first if it is among them."""
    # Of models that are as large as each other the first one counts.
    largest = sorted(sizes, key=lambda name: -sizes[name])[: settings.ollama_max_loaded_models]
    return sorted(largest, key=lambda name: name != settings.model_name)


def _declared(settings: Settings) -> Shape | None:
    given = settings.model_shape
    if not given:
        return None
    return Shape(
        weights=size_bytes(given["weights"]),
        layers=given["layers"],
        embedding=given["embedding"],
        heads=given["heads"],
        kv_heads=given["kv_heads"],
        head_dim=given.get("head_dim", given["embedding"] // given["heads"]),
        vocabulary=given["vocabulary"],
        feed_forward=given.get("feed_forward"),
    )


def disk_sum(settings: Settings, measured: Measured) -> Sum:
    """The disk of Docker's data-root against what is still to be pulled to it."""
    apart = measured.image_root is not None
    names = [name for name in measured.to_pull if not (apart and name in IMAGES)]
    return _disk_sum(settings, measured, names, measured.disk_free)


def image_sum(settings: Settings, measured: Measured) -> Sum | None:
    """The images' disk against those that are still to be pulled; None if it is data-root's."""
    if measured.image_root is None:
        return None
    names = [name for name in measured.to_pull if name in IMAGES]
    return _disk_sum(settings, measured, names, measured.image_free)


def _disk_sum(settings: Settings, measured: Measured, names: list[str], free: int) -> Sum:
    terms, sources = {}, {}
    models = [model.setting for model in settings.served_models]
    for name in names:
        manifest = measured.to_pull[name]
        if manifest.size:
            terms[name] = manifest.size * (1 if name in models else UNPACKED)
            sources[name] = "the bundle" if settings.bundle else "the registry's manifest"
        elif name in IMAGES:
            terms[name], sources[name] = IMAGES[name], "our estimate"
        else:
            memory = memory_sum(settings, measured)
            terms[name] = memory.terms["weights"] if memory else 0
            sources[name] = "its weights"
    if settings.bundle and (
        images := [terms[name] // UNPACKED for name in terms if name in IMAGES]
    ):
        terms["an image on its way"] = 2 * max(images)  # its files, and the engine's copy of them
    if terms:
        terms["a fifth to spare"] = sum(terms.values()) // 5
    source = ", ".join(f"{name} by {origin}" for name, origin in sources.items())
    return Sum(available=free, terms=terms, source=source)

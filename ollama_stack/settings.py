"""Every setting once: its type, default, meaning and rule; and the check that refuses a bad one."""

from __future__ import annotations

import difflib
import re
from collections.abc import Iterable, Iterator, Mapping
from functools import cache
from ipaddress import IPv4Address
from typing import Annotated, Any, Literal, Protocol

from pydantic import (
    AfterValidator,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    ValidationError,
)
from pyinfra import logger
from pyinfra.api import DeployError

PROFILES = ("low", "medium", "high")


def _ipv4(address: str) -> str:
    try:
        return str(IPv4Address(address))
    except ValueError as error:
        raise ValueError(f"{address!r} is not understood; write it like 127.0.0.1") from error


def _form(pattern: str, *examples: str) -> Any:
    return Field(pattern=pattern, examples=list(examples))


Cpus = Annotated[float, Field(gt=0, allow_inf_nan=False)]
Size = Annotated[str, _form(r"^[1-9]\d*[MG]$", "3G", "512M")]
# pyinfra's --data makes a number of -1.
Duration = Annotated[str, BeforeValidator(str), _form(r"^([1-9]\d*(s|m|h)|-1)$", "5m", "1h", "-1")]
Address = Annotated[str, AfterValidator(_ipv4)]
Registry = Annotated[str, _form(r"^(https?://[A-Za-z0-9.-]+(:\d+)?)?$", "https://mirror.lan:5000")]
Image = Annotated[
    str,
    _form(
        r"^[a-z0-9][a-z0-9./:_-]*(:[\w.-]+|@sha256:[0-9a-f]{64})$",
        "ollama/ollama:0.32.15",
        "ollama/ollama@sha256:...",
    ),
]
Model = Annotated[
    str,
    _form(r"^[A-Za-z0-9][\w.-]*(/[\w.-]+)?:[\w.-]+$", "qwen2.5:1.5b"),
    AfterValidator(lambda name: name.removeprefix("library/")),  # as Ollama lists it
]
Folder = Annotated[str, _form(r"^/[\w./-]+$", "/opt/ollama")]
Project = Annotated[str, _form(r"^[a-z0-9][a-z0-9_-]*$", "ollama")]


class Settings(BaseModel):
    """The declared state of one host."""

    # Strict: Ollama itself takes "abc" for its default and says so in a log at most.
    model_config = ConfigDict(extra="forbid", frozen=True, strict=True, protected_namespaces=())

    # The seed's numbers: no default here, their one home is group_data/.
    ollama_num_parallel: int = Field(ge=1, description="answers generated at once")
    ollama_max_queue: int = Field(ge=1, description="requests that may wait")
    ollama_max_loaded_models: int = Field(ge=1, description="models in memory at once")
    ollama_keep_alive: Duration = Field(description="how long an idle model stays in memory")
    ollama_cpus: Cpus = Field(description="CPU limit of the container, CPUs")
    ollama_memory: Size = Field(description="memory limit of the container; swap is closed")
    ollama_cpu_reservation: Cpus = Field(description="CPUs reserved (Swarm only)")
    ollama_memory_reservation: Size = Field(description="memory kept under host pressure")
    ollama_image: Image = Field(description="image, with tag or digest")
    model_name: Model = Field(description="the model that clients ask for")

    ollama_bind: Address = Field("127.0.0.1", description="address the API is published on")
    ollama_port: int = Field(11434, ge=1, le=65535, description="port the API is published on")
    ollama_cache_ram: int = Field(
        256, ge=0, description="prompt cache of Ollama >= 0.30, MiB (its own default is 8192)"
    )
    ollama_dir: Folder = Field("/opt/ollama", description="folder of the compose file")
    ollama_project: Project = Field("ollama", description="compose project")
    model_num_ctx: int = Field(4096, ge=256, description="context of one answer, tokens")
    model_num_predict: int = Field(
        1024, ge=1, description="longest answer, tokens, unless a client asks for another"
    )
    mirror: Registry = Field(
        "", description="registry that has the images and models, instead of the upstream ones"
    )
    model_registry: Registry = Field(
        "", description="registry of the models alone, if it is not the mirror"
    )
    docker_source: Literal["docker-ce", "distro"] = Field(
        "docker-ce", description="Docker from its official repository or from the distribution"
    )
    allow_unusual: list[Literal["ollama_max_queue"]] = Field(
        [], description="settings that may leave their usual range; a warning remains"
    )

    @property
    def num_thread(self) -> int:
        """Threads of the runner: more than the CPU limit is a collapse, not a slowdown."""
        return max(1, int(self.ollama_cpus))

    @property
    def image(self) -> str:
        """The image as the Docker engine is to pull it."""
        return f"{host_of(self.mirror)}/{self.ollama_image}" if self.mirror else self.ollama_image

    @property
    def model_source(self) -> str:
        """The model's name at its registry; without a host it means registry.ollama.ai."""
        registry = self.model_registry or self.mirror
        name = self.model_name if "/" in self.model_name else f"library/{self.model_name}"
        return f"{host_of(registry)}/{name}" if registry else self.model_name

    @property
    def model_insecure(self) -> bool:
        """Whether the model's registry speaks plain HTTP."""
        return (self.model_registry or self.mirror).startswith("http://")

    @property
    def pristine_model(self) -> str:
        """The second tag, under which the model stays as it was pulled."""
        return f"{self.model_name}-pristine"

    @property
    def model_parameters(self) -> dict[str, int]:
        """What the tuned model carries, whatever Ollama would choose by itself."""
        return {
            "num_ctx": self.model_num_ctx,
            "num_predict": self.model_num_predict,
            "num_thread": self.num_thread,
        }

    @property
    def environment(self) -> dict[str, str]:
        """The container's environment, the seed's six variables first and in its order."""
        return {
            "OLLAMA_NUM_PARALLEL": str(self.ollama_num_parallel),
            "OLLAMA_MAX_LOADED_MODELS": str(self.ollama_max_loaded_models),
            "OLLAMA_NUM_THREAD": str(self.num_thread),
            "OLLAMA_HOST": "0.0.0.0:11434",
            "OLLAMA_KEEP_ALIVE": self.ollama_keep_alive,
            "OLLAMA_MAX_QUEUE": str(self.ollama_max_queue),
            "LLAMA_ARG_THREADS": str(self.num_thread),
            "LLAMA_ARG_CACHE_RAM": str(self.ollama_cache_ram),
            "OLLAMA_NO_CLOUD": "1",
        }

    @property
    def published(self) -> str:
        """Compose's short syntax for the published port."""
        address = "" if self.ollama_bind == "0.0.0.0" else f"{self.ollama_bind}:"  # noqa: S104 compared, not bound
        return f"{address}{self.ollama_port}:11434"

    @property
    def url(self) -> str:
        """The API as the host itself reaches it."""
        address = "127.0.0.1" if self.ollama_bind == "0.0.0.0" else self.ollama_bind  # noqa: S104 compared, not bound
        return f"http://{address}:{self.ollama_port}"


def host_of(registry: str) -> str:
    """``http://a:5000`` without its scheme."""
    return registry.partition("://")[2]


def size_bytes(size: str) -> int:
    """``3G`` in bytes, in Compose's binary units."""
    return int(size[:-1]) * {"M": 2**20, "G": 2**30}[size[-1]]


class InventoryHost(Protocol):
    """What the check needs of one of pyinfra's hosts."""

    name: str
    groups: list[str]

    @property
    def data(self) -> Any:
        """Host data; ``dict()`` gives it merged."""


def profile_of(groups: Iterable[str]) -> str | None:
    """The one profile group among a host's groups; None if there is none, or more than one."""
    profiles = [group for group in dict.fromkeys(groups) if group in PROFILES]
    return profiles[0] if len(profiles) == 1 else None


# Host data that is pyinfra's own: global arguments (_sudo) and what connectors read (ssh_user).
_PYINFRA_KEY = re.compile(r"^(_|ssh_|fake_|docker_(identifier|container_id|platform|architecture))")


def read_settings(data: Mapping[str, Any]) -> Settings:
    """The settings in one host's data; pydantic's ValidationError if one is refused."""
    return Settings(**{key: data[key] for key in data if not _PYINFRA_KEY.match(key)})


def faults(groups: Iterable[str], data: Mapping[str, Any]) -> list[str]:
    """What is wrong with one host, each as ``setting: problem; way out``; no connection is made."""
    profile = profile_of(groups)
    wrong = [] if profile else [f"profile: put the host in exactly one of {', '.join(PROFILES)}"]
    try:
        settings = read_settings(data)
    except ValidationError as error:
        found = error.errors(include_url=False)
        # Without a profile its values are missing too: that says nothing new.
        return wrong + [_sentence(f) for f in found if profile or f["type"] != "missing"]
    wrong += _impossible(settings)
    if "ollama_max_queue" not in settings.allow_unusual:
        override = 'allow_unusual = ["ollama_max_queue"] overrides this rule'
        wrong += [f"{fault}; {override}" for fault in _unusual(settings)]
    return wrong


def warnings(data: Mapping[str, Any]) -> list[str]:
    """What is unusual with one host, and allowed by name; the data must be free of faults."""
    return [f"{fault}; allowed by allow_unusual" for fault in _unusual(read_settings(data))]


def _impossible(settings: Settings) -> Iterator[str]:
    """Rules that no operator can override: what they forbid cannot work."""
    cpus, most = settings.ollama_cpus, max(1, int(2 * settings.ollama_cpus))
    if settings.ollama_num_parallel > most:
        yield (
            f"ollama_num_parallel: {settings.ollama_num_parallel} is more than 2 per CPU of "
            f"ollama_cpus = {cpus}; at most {most}"
        )
    if settings.ollama_cpu_reservation > cpus:
        yield (
            f"ollama_cpu_reservation: {settings.ollama_cpu_reservation} is more than "
            f"ollama_cpus = {cpus}; lower it"
        )
    if size_bytes(settings.ollama_memory_reservation) > size_bytes(settings.ollama_memory):
        yield (
            f"ollama_memory_reservation: {settings.ollama_memory_reservation} is more than "
            f"ollama_memory = {settings.ollama_memory}; lower it"
        )


def _unusual(settings: Settings) -> Iterator[str]:
    """Rules of the seed that may be overridden by name."""
    if not 10 <= settings.ollama_max_queue <= 20:
        yield f"ollama_max_queue: {settings.ollama_max_queue} is outside 10 to 20"


def check_inventory(hosts: Iterable[InventoryHost]) -> None:
    """Refuse the run, every fault of every host at once, before anything is touched."""
    refuse(_checked(hosts))  # type: ignore[arg-type]  # pyinfra's inventory is hashable, by identity


@cache
def _checked(hosts: Iterable[InventoryHost]) -> dict[str, list[str]]:
    """Faults by host; pyinfra runs deploy.py once a host, this runs once a run."""
    data = {host.name: host.data.dict() for host in hosts}
    wrong = {host.name: faults(host.groups, data[host.name]) for host in hosts}
    for name in (name for name in data if not wrong[name]):
        for unusual in warnings(data[name]):
            logger.warning(f"{name}: {unusual}")
    return wrong


def refuse(reasons: Mapping[str, list[str]]) -> None:
    """DeployError with the reasons of all hosts, if there are any."""
    lines = [f"    {name}: {reason}" for name, own in reasons.items() for reason in own]
    if lines:
        raise DeployError("refused, nothing was changed:\n" + "\n".join(lines))


def _sentence(fault: Any) -> str:
    setting, given = ".".join(str(part) for part in fault["loc"]), fault["input"]
    match fault["type"]:
        case "missing":
            return f"{setting}: has no value; set it in group_data/ (docs/settings.md)"
        case "extra_forbidden":
            near = difflib.get_close_matches(setting.lower(), Settings.model_fields, n=1)
            hint = f"did you mean {near[0]}?" if near else "docs/settings.md lists them all"
            return f"{setting}: no such setting; {hint}"
        case "string_pattern_mismatch":
            examples = " or ".join(Settings.model_fields[setting].examples or ())
            return f"{setting}: {given!r} is not understood; write it like {examples}"
        case "value_error":
            return f"{setting}: {fault['ctx']['error']}"
    said = fault["msg"][0].lower() + fault["msg"][1:]
    return f"{setting}: {given!r} is refused: {said} (docs/settings.md)"

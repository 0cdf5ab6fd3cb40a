"""Every setting once: its type, unit, default, meaning, rule and source."""

from __future__ import annotations

import re
from base64 import b64encode
from collections.abc import Iterable, Mapping
from math import ceil
from typing import Annotated, Any, Literal
from urllib.parse import urlsplit

from ollama_stack.config.app import AppSettings
from ollama_stack.config.cluster import ClusterSettings
from ollama_stack.config.gateway import GatewaySettings
from ollama_stack.config.monitoring import MONITORING, MonitoringSettings
from ollama_stack.config.served import ServedModel
from ollama_stack.config.types import (
    Address,
    Cpus,
    Digest,
    DockerVersion,
    Duration,
    Image,
    Lessons,
    Listed,
    Model,
    ModelShape,
    OwnFolder,
    Project,
    Proxy,
    Registry,
    Sha256,
    Size,
    Timeout,
    Waiver,
    Website,
    host_of,
    seconds,
    setting,
)
from ollama_stack.containers import APP, APP_MEMORY, DOOR_MEMORY, GATEWAY, OLLAMA
from ollama_stack.page_image import built_name

DOCKER_HUB = "https://registry-1.docker.io"
PROFILES = ("low", "medium", "high")
# In a cluster a built image is called after a port where root alone may listen: Swarm asks a registry before each start.
NOWHERE = "127.0.0.1:1"


class Settings(GatewaySettings, AppSettings, ClusterSettings, MonitoringSettings):
    """The declared state of one host."""

    # The profiles' numbers (docs/figures.md): no default here, their one home is group_data/.
    ollama_num_parallel: int = setting(
        "answers generated at once",
        "rule of thumb: at most 4 for 2 CPUs",
        unit="requests",
        rule="at most 2 per CPU of `ollama_cpus`",
        ge=1,
    )
    ollama_max_queue: int = setting(
        "requests that may wait",
        "rule of thumb: 10 to 20",
        unit="requests",
        rule="10 to 20, unless `allow_unusual` names it",
        ge=1,
    )
    ollama_max_loaded_models: int = setting(
        "models in memory at once", "rule of thumb", unit="models", ge=1
    )
    ollama_keep_alive: Duration = setting(
        "how long an idle model stays in memory; -1 is for ever",
        "rule of thumb; a bad value is 5m to Ollama (envconfig/config.go)",
        unit="Go duration",
    )
    ollama_cpus: Cpus = setting(
        "CPU limit of the container; the runner gets a thread for each whole one, and a fraction computes nothing",
        "rule of thumb; #17916: more threads than the limit are 45 times slower",
        unit="CPUs",
        rule="at most the host's",
    )
    ollama_memory: Size = setting(
        "memory limit of the container; swap is closed",
        "rule of thumb",
        unit="binary M or G",
        rule="with the gateway's and the app's at most the host's; at least what the model needs",
    )
    ollama_cpu_reservation: Cpus = setting(
        "CPUs reserved; Compose ignores it, only Swarm does not",
        "rule of thumb",
        unit="CPUs",
        rule="at most `ollama_cpus`",
    )
    ollama_memory_reservation: Size = setting(
        "memory kept under host pressure",
        "rule of thumb",
        unit="binary M or G",
        rule="at most `ollama_memory`",
    )
    ollama_image: Image = setting(
        "image, with tag or digest",
        "rule of thumb: latest; it moves, so it is pinned",
        rule="in its registry, if that says so without a login",
    )
    model_name: Model = setting(
        "the model that clients ask for", "rule of thumb", rule="in its registry"
    )
    models: Annotated[list[Model], Listed] = setting(
        "all models that the server has, as one that chats and one that embeds; none: `model_name` alone",
        "ours",
        [],
        rule="`model_name` is the first; each in its registry; the largest that are in memory at once fit",
        examples=['["qwen2.5:1.5b", "nomic-embed-text:v1.5"]'],
    )
    models_prune: bool = setting(
        "a deploy removes from the disk the models that an earlier one pulled and that are listed no more",
        "ours",
        False,
        rule="a return to a release that served such a model needs it pulled again",
    )

    students: int | None = setting(
        "students at once, if you want the profile checked against them",
        "rule of thumb: below 5 low, to 15 medium, above high",
        None,
        unit="persons",
        rule="a smaller profile is refused",
        ge=1,
    )
    lessons: Lessons = setting(
        "when a class may ask: in these hours an alarm says that no model is in memory; none: never",
        "ours",
        "mon-fri 08:00-15:00",
        unit="local time of the machine that looks",
        rule="days and hours in order",
    )
    slo_p95_wait: float = setting(
        "bound that `load` holds the host to: 95 of 100 answers wait no longer for their turn",
        "ours",
        unit="seconds",
        gt=0,
        allow_inf_nan=False,
    )
    slo_success: float = setting(
        "bound that `load` holds the host to: the answered share of all questions",
        "ours",
        unit="ratio",
        gt=0,
        le=1,
    )
    ollama_bind: Address = setting(
        "address the API is published on",
        "rule of thumb: every address; the API has no lock",
        "127.0.0.1",
        rule="an address of the host; if not loopback, with `gateway_tokens` (or, without gateway, `allow_unusual`)",
    )
    ollama_port: int = setting(
        "port the API is published on", "rule of thumb", 11434, rule="free, or ours", ge=1, le=65535
    )
    ollama_cache_ram: int = setting(
        "prompt cache of Ollama >= 0.30, whose own default is 8192",
        "llama.cpp --cache-ram; ollama#18264",
        256,
        unit="MiB",
        ge=0,
    )
    ollama_dir: OwnFolder = setting(
        "folder of the compose file", "ours", "/opt/ollama", rule="of its own, not of the system's"
    )
    ollama_project: Project = setting(
        "compose project", "ours", "ollama", rule="owns the container `ollama`, if there is one"
    )
    health_interval: Timeout = setting(
        "time between two health checks of a container; a change waits for the first one",
        "ours; Docker before 25 has no shorter interval for a start",
        "5s",
    )
    health_timeout: Timeout = setting(
        "longest silence after a health check's question; then the container is ended, and starts anew",
        "nine times the longest seen on an emulated machine (5 s)",
        "45s",
    )
    ollama_start_timeout: Timeout = setting(
        "longest time until a container that was started answers and is healthy",
        "an emulated machine went from a bare Docker to a verified answer in 164 s",
        "3m",
    )
    model_pull_timeout: Timeout = setting(
        "longest pull of the model; what has arrived is kept, and the next run goes on with it",
        "a gigabyte at 50 kB/s takes 5.6 hours",
        "6h",
    )
    model_load_timeout: Timeout = setting(
        "longest time until the model is in memory, or tuned",
        "a gigabyte from a disk that gives 2 MB/s takes 9 minutes",
        "15m",
    )
    smoke_timeout: Timeout = setting(
        "longest wait for one of the answers, of 16 tokens, by which a deploy is called done",
        "0.4 tokens/s, the slowest that was measured, and 3 at once: 2 minutes",
        "5m",
    )
    model_num_ctx: int = setting(
        "context of one answer", "Ollama api/types.go", 4096, unit="tokens", ge=256
    )
    model_num_predict: int = setting(
        "longest answer, unless a client asks for another",
        "Ollama's is 10 contexts (llm/server.go)",
        1024,
        unit="tokens",
        ge=1,
    )
    model_shape: ModelShape | None = setting(
        "memory figures of a model that neither its server nor we know",
        "config.json of the model; weights as its file is large",
        None,
        rule="needed for such a model; `head_dim` where it is not embedding / heads, `feed_forward` "
        "(intermediate_size) for Ollama 0.30 and later, else 8 embeddings are reckoned with",
        examples=[
            '{"weights": "935M", "layers": 28, "embedding": 1536, "heads": 12, "kv_heads": 2, '
            '"vocabulary": 151936, "feed_forward": 8960}'
        ],
    )
    mirror: Registry = setting(
        "registry that has the images and models, instead of the upstream ones",
        "ours",
        "",
        rule="answers, if something is to be pulled",
    )
    model_registry: Registry = setting(
        "registry of the models alone, if it is not the mirror",
        "Ollama has no mirror setting (types/model/name.go)",
        "",
        rule="answers, if the model is to be pulled",
    )
    model_digest: Digest = setting(
        "the model's digest, as `ollama list` and `make audit` show it; another one is refused",
        "a tag moves (Ollama server/images.go)",
        "",
        rule="what the registry has under `model_name`",
    )
    bundle: str = setting(
        "file on the controller that `ollama-stack bundle` made: everything comes from it, and nothing from a "
        "registry (docs/networks.md)",
        "ours",
        "",
        rule="whole; made for these images and models; the host has the packages that it lists; no `cluster`",
    )
    proxy: Proxy = setting(
        "the way out of the site's network: apt, the Docker engine and Ollama's pulls take it, and "
        "nothing else does",
        "Ollama's FAQ: HTTPS_PROXY alone",
        "",
        rule="without a password; `mirror` and `model_registry` are reached without it; an engine that "
        "has a proxy of its own keeps it",
    )
    host_certificates: bool = setting(
        "Ollama trusts whom the host trusts, as where the registry has a certificate of the site's own, or "
        "the site's proxy looks into TLS",
        "the image has the public authorities alone",
        False,
        rule="the host has it: a file in /usr/local/share/ca-certificates",
    )
    docker_source: Literal["docker-ce", "distro"] = setting(
        "Docker from its official repository or from the distribution", "ours", "docker-ce"
    )
    docker_repository: Website = setting(
        "folder of Docker's own packages, or of a mirror of them",
        "ours",
        "https://download.docker.com/linux",
        rule="its packages are signed",
    )
    docker_repository_key: Sha256 = setting(
        "SHA-256 of the key (`debian/gpg` in that folder) that signs them",
        "download.docker.com, 2025",
        "1500c1f56fa9e26b9b8f42452a553675796ade0807cdce11975eb98170b3a570",
        rule="the key there is this one",
    )
    docker_version: DockerVersion = setting(
        "version of docker-ce that every host gets, and apt keeps; none: the newest, once",
        "ours",
        "",
        rule="the repository has it",
    )
    allow_unusual: Annotated[
        list[Literal["ollama_max_queue", "ollama_bind", "app_bind"]], Listed
    ] = setting("settings that may leave their usual range; a warning remains", "ours", [])

    audit_waivers: Annotated[list[Waiver], Listed] = setting(
        "findings of the audit that are accepted for a time",
        "ours",
        [],
        rule="shown as waived until that day, a finding after it",
        examples=['[{"id": "OLS-801", "reason": "loopback only", "until": "2027-06-30"}]'],
    )

    @property
    def num_thread(self) -> int:
        """Threads of the runner: more than the CPU limit is a collapse, not a slowdown."""
        return max(1, int(self.ollama_cpus))

    @property
    def declared_images(self) -> dict[str, str]:
        """Images by the settings that declare them; of a page that is built, what it is built on."""
        names = ["ollama_image", *(["gateway_image"] if self.gateway_enabled else [])]
        names += (
            ["app_base_image" if self.app_is_built else "app_image"] if self.app_enabled else []
        )
        return {name: getattr(self, name) for name in names}

    @property
    def ollama_image_ref(self) -> str:
        """The image as the Docker engine is to pull it."""
        return self.engine_name(self.ollama_image)

    @property
    def gateway_image_ref(self) -> str:
        """The gateway's image as the Docker engine is to pull it."""
        return self.engine_name(self.gateway_image)

    @property
    def app_image_ref(self) -> str:
        """The app's image as the Docker engine is to pull it, or to call what it has built."""
        if self.app_image:
            return self.engine_name(self.app_image)
        built = built_name(self.app_base_image)
        return f"{NOWHERE}/{built}" if self.cluster else built

    def engine_name(self, image: str) -> str:
        """A declared image as the Docker engine is to pull it."""
        return f"{host_of(self.mirror)}/{image}" if self.mirror else image

    @property
    def model_source(self) -> str:
        """The first model's name at its registry."""
        return self.served_models[0].source

    def image_manifest(self, image: str) -> str:
        """URL of an image's manifest at its registry (OCI distribution specification)."""
        first, _, rest = image.partition("/")
        if self.mirror:
            return _manifest(self.mirror, image)
        if rest and (first == "localhost" or re.search(r"[.:]", first)):
            return _manifest(f"https://{first}", rest)
        return _manifest(DOCKER_HUB, image if rest else f"library/{image}")

    @property
    def served_models(self) -> tuple[ServedModel, ...]:
        """Every model that the server has, the first first."""
        first, *others = self.models or [self.model_name]
        return (
            self._served(first, self.model_digest, "model_name"),
            *(self._served(name, "", f"models {name}") for name in others),
        )

    @property
    def allowed_models(self) -> list[str]:
        """The names that the door lets every token ask for."""
        return [*(model.name for model in self.served_models), *self.gateway_models]

    def _served(self, name: str, digest: str, declared_by: str) -> ServedModel:
        registry = self.model_registry or self.mirror
        path = name if "/" in name else f"library/{name}"
        return ServedModel(
            name=name,
            source=f"{host_of(registry)}/{path}" if registry else name,
            # Upstream's registry is fixed in Ollama's source.
            manifest=_manifest(registry or "https://registry.ollama.ai", path),
            digest=digest,
            setting=declared_by,
        )

    @property
    def model_insecure(self) -> bool:
        """Whether the model's registry speaks plain HTTP."""
        return (self.model_registry or self.mirror).startswith("http://")

    @property
    def pristine_model(self) -> str:
        """The second tag, under which the first model stays as it was pulled."""
        return self.served_models[0].pristine

    @property
    def model_parameters(self) -> dict[str, int]:
        """What the tuned model carries, whatever Ollama would choose."""
        return {
            "num_ctx": self.model_num_ctx,
            "num_predict": self.model_num_predict,
            "num_thread": self.num_thread,
        }

    @property
    def health_seconds(self) -> int:
        """``health_timeout`` in seconds."""
        return seconds(self.health_timeout)

    @property
    def start_seconds(self) -> int:
        """``ollama_start_timeout`` in seconds."""
        return seconds(self.ollama_start_timeout)

    @property
    def load_seconds(self) -> int:
        """``model_load_timeout`` in seconds."""
        return seconds(self.model_load_timeout)

    @property
    def pull_seconds(self) -> int:
        """``model_pull_timeout`` in seconds."""
        return seconds(self.model_pull_timeout)

    @property
    def smoke_seconds(self) -> int:
        """``smoke_timeout`` in seconds."""
        return seconds(self.smoke_timeout)

    @property
    def environment(self) -> dict[str, str]:
        """The container's environment, the six variables of the rules of thumb first."""
        return {
            "OLLAMA_NUM_PARALLEL": str(self.ollama_num_parallel),
            "OLLAMA_MAX_LOADED_MODELS": str(self.ollama_max_loaded_models),
            "OLLAMA_NUM_THREAD": str(self.num_thread),
            "OLLAMA_HOST": f"0.0.0.0:{OLLAMA.port}",
            "OLLAMA_KEEP_ALIVE": self.ollama_keep_alive,
            "OLLAMA_MAX_QUEUE": str(self.ollama_max_queue),
            "LLAMA_ARG_THREADS": str(self.num_thread),
            "LLAMA_ARG_CACHE_RAM": str(self.ollama_cache_ram),
            "OLLAMA_NO_CLOUD": "1",
            **self.proxy_variables,
        }

    @property
    def proxy_variables(self) -> dict[str, str]:
        """The variables that lead pulls through the proxy; never HTTP_PROXY, which local calls heed."""
        if not self.proxy:
            return {}
        return {"HTTPS_PROXY": self.proxy, "NO_PROXY": ",".join(self.reached_directly)}

    @property
    def reached_directly(self) -> list[str]:
        """Hosts that are no matter for the proxy: this one itself, and the site's own registries."""
        own = [urlsplit(place).hostname for place in (self.mirror, self.model_registry)]
        return ["localhost", "127.0.0.1", "::1", *dict.fromkeys(name for name in own if name)]

    def proxy_to(self, url: str) -> str:
        """The proxy that leads to a URL; "" where none does."""
        return "" if urlsplit(url).hostname in self.reached_directly else self.proxy

    @property
    def volume(self) -> str:
        """The volume with the models, of a compose project or of a stack."""
        return f"{self.ollama_project}_ollama_data"

    @property
    def slice(self) -> str:
        """The containers' systemd slice; a dash in its name would put it below another one."""
        return f"{self.ollama_project.replace('-', '_')}.slice"

    @property
    def bridge(self) -> str:
        """The network interface of the containers on their host; its name has at most 15 letters."""
        return self.ollama_project[:15]

    @property
    def guard_file(self) -> str:
        """The rules of the host's packet filter."""
        return f"{self.ollama_dir}/guard.nft"

    @property
    def app_threads(self) -> int:
        """Requests that the app takes at once: those that wait, and 16 for pages beside them."""
        return self.ollama_num_parallel + self.ollama_max_queue + 16

    @property
    def app_pids(self) -> int:
        """Processes of the app's container: an answer's thread has one that finds the address."""
        return self.app_threads + 2 * self.ollama_num_parallel + APP.pids

    @property
    def container_memory(self) -> dict[str, str]:
        """Memory limits of the declared containers, by compose service."""
        limits = {"ollama": self.ollama_memory}
        limits |= {"gateway": f"{self.gateway_memory}M"} if self.gateway_enabled else {}
        limits |= {"door": DOOR_MEMORY} if self.cluster and self.gateway_enabled else {}
        return limits | ({"app": APP_MEMORY} if self.app_enabled else {})

    @property
    def app_max_seconds(self) -> int:
        """The longest that one of the app's answers may take, the gateway's queue included.

        An answer that streams may take longer than it may be silent: 2 tokens a second are slow.
        """
        answer = max(seconds(self.gateway_answer_timeout), self.app_max_answer // 2)
        return self.queue_seconds + answer

    @property
    def app_silence(self) -> int:
        """Longest silence, in seconds, for a non-streaming client at the end of the queue.

        HAProxy's timers end at 24 days.
        """
        rounds = 1 + ceil(self.ollama_max_queue / self.ollama_num_parallel)
        return min(self.app_max_seconds * rounds, 24 * 86400)

    @property
    def app_environment(self) -> dict[str, str]:
        """The app's environment; Ollama's own numbers under Ollama's own names."""
        return {
            "OLLAMA_HOST": "http://gateway:11435",
            "OLLAMA_NUM_PARALLEL": str(self.ollama_num_parallel),
            "OLLAMA_MAX_QUEUE": str(self.ollama_max_queue),
            "APP_MODEL": self.model_name,
            **self._app_optional,
            "APP_THREADS": str(self.app_threads),
            "APP_MAX_PROMPT": str(self.app_max_prompt),
            "APP_MAX_ANSWER": str(self.app_max_answer),
            "APP_MAX_SECONDS": str(self.app_max_seconds),
            "APP_QUESTIONS_PER_MINUTE": str(self.app_questions_per_minute),
            "APP_QUESTIONS_AT_ONCE": str(self.app_questions_at_once),
            "APP_ADDRESS_SHARE": str(self.app_address_share),
            "APP_HOSTS": ",".join(self.app_hosts),
            "APP_LOG_PROMPTS": str(self.app_log_prompts).lower(),
            "APP_SECRETS": "/run/secrets/app",
            # A proxy of Docker's own settings comes into every container; to the gateway none leads.
            "NO_PROXY": "*",
            "no_proxy": "*",
        }

    @property
    def app_offered(self) -> list[str]:
        """The models that the page offers; the first answers whoever does not choose."""
        return self.app_models or [self.model_name]

    @property
    def _app_optional(self) -> dict[str, str]:
        """What only some pages have; the teacher's words in base64, which Compose and YAML leave as it is."""
        optional = {
            "APP_MODELS": ",".join(self.app_models),
            "APP_SYSTEM_PROMPT": b64encode(self.app_system_prompt.encode()).decode(),
        }
        return {name: value for name, value in optional.items() if value}

    @property
    def published(self) -> str:
        """Compose's short syntax for the published port."""
        return f"{_published(self.ollama_bind)}{self.ollama_port}:{GATEWAY.port}"

    @property
    def app_published(self) -> str:
        """The same for the app's port, which is the gateway's."""
        return f"{_published(self.app_bind)}{self.app_port}:{APP.port}"

    @property
    def url(self) -> str:
        """The API as the host itself reaches it."""
        return f"{self._scheme}://{_reached(self.ollama_bind)}:{self.ollama_port}"

    @property
    def app_url(self) -> str:
        """The app as the host itself reaches it."""
        return f"{self._scheme}://{_reached(self.app_bind)}:{self.app_port}"

    @property
    def _scheme(self) -> str:
        return "https" if self.gateway_enabled and self.gateway_has_tls else "http"

    @property
    def token_header_file(self) -> str:
        """On the host: the header with which smoke and audit ask; "" where no token is needed."""
        return self.local_token_file if self.gateway_enabled and self.gateway_tokens else ""

    @property
    def local_token_file(self) -> str:
        """Where that header is, or was."""
        return f"{self.ollama_dir}/local-token.header"

    @property
    def compose_file(self) -> str:
        """On the host: the compose file."""
        return f"{self.ollama_dir}/docker-compose.yml"

    @property
    def gateway_dir(self) -> str:
        """The gateway's files on the host."""
        return f"{self.ollama_dir}/gateway"

    @property
    def app_dir(self) -> str:
        """The app's secrets on the host."""
        return f"{self.ollama_dir}/app"


def _published(bind: str) -> str:
    return "" if bind == "0.0.0.0" else f"{bind}:"  # noqa: S104 compared, not bound


def _reached(bind: str) -> str:
    return "127.0.0.1" if bind == "0.0.0.0" else bind  # noqa: S104 compared, not bound


def _manifest(registry: str, reference: str) -> str:
    """``name:tag`` or ``name@digest`` at a registry."""
    name, at, version = reference.partition("@")
    if at:
        name = re.sub(r":[^/:]*$", "", name)  # the digest alone counts, to Docker too
    else:
        name, _, version = reference.rpartition(":")
    return f"{registry}/v2/{name}/manifests/{version}"


def profile_of(groups: Iterable[str]) -> str | None:
    """The one profile group among a host's groups; None if there is none, or more than one."""
    profiles = [group for group in dict.fromkeys(groups) if group in PROFILES]
    return profiles[0] if len(profiles) == 1 else None


def serves(groups: Iterable[str]) -> bool:
    """Whether a host with these groups is to serve a class; else it watches those that do, and no more."""
    own = set(groups)
    return MONITORING not in own or bool(own & set(PROFILES))


# Host data that is pyinfra's own: global arguments (_sudo) and what connectors read (ssh_user).
PYINFRA_KEY = re.compile(r"^(_|ssh_|fake_|docker_(identifier|container_id|platform|architecture))")


def read_settings(data: Mapping[str, Any]) -> Settings:
    """The settings in one host's data; pydantic's ValidationError if one is refused."""
    return Settings(**{key: data[key] for key in data if not PYINFRA_KEY.match(key)})

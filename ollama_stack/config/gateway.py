"""Settings of the gateway, the one door to an Ollama server."""

from __future__ import annotations

from math import ceil
from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict

from ollama_stack.config.types import (
    BodySize,
    Directory,
    Email,
    HostName,
    Image,
    Listed,
    Model,
    Origin,
    Secret,
    Share,
    Timeout,
    TokenName,
    seconds,
    setting,
    size_bytes,
)

# Memory of the gateway, in MiB but for the last: docs/door.md has the sum, tests/door measures it.
WORKERS = 2  # the one before a reload ends with its last answer
PROCESS = 24  # HAProxy itself, and its master
LUA = 16  # at most, for what looks at bodies, beside the largest one
BUFFERS = 112  # bodies and answers on their way, as long as that makes enough buffers
FEWEST_BUFFERS = 64
HEADERS = 32  # KiB beside a body
CONNECTIONS = 800  # at both doors, inside, for metrics and for health
CONNECTION = 148  # KiB: TLS, HAProxy's own, and 96 KiB of the kernel's
LEAST_MEMORY = 512

ORIGINS = (
    *("http://localhost", "http://localhost:*", "https://localhost", "https://localhost:*"),
    *("http://127.0.0.1", "http://127.0.0.1:*", "https://127.0.0.1", "https://127.0.0.1:*"),
    *("http://0.0.0.0", "http://0.0.0.0:*", "https://0.0.0.0", "https://0.0.0.0:*"),
    *("app://*", "file://*", "tauri://*", "vscode-webview://*", "vscode-file://*"),
)
Field = Literal[
    "context", "images", "keep_alive", "low_vram", "main_gpu", "num_batch", "num_ctx", "num_gpu",
    "num_keep", "num_predict", "num_thread", "numa", "pattern", "raw", "shift", "template",
    "use_mlock", "use_mmap", "verbose",
]  # fmt: skip


class GatewaySettings(BaseModel):
    """HAProxy in front of Ollama: a bounded queue, a lock, metrics."""

    model_config = ConfigDict(extra="forbid", frozen=True, strict=True, protected_namespaces=())

    gateway_enabled: bool = setting(
        "HAProxy is in front of Ollama: `ollama_num_parallel` in flight, `ollama_max_queue` waiting, "
        "the next one is refused at once",
        "Ollama's own queue bounds nothing on a warm model (ollama#7758)",
        True,
    )
    gateway_image: Image = setting(
        "image, with tag or digest",
        "HAProxy 3.2 is LTS, to 2030",
        "haproxy:3.2.18",
        rule="in its registry, if that says so without a login; not Alpine's, which has no bash",
    )
    gateway_queue_timeout: Timeout = setting(
        "longest wait for a slot, then 503", "HAProxy timeout queue", "120s"
    )
    gateway_answer_timeout: Timeout = setting(
        "longest silence in an answer; one that is not streamed is silent to its end",
        "1024 tokens at 2 tokens per second are 9 minutes",
        "15m",
    )
    gateway_answer_limit: Timeout = setting(
        "longest time in which an answer comes, from its first word on; then it is broken off",
        "ours",
        "30m",
    )
    gateway_max_body: BodySize = setting(
        "largest request; above 1M the gateway needs more memory (docs/door.md)",
        "a context of 4096 tokens is 16K",
        "128K",
        unit="binary K, M or G",
    )
    gateway_fields: Annotated[list[Field], Listed] = setting(
        "fields of requests that are open to every token, besides those of docs/door.md",
        "Ollama api/types.go",
        [],
        rule="with `images`, `gateway_max_body` has to be as large as they are",
        examples=['["images"]'],
    )
    gateway_models: Annotated[list[Model], Listed] = setting(
        "models that every token may ask for, besides the `models`; an admin pulls them by hand",
        "ours",
        [],
        examples=['["nomic-embed-text:v1.5"]'],
    )
    gateway_origins: Annotated[list[Origin], Listed] = setting(
        "web pages whose scripts may ask; * is any port, or any name",
        "Ollama envconfig/config.go (OLLAMA_ORIGINS)",
        list(ORIGINS),
        examples=['["https://school.example"]'],
    )
    gateway_hosts: Annotated[list[HostName], Listed] = setting(
        "names that requests may call this host by where no token is asked for, besides localhost "
        "and addresses",
        "DNS rebinding; Ollama server/routes.go (allowedHost)",
        [],
        examples=['["ollama.school.example"]'],
    )
    gateway_source_connections: int = setting(
        "connections of one address at once; a class behind one router is one address; where "
        "`gateway_max_body` is 1M or more, better a quarter of the buffers (docs/door.md)",
        "ours",
        150,
        unit="connections",
        ge=1,
        le=300,
    )
    gateway_metrics_port: int = setting(
        "port of the Prometheus metrics, on 127.0.0.1",
        "ours",
        8404,
        rule="free, or ours; not `ollama_port`",
        ge=1,
        le=65535,
    )
    gateway_tokens: dict[TokenName, Secret] = setting(
        "who may ask, by name, and where the controller finds each secret; only `admin` may change "
        "models",
        "Ollama has no lock (ollama#1053)",
        {},
        rule="needed where `ollama_bind` is not loopback; a name has at most 50 letters",
        examples=[
            '{"admin": "env:OLLAMA_ADMIN_TOKEN", "class-1": "file:~/.ollama-tokens/class-1"}'
        ],
    )
    gateway_token_limits: dict[TokenName, Share] = setting(
        "what a token may have at once, in flight and waiting, and in a minute; unless said, half of "
        "`ollama_num_parallel` and of `ollama_max_queue` and any number",
        "ours",
        {},
        rule="names of `gateway_tokens`; at most `ollama_num_parallel` and `ollama_max_queue`",
        examples=['{"class-1": {"parallel": 2, "queue": 10, "per_minute": 60}}'],
    )
    gateway_tls_cert: str = setting(
        "PEM file on the controller with certificate and key; with it the address is https",
        "ours",
        "",
        rule="readable; not with `gateway_tls`",
    )
    gateway_tls: Literal["", "own", "acme"] = setting(
        "`own`: the address is https, by a certificate of the site's own authority, which the first "
        "deploy makes; `acme`: by one that the host gets and renews from an ACME authority (docs/tls.md)",
        "RFC 5280, RFC 8555",
        "",
        rule="not with `gateway_tls_cert`; `acme` needs systemd, port 80 and `gateway_tls_names`",
        examples=["own", "acme"],
    )
    gateway_acme_directory: Directory = setting(
        "the authority's directory with `gateway_tls` = `acme`; a host has to trust its certificate",
        "RFC 8555, 7.1.1",
        "https://acme-v02.api.letsencrypt.org/directory",
    )
    gateway_acme_agreed: bool = setting(
        "you have read the terms of service of that authority, and agree",
        "RFC 8555, 7.3",
        False,
        rule="needed with `gateway_tls` = `acme`",
    )
    gateway_acme_email: Email = setting(
        "whom that authority may write to; empty: nobody", "RFC 8555, 7.3", ""
    )
    gateway_tls_folder: str = setting(
        "folder on the controller that keeps that authority and the hosts' certificates, as the "
        "project's folder sees it; keep a copy",
        "ours",
        "secrets/tls",
        rule="a folder of its own",
    )
    gateway_tls_names: Annotated[list[HostName], Listed] = setting(
        "names and addresses that students call this host by, beside those that the inventory, "
        "`gateway_hosts` and `app_hosts` have",
        "RFC 9525",
        [],
        rule="the certificate has them; one of the site's own gets them, one by ACME has them alone",
        examples=['["ai.school.example", "10.0.0.5"]'],
    )

    @property
    def gateway_has_tls(self) -> bool:
        """Whether a gateway's address is https."""
        return bool(self.gateway_tls_cert or self.gateway_tls)

    @property
    def queue_seconds(self) -> int:
        """``gateway_queue_timeout`` in seconds."""
        return seconds(self.gateway_queue_timeout)

    @property
    def max_body_bytes(self) -> int:
        """``gateway_max_body`` in bytes."""
        return size_bytes(self.gateway_max_body)

    @property
    def gateway_bufsize(self) -> int:
        """Bytes of one buffer: a whole body, so that it waits here and not in a slot."""
        return self.max_body_bytes + HEADERS * 2**10

    @property
    def gateway_buffers(self) -> int:
        """How many buffers one worker may have at once."""
        return max(FEWEST_BUFFERS, BUFFERS * 2**20 // self.gateway_bufsize)

    @property
    def gateway_lua(self) -> int:
        """MiB for what looks at bodies: the largest one takes the room of no others."""
        return LUA + self.max_body_bytes // 2**20

    @property
    def gateway_memory(self) -> int:
        """The container's limit in MiB: all that its workers can come to hold."""
        buffers = self.gateway_buffers * self.gateway_bufsize / 2**20
        worker = self.gateway_lua + buffers + CONNECTIONS * CONNECTION / 2**10
        return max(LEAST_MEMORY, ceil(PROCESS + WORKERS * worker))

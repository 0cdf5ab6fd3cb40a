"""Settings of the gateway, the one door to an Ollama server."""

from __future__ import annotations

from pydantic import BaseModel, ConfigDict

from ollama_stack.forms import Image, Secret, Size, Timeout, TokenName, seconds, setting, size_bytes


class GatewaySettings(BaseModel):
    """HAProxy in front of Ollama: a bounded queue, a lock, metrics."""

    model_config = ConfigDict(extra="forbid", frozen=True, strict=True, protected_namespaces=())

    gateway_enabled: bool = setting(
        "HAProxy stands before Ollama: `ollama_num_parallel` in flight, `ollama_max_queue` waiting, "
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
    gateway_max_body: Size = setting("largest request", "ours", "10M", unit="binary M or G")
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
        rule="needed where `ollama_bind` is not loopback",
        examples=[
            '{"admin": "env:OLLAMA_ADMIN_TOKEN", "class-1": "file:~/.ollama-tokens/class-1"}'
        ],
    )
    gateway_tls_cert: str = setting(
        "PEM file on the controller with certificate and key; with it the address is https",
        "ours",
        "",
        rule="readable",
    )

    @property
    def queue_seconds(self) -> int:
        """``gateway_queue_timeout`` in seconds."""
        return seconds(self.gateway_queue_timeout)

    @property
    def max_body_bytes(self) -> int:
        """``gateway_max_body`` in bytes."""
        return size_bytes(self.gateway_max_body)

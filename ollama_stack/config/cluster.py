"""Settings of hosts that serve together, at one address."""

from __future__ import annotations

from pydantic import BaseModel, ConfigDict

from ollama_stack.config.types import Cluster, NodeAddress, setting


class ClusterSettings(BaseModel):
    """A Docker Swarm: one gateway, one queue, an Ollama on every host."""

    model_config = ConfigDict(extra="forbid", frozen=True, strict=True, protected_namespaces=())

    cluster: Cluster = setting(
        "name of the cluster in which the host serves with others, at one address; empty: it serves alone",
        "ours; Docker Swarm",
        "",
        rule="TLS by ACME, `ollama_bind` and `app_bind` of one address are for a host alone",
    )
    cluster_address: NodeAddress = setting(
        "the host's address on the network of the cluster; empty: the one by which it goes out",
        "docker swarm init --advertise-addr",
        "",
        rule="an address of the host; ports 2377 and 7946, 4789/udp and IP protocol 50 are open between hosts",
    )
    cluster_encrypted: bool = setting(
        "what the cluster's hosts say to each other about questions and answers is encrypted (IPsec)",
        "docker network create --opt encrypted",
        True,
        rule="the kernel has AES-GCM (esp4)",
    )

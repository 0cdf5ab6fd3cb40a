"""What a host's service does at this moment. Any login may ask: as root, by ``sudo -n`` or in the group docker."""

from __future__ import annotations

import json
import re
from collections import Counter
from dataclasses import dataclass, field
from datetime import datetime
from math import ceil
from typing import Any

from cryptography import x509
from pyinfra.api import FactBase, QuoteString, StringCommand
from typing_extensions import override

from ollama_stack.containers import APP, CONTAINERS, GATEWAY, OLLAMA
from ollama_stack.facts.lines import Lines
from ollama_stack.facts.ollama import address

# A hung engine keeps nobody; what needs root is asked through sudo.
AS_WHO_MAY = """docker() { timeout 3 docker "$@"; }
test "$(id -u)" = 0 || ! sudo -n true || docker() { sudo -n timeout 3 docker "$@"; }
"""
PROC, CGROUPS = "/proc", "/sys/fs/cgroup"
SAMPLE = 0.5  # seconds between two looks at the kernel's counters
MINUTES = 5


class States(FactBase[dict[str, dict[str, Any]]]):
    """``docker inspect`` of each of our containers that is there, by name; fails where Docker does not answer."""

    default = dict

    @override
    def command(self) -> str:
        names = "|".join(container.name for container in CONTAINERS)
        return (
            f"ids=$(docker ps --all --quiet --filter 'name=^/({names})$') &&"
            " { test -z \"$ids\" || docker inspect --format '{{json .}}' $ids; }"
        )

    @override
    def process(self, output: list[str]) -> dict[str, dict[str, Any]]:
        found = [json.loads(line) for line in output if line.startswith("{")]  # a login may greet
        return {one["Name"].removeprefix("/"): one for one in found}


@dataclass(frozen=True)
class Load:
    """What Ollama's container takes: CPUs now, the share of its CPU time lost to throttling now, bytes."""

    cpus: float
    throttled_seconds: float
    """In a second."""
    memory: int
    killed: int
    """Processes that the kernel has killed for memory since the container's start."""


class OllamaLoad(FactBase[Load]):
    """From the kernel's control groups, v1 or v2."""

    @override
    def command(self) -> str:
        return rf"""pid=$(docker inspect --format '{{{{.State.Pid}}}}' {OLLAMA.name}) && own=$(cat "{PROC}/$pid/cgroup") &&
of() {{ echo "{CGROUPS}/$1$(echo "$own" | sed -nE "s/^[0-9]+:([^:]*,)?$1(,[^:]*)?://p")"; }} &&
if echo "$own" | grep -qE '^[0-9]+:([^:]*,)?memory[,:]'; then cpu=$(of cpu); used=$(of cpuacct); memory=$(of memory);
else cpu=$(of ''); used=$cpu; memory=$cpu; fi &&
counters() {{ echo "at $(date +%s%N)"; cat "$cpu/cpu.stat"; echo "usage_time $(cat "$used/cpuacct.usage")"; }} &&
counters && sleep {SAMPLE} && counters && cat "$memory/memory.stat";
cat "$memory/memory.events" "$memory/memory.oom_control";
echo "bytes $(cat "$memory/memory.current" "$memory/memory.usage_in_bytes")" """

    @override
    def process(self, output: list[str]) -> Load:
        looks: list[dict[str, int]] = []
        for line in output:
            name, _, number = line.partition(" ")
            if name == "at":
                looks.append({})
            if number.isdigit():
                looks[-1][name] = int(number)
        first, last = looks

        def since(v1: str, v2: str) -> float:
            unit, name = (1e9, v1) if v1 in last and v2 not in last else (1e6, v2)
            return (last[name] - first[name]) / unit / ((last["at"] - first["at"]) / 1e9)

        cached = last.get("total_inactive_file", last["inactive_file"])
        return Load(
            since("usage_time", "usage_usec"),
            since("throttled_time", "throttled_usec"),
            last["bytes"] - cached,
            last["oom_kill"],
        )


class DiskUsed(FactBase[float]):
    """The share that is taken of the fuller one of two filesystems: the service's folder, and Docker's."""

    @override
    def command(self, folder: str) -> StringCommand:
        docker = "$(docker info --format '{{.DockerRootDir}}')"
        return StringCommand("df -Pk", QuoteString(folder), f'"{docker}" || true')

    @override
    def process(self, output: list[str]) -> float:
        rows = [line.split() for line in output[1:]]
        return max(int(used) / (int(used) + int(free)) for _, _, used, free, *_ in rows)


class InMemory(FactBase[dict[str, datetime]]):
    """Until when each loaded model stays; fails where Ollama does not answer.

    From inside: the host's packet filter lets root alone come to the container's address.
    """

    @override
    def command(self) -> str:
        ask = (
            f"exec 3<>/dev/tcp/127.0.0.1/{OLLAMA.port} && "
            r'printf "GET /api/ps HTTP/1.0\r\n\r\n" >&3 && cat <&3'
        )
        return f"docker exec {OLLAMA.name} bash -c '{ask}'"

    @override
    def process(self, output: list[str]) -> dict[str, datetime]:
        answer = json.loads(output[-1])
        return {one["name"]: read_time(one["expires_at"]) for one in answer["models"]}


def read_time(text: str) -> datetime:
    """Go's nanoseconds are more than Python before 3.11 reads."""
    return datetime.fromisoformat(re.sub(r"\.\d+", "", text).replace("Z", "+00:00"))


class Places(FactBase[tuple[int, int]]):
    """Questions in flight and waiting, as gateway and page count them; fails where the gateway does not answer."""

    @override
    def command(self, port: int, page: bool) -> str:
        ask = f"curl -fsS --noproxy '*' --max-time 3 http://127.0.0.1:{int(port)}"
        return f"{ask}/metrics" + (f" && {{ {ask}/app/metrics || true; }}" if page else "")

    @override
    def process(self, output: list[str]) -> tuple[int, int]:
        if not any(line.startswith("haproxy_backend_current_queue") for line in output):
            raise ValueError("these are no metrics of a gateway")
        # A token's own places are in front of the common ones, the page's in front of both.
        queue = r'haproxy_backend_current_queue\{proxy="(?:generations|share-[^"]*)"\}|app_waiting'
        server = r'haproxy_server_current_sessions\{proxy="generations",[^}]*\}'
        return _total(output, server), _total(output, queue)


def _total(lines: list[str], pattern: str) -> int:
    found = (re.match(rf"(?:{pattern}) ([0-9.]+)$", line) for line in lines)
    return int(sum(float(match[1]) for match in found if match))


@dataclass(frozen=True)
class Asked:
    """Questions that ended in the last minutes."""

    answered: int = 0
    refused: int = 0
    """At once, since a queue or a share was full."""
    failed: int = 0
    """After their wait, or in the middle of the answer; not those whose client left."""
    waits: Counter[int] = field(default_factory=Counter)
    """How many waited how many milliseconds, of those that were not refused."""

    def wait(self, share: float) -> float | None:
        """Seconds that so large a share of them waited at most; None if nobody did."""
        waits = sorted(self.waits.elements())
        return waits[ceil(share * len(waits)) - 1] / 1000 if waits else None


class LastMinutes(FactBase[Asked]):
    """From the logs of gateway and page, whose lines no client can write; beyond a rate they leave refusals out.

    The page tells of its own questions, and how long a student waited; the gateway of all the others.
    """

    default = Asked

    @override
    def command(self) -> str:
        text = '"[^"]*"'
        route = "/(api/(generate|chat|embed|embeddings)|v1/(chat/)?(completions|embeddings|responses|messages))"
        end = r'"end":"([^"]*)"\}$'
        api = (
            rf'^\{{"time":{text},"client":{text},"token":{text},"route":"{route}",'
            rf'.*"status":(-?[0-9]+),"wait_ms":(-?[0-9]+),.*{end}'
        )
        refused = rf'^\{{"time":{text},"client":{text},"app":"/(api/ask)?","status":(503|429),.*"end":"--[^"]*"\}}$'
        page = r'^\{"time": "[^"]*", "outcome": "([a-z_]+)", "wait_ms": ([0-9]+).*$'
        return (
            f"page={address(APP)}; gateway=$(docker logs --since {MINUTES}m {GATEWAY.name}) &&"
            f' students=$(test -z "$page" || docker logs --since {MINUTES}m {APP.name} 2>&1) &&'
            """ { echo "$gateway" | grep -vF '"client":"'"${page:-nobody}"'","token"' |"""
            """ sed -nE -e '/"token":"admin",.*"status":500/d'"""  # its own mistake: nobody looks at it before
            f" -e 's#{api}#\\5 \\6 \\7#p' -e 's#{refused}#\\2 -1 L#p';"
            f" echo \"$students\" | sed -nE 's#{page}#\\1 \\2 page#p'; }}"
            " | sort | uniq -c"
        )

    @override
    def process(self, output: list[str]) -> Asked:
        kinds: Counter[str] = Counter()
        waits: Counter[int] = Counter()
        for line in output:
            times, became, wait, end = line.split()
            kind = _of_page(became) if end == "page" else _of_gateway(int(became), end)
            kinds[kind] += int(times)
            if int(wait) >= 0 and kind in ("answered", "failed"):
                waits[int(wait)] += int(times)
        return Asked(kinds["answered"], kinds["refused"], kinds["failed"], waits)


def _of_page(outcome: str) -> str:
    return outcome if outcome in ("answered", "left") else "failed"


def _of_gateway(status: int, end: str) -> str:
    """By HAProxy's termination state: who ended it, and when (its configuration manual, 8.5)."""
    who = end[0]
    if status in (429, 503) and who in "LP":
        return "refused"
    if who in "Cc":
        return "left"
    if status >= 500 or who in "SsPIRK":
        return "failed"
    return "answered" if status == 200 else "mistaken"


class ShownCertificate(FactBase[x509.Certificate | None]):
    """The certificate that an address shows; None if it shows none."""

    @override
    def command(self, address: str) -> StringCommand:
        return StringCommand(
            *("timeout 3 openssl s_client -connect", QuoteString(address)),
            "| sed -n '/-BEGIN CERTIFICATE-/,/-END CERTIFICATE-/p'",
        )

    @override
    def process(self, output: list[str]) -> x509.Certificate:
        return x509.load_pem_x509_certificate("\n".join(output).encode())


class GoodRelease(Lines):
    """Five lines: number and record of the last good release, whether its files are in place, whether a change is
    unconfirmed, and why the host came back to it automatically; nothing without one."""

    @override
    def command(self, folder: str) -> StringCommand:
        return StringCommand(
            *("cd", QuoteString(folder), "&& readlink releases/current &&"),
            "cat releases/current/release.json && {",
            "cmp -s releases/current/docker-compose.yml docker-compose.yml && { ! test -d gateway ||",
            "cmp -s releases/current/gateway/haproxy.cfg gateway/haproxy.cfg; } && echo yes || echo no;",
            "test -e releases/unconfirmed && echo yes || echo no;",
            'echo "$(cat releases/returned 2>/dev/null)"; } || true',
        )

"""Let's Encrypt's own small ACME server, Pebble, with a DNS in which every name is one machine."""

from __future__ import annotations

import json
import os
import socket
import ssl
import subprocess
import time
from contextlib import suppress
from datetime import datetime, timezone
from pathlib import Path

from lab.packages import alone, have
from ollama_stack.pinned_wheels import cache
from ollama_stack.stack.certificates import issue, new_authority
from tests.door.haproxy import free_ports

VERSION = "v2.8.0"
PROGRAMS = ("pebble", "pebble-challtestsrv")
QUICK_TO_BUILD = ("-gcflags=all=-N -l", "-ldflags=-s -w")  # two thirds of the time
QUICK = {"PEBBLE_VA_NOSLEEP": "1", "PEBBLE_WFE_NONCEREJECT": "0"}


def built() -> Path:
    """Folder with the programs, built once from Go's modules, whose checksums Go looks up."""
    folder = cache() / f"pebble-{VERSION}"
    with alone():
        if not all((folder / name).exists() for name in PROGRAMS):
            have("go", "golang-go")
            module = "github.com/letsencrypt/pebble/v2/cmd"
            programs = (f"{module}/{name}@{VERSION}" for name in PROGRAMS)
            command = ["go", "install", *QUICK_TO_BUILD, *programs]
            done = subprocess.run(command, capture_output=True, text=True, env=os.environ | {"GOBIN": str(folder)})  # fmt: skip
            assert done.returncode == 0, f"Pebble needs Go 1.24 or newer: {done.stderr[-300:]}"
    return folder


class Pebble:
    """A running authority; ``trust`` is the file by which a client trusts its directory.

    It listens ``at`` an address of this machine. Whoever orders is at ``host``, at port 80 if that is another machine.
    """

    def __init__(self, folder: Path, at: str = "127.0.0.1", host: str = "127.0.0.1") -> None:
        port, management, free, dns, hand = free_ports(5)
        self.challenges = free if host == at else 80
        now, self.directory = datetime.now(timezone.utc), f"https://{at}:{port}/dir"
        site = new_authority("pebble", now)
        self.trust, pem, config = folder / "ca.crt", folder / "pebble.pem", folder / "pebble.json"
        self.trust.write_text(site.pem)
        pem.write_text(issue(site, [at], now))
        listen = {"listenAddress": f"{at}:{port}", "certificate": str(pem), "privateKey": str(pem)}  # fmt: skip
        more = {"managementListenAddress": f"127.0.0.1:{management}", "httpPort": self.challenges}
        wait = {"retryAfter": {"authz": 1, "order": 1}}
        config.write_text(json.dumps({"pebble": listen | more | wait | {"tlsPort": 1}}))
        authority, names = (str(built() / name) for name in PROGRAMS)
        nothing = (
            "-http01=",
            "-https01=",
            "-tlsalpn01=",
            "-doh=",
            "-defaultIPv6=",
            f"-defaultIPv4={host}",
        )
        commands = (
            [names, *nothing, f"-dns01=127.0.0.1:{dns}", f"-management=127.0.0.1:{hand}"],
            [authority, "-config", str(config), "-dnsserver", f"127.0.0.1:{dns}"],
        )
        self.log = folder / "pebble.log"
        with self.log.open("wb") as log:
            self.processes = [
                subprocess.Popen(command, stdout=log, stderr=log, env=os.environ | QUICK)
                for command in commands
            ]
        end = time.monotonic() + 10
        for address in ((at, port), ("127.0.0.1", hand)):
            while True:
                with suppress(OSError), socket.create_connection(address, timeout=1):
                    break
                assert time.monotonic() < end, self.log.read_text()
                time.sleep(0.02)

    def end(self) -> None:
        """End these processes and no others."""
        for process in self.processes:
            process.kill()
            process.wait()


def shown(port: int, name: str) -> bytes:
    """The certificate that an address shows for a name, whoever has signed it."""
    trust = ssl.create_default_context()
    trust.check_hostname, trust.verify_mode = False, ssl.CERT_NONE
    one = socket.create_connection(("127.0.0.1", port), timeout=60)
    with trust.wrap_socket(one, server_hostname=name) as secured:
        return secured.getpeercert(binary_form=True) or b""

"""What the kernel, the page and an address say; recorded where this machine has none of it."""

from __future__ import annotations

import socket
import ssl
import subprocess
import threading
from collections import Counter
from datetime import datetime, timedelta, timezone
from pathlib import Path

import pytest

from ollama_stack.facts.now import Asked, LastMinutes, Load, OllamaLoad, Places, ShownCertificate
from ollama_stack.stack.certificates import issue, new_authority

V2 = """at 1000000000
usage_usec 5000000
nr_throttled 3
throttled_usec 100000
usage_time
at 1500000000
usage_usec 5900000
nr_throttled 4
throttled_usec 150000
usage_time
anon 900000000
inactive_file 500
low 0
oom_kill 2
bytes 1000000500"""
V1 = """at 1000000000
nr_throttled 3
throttled_time 100000000
usage_time 5000000000
at 1500000000
nr_throttled 4
throttled_time 150000000
usage_time 5900000000
inactive_file 300
total_inactive_file 500
under_oom 0
oom_kill 2
bytes 1000000500"""


@pytest.mark.parametrize("output", [V1, V2])
def test_both_hierarchies_tell_the_same(output: str) -> None:
    found = OllamaLoad().process(output.splitlines())
    assert (round(found.cpus, 6), round(found.throttled_seconds, 6)) == (1.8, 0.1)
    assert found == Load(found.cpus, found.throttled_seconds, memory=10**9, killed=2)


def test_a_client_that_left_the_queue_has_not_failed() -> None:
    assert LastMinutes().process(["   9 -1 -1 CQ--", "   2 -1 -1 CC--"]) == Asked()


def test_the_page_tells_of_its_own_questions() -> None:
    log = ["   3 answered 2000 page", "   1 left 90 page", "   2 hung 7000 page", "  40 503 -1 L"]
    assert LastMinutes().process(log) == Asked(3, 40, 2, {2000: 3, 7000: 2})  # type: ignore[arg-type]  # a Counter is one


PAGE = '{"time":"t","client":"172.18.0.4","token":"","route":"/api/chat","model":"m","status":200,"wait_ms":5,"total_ms":9,"bytes":1,"end":"--"}'
SCRIPT = PAGE.replace("172.18.0.4", "172.18.0.1").replace('"wait_ms":5', '"wait_ms":7')
STUDENT = '{"time": "t", "outcome": "answered", "wait_ms": 5, "tokens": 3}'


def spoken(gateway: str, page: str = "true", app: str = "") -> Asked:
    """What is found in these logs, where that command tells the page's address."""
    double = (
        f"docker() {{ case \"$*\" in *NetworkSettings*) {page};; *gateway) echo '{gateway}';;"
        f" *) echo '{app}';; esac; }}"
    )
    command = ["sh", "-c", f"{double}\n{LastMinutes().command()}"]
    output = subprocess.run(command, capture_output=True, text=True, check=True).stdout
    return LastMinutes().process(output.splitlines())


@pytest.mark.parametrize(("token", "failed"), [("one", 1), ("admin", 0)])
def test_a_wrong_option_of_the_administrator_is_no_failed_question(token: str, failed: int) -> None:
    """Nobody looks at what `admin` asks, and Ollama answers it with 500."""
    line = SCRIPT.replace('"token":""', f'"token":"{token}"').replace(":200", ":500")
    assert spoken(line).failed == failed


@pytest.mark.parametrize(
    ("page", "found"),
    [("echo 172.18.0.4", Asked(2, 0, 0, Counter({5: 1, 7: 1}))), ("true", Asked(1, 0, 0, Counter({7: 1})))],
)  # fmt: skip
def test_a_question_of_the_page_counts_once(page: str, found: Asked) -> None:
    gateway = f"{PAGE}\n{SCRIPT}" if page != "true" else SCRIPT
    assert spoken(gateway, page, STUDENT) == found


def test_logs_that_cannot_be_read_are_no_silence() -> None:
    command = ["sh", "-c", f"docker() {{ false; }}\n{LastMinutes().command()}"]
    assert subprocess.run(command).returncode


def test_the_page_s_queue_counts() -> None:
    gateway = ['haproxy_backend_current_queue{proxy="generations"} 2', "app_waiting 4.0"]
    assert Places().process(gateway) == (0, 6)


def test_nobody_waited() -> None:
    assert Asked().wait(0.95) is None


def test_a_certificate_s_end_is_what_the_address_shows(tmp_path: Path) -> None:
    now = datetime.now(timezone.utc)
    made = issue(new_authority("school", now), ["127.0.0.1"], now)
    pem = tmp_path / "tls.pem"
    pem.write_text(made)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(pem)
    with socket.create_server(("127.0.0.1", 0)) as server:
        threading.Thread(target=_greet, args=(server, context), daemon=True).start()
        command = ShownCertificate().command(f"127.0.0.1:{server.getsockname()[1]}")
        shell = ["sh", "-c", f"( {command}\n) </dev/null 2>/dev/null"]
        output = subprocess.run(shell, capture_output=True, text=True).stdout
    left = ShownCertificate().process(output.splitlines()).not_valid_after_utc - now
    assert timedelta(days=390) < left < timedelta(days=397)


def _greet(server: socket.socket, context: ssl.SSLContext) -> None:
    connection, _ = server.accept()
    with context.wrap_socket(connection, server_side=True) as secured:
        secured.recv(1)

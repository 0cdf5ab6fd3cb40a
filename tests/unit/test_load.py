"""A class as load: its arithmetic, its bounds, and what it refuses."""

from __future__ import annotations

import os
import ssl
import subprocess
import sys
import time
from collections import Counter
from dataclasses import replace
from datetime import datetime, timezone
from errno import ENOSPC
from http.server import BaseHTTPRequestHandler, HTTPServer
from itertools import islice
from pathlib import Path
from random import Random
from statistics import median
from threading import Thread
from typing import Any

import pytest
from rich.console import Console

from ollama_stack.config.settings import read_settings
from ollama_stack.facts.now import Load as Busy
from ollama_stack.facts.now import OllamaLoad
from ollama_stack.inventory import Target
from ollama_stack.load import ClassHour, Scenario, Through, corpus
from ollama_stack.load.aim import Task, aim, hold, locust
from ollama_stack.load.figures import Places, Question, Spread, broken, figures, spread
from ollama_stack.reports.load import (
    EXIT,
    HostLoad,
    Load,
    plots,
    refuse_others,
    show_load,
    taken,
    write_load,
)
from ollama_stack.reports.load_watch import watched
from tests.door.conftest import until
from tests.unit.commands import command
from tests.unit.conftest import group_data
from tests.unit.test_status import House


def question(end: str = "answered", wait: float = 1.0, **more: Any) -> Question:
    fields: dict[str, Any] = {"who": "student", "came": 0.0, "took": 4.0, "status": 200, "end": end}
    if end == "answered":
        fields |= {"first": 2.0, "wait": wait, "tokens": 20, "writing": 2.0}
    return Question.model_validate(fields | more)


def aimed(
    name: str = "class-1", through: Through = "api", scenario: Scenario = "lesson", **data: Any
) -> Task:
    target = Target(name, ("medium",), group_data("all", "medium") | data)
    return aim(target, read_settings(target.data), ClassHour(15, 3.0, scenario, through))


def host(**found: Any) -> HostLoad:
    fields = {"host": "class-1", "profile": "medium", "slo_p95_wait": 30.0, "slo_success": 0.95}
    return HostLoad.model_validate(fields | found)


def load(*hosts: HostLoad) -> Load:
    return Load(
        time=datetime(2026, 11, 28, tzinfo=timezone.utc),
        inventory="<b>x.py",
        scenario="lesson",
        students=15,
        minutes=3,
        verdict=max((one.verdict for one in hosts), key=EXIT.__getitem__),
        hosts=list(hosts),
    )


def test_quantiles_of_many_of_one_and_of_none() -> None:
    found = spread([*map(float, range(101)), None])
    assert found == Spread(p50=50.0, p95=95.0, p99=99.0)
    assert spread([7.0]) == Spread(p50=7.0, p95=7.0, p99=7.0)
    assert spread([None]) is None


def test_success_is_of_those_who_stayed_and_goodput_of_those_within_the_bound() -> None:
    asked = [question(wait=1.0), question(wait=2.0), question(wait=31.0)]
    asked += [question("refused"), question("left"), question("left")]
    asked += [question("refused", who="rude"), question(who="rude")]
    places = [Places(at=0, flight=3, queue=1), Places(at=1, flight=2, queue=9)]
    found = figures(asked, places, seconds=30, most_wait=30)
    assert (found.asked, found.success, found.goodput) == (4, 0.75, 4.0)
    assert found.ends == {"answered": 3, "refused": 1, "left": 2}
    assert found.rude == {"answered": 1, "refused": 1}
    assert (found.most_in_flight, found.most_waiting) == (3, 9)
    assert found.rate == Spread(p50=10, p95=10, p99=10)


def test_a_class_without_a_question_is_no_success() -> None:
    with pytest.raises(ValueError, match="no question was asked to its end; let the class take"):
        figures([question("left"), question(who="rude")], [], 30, 30)


@pytest.mark.parametrize(
    ("asked", "settings"),
    [
        ([question()] * 19 + [question("late")], []),
        ([question()] * 18 + [question("late")], ["slo_success"]),
        ([question(wait=30.0)] * 20, []),
        ([question(wait=30.1)] * 20, ["slo_p95_wait"]),
        ([question("failed", status=500)], ["slo_success"]),
    ],
)
def test_a_bound_breaks_above_it_and_not_at_it(asked: list[Question], settings: list[str]) -> None:
    messages = broken(figures(asked, [], 30, 30), p95_wait=30, success=0.95)
    assert [one.partition(":")[0] for one in messages] == settings


def test_a_class_goes_to_the_gateway_of_the_host(made: Path) -> None:
    assert aimed("@local").base == "http://127.0.0.1:11434"
    assert aimed("@local").metrics == "http://127.0.0.1:8404/metrics"
    assert (aimed("@local").students, aimed("@local").seconds) == (15, 180.0)
    own: dict[str, Any] = {"gateway_tls": "own", "gateway_tls_folder": str(made)}
    there = aimed(ollama_bind="0.0.0.0", ssh_hostname="10.0.0.5", **own)
    assert (there.base, there.metrics) == ("https://10.0.0.5:11434", "")
    assert there.trust == str(made / "ca.crt")
    assert aimed(ollama_bind="10.0.0.7").base == "http://10.0.0.7:11434"
    page = aimed("@local", through="page", app_enabled=True, gateway_tokens={"one": "env:A"})
    assert (page.base, page.tokens, page.metrics) == ("http://127.0.0.1:8080", [], "")
    assert (page.models, page.longest) == (["qwen2.5:1.5b"], 2000)
    both: dict[str, Any] = {
        "models": ["qwen2.5:1.5b", "b:1"],
        "app_models": ["qwen2.5:1.5b", "b:1"],
    }
    assert aimed("@local", through="page", app_enabled=True, **both).models == both["app_models"]
    assert aimed("@local", app_enabled=True, **both).models == ["qwen2.5:1.5b"]
    public: dict[str, Any] = {"gateway_tls": "acme", "gateway_tls_names": ["ai.school.example"]}
    known = aimed(ollama_bind="0.0.0.0", **public)
    assert known.base == "https://ai.school.example:11434"
    assert known.trust != str(made / "ca.crt")


@pytest.mark.parametrize(
    ("data", "message"),
    [
        ({}, "ollama_bind: at 127.0.0.1 the API is open to the host itself alone; set ollama_bind"),
        (
            {"ollama_bind": "0.0.0.0", "gateway_tokens": {"admin": "env:A"}},
            "gateway_tokens: admin alone may ask, and no class has that token; add one",
        ),
        (
            {"ollama_bind": "0.0.0.0", "gateway_tokens": {"one": "file:/no/such"}},
            "/no/such cannot be read",
        ),
        (
            {"ollama_bind": "0.0.0.0", "gateway_tls": "own", "gateway_tls_folder": "/no/such"},
            "/no/such/ca.crt cannot be read .* copy it from the controller",
        ),
        ({"name": "@docker/x"}, "@docker/x: only @local and SSH hosts are looked at"),
        ({"through": "page"}, "app_enabled: there is no page; leave --through page out"),
        ({"through": "page", "app_enabled": True}, "app_bind: at 127.0.0.1 the page is open to"),
        (
            {"through": "page", "app_enabled": True, "scenario": "cold"},
            "--scenario cold: the API alone says what is in memory",
        ),
        (
            {"name": "@local", "gateway_tls": "acme", "gateway_tls_names": ["ai.school.example"]},
            "ollama_bind: at 127.0.0.1 nobody has the name that the certificate is for",
        ),
    ],
)
def test_who_cannot_be_asked_is_told(data: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        aimed(**data)


def test_a_certificate_that_is_not_trusted_is_named(made: Path, tmp_path: Path) -> None:
    key, certificate = tmp_path / "key.pem", tmp_path / "cert.pem"
    command = ["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256"]
    command += ["-nodes", "-days", "9", "-subj", "/CN=stranger.example"]
    command += ["-keyout", str(key), "-out", str(certificate)]
    subprocess.run(command, check=True, capture_output=True)
    server = HTTPServer(("127.0.0.1", 0), BaseHTTPRequestHandler)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate, key)
    server.socket = context.wrap_socket(server.socket, server_side=True)
    Thread(target=server.serve_forever, daemon=True).start()
    task = aimed("@local", gateway_tls="own", gateway_tls_folder=str(made))
    assert task.base.startswith("https://")
    there = replace(task, base=f"https://127.0.0.1:{server.server_port}")
    try:
        with pytest.raises(ValueError, match="shows a certificate that is not trusted by") as error:
            list(hold(there))
    finally:
        server.shutdown()
        server.server_close()
    assert f"{made}/ca.crt; deploy it anew" in str(error.value)
    assert "(subject CN=stranger.example, issuer CN=stranger.example, ends on 20" in str(
        error.value
    )


def test_admin_s_token_is_no_student_s(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("A", "a" * 16)
    monkeypatch.setenv("B", "b" * 16)
    task = aimed("@local", gateway_tokens={"admin": "env:A", "class": "env:B"})
    assert task.tokens == ["b" * 16]
    assert "bbb" not in repr(task)


def test_without_locust_the_way_to_it_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    assert locust().exists()
    monkeypatch.setattr(sys, "prefix", "/no/such")
    with pytest.raises(
        ValueError, match=r"load: Locust is not installed; run make \.venv/load in /"
    ):
        locust()


@pytest.mark.parametrize(
    "arguments",
    [
        ["--students", "0"],
        ["--students", "61"],
        ["--minutes", "0"],
        ["--minutes", "31"],
        ["--minutes", "nan"],
        ["--scenario", "flood"],
    ],
)
def test_a_class_has_an_end_and_a_number(arguments: list[str]) -> None:
    done = command("tests.unit.alone", "load", "inventories/example.py", *arguments)
    assert done.returncode == 3
    assert f"Invalid value for '{arguments[0]}'" in done.stderr


@pytest.mark.parametrize("verb", ["load", "sizing"])
def test_what_stops_a_measurement_is_no_broken_bound(verb: str, tmp_path: Path) -> None:
    faulty = tmp_path / "hosts.py"
    faulty.write_text("medium = [('a.invalid', {'slo_success': 2.0}), ('b.invalid', {})]")
    for arguments, message in (
        ([str(faulty)], "a.invalid: slo_success: 2.0 is refused"),
        ([str(faulty), "--limit", "10.0.0.9"], "no host matches 10.0.0.9"),
        ([str(tmp_path / "none.py")], "there is no such inventory"),
    ):
        done = command("ollama_stack.cli", verb, *arguments)
        assert (done.returncode, done.stdout) == (2, "")
        assert message in done.stderr


def test_the_success_is_the_first_line(capsys: pytest.CaptureFixture[str]) -> None:
    found = figures([question(), question("refused", status=503)], [], 60, 30)
    reasons = broken(found, 30, 0.95)
    one = host(verdict="broken", figures=found, reasons=reasons)
    show_load(load(one, host(verdict="unmeasured", reasons=["down"])), Console(width=100))
    lines = capsys.readouterr().out.splitlines()
    assert lines[0] == (
        "class-1: 50.0% answered (1 of 2), 1.0 a minute within 30 s of wait: the bounds are broken"
    )
    unknown = "throttling and memory are not known (the login needs Docker)"
    assert f"1 refused, in flight and waiting are not known, {unknown}" in lines
    assert lines[-2:] == ["class-1: not measured", "class-1: down"]


def test_where_nobody_is_answered_there_is_no_table(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    one = host(verdict="broken", figures=figures([question("refused", status=503)], [], 60, 30))
    show_load(load(one), Console(width=80))
    assert "p95" not in capsys.readouterr().out
    assert "p95" not in write_load(load(one), tmp_path)[0].read_text()


def test_what_the_container_takes_meanwhile_is_told(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    house = House(tmp_path)
    house.prepare()
    house.move(monkeypatch)
    monkeypatch.setenv("PATH", f"{house.bin}:{os.environ['PATH']}")
    monkeypatch.setattr("ollama_stack.reports.load_watch.EVERY", 0.01)
    local = Target("@local", ("medium",), house.data)
    with watched(local, read_settings(house.data)) as moments:
        until(lambda: len(moments) > 1, 20)
    moment = moments[0].model_dump(exclude={"at"})
    places = {"flight": 3, "waiting": 3}
    assert moment == {"cpus": 0, "throttled": 0, "memory": 2**30 - 500, "killed": 0} | places
    assert taken(moments) == "throttled for 0% of the CPU time at most, 1.0 GiB at most"
    worse = moments[0].model_copy(update={"throttled": 0.31, "killed": 2})
    assert taken([moments[0], worse]) == (
        "throttled for 31% of the CPU time at most, 1.0 GiB at most, 2 processes killed for memory"
    )
    found = figures([question()], [], 60, 30)
    titles = [title for title, *_ in plots(host(verdict="held", figures=found, moments=moments))]
    assert titles[0].startswith("Throttling, as a share of the CPU time")
    assert titles[1].startswith("Memory of Ollama's container, in GiB")


def test_throttling_is_a_share_of_the_allowed_time(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("ollama_stack.reports.load_watch.EVERY", 0.01)
    looked = {OllamaLoad: Busy(cpus=1.5, throttled_seconds=0.5, memory=7, killed=0)}
    monkeypatch.setattr("ollama_stack.reports.load_watch.look_at", lambda *_: looked)
    one = Target("class-1", ("medium",), group_data("all", "medium"))
    with watched(one, read_settings(one.data)) as moments:
        until(lambda: bool(moments))
    assert (moments[0].throttled, moments[0].flight) == (0.25, None)  # of 2 CPUs


def test_a_host_that_tells_nothing_is_no_obstacle(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("ollama_stack.reports.load_watch.EVERY", 0.01)
    gone = Target("@docker/x", ("medium",), group_data("all", "medium"))
    with watched(gone, read_settings(gone.data)) as moments:
        time.sleep(0.05)
    assert moments == []


def test_reports_replace_reports_alone_and_say_text_as_text(tmp_path: Path) -> None:
    found = figures([question()], [], 60, 30)
    places = [{"at": 0, "flight": 0, "queue": 0}, {"at": 2, "flight": 3, "queue": 15}]
    one = load(host(verdict="held", figures=found, places=places, questions=[question()]))
    paths = write_load(one, tmp_path / "out")
    assert write_load(one, tmp_path / "out") == paths
    assert [path.name for path in paths] == ["load.html", "load.json", "load.csv"]
    page = paths[0].read_text()
    assert "<b>" not in page
    assert "default-src 'none'" in page
    assert 'points="0.0,160.0 720.0,0.0"' not in page  # the lines begin where nobody is
    assert 'points="0.0,200.0 720.0,0.0"' in page
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "load.csv").write_text("mine")
    with pytest.raises(ValueError, match=r"load\.csv is no report of load's and stays as it is"):
        write_load(one, tmp_path / "mine")
    assert (tmp_path / "mine" / "load.csv").read_text() == "mine"
    arguments = ("load", "inventories/example.py", "--report", str(tmp_path / "mine"))
    done = command("ollama_stack.cli", *arguments)
    assert (done.returncode, done.stdout) == (2, "")
    assert "students ask" not in done.stderr, "the class was held for nothing"
    with pytest.raises(
        ValueError, match=r"--report: .*load\.csv cannot be written .*; name a folder"
    ):
        refuse_others(tmp_path / "mine" / "load.csv")


def test_a_full_disk_leaves_the_report_before(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    found = figures([question()], [], 60, 30)
    one = load(host(verdict="held", figures=found, questions=[question()]))
    older = {path: path.read_text() for path in write_load(one, tmp_path)}
    whole = Path.write_text

    def half(path: Path, text: str, encoding: str) -> int:
        whole(path, text[:9], encoding)
        raise OSError(ENOSPC, os.strerror(ENOSPC))

    monkeypatch.setattr(Path, "write_text", half)
    with pytest.raises(ValueError, match=f"{tmp_path} cannot be written .No space left on device"):
        write_load(load(host(verdict="unmeasured")), tmp_path)
    assert {path: path.read_text() for path in tmp_path.iterdir()} == older


def test_the_corpus_is_a_class_s() -> None:
    chance = Random(0)  # noqa: S311 no secret
    assert all(280 <= len(text.split()) <= 330 for _, text in corpus.TEXTS)
    for texts in (corpus.SHORT, corpus.TASKS):
        russian = [text for text in texts if "а" <= text.lower()[0] <= "я"]
        assert len(russian) * 2 == len(texts)
    thinks = [corpus.think(chance) for _ in range(9000)]
    assert 22 < median(thinks) < 28
    assert max(thinks) == corpus.LONGEST_THINK
    lengths = [corpus.length(chance, 512) for _ in range(2000)]
    assert (min(lengths), max(lengths)) == (corpus.LEAST_ANSWER, 512)
    assert corpus.length(chance, 8) == 8


def test_every_class_asks_each_prompt_as_often_as_another_class() -> None:
    asked = list(islice(corpus.questions(), 2 * len(corpus.DECK)))
    assert len({question[:4] for question in asked}) == len(asked), "some comes out of a cache"
    assert max(map(len, asked)) < 2100  # within the gateway's bodies
    found = Counter(question.partition(" ")[2] for question in asked)
    assert found == Counter(2 * corpus.DECK)
    assert [question.partition(" ")[2] for question in asked[:9]] != list(corpus.DECK[:9])

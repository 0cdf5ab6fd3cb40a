"""The address that students really use, for the sheet of paper and for a deploy's last screen."""

from __future__ import annotations

from typing import Any

import pytest

from ollama_stack.config.settings import read_settings
from ollama_stack.stack.page import page_address, reached_at
from ollama_stack.tasks.summary import page_rows
from tests.unit.conftest import group_data

OPEN = {"app_enabled": True, "app_bind": "0.0.0.0"}


def settings(data: dict[str, Any]) -> Any:
    return read_settings(group_data("all", "medium") | data)


CLUSTER = {"cluster": "school", "gateway_tls": "own"}


@pytest.mark.parametrize(
    ("data", "reached", "url"),
    [
        (OPEN, "10.0.0.5", "http://10.0.0.5:8080"),
        (OPEN, "class-1.school.lan", "http://class-1.school.lan:8080"),
        (OPEN, "fd00::5", "http://[fd00::5]:8080"),
        (OPEN | {"app_port": 80}, "10.0.0.5", "http://10.0.0.5:80"),
        (OPEN | {"app_bind": "10.0.0.6"}, "203.0.113.7", "http://10.0.0.6:8080"),
        (OPEN | {"gateway_tls_cert": "x.pem"}, "10.0.0.5", "https://10.0.0.5:8080"),
        (OPEN | {"app_hosts": ["ask.lan"]}, "10.0.0.5", "http://ask.lan:8080"),
        (OPEN | {"app_hosts": ["ask.lan", "b.lan"]}, "b.lan", "http://b.lan:8080"),
        (OPEN | {"app_hosts": ["ask.lan"]}, "@local", "http://ask.lan:8080"),
        (OPEN | CLUSTER, "10.0.0.5", "https://10.0.0.5:8080"),
        (OPEN | CLUSTER | {"gateway_tls_names": ["ai.lan"]}, "10.0.0.5", "https://ai.lan:8080"),
    ],
)
def test_the_page_is_where_others_reach_the_host(
    data: dict[str, Any], reached: str, url: str
) -> None:
    assert page_address(settings(data), reached) == (url, "")


@pytest.mark.parametrize(
    ("data", "reached", "problem"),
    [
        ({}, "10.0.0.5", "app_enabled: there is no page; set app_enabled = True"),
        (
            {"app_enabled": True},
            "10.0.0.5",
            "app_bind: at 127.0.0.1 the page is not open to the network; set app_bind = 0.0.0.0",
        ),
        (
            OPEN,
            "@local",
            "app_bind: 0.0.0.0 is every address of @local, and none that others know; set app_bind to "
            "the host's own address",
        ),
        (
            OPEN,
            "127.0.0.1",
            "app_bind: 0.0.0.0 is every address of 127.0.0.1, and none that others know; set app_bind "
            "to the host's own address",
        ),
    ],
)
def test_a_page_that_others_cannot_open_is_told_so(
    data: dict[str, Any], reached: str, problem: str
) -> None:
    assert page_address(settings(data), reached) == ("", problem)


@pytest.mark.parametrize(
    ("name", "data", "reached"),
    [
        ("class-1", {}, "class-1"),
        ("@ssh/class-1", {}, "class-1"),
        ("class-1", {"ssh_hostname": "10.0.0.5"}, "10.0.0.5"),
        ("@local", {}, "@local"),
    ],
)
def test_a_host_is_reached_where_the_inventory_says(
    name: str, data: dict[str, Any], reached: str
) -> None:
    assert reached_at(name, data) == reached


def test_a_deploy_ends_with_the_same_address() -> None:
    rows = page_rows(settings(OPEN), "10.0.0.5", {"_sudo": True})
    assert rows["students"] == "ask at http://10.0.0.5:8080"
    assert rows["teacher"].startswith("http://10.0.0.5:8080/teacher; on the host: sudo cat /opt/")


def test_root_s_own_login_needs_no_sudo() -> None:
    rows = page_rows(settings(OPEN), "10.0.0.5", {"_sudo": False})
    assert rows["teacher"].endswith("; on the host: cat /opt/ollama/app/teacher.token")


def test_a_deploy_of_a_page_for_the_host_alone_says_where_that_is() -> None:
    assert page_rows(settings({"app_enabled": True}), "10.0.0.5", {})["students"] == (
        "ask at http://127.0.0.1:8080"
    )

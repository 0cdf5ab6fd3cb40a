"""The page behind the proxies that schools have, Debian's nginx and Caddy, as their defaults and docs/page.md are."""

from __future__ import annotations

import os
import re
import time
from collections.abc import Iterator

import httpx
import pytest

from lab import plain
from lab.packages import program
from tests.door_app.conftest import BEAT, CHUNKS, App, answers, free_port, running

NGINX = """
daemon off; pid {folder}/pid; error_log stderr; events {{}}
http {{
  access_log off; gzip on;
  client_body_temp_path {folder}/body; proxy_temp_path {folder}/proxy; fastcgi_temp_path {folder}/f;
  uwsgi_temp_path {folder}/u; scgi_temp_path {folder}/s;
  server {{
    listen 127.0.0.1:{port};
    location / {{ proxy_pass http://127.0.0.1:{app}; }}
    location /class/ask/ {{
      proxy_pass http://127.0.0.1:{app}/;
      proxy_set_header Host $host;
      proxy_set_header X-Forwarded-Prefix /class/ask;
    }}
  }}
}}
"""
CADDY = """
{{
  admin off
  auto_https off
}}
http://127.0.0.1:{port} {{
  @others not path /class/ask/* /
  encode @others zstd gzip
  redir /class/ask /class/ask/
  handle_path /class/ask/* {{
    reverse_proxy 127.0.0.1:{app} {{
      header_up X-Forwarded-Prefix /class/ask
    }}
  }}
  reverse_proxy 127.0.0.1:{app}
}}
"""


@pytest.fixture(scope="module", params=["nginx", "caddy"])
def proxy(
    request: pytest.FixtureRequest, app: App, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[str]:
    folder, port = tmp_path_factory.mktemp("proxy"), free_port()
    text = {"nginx": NGINX, "caddy": CADDY}[request.param]
    config = folder / "config"
    config.write_text(text.format(folder=folder, port=port, app=app.port))
    path = {"nginx": "usr/sbin/nginx", "caddy": "usr/bin/caddy"}[request.param]
    arguments = {
        "nginx": ["-p", str(folder), "-c", str(config)],
        "caddy": ["run", "--adapter", "caddyfile", "--config", str(config)],
    }[request.param]
    own = os.environ | {"HOME": str(folder), "XDG_CONFIG_HOME": str(folder)}
    with running([program(request.param, path), *arguments], lambda: answers(port), env=own):
        yield f"http://127.0.0.1:{port}"


@pytest.fixture(params=["", "/class/ask"])
def client(request: pytest.FixtureRequest, proxy: str) -> Iterator[httpx.Client]:
    with plain.Client(base_url=f"{proxy}{request.param}/", timeout=60) as found:
        yield found


def form(page: str) -> dict[str, str]:
    found = re.search(r'name="csrf_token" value="([^"]+)"', page)
    assert found
    return {"csrf_token": found[1]}


def arrivals(reply: httpx.Response, sign: str) -> list[float]:
    """When each part with that sign came, in seconds from the first part of all."""
    began, seen, times = time.monotonic(), 0, []
    for part in reply.iter_text():
        seen += part.count(sign)
        times += [time.monotonic() - began] * part.count(sign)
        if seen >= CHUNKS:
            break
    return times


def test_words_arrive_as_they_are_written(client: httpx.Client) -> None:
    headers = {"Accept": "text/event-stream"}
    with client.stream("POST", "api/ask", json={"prompt": "hi"}, headers=headers) as reply:
        assert reply.status_code == 200
        times = arrivals(reply, "event: text")
    assert len(times) == CHUNKS
    assert times[-1] - times[0] > (CHUNKS - 2) * BEAT / 2  # held back, they come at once


def test_the_page_without_a_script_grows(client: httpx.Client) -> None:
    data = form(client.get("").text) | {"prompt": "hi"}
    with client.stream("POST", "", data=data) as reply:
        assert reply.status_code == 200
        times = arrivals(reply, "word")
    assert len(times) == CHUNKS
    assert times[-1] - times[0] > (CHUNKS - 2) * BEAT / 2


def test_the_address_without_its_last_slash_leads_there(proxy: str) -> None:
    reply = plain.get(f"{proxy}/class/ask", follow_redirects=True)
    assert (reply.status_code, reply.url.path) == (200, "/class/ask/")


def test_every_link_leads_to_something_below_the_same_path(client: httpx.Client) -> None:
    for path in ("", "teacher", "nothing"):
        page = client.get(path)
        links = re.findall(r'(?:href|src|action|data-from)="([^"]*)"', page.text)
        assert len(links) > 3
        for link in links:
            there = page.url.join(link.replace("&amp;", "&"))
            assert there.path.startswith(client.base_url.path.rstrip("/"))
            assert client.get(there).status_code in (200, 405) or there.path == page.url.path, link


def test_the_teacher_signs_in_and_out_below_the_path(client: httpx.Client) -> None:
    data = form(client.get("teacher").text)
    token = f"{'teacher.token':0<64}"
    reply = client.post("teacher", data=data | {"token": token}, follow_redirects=True)
    assert reply.status_code == 200
    assert reply.url.path == f"{client.base_url.path}teacher"
    state = re.search(r'data-from="([^"]+)"', reply.text)
    assert state
    assert client.get(reply.url.join(state[1])).status_code == 200
    client.post("teacher/out", data=form(reply.text))
    assert client.get(reply.url.join(state[1])).status_code == 403

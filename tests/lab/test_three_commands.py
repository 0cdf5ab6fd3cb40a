"""README's road from bare servers to a class that asks: its very commands, and a real browser on their network."""

from __future__ import annotations

import os
import platform
import re
import shlex
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from playwright.sync_api import Error, expect, sync_playwright

from bench.browser_pages import CHROMIUM, ask
from lab.fleet import KEYS
from lab.images import PYTHONS
from lab.packages import have
from tests.lab.conftest import ROOT, sh
from tests.lab.test_hosts import HOSTS, bare

pytestmark = pytest.mark.kind
README = (ROOT / "README.md").read_text()
ADDRESS = "docker inspect --format '{{range .NetworkSettings.Networks}}{{.IPAddress}}{{end}}' "


def commands(addresses: list[str]) -> list[str]:
    """The three of README, with the servers' own addresses."""
    block, _russian = re.findall(r"```sh\nmake \.venv/ok.*?\n(.*?)```", README, re.DOTALL)
    lines = [line.partition(" #")[0].strip() for line in block.splitlines()]
    for number, address in enumerate(addresses, 5):
        lines[0] = lines[0].replace(f"--host 10.0.0.{number} ", f"--host {address} ")
    return lines


class Controller:
    """The project's folder in the hands of somebody with a home, a key in the agent, and nothing else."""

    def __init__(self, home: Path) -> None:
        self.home, self.folder = home, home / "ollama-stack"
        self.folder.mkdir()
        (home / ".ssh").mkdir(mode=0o700)  # whoever has used ssh once has it
        sh(f"git -C {ROOT} ls-files -z | tar --create --directory {ROOT} --null --files-from - | tar --extract --directory {self.folder}")  # fmt: skip
        (self.folder / ".venv").symlink_to(ROOT / ".venv")
        python = PYTHONS[platform.freedesktop_os_release()["VERSION_CODENAME"]]
        group = (ROOT / "group_data" / "lab_ssh.py").read_text()
        # What the site itself says: its mirror, and the Python that this has.
        built = f'app_base_python = "{python}"'
        (self.folder / "group_data" / "school.py").write_text(
            re.sub(r"^app_image = .*$", built, group, flags=re.MULTILINE)
        )
        cache = os.environ.get("XDG_CACHE_HOME", Path("~/.cache").expanduser())
        self.environment = os.environ | {
            **{"HOME": str(home), "XDG_CACHE_HOME": str(cache), "PYTHONPATH": str(self.folder)},
            "SSH_AUTH_SOCK": f"{home}/agent",
        }

    def run(self, command: str) -> str:
        """What a command prints; it must succeed."""
        done = subprocess.run(
            shlex.split(command),
            cwd=self.folder,
            env=self.environment,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
        )
        assert done.returncode == 0, f"{command}\n{done.stdout}{done.stderr}"
        return done.stdout + done.stderr


@pytest.fixture
def controller(tmp_path: Path) -> Iterator[Controller]:
    agent = subprocess.Popen(
        ["ssh-agent", "-D", "-a", f"{tmp_path}/agent"], stdout=subprocess.DEVNULL
    )
    try:
        yield Controller(tmp_path)
    finally:
        agent.terminate()
        agent.wait()


def asked_in_a_browser(url: str, home: Path) -> str:
    """What a student reads at this address; playwright's Error if the browser does not trust it."""
    with sync_playwright() as playwright:
        environment: dict[str, str | float | bool] = {**os.environ, "HOME": str(home)}
        browser = playwright.chromium.launch(
            executable_path=CHROMIUM, args=["--no-sandbox"], env=environment
        )
        try:
            page = browser.new_page()
            page.goto(url)
            ask(page, "Say hello.")
            answer = page.locator("#now .answer:not(:empty)")
            expect(answer).to_have_text(re.compile(r"\S"), timeout=60000)
            return answer.inner_text()
        finally:
            browser.close()


def trusting(controller: Controller) -> Path:
    """The home of a student whose browser trusts the school's authority (docs/tls.md)."""
    have("/usr/bin/certutil", "libnss3-tools")
    database = controller.home / ".pki" / "nssdb"
    database.mkdir(parents=True)
    controller.run(f"certutil -d sql:{database} -N --empty-password")
    controller.run(f"certutil -d sql:{database} -A -t C,, -n school -i secrets/tls/ca.crt")
    return controller.home


def test_three_commands_and_a_class_asks(controller: Controller, tmp_path: Path) -> None:
    have(CHROMIUM, "chromium")
    with bare(HOSTS):
        controller.run(f"ssh-add {KEYS}/key")
        addresses = [sh(ADDRESS + member.container).strip() for member in HOSTS]
        took = {}
        for command in commands(addresses):
            began = time.monotonic()
            controller.run(command)
            took[command.split()[1]] = time.monotonic() - began
        assert list(took) == ["init", "deploy", "handout"]
        sheets = [path.read_text() for path in sorted(controller.folder.glob("handouts/*.html"))]
        urls = [re.findall(r'class="url" href="([^"]+)"', sheet)[0] for sheet in sheets]
        assert urls == [f"https://{address}:8080" for address in sorted(addresses)]
        stranger = tmp_path / "stranger"
        stranger.mkdir()
        with pytest.raises(Error, match="ERR_CERT_AUTHORITY_INVALID"):
            asked_in_a_browser(urls[0], stranger)
        home = trusting(controller)
        assert all(asked_in_a_browser(url, home) for url in urls)
        print({verb: round(seconds, 1) for verb, seconds in took.items()})  # noqa: T201 with -s
        controller.run(".venv/bin/ollama-stack audit inventories/school.py")

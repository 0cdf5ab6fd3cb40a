"""Gateway and app as a commit has them, run on loopback before a double of Ollama."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ollama_stack.config import tokens
from tests.door.conftest import SECRETS, TOKENS, Door, until
from tests.door.double import Double, Handler
from tests.door.haproxy import free_ports
from tests.door_app.conftest import answers

ROOT = Path(__file__).parents[1]
BEFORE = "7a3d86c"
OWN = TOKENS | {"app_enabled": True, "app_questions_per_minute": 10_000}
BEFORE_ROOMS = "ollama_stack.settings", "ollama_stack.tasks.gateway"  # of that commit, for ever
ROOMS = "ollama_stack.config.settings", "ollama_stack.stack.rendering"
RENDER = """
import json, sys
from {} import read_settings
from {} import gateway_files
from tests.unit.conftest import group_data
own, names = json.load(sys.stdin)
settings = read_settings(group_data("all", "medium") | own)
print(json.dumps([gateway_files(settings, names)[1], settings.app_environment]))
"""
TOKEN, ANSWER = 0.01, 50  # seconds between two; of an answer
DOWN = 3.0  # seconds that Ollama needs to come back


class Fragile(Double):
    """A double of Ollama that falls over what felled the real one, and is back after ``DOWN``."""

    def __init__(self, port: int) -> None:
        """It is up."""
        super().__init__(port, _Fragile)
        self.back = 0.0
        self.falls = 0
        self.large = b"x" * 1_200_000


class _Fragile(Handler):
    server: Fragile

    def _note(self, body: bytes) -> None:
        super()._note(body)
        if b'"template": "{{' in body or body.count(b"(") > 5000 or body.count(b"anyOf") > 1000:
            self.server.back = time.monotonic() + DOWN
            self.server.falls += 1
        self._stand()

    def _stand(self) -> None:
        if time.monotonic() < self.server.back:
            raise ConnectionAbortedError

    def _stream(self, asked: dict[str, Any]) -> None:
        longest = asked.get("options", {}).get("num_predict", ANSWER)
        if asked["prompt"] != "for ever":
            longest = min(longest, ANSWER)
        self.send_response(200)
        self.send_header("Transfer-Encoding", "chunked")
        self.end_headers()
        count = longest if longest >= 0 else 10**6
        for number in range(count + 1):
            line: dict[str, Any] = {"response": "x", "done": number == count}
            if line["done"]:
                line |= {"done_reason": "stop", "eval_count": count}
            raw = json.dumps(line).encode() + b"\n"
            self._stand()
            self.wfile.write(b"%x\r\n%s\r\n" % (len(raw), raw))
            self.wfile.flush()
            time.sleep(TOKEN)
        self.wfile.write(b"0\r\n\r\n")


@dataclass
class Rig:
    """What runs: the door, and what is behind it."""

    door: Door
    ollama: Fragile


def earlier(folder: Path) -> Path:
    """The files of the commit from before the attacks were found."""
    command = ["git", "archive", "--format=tar", BEFORE]
    raw = subprocess.run(command, cwd=ROOT, capture_output=True, check=True).stdout  # noqa: S603
    tree = folder / BEFORE
    tree.mkdir()
    subprocess.run(["tar", "x", "-C", str(tree)], input=raw, check=True)  # noqa: S603, S607
    return tree


def rendered(tree: Path) -> tuple[dict[str, str], dict[str, str]]:
    """The gateway's files and the app's environment, by a commit's own code."""
    names = {tokens.digest(secret): name for name, secret in SECRETS.items()}
    rooms = BEFORE_ROOMS if tree.name == BEFORE else ROOMS
    done = subprocess.run(  # noqa: S603 our own interpreter
        [sys.executable, "-c", RENDER.format(*rooms)],
        cwd=tree,
        input=json.dumps([OWN, names]),
        capture_output=True,
        text=True,
        check=True,
    )
    files, environment = json.loads(done.stdout)
    return files, environment


@contextmanager
def rig(tree: Path, folder: Path) -> Iterator[Rig]:
    """All of it, until the end."""
    folder.mkdir()
    files, environment = rendered(tree)
    ollama, app = free_ports(2)
    for name, text in files.items():
        moved = text.replace("ollama:11434", f"127.0.0.1:{ollama}")
        files[name] = moved.replace("app:8080", f"127.0.0.1:{app}")
    found = Rig(Door(folder, OWN, files=files), Fragile(ollama))
    for name in ("cookie.key", "gateway.token", "teacher.token"):
        (folder / name).write_text(SECRETS["app"])
    environment |= {"OLLAMA_HOST": f"http://127.0.0.1:{found.door.inner}", "APP_SECRETS": str(folder)}  # fmt: skip
    command = [sys.executable, "-m", "gunicorn", "--config", "app/gunicorn.conf.py"]
    with (folder / "app.log").open("wb") as log:
        process = subprocess.Popen(  # noqa: S603 our own interpreter
            [*command, "--bind", f"127.0.0.1:{app}"],
            cwd=tree,
            env=os.environ | environment,
            stdout=log,
            stderr=log,
        )
    try:
        until(lambda: answers(app), 60)
        yield found
    finally:
        process.terminate()
        process.wait(30)
        found.door.end()
        found.ollama.shutdown()
        found.ollama.server_close()

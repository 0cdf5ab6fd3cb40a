"""How a run is started, and with what: what pyinfra would take in silence, or end in a stack trace."""

from __future__ import annotations

import inspect
import socketserver
import subprocess
import sys
import threading
from pathlib import Path

import pytest

from ollama_stack import ROOT
from ollama_stack.tasks.start import make_known
from tests.unit.test_plan import BARE, as_fakes, pyinfra

pytestmark = pytest.mark.process


@pytest.mark.parametrize(
    ("arguments", "fault"),
    [
        (
            ["INVENTORY=inventories/exmaple.py"],
            "inventories/exmaple.py: there is no such inventory",
        ),
        (["INVENTORY=inventories/example.py", "LIMIT=nobody"], "no host matches nobody"),
    ],
)
def test_the_verbs_take_no_hosts_for_a_mistake(arguments: list[str], fault: str) -> None:
    run = subprocess.run(["make", "deploy", *arguments], cwd=ROOT, capture_output=True, text=True)
    assert run.returncode == 2
    assert fault in run.stderr


def test_every_fault_of_every_host_is_on_one_screen(tmp_path: Path) -> None:
    fakes = as_fakes("inventories/example.py", tmp_path, BARE, ollama_num_paralel=3, ollama_port=0)
    run = pyinfra(fakes, "deploy.py", "-y")
    assert run.returncode == 1
    assert run.stderr.count("did you mean ollama_num_parallel?") == 4
    assert run.stderr.count("ollama_port: 0 is refused") == 4
    assert "Traceback" not in run.stderr


def test_a_setting_at_the_top_of_an_inventory_stops_the_run(tmp_path: Path) -> None:
    fakes = Path(as_fakes("inventories/local.py", tmp_path, BARE))
    fakes.write_text(fakes.read_text() + "\nstudents = 30\n")
    run = pyinfra(str(fakes), "deploy.py", "-y")
    assert run.returncode == 1
    assert (
        f"    {fakes}: students: is a setting, and there one of no host; put it into" in run.stderr
    )


def test_a_host_s_programs_speak_english_in_utf_8_whatever_its_language_is() -> None:
    run = pyinfra("@local", "--data", "_sudo=False", "exec", "--", "printenv LC_ALL")
    assert run.returncode == 0, run.stderr
    assert "] C.UTF-8\n" in run.stderr


class Silent(socketserver.BaseRequestHandler):
    """Stands in for an SSH server whose banner never comes: it hangs up."""


def test_an_ssh_server_without_a_banner_is_no_stack_trace(tmp_path: Path) -> None:
    with socketserver.TCPServer(("127.0.0.1", 0), Silent) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        own = {"ssh_hostname": "127.0.0.1", "ssh_port": server.server_address[1]}
        own |= {"ssh_user": "ops", "ssh_known_hosts_file": str(tmp_path / "known")}
        (tmp_path / "known").touch()
        (tmp_path / "hosts.py").write_text(f"medium = [('class-1', {own!r})]")
        run = pyinfra(str(tmp_path / "hosts.py"), "deploy.py", "-y")
        server.shutdown()
    assert run.returncode == 1
    assert "Error reading SSH protocol banner" in run.stderr
    assert "Traceback" not in run.stderr


def test_a_limit_goes_on_without_the_refused_host(tmp_path: Path) -> None:
    wrong = {"ollama_port": 0, "fake_delay": 0, "fake_delay_jitter": 0}
    fakes = Path(as_fakes("inventories/local.py", tmp_path, BARE))
    fakes.write_text(fakes.read_text() + f"\nlow = [('@fake/wrong', {wrong!r})]")
    assert pyinfra(str(fakes), "deploy.py", "--dry").returncode == 1
    run = pyinfra(str(fakes), "deploy.py", "--dry", "--limit", "@fake/local")
    assert run.returncode == 0, run.stderr


def test_a_wrong_override_on_the_command_line_is_refused(tmp_path: Path) -> None:
    fakes = as_fakes("inventories/local.py", tmp_path, BARE)
    run = pyinfra(fakes, "deploy.py", "-y", "--data", "ollama_num_parallel=5")
    assert run.returncode == 1
    assert "ollama_num_parallel: 5 is more than 2 per CPU" in run.stderr


def test_a_line_of_a_story_has_its_module(tmp_path: Path) -> None:
    story = tmp_path / "story.py"
    make_known(story)
    found: dict[str, object] = {"inspect": inspect}
    exec(compile("it = inspect.getmodule(inspect.currentframe())", str(story), "exec"), found)  # noqa: S102 as pyinfra has it
    assert found["it"] is sys.modules.pop(story.name)

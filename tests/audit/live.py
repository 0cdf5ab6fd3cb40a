"""What one live host says of itself; it is only read."""

from __future__ import annotations

import json
import re
import shlex
from collections.abc import Iterable
from functools import cached_property
from typing import Any

from ollama_stack.config.settings import profile_of, read_settings
from ollama_stack.inventory import Target
from tests.audit.cgroup import Cgroup
from tests.audit.control import Blocked, NotApplicable, Reading, Unreadable
from tests.audit.conversation import SUDO, Conversation, Output
from tests.audit.inspected import Inspected
from tests.audit.runner import Runner, runners

OLLAMA, GATEWAY, APP = "ollama", "ollama-gateway", "ollama-app"
DATE = "date +%s.%N"
NOT_FOUND = 127  # the shell's code for a command that is not there
LOAD_SECONDS = 300  # for a gigabyte from a slow disk
ENVIRONMENT = "read -r served _ </proc/1/task/1/children; cat /proc/${served:-1}/environ"


class Live(Conversation):
    """One host; its attributes are read when first asked for, and then kept."""

    def __init__(self, target: Target, sockets: str = "") -> None:
        super().__init__(target, sockets)
        self.settings = read_settings(target.data)
        self.fleet: list[Live] = [self]

    @cached_property
    def engine(self) -> Output:
        """``docker version``, answered by the engine."""
        return self.run("docker version --format {{.Server.Version}}")

    @property
    def sudo(self) -> str:
        """For docker where it does not say plainly that it is not let in, as behind a pipe."""
        return SUDO if self.engine.command.startswith(SUDO) else ""

    @property
    def root(self) -> str:
        """What makes a command root's; Unreadable where this user may not."""
        if self.run("id -u").text.strip() == "0":
            return ""
        if self.run(f"{SUDO}true").code:
            raise Unreadable("only root reads this; allow `sudo -n`")
        return SUDO

    def of_docker(self, command: str) -> str:
        """The command as one who may use Docker runs it: whom the host's packet filter lets through."""
        if self.sudo or self.run("id -u").text.strip() == "0":
            return f"{self.sudo}{command}"
        return f"sg docker -c {shlex.quote(command)}"

    def service(self, name: str) -> str:
        """What a service, or network, of the cluster's stack is called in the swarm."""
        return f"{self.settings.ollama_project}_{name}"

    @property
    def manager(self) -> bool:
        """Whether a host of a cluster is one of its managers, by its own word."""
        said = self.ask(f"{self.sudo}docker info --format '{{{{.Swarm.ControlAvailable}}}}'")
        return said.text.strip() == "true"

    @property
    def inspect(self) -> str:
        """The command that shows all the containers there are to be."""
        if self.settings.cluster:
            own = self.service(f"ollama-{profile_of(self.target.groups)}")
            label = f"com.docker.swarm.service.name={own}"
            return (
                f"docker container inspect $({self.sudo}docker ps --quiet --filter label={label})"
            )
        return f"docker container inspect {OLLAMA} {GATEWAY}" + (
            f" {APP}" if self.settings.app_enabled else ""
        )

    def inspected(self, name: str, root: str) -> Inspected:
        """A container that is there; Blocked by the control ``root`` if none is."""
        output = self.run(self.inspect)  # fails if one is not there
        for container in json.loads(output.text or "[]"):
            if container["Name"] == f"/{name}" or self.settings.cluster:
                return Inspected(output.command, container)
        if self.engine.code:
            raise Blocked("OLS-501")
        if "no such container" not in output.error.lower() and not self.settings.cluster:
            raise Unreadable(f"`{output.command}` failed: {output.last_line}")
        raise Blocked("OLS-1405" if self.settings.cluster else root)

    @cached_property
    def ollama(self) -> Inspected:
        """Ollama's container."""
        return self.inspected(OLLAMA, "OLS-502")

    @cached_property
    def gateway(self) -> Inspected:
        """The gateway's container."""
        if not self.settings.gateway_enabled:
            raise NotApplicable("gateway_enabled is False")
        return self.inspected(GATEWAY, "OLS-510")

    @cached_property
    def app(self) -> Inspected:
        """The companion app's container."""
        if not self.settings.app_enabled:
            raise NotApplicable("app_enabled is False")
        return self.inspected(APP, "OLS-1201")

    def pid(self, container: Inspected) -> int:
        """The host's id of a container's first process; Blocked if it does not run."""
        pid = int(container.data["State"]["Pid"])
        if not pid:
            roots = {OLLAMA: "OLS-502", GATEWAY: "OLS-510", APP: "OLS-1201"}
            raise Blocked(roots[container.data["Name"].removeprefix("/")])
        return pid

    @cached_property
    def cgroup(self) -> Cgroup:
        """What the kernel says of Ollama's container."""
        return self.cgroup_of(self.ollama)

    def cgroup_of(self, container: Inspected) -> Cgroup:
        """What the kernel says of a container that runs."""
        path = f"/proc/{self.pid(container)}/cgroup"
        return Cgroup.of(self._cat(path).value, self._cat)

    def kernel(self, container: Inspected, field: str) -> Reading:
        """A line of /proc/PID/status of a container's first process."""
        reading = self._cat(f"/proc/{self.pid(container)}/status")
        line = next(line for line in reading.value.splitlines() if line.startswith(f"{field}:"))
        return Reading(line.split(":", 1)[1].strip(), reading.command, line)

    def environment(self) -> Reading:
        """What Ollama's server was started with, by name; the values of secrets are in no evidence.

        From inside: on the host root alone may read it. Its runners inherit it; process 1 is Docker's init,
        and the first that it started is the server.
        """
        self.pid(self.ollama)
        output = self.ask(f"docker exec {OLLAMA} bash -c '{ENVIRONMENT}'")
        found = dict(entry.partition("=")[::2] for entry in output.text.split("\0") if entry)
        return Reading(found, output.command, "")

    def _cat(self, path: str) -> Reading:
        output = self.ask(f"cat {path}")
        return output.reading(output.text.strip(), output.text)

    def api(self, path: str, body: object = None, *, seconds: int = 30, note: str = "") -> Output:
        """Ollama's answer at its container's own address; Blocked if there is none.

        ``note``: which one, of several answers to the same question.
        """
        self.pid(self.ollama)
        url = f"http://{self.ollama.address}:11434{path}"
        comment = f"  # {note}" if note else ""
        command = self.of_docker(_curl(url, body, seconds)) + comment
        output = self.run(command, seconds=seconds + 5)
        if output.code in (7, 28, 52, 56):  # curl: refused, timed out, empty or broken answer
            raise Blocked("OLS-504")
        if output.code:
            raise Unreadable(f"`{output.command}` failed: {output.last_line}")
        return output

    def published(
        self,
        path: str,
        body: object = None,
        *,
        token: bool = True,
        more: str = "",
        seconds: int = 30,
    ) -> Output:
        """The answer at the published address, then a line with its HTTP status (000: none)."""
        write = r" --insecure --write-out '\n%{http_code}\n'"
        command = _curl(self.settings.url + path, body, seconds) + write + more
        if token and self.settings.token_header_file:
            known = shlex.quote(self.settings.token_header_file)
            # Of a file that it may not read, curl says nothing.
            command = f"LC_ALL=C cat {known} >/dev/null; {command} --header @{known}"
        return self.curl(command, seconds=seconds + 5)

    def curl(self, command: str, *, seconds: int = 30) -> Output:
        """Output of a command that ends with curl, whatever its exit code; Unreadable without curl."""
        output = self.run(command, seconds=seconds)
        if output.code == NOT_FOUND:
            raise Unreadable("there is no curl on the host; apt-get install curl")
        return output

    def metrics(self, path: str) -> Output:
        """The gateway's answer about itself; Blocked if there is none."""
        self.pid(self.gateway)
        url = f"http://127.0.0.1:{self.settings.gateway_metrics_port}{path}"
        output = self.curl(f"curl -sS --fail --noproxy '*' --max-time 10 {url}")
        if output.code:
            raise Blocked("OLS-518")
        return output

    @cached_property
    def configuration(self) -> Output:
        """The gateway's configuration, in the folder that its container sees."""
        self.pid(self.gateway)
        return self.ask(f"cat {self.settings.gateway_dir}/haproxy.cfg")

    @cached_property
    def version(self) -> tuple[int, ...]:
        """Ollama's version."""
        text = json.loads(self.api("/api/version").text)["version"]
        return tuple(int(part) for part in text.partition("-")[0].split("."))

    @cached_property
    def models(self) -> tuple[Output, dict[str, str]]:
        """Digest of every model, by name."""
        output = self.api("/api/tags")
        listed = json.loads(output.text)["models"]
        return output, {model["name"]: model["digest"] for model in listed}

    def shown(self, model: str, root: str) -> tuple[Output, dict[str, Any]]:
        """What Ollama says of a model that is there; Blocked by ``root`` if it is not."""
        if model not in self.models[1]:
            raise Blocked(root)
        output = self.api("/api/show", {"model": model})
        return output, json.loads(output.text)

    @cached_property
    def loaded(self) -> Output:
        """Models in memory, of which one is ours; an idle server is asked for it, as students do.

        Unreadable while another model has the place: ours would drive it out.
        """
        model = self.settings.model_name
        self.shown(model, "OLS-401")
        names = [loaded["name"] for loaded in json.loads(self.api("/api/ps").text)["models"]]
        if model in names:
            return self.api("/api/ps")
        if len(names) >= self.settings.ollama_max_loaded_models:
            raise Unreadable(
                f"{', '.join(names)} is in memory, and {model} would take its place; "
                f"look again later, or: docker exec {OLLAMA} ollama stop {names[0]}"
            )
        self.load()
        return self.api("/api/ps", note="after the load")

    def load(self) -> Output:
        """Ollama's answer to being asked to load the model."""
        self.shown(self.settings.model_name, "OLS-401")
        body = {"model": self.settings.model_name}
        output = self.api("/api/generate", body, seconds=LOAD_SECONDS)
        if '"error"' in output.text:
            raise Blocked("OLS-301")
        return output

    @cached_property
    def runner(self) -> Runner:
        """The runner of the loaded model; who asks after it died gets another one, as students do."""
        _ = self.loaded
        top = f"docker top {OLLAMA} -ww -eo pid,args"
        processes = self.ask(top)
        if not runners(self.version, processes.text):
            self.load()
            processes = self.ask(f"{top}  # after the load")
        _, shown = self.shown(self.settings.model_name, "OLS-401")
        weights = re.search(r"^FROM .*(sha256-[0-9a-f]{64})$", shown["modelfile"], re.MULTILINE)
        return Runner.read(
            self.version,
            processes.reading(),
            weights[1] if weights else "",
            lambda pattern: self.log(OLLAMA, pattern),
            self.environment,
        )

    def log(self, container: str, pattern: str, since: str = "") -> Reading:
        """Lines of a container's log that match an extended regular expression."""
        recent = f" --since {since}" if since else ""
        logs = f"docker logs{recent} {container} 2>&1; echo exit code $?"
        grep = f"grep -aE {shlex.quote(f'{pattern}|^exit code ')}"
        output = self.run(f"{self.sudo}{{ {logs}; }} | {grep}", seconds=60)
        text, _, code = output.text.rpartition("exit code ")
        if code != "0\n":
            why = text.strip()[-200:] or f"exit code {code.strip()}"
            raise Unreadable(f"`docker logs {container}` failed: {why}")
        return output.reading(text, text or "(no line)")

    def owners(self, paths: Iterable[str]) -> Reading:
        """``mode uid`` of each file, by path; of one that is not there, nothing."""
        arguments = " ".join(map(shlex.quote, paths))
        output = self.run(f"LC_ALL=C stat -c '%a %u %n' {arguments}")
        lines = [line.split(" ", 2) for line in output.text.splitlines()]
        owned = {path: f"{mode} {owner}" for mode, owner, path in lines}
        return output.reading(owned, output.text + output.error)

    def on_the_host(self, owner: str) -> str:
        """``mode uid`` of a container's user, to whom dockerd's userns-remap adds an offset; root is root."""
        mode, _, uid = owner.partition(" ")
        if uid == "0":
            return owner
        output = self.run("docker info --format '{{.DockerRootDir}} {{.SecurityOptions}}'")
        offset = re.search(r"/(\d+)\.\d+ \[.*\bname=userns\b", output.text)
        return f"{mode} {int(uid) + int(offset[1] if offset else 0)}"


def _curl(url: str, body: object, seconds: int) -> str:
    data = f" --data {shlex.quote(json.dumps(body))}" if body is not None else ""
    return f"curl -sS --noproxy '*' --max-time {seconds}{data} {url}"

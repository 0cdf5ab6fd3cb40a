"""Pure: the texts of the monitoring host's files."""

from __future__ import annotations

from pathlib import Path

from ollama_stack.config.monitoring import Monitor
from ollama_stack.paths import MONITORING_DIR, MONITORING_STATE, UNITS
from ollama_stack.stack.rendering import FOLDER, TEMPLATES

OURS = FOLDER / "monitoring"
RULES = "ollama.rules.yml"


def configurations(declared: Monitor) -> dict[str, str]:
    """By path: Prometheus's, which anybody may read."""
    prometheus = TEMPLATES.get_template("monitoring/prometheus.yml.j2").render(ports=declared.ports)
    return {
        f"{MONITORING_DIR}/prometheus.yml": prometheus,
        f"{MONITORING_DIR}/{RULES}": (OURS / RULES).read_text(),
    }


def alertmanager(declared: Monitor) -> str:
    """Alertmanager's configuration; ValueError if the site's own file cannot be read."""
    if not declared.monitoring_alertmanager:
        return (OURS / "quiet.yml").read_text()
    try:
        return Path(declared.monitoring_alertmanager).expanduser().read_text()
    except (OSError, RuntimeError, UnicodeDecodeError) as error:
        raise ValueError(
            f"monitoring_alertmanager: {declared.monitoring_alertmanager} cannot be read "
            f"({getattr(error, 'strerror', None) or error}); check its path, owner and mode"
        ) from error


def units(declared: Monitor, user: str, clone: str, inventory: str) -> dict[str, str]:
    """By path: systemd's; ``user`` looks at the servers of ``inventory``, which is in ``clone`` or absolute."""
    look = TEMPLATES.get_template("monitoring/status.service.j2").render(
        user=user, clone=clone, inventory=inventory
    )
    parts = {part: _service(declared, part) for part in declared.ports}
    parts |= {"status": look}
    found = {f"{UNITS}/ollama-stack-{part}.service": text for part, text in parts.items()}
    return found | {f"{UNITS}/ollama-stack-status.timer": (OURS / "status.timer").read_text()}


def _service(declared: Monitor, part: str) -> str:
    port = declared.ports[part]
    command = {
        "prometheus": [
            *("prometheus", f"--config.file={MONITORING_DIR}/prometheus.yml"),
            f"--storage.tsdb.path={MONITORING_STATE}/prometheus",
            *("--storage.tsdb.retention.time=30d", "--storage.tsdb.retention.size=1GB"),
        ],
        "alertmanager": [
            *("prometheus-alertmanager", f"--config.file={MONITORING_DIR}/alertmanager.yml"),
            f"--storage.path={MONITORING_STATE}/alertmanager",
            "--cluster.listen-address=",  # it is alone
        ],
        "exporter": [
            *("prometheus-node-exporter", "--collector.disable-defaults", "--collector.textfile"),
            f"--collector.textfile.directory={MONITORING_STATE}/figures",
        ],
    }[part]
    command = [f"/usr/bin/{command[0]}", *command[1:], f"--web.listen-address=127.0.0.1:{port}"]
    return TEMPLATES.get_template("monitoring/service.j2").render(
        part=part,
        port=port,
        command=" ".join(command),
        memory="512M" if part == "prometheus" else "128M",
    )

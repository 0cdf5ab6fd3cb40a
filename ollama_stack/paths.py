"""Paths on every host, declared once; those in ``ollama_dir`` are in the settings."""

UNITS = "/etc/systemd/system"

# Ours.
LOCK = "/run/ollama-stack.lock"  # gone after a reboot, as its holder is
RELEASE_LOG = "/run/ollama-stack.log"  # of the last change
RELEASE_UNIT = f"{UNITS}/ollama-stack-release.service"
GUARD_UNIT = f"{UNITS}/ollama-stack-guard.service"
DROP_IN = f"{UNITS}/docker.service.d/ollama-stack.conf"
# Not docker.asc and docker.sources: those names are of Docker's own guide, so they are the site's.
KEYRING = "/etc/apt/keyrings/ollama-stack-docker.asc"
NEW_KEYRING = "/etc/apt/keyrings/new"  # apt looks at nothing there
SOURCES = "/etc/apt/sources.list.d/ollama-stack-docker.sources"
PIN = "/etc/apt/preferences.d/ollama-stack-docker"
OLD_PIN = "/etc/apt/preferences.d/docker"  # of earlier versions
ENGINE_PIDFILE = "/run/ollama-stack-dockerd.pid"  # where no systemd starts the engine
ENGINE_LOG = "/var/log/dockerd.log"
MONITORING_DIR = "/etc/ollama-stack/monitoring"
MONITORING_STATE = "/var/lib/ollama-stack"

# Docker's, containerd's and certbot's.
CLI_PLUGIN = "/usr/local/lib/docker/cli-plugins/docker-compose"
DAEMON_JSON = "/etc/docker/daemon.json"
DATA_ROOT = "/var/lib/docker"  # unless daemon.json has another
CONTAINERD_ROOT = "/var/lib/containerd"
CERTBOT = "/etc/letsencrypt"  # root's alone: the account's key, certificates and theirs

"""The lab: what it serves from its own mirror on Docker's bridge, and folders of its own."""

_sudo = False  # `make lab` runs as root

mirror = "http://172.17.0.1:5000"
ollama_image = "ollama/ollama:0.9.3"
gateway_image = "haproxy:3.0.11"
app_image = "ollama-stack/app:0.1.0"
app_base_image = "ollama-lab/python:3"  # unset app_image, and hosts build the page on it
model_name = "smollm2:135m"

# One thread: two that wait for each other collapse as soon as anything else computes on two cores.
ollama_cpus = 1.5

app_enabled = True

docker_source = "distro"
health_interval = "2s"  # many changes, each of which waits for it
health_timeout = "15s"
ollama_dir = "/opt/ollama-lab"
ollama_project = "ollama-lab"

audit_waivers = [
    {
        "id": "OLS-801",
        "reason": "PyPI has no later Ollama than 0.9.3; the lab is on loopback",
        "until": "2035-12-31",
    }
]

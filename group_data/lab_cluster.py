"""The lab's cluster: its servers, the mirror, and what this machine cannot."""

mirror = "http://172.17.0.1:5000"
ollama_image = "ollama/ollama:0.9.3"
gateway_image = "haproxy:3.0.11"
app_image = "ollama-stack/app:0.1.0"
app_base_image = "ollama-lab/python:3"  # unset app_image, and managers build the page on it
model_name = "smollm2:135m"

cluster = "lab"
cluster_encrypted = False  # this machine's kernel has no AES-GCM
ollama_bind = "0.0.0.0"
app_enabled = True
app_bind = "0.0.0.0"
allow_unusual = ["app_bind"]  # http, but for the test that has https
gateway_tokens = {"class": "env:LAB_CLASS_TOKEN"}
gateway_answer_limit = "5m"
ollama_keep_alive = "8m"

ollama_cpus = 1.0
ollama_memory = "1G"
ollama_memory_reservation = "512M"
ollama_cpu_reservation = 0.5

docker_source = "distro"
health_interval = "2s"  # many changes, each of which waits for it
gateway_queue_timeout = "1m"  # and for this, where it replaces the gateway
health_timeout = "15s"

audit_waivers = [
    {
        "id": "OLS-801",
        "reason": "PyPI has no later Ollama than 0.9.3; the lab is on loopback",
        "until": "2035-12-31",
    },
    {
        "id": "OLS-1404",
        "reason": "Debian 12 and 13 beside each other, on purpose",
        "until": "2035-12-31",
    },
]

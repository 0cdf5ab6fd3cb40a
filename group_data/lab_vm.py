"""The lab's emulated machine: it reaches this one's loopback, where the mirror is, at 10.0.2.2."""

mirror = "http://10.0.2.2:5000"
ollama_image = "ollama/ollama:0.9.3"
gateway_image = "haproxy:3.0.11"
app_image = "ollama-stack/app:0.1.0"
app_base_image = "ollama-lab/python:3"  # unset app_image, and hosts build the page on it
model_name = "smollm2:135m"

app_enabled = True

health_interval = "30s"  # a look takes a second and more of an emulated CPU

docker_source = "distro"

audit_waivers = [
    {
        "id": "OLS-801",
        "reason": "PyPI has no later Ollama than 0.9.3; the lab is on loopback",
        "until": "2035-12-31",
    },
    {
        "id": "OLS-1212",
        "reason": "beside an audit, an emulated CPU takes longer than a minute for a word",
        "until": "2035-12-31",
    },
]

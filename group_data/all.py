"""Every host, unless its profile says otherwise. docs/settings.md has the settings not named here."""

_sudo = True  # hosts are reached as an ordinary user

ollama_image = "ollama/ollama:0.32.15"
model_name = "qwen2.5:1.5b"

ollama_max_loaded_models = 1
ollama_keep_alive = "5m"
ollama_cpus = 2.0
ollama_memory = "3G"
ollama_cpu_reservation = 1.0
ollama_memory_reservation = "2G"

slo_success = 0.95

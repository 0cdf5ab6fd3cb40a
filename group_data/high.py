"""More than 15 students at once: 4 CPUs and 8 GB or more."""

ollama_num_parallel = 4
ollama_max_queue = 20
ollama_keep_alive = "10m"
ollama_cpus = 4.0
ollama_memory = "6G"
slo_p95_wait = 30.0

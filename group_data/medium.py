"""5 to 15 students at once."""

ollama_num_parallel = 3
ollama_max_queue = 15
slo_p95_wait = 30.0

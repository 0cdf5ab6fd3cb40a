"""Fewer than 5 students at once."""

ollama_num_parallel = 2
ollama_max_queue = 10
slo_p95_wait = 20.0

"""The runner's command line in each era of Ollama, and how its API is reached."""

from __future__ import annotations

import pytest

from ollama_stack.facts.ollama import OllamaRunner, Runner, call

# Recorded in the lab (0.9.3); written after v0.20.0:llm/server.go and v0.33.0-rc2:llm/llama_server.go.
ERAS = {
    "0.9.3": "29806 /usr/lib/ollama/ollama-lib runner --model /root/.ollama/models/blobs/sha256-b1 "
    "--ctx-size 12288 --batch-size 512 --n-gpu-layers 0 --threads 2 --no-mmap --parallel 3 "
    "--port 33921",
    "0.20": "31 /usr/bin/ollama runner --ollama-engine --model /root/.ollama/blobs/x --port 4",
    "0.33": "31 /usr/lib/ollama/llama-server --model /root/x --port 4 --host 127.0.0.1 --no-webui "
    "--offline -c 12288 -np 3 --log-verbosity 4 --load-mode none -b 1024 -ub 1024 -t 2",
}


@pytest.mark.parametrize(
    ("era", "runner"),
    [("0.9.3", Runner(2, 3, 12288)), ("0.20", None), ("0.33", Runner(2, 3, 12288))],
)
def test_runner_is_read_in_every_era_that_shows_it(era: str, runner: Runner | None) -> None:
    assert Runner.parse(ERAS[era]) == runner


def test_a_server_without_a_loaded_model_has_no_runner() -> None:
    lines = ["PID                 COMMAND", "29628 /usr/lib/ollama/ollama-lib serve"]
    assert OllamaRunner().process(lines) is None
    assert OllamaRunner().process([*lines, ERAS["0.9.3"]]) == Runner(2, 3, 12288)


def test_the_api_is_called_at_the_container_s_own_address_with_a_quoted_body() -> None:
    assert str(call("/api/show", {"model": "it's; rm -rf"})) == (
        "curl -sS --fail-with-body --noproxy '*' --max-time 45 "
        """--data '{"model": "it'"'"'s; rm -rf"}' "http://$(docker inspect --format """
        "'{{if not .State.Paused}}{{range .NetworkSettings.Networks}}{{.IPAddress}} {{end}}{{end}}' "
        "ollama | cut -d' ' -f1)"
        ':11434/api/show"'
    )

"""Threads, slots and context as each era of Ollama shows them.

Recorded here: the lab's 0.9.3. The others are built from the format in the source at the tags named,
with figures from the threads named; no such version runs on a machine without a container registry.
"""

from __future__ import annotations

import re

import pytest

from tests.audit.control import Reading, Unreadable
from tests.audit.runner import Runner, Version

BLOB = "/root/.ollama/models/blobs/sha256-b179c9523d0e6a0f98a330c7562b682750a6f8c8c15e5bc70ea373728110db53"
# `docker top ollama -ww -eo pid,args` in the lab.
RECORDED = f"""PID                 COMMAND
4051                /usr/lib/ollama/ollama-lib serve
29488               /usr/lib/ollama/ollama-lib runner --model {BLOB} --ctx-size 12288 --batch-size 512 --n-gpu-layers 0 --threads 2 --no-mmap --parallel 3 --port 44541
"""
SILENT = f"7 /usr/bin/ollama runner --ollama-engine --model {BLOB} --port 40003"
DISCOVERY = "8 /usr/bin/ollama runner --ollama-engine --port 40004"
LLAMA_SERVER = (
    f"7 /usr/lib/ollama/llama-server --model {BLOB} --port 40005 --host 127.0.0.1 --no-webui --offline "
    "-c 12288 -np 3 --log-verbosity 4 --no-log-prefix --no-log-timestamps --no-mmap --flash-attn auto "
    "-b 512 -ub 512"
)
STARTED = 'time=2026-01-02T03:04:05Z level=INFO source=llama_server.go:433 msg="starting llama-server" cmd="..."'


def load(operation: str, parallel: int, total: int, threads: int, flash: str = "Disabled") -> str:
    """llm/server.go at v0.13.0 and v0.24.0: LoadRequest, printed with %+v."""
    return (
        "time=2026-01-02T03:04:05.002Z level=INFO source=runner.go:1297 msg=load request="
        f'"{{Operation:{operation} LoraPath:[] Parallel:{parallel} BatchSize:512 FlashAttention:{flash} '
        f"KvSize:{total} KvCacheType: NumThreads:{threads} GPULayers:[] MultiUserCache:false "
        'ProjectorPath: MainGPU:0 UseMmap:false}"'
    )


def read(
    version: Version, processes: str, *log: str, weights: str = "", **environment: str
) -> tuple[int, int, int]:
    """Threads, slots, tokens a slot."""

    def lines(pattern: str) -> Reading:
        found = "\n".join(line for line in log if re.search(pattern, line))
        return Reading(found, "docker logs", found)

    def variables() -> Reading:
        return Reading(environment, "docker exec ollama cat /proc/1/environ", "")

    shown = Reading(processes, "docker top", processes)
    runner = Runner.read(version, shown, weights, lines, variables)
    return runner.threads.value, runner.parallel.value, runner.context.value


def test_up_to_0_11_4_the_command_line_tells() -> None:
    assert read((0, 9, 3), RECORDED) == (2, 3, 4096)


@pytest.mark.parametrize("version", [(0, 11, 5), (0, 13, 0), (0, 24, 0), (0, 25, 0)])
def test_then_the_log_of_the_load_tells(version: Version) -> None:
    processes = f"{DISCOVERY}\n{SILENT}"
    steps = [load(step, 3, 12288, 2) for step in ("fit", "fit", "alloc", "commit")]
    assert read(version, processes, *steps) == (2, 3, 4096)
    # ollama#13320: a CPU alone, 0.13
    assert read(version, processes, load("commit", 1, 16000, 8, flash="true")) == (8, 1, 16000)


def test_of_several_loads_the_last_that_was_carried_out_counts() -> None:
    log = [load("commit", 1, 4096, 8), load("commit", 3, 12288, 2)]
    given_up = [load("fit", 3, 12288, 6), load("close", 0, 0, 0)]  # closing prints zeros
    assert read((0, 17, 4), SILENT, *log, *given_up) == (2, 3, 4096)


def test_a_log_that_has_lost_the_load_is_no_pass() -> None:
    with pytest.raises(Unreadable, match=r"^cannot be read on Ollama 0\.13\.0: the log no longer"):
        read((0, 13, 0), SILENT)
    with pytest.raises(Unreadable, match="the log no longer has the model's load"):
        read((0, 13, 0), SILENT, load("fit", 3, 12288, 2))


def test_from_0_30_llama_server_s_own_flags_tell() -> None:
    assert read((0, 30, 0), f"{LLAMA_SERVER} -t 2") == (2, 3, 4096)


@pytest.mark.parametrize(
    "line",
    [
        "system_info: n_threads = 8 (n_threads_batch = 8) / 16 | CPU : SSE3 = 1 |",  # #16132
        "cmn  common_param: system_info: n_threads = 8 (n_threads_batch = 8) / 16 | CPU : SSE3 = 1 |",
        "cmn init: llama threadpool init, n_threads = 8",  # #17916, which is about such a collapse
    ],
)
def test_without_a_thread_count_llama_cpp_tells(line: str) -> None:
    discovery = "system_info: n_threads = 64 (n_threads_batch = 64) / 64 |"
    http = "srv  init: using 15 threads for HTTP server"
    assert read((0, 32, 15), LLAMA_SERVER, discovery, STARTED, line, http) == (8, 3, 4096)


def test_threads_that_nobody_tells_are_no_pass() -> None:
    with pytest.raises(Unreadable, match="neither the command line nor the log has the threads"):
        read((0, 32, 15), LLAMA_SERVER, "system_info: n_threads = 64 / 64 |", STARTED)


def test_threads_that_the_log_no_longer_has_are_the_runner_s_own_variable() -> None:
    assert read((0, 32, 15), LLAMA_SERVER, LLAMA_ARG_THREADS="2") == (2, 3, 4096)
    shown = "system_info: n_threads = 8 (n_threads_batch = 8) / 16"
    assert read((0, 32, 15), LLAMA_SERVER, STARTED, shown, LLAMA_ARG_THREADS="2") == (8, 3, 4096)


def test_flags_of_another_era_are_no_pass() -> None:
    with pytest.raises(Unreadable, match=r"cannot be read on Ollama 0\.9\.3"):
        read((0, 9, 3), SILENT)


def test_no_runner_is_no_pass_and_two_are_not_guessed_between() -> None:
    with pytest.raises(Unreadable, match="0 runners are there"):
        read((0, 9, 3), "4051 /usr/bin/ollama serve")
    with pytest.raises(Unreadable, match="2 runners are there"):
        read((0, 9, 3), f"{RECORDED}{RECORDED}")


def test_of_two_models_runners_ours_is_read() -> None:
    ours = BLOB.rpartition("/")[2]
    other = RECORDED.replace(ours, f"sha256-{'0' * 64}").replace("--threads 2", "--threads 9")
    assert read((0, 9, 3), f"{other}{RECORDED}", weights=ours) == (2, 3, 4096)
    silent = f"{SILENT}\n{SILENT.replace(ours, f'sha256-{0:064}')}"
    with pytest.raises(Unreadable, match="does not tell several models' loads apart"):
        read((0, 13, 0), silent, load("commit", 3, 12288, 2), weights=ours)

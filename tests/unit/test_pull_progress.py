"""The shell that reads Ollama's pull stream; run for real, on streams as the server sends them."""

from __future__ import annotations

import subprocess

from ollama_stack.operations.model import PROGRESS

LAYER = '{"status":"pulling b179","digest":"sha256:b179","total":98362432,"completed":49181216}\n'


def read(stream: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        ["sh", "-c", PROGRESS.read_text()], input=stream, capture_output=True, text=True
    )


def test_success_is_the_last_status() -> None:
    done = read('{"status":"pulling manifest"}\n' + LAYER * 3 + '{"status":"success"}\n')
    assert done.returncode == 0
    assert done.stdout.splitlines() == ["pulling manifest", "pulling b179", "success"]


def test_an_error_after_progress_is_a_failure_with_ollama_s_words() -> None:
    done = read(LAYER + '{"error":"pull model manifest: file does not exist"}\n')
    assert done.returncode == 1
    assert "file does not exist" in done.stdout.splitlines()[-1]


def test_a_stream_that_is_cut_is_a_failure() -> None:
    assert read(LAYER).returncode == 1


def test_a_last_line_without_its_end_counts() -> None:
    assert "invalid model name" in read('{"error":"invalid model name"}').stdout


def test_no_stream_at_all_is_a_failure() -> None:
    done = read("")
    assert (done.returncode, done.stdout) == (1, "the pull ended with: no answer\n")


def test_a_slow_layer_shows_percent_and_rate() -> None:
    later = LAYER.replace("49181216", "90181216")
    piped = f"(printf '%s' '{LAYER}'; sleep 4.1; printf '%s' '{later}') | sh -c \"$PROGRESS\""
    done = subprocess.run(
        ["sh", "-c", piped],
        env={"PROGRESS": PROGRESS.read_text(), "PATH": "/usr/bin:/bin"},
        capture_output=True,
        text=True,
    )
    line = done.stdout.splitlines()[1]
    assert line.startswith("pulling b179: 91% of 98 MB, ")
    assert line.endswith(" MB/s")

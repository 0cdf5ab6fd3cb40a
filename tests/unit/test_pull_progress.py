"""The shell that reads Ollama's pull stream; run for real, on streams as the server sends them."""

from __future__ import annotations

import subprocess
from pathlib import Path

from ollama_stack.operations.model import PROGRESS

LAYER = '{"status":"pulling b179","digest":"sha256:b179","total":98362432,"completed":49181216}\n'


def read(stream: str, path: str = "/usr/bin:/bin") -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        ["sh", "-c", PROGRESS.read_text()],
        input=stream,
        env={"PATH": path},
        capture_output=True,
        text=True,
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


def test_a_slow_layer_shows_percent_and_rate(tmp_path: Path) -> None:
    """A double of ``date`` stands in for five seconds between two lines."""
    clock = tmp_path / "date"
    clock.write_text(
        f"#!/bin/sh\necho x >>{tmp_path}/asked\necho $((5 * $(wc -l <{tmp_path}/asked)))"
    )
    clock.chmod(0o755)
    done = read(LAYER + LAYER.replace("49181216", "90181216"), path=f"{tmp_path}:/usr/bin:/bin")
    assert done.stdout.splitlines()[1] == "pulling b179: 91% of 98 MB, 8.2 MB/s"

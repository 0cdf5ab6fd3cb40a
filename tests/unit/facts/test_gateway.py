"""What is read of the gateway on a host."""

from __future__ import annotations

import subprocess
from hashlib import sha256
from pathlib import Path

import pytest

from ollama_stack.facts.gateway import TokenDigest


@pytest.mark.parametrize("text", ["{}", "{}\n", "Authorization: Bearer {}\n"])
def test_a_token_s_digest_is_that_of_the_token_alone(text: str, tmp_path: Path) -> None:
    file, token = tmp_path / "it's a token", "f" * 64
    fact = TokenDigest()
    command = str(fact.command(path=str(file)))

    def found() -> str | None:
        done = subprocess.run(["sh", "-ec", command], check=True, capture_output=True, text=True)
        return fact.process(done.stdout.splitlines())

    assert found() is None
    file.write_text("")
    assert found() is None
    file.write_text(text.format(token))
    assert found() == sha256(token.encode()).hexdigest()

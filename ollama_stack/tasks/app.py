"""Have the image of the page on the host, where no ready one is named."""

from __future__ import annotations

from pyinfra.api import deploy

from ollama_stack.bundle.file import whole
from ollama_stack.config.settings import Settings
from ollama_stack.operations import app


@deploy("Page")
def build_page(settings: Settings) -> None:
    """Build what is not there; a ready image comes with the release."""
    if settings.app_is_built:
        app.built(
            name="Build the page's image",
            image=settings.app_image_ref,
            base=_base(settings),
            python=settings.app_python,
            folder=settings.ollama_dir,
        )


def _base(settings: Settings) -> str:
    """What the page is built on, as the host has it."""
    image = settings.engine_name(settings.app_base_image)
    return whole(settings.bundle).images[image].name if settings.bundle else image

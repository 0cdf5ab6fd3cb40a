"""Have the image of the page on the host, where no ready one is named."""

from __future__ import annotations

from pyinfra.api import deploy

from ollama_stack.config.settings import Settings
from ollama_stack.operations import app
from ollama_stack.tasks.bundle import page_base


@deploy("Page")
def build_page(settings: Settings) -> None:
    """Build what is not there; a ready image comes with the release."""
    if settings.app_is_built:
        app.built(
            name="Build the page's image",
            image=settings.app_image_ref,
            base=page_base(settings),
            python=settings.app_python,
            folder=settings.ollama_dir,
        )

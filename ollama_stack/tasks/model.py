"""Keep the model: pulled once, tuned to the CPU limit, in memory before students come."""

from __future__ import annotations

from pyinfra.api import deploy
from pyinfra.api.operation import OperationMeta

from ollama_stack.config.settings import Settings
from ollama_stack.operations import model
from ollama_stack.tasks.release import begun


@deploy("Model")
def keep_model(settings: Settings) -> OperationMeta:
    """The model under its own tag as tuned, and under a second tag as pulled."""
    model.pulled(
        name="Pull the model",
        model=settings.model_name,
        source=settings.model_source,
        pristine=settings.pristine_model,
        seconds=settings.pull_seconds,
        begun=begun(settings),
        insecure=settings.model_insecure,
        digest=settings.model_digest,
    )
    model.recorded(
        name="Record the model's digest",
        model=settings.pristine_model,
        path=settings.model_record,
        digest=settings.model_digest,
    )
    model.tuned(
        name="Tune the model",
        model=settings.model_name,
        pristine=settings.pristine_model,
        parameters=settings.model_parameters,
        seconds=settings.load_seconds,
        begun=begun(settings),
    )
    return model.loaded(  # another one is always loaded anew
        name="Load the model",
        model=settings.model_name,
        threads=settings.num_thread,
        parallel=settings.ollama_num_parallel,
        num_ctx=settings.model_num_ctx,
        seconds=settings.load_seconds,
    )

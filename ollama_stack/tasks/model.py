"""Keep the models: pulled once, tuned to the CPU limit, the first in memory before students come."""

from __future__ import annotations

from pyinfra import host
from pyinfra.api import deploy
from pyinfra.api.operation import OperationMeta

from ollama_stack.config.served import ServedModel
from ollama_stack.config.settings import Settings
from ollama_stack.operations import bundle, model
from ollama_stack.tasks.release import begun


def keep_models(settings: Settings) -> list[OperationMeta]:
    """Each model under its own tag as tuned, and under a second tag as pulled; the first in memory.

    Returns what says whether one has changed.
    """
    kept = [keep_model(settings=settings, served=one) for one in host.loop(settings.served_models)]
    return [*kept, load_model(settings=settings)]


@deploy("Model")
def load_model(settings: Settings) -> OperationMeta:
    """The first model in memory as it is tuned: another one is always loaded anew."""
    return model.loaded(
        name="Load the model",
        model=settings.model_name,
        threads=settings.num_thread,
        parallel=settings.ollama_num_parallel,
        num_ctx=settings.model_num_ctx,
        seconds=settings.load_seconds,
    )


@deploy("Model")
def keep_model(settings: Settings, served: ServedModel) -> OperationMeta:
    """One model: pulled or carried there, its digest on record, tuned."""
    which = "the model" if served.setting == "model_name" else served.name
    if settings.bundle:
        bundle.model_carried(
            name=f"Carry {which}",
            model=served.name,
            pristine=served.pristine,
            digest=served.digest,
            bundle=settings.bundle,
            volume=settings.volume,
            folder=settings.ollama_dir,
            begun=begun(settings),
        )
    else:
        _pull(settings, served, which)
    model.recorded(
        name=f"Record the digest of {which}",
        model=served.pristine,
        path=served.record(settings.ollama_dir),
        digest=served.digest,
    )
    return model.tuned(
        name=f"Tune {which}",
        model=served.name,
        pristine=served.pristine,
        parameters=settings.model_parameters,
        seconds=settings.load_seconds,
        begun=begun(settings),
    )


def _pull(settings: Settings, served: ServedModel, which: str) -> None:
    model.pulled(
        name=f"Pull {which}",
        model=served.name,
        source=served.source,
        pristine=served.pristine,
        seconds=settings.pull_seconds,
        begun=begun(settings),
        insecure=settings.model_insecure,
        digest=served.digest,
    )

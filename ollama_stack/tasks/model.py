"""Keep the models: pulled once, tuned to the CPU limit, the first in memory before students come."""

from __future__ import annotations

from pyinfra import host
from pyinfra.api import StringCommand, deploy
from pyinfra.api.operation import OperationMeta

from ollama_stack.config.served import ServedModel
from ollama_stack.config.settings import Settings
from ollama_stack.operations import bundle, model


def keep_models(settings: Settings, begun: StringCommand) -> list[OperationMeta]:
    """Each model under its own tag as tuned, and under a second tag as pulled; the first in memory.

    ``begun``: the command that goes before the first change. Returns what says whether one has changed.
    """
    served = host.loop(settings.served_models)
    kept = [keep_model(settings=settings, served=one, begun=begun) for one in served]
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
def keep_model(settings: Settings, served: ServedModel, begun: StringCommand) -> OperationMeta:
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
            begun=begun,
        )
    else:
        _pull(settings, served, which, begun)
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
        begun=begun,
    )


def _pull(settings: Settings, served: ServedModel, which: str, begun: StringCommand) -> None:
    model.pulled(
        name=f"Pull {which}",
        model=served.name,
        source=served.source,
        pristine=served.pristine,
        seconds=settings.pull_seconds,
        begun=begun,
        insecure=settings.model_insecure,
        digest=served.digest,
    )

"""Models on an Ollama server: pulled once, tuned, and in memory before students come."""

from __future__ import annotations

import re
import time
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path

from pyinfra import host
from pyinfra.api import FunctionCommand, Host, QuoteString, State, StringCommand, operation
from pyinfra.facts.files import FileContents

from ollama_stack.facts.memory import known
from ollama_stack.facts.model import LoadedModels, Model, Models
from ollama_stack.facts.ollama import OllamaRunner, Runner, call
from ollama_stack.shell import Commands, fail, or_explain, renamed, run_now

PROGRESS = Path(__file__).with_name("pull-progress.sh")
ATTEMPTS = 3
PRISTINE = r"-pristine(-[0-9a-f]{12})?"
SILENT = "ollama: the server does not answer, or refuses; read `docker logs --tail 50 ollama` on the host"


@operation()
def pulled(
    model: str,
    source: str,
    pristine: str,
    seconds: int,
    begun: StringCommand,
    insecure: bool = False,
    digest: str = "",
) -> Commands:
    """Have ``model`` from ``source``, and under the tag ``pristine`` just as it was pulled.

    ``seconds``: for one attempt. ``begun``: the command that goes before. ``insecure``: the source's
    registry speaks plain HTTP. ``digest``: the only one that is taken.
    """
    models = known(Models)
    if has(models, pristine, digest):
        host.noop(f"{pristine} is already there")
        return
    host.log(f"pull {source}")
    if models is None:  # not there yet, or too busy to say: never a reason to pull again
        yield or_explain(call("/api/version"), SILENT)
        if has(host.get_fact(Models), pristine, digest):
            return
    yield begun
    yield FunctionCommand(pull, (source, insecure, seconds), {})
    if digest:
        yield FunctionCommand(check, (source, digest, model), {})
    if source != model:
        yield or_explain(call("/api/copy", {"source": source, "destination": model}), SILENT)
        yield or_explain(call("/api/delete", {"model": source}, method="DELETE"), SILENT)
    # Last: it says that all is done.
    yield or_explain(call("/api/copy", {"source": model, "destination": pristine}), SILENT)


def has(models: dict[str, str] | None, model: str, digest: str) -> bool:
    """Whether a server that has ``models`` has this one, and with this digest, if one is declared."""
    return models is not None and model in models and digest in ("", models[model])


def pull(state: State, host: Host, source: str, insecure: bool, seconds: int) -> bool:
    """Pull with visible progress; an attempt resumes what the one before left on the server."""
    name = f"http://{source}" if insecure else source
    stream = call("/api/pull", {"model": name, "insecure": insecure}, timeout=seconds, stream=True)
    command = StringCommand(stream, "| sh -c", QuoteString(PROGRESS.read_text()))
    for attempt in range(1, ATTEMPTS + 1):
        ok, output = run_now(state, host, command, show=True)
        if ok:
            return True
        if "does not exist" in " ".join(output):
            break
        if attempt < ATTEMPTS:
            host.log_styled(f"attempt {attempt} of {ATTEMPTS} failed, resuming", fg="yellow")
            time.sleep(5 * attempt)
    return fail(
        host,
        f"model_name: {source} cannot be pulled; check the name and that its registry answers "
        "(mirror, model_registry), then run again: what has arrived is kept",
    )


def check(state: State, host: Host, source: str, digest: str, model: str) -> bool:
    """Whether what was pulled is what was declared; otherwise it is removed again.

    Where it was pulled over ``model`` itself, what that was before takes its place.
    """
    models = host.get_fact(Models) or {}
    if models.get(source) == digest:
        return True
    fail(
        host,
        f"model_digest: {source} came as {models.get(source)}, declared {digest}; find out who changed "
        "it at the registry, then declare the digest that you trust",
    )
    before = copies(models, model) if source == model else []
    if before:
        run_now(state, host, call("/api/copy", {"source": before[-1], "destination": model}))
    else:
        run_now(state, host, call("/api/delete", {"model": source}, method="DELETE"))
    return False


def copies(models: Iterable[str], model: str) -> list[str]:
    """Those of ``models`` that are ``model`` as it was pulled, with any digest (Settings.pristine_model)."""
    return [name for name in models if re.fullmatch(re.escape(model) + PRISTINE, name)]


@operation()
def forgotten(model: str, pristine: str) -> Commands:
    """Have no copy of ``model`` under another digest than ``pristine``'s."""
    models = known(Models) or {}
    others = [name for name in copies(models, model) if name != pristine]
    if not others:
        host.noop(f"{pristine} is the only one")
    for name in others:
        yield or_explain(call("/api/delete", {"model": name}, method="DELETE"), SILENT)


@operation()
def pruned(kept: Sequence[str], record: Callable[[str], str]) -> Commands:
    """Have no model that a deploy pulled, as the copy beside it tells, but those that are ``kept``.

    ``record``: the path of a model's digest, by its name. A model that is listed again begins a new record.
    """
    models = known(Models) or {}
    for copy in models:
        name = re.sub(f"{PRISTINE}$", "", copy)
        if copy == name or name in kept:
            continue
        host.log(f"remove {name}")
        if name in models:
            yield or_explain(call("/api/delete", {"model": name}, method="DELETE"), SILENT)
        yield StringCommand("rm -f", QuoteString(record(name)))
        # Last: it says whose the model is.
        yield or_explain(call("/api/delete", {"model": copy}, method="DELETE"), SILENT)


@operation()
def tuned(
    model: str, pristine: str, parameters: dict[str, int], seconds: int, begun: StringCommand
) -> Commands:
    """Have ``model`` carry these parameters over the weights of ``pristine``, in so many seconds.

    ``begun``: the command that goes before. The only thread setting that every Ollama version honours (api/types.go, Runner.NumThread).
    """
    live = known(Model, model=model)
    origin = known(Model, model=pristine)
    wanted = {name: str(value) for name, value in parameters.items()}
    same_weights = live and origin and live.weights == origin.weights
    if live and same_weights and wanted.items() <= live.parameters.items():
        host.noop(f"{model} already has {wanted}")
        return
    host.log(f"tune {model}: {parameters}")
    yield begun
    yield or_explain(
        call("/api/create", tuning(model, pristine, parameters), timeout=seconds),
        f"model_name: {model} could not be tuned; read `docker logs --tail 50 ollama` on the host",
    )


def tuning(model: str, pristine: str, parameters: dict[str, int]) -> dict[str, object]:
    """The body that makes ``model`` of ``pristine`` (api/types.go, CreateRequest)."""
    return {"model": model, "from": pristine, "parameters": parameters, "stream": False}


@operation()
def recorded(model: str, path: str, digest: str = "") -> Commands:
    """Have a file with the declared ``digest`` of ``model``, else with the one that it had at first.

    That one is never brought up to date: so it tells the audit of a model that was changed since.
    Another ``model`` begins a new record.
    """
    record = known(FileContents, path=path) or []
    if any(line.startswith(digest) and line.endswith(f"  {model}") for line in record):
        host.noop(f"the digest of {model} is on record")
        return
    digest = digest or (known(Models) or {}).get(model, "")  # none before the pull
    yield StringCommand(
        *("printf '%s  %s\\n'", QuoteString(digest), QuoteString(model)),
        *("| install -m 644 /dev/stdin", QuoteString(f"{path}.new")),
    )
    yield renamed(f"{path}.new", path)


@operation()
def loaded(model: str, threads: int, parallel: int, num_ctx: int, seconds: int) -> Commands:
    """Have ``model``, as it is tuned now, in memory with so many threads, slots and tokens a slot.

    It fails where Ollama does otherwise, as it does with families it cannot run in parallel
    (server/sched.go); versions that do not show their runner's flags are believed.
    """
    declared = Runner(threads, parallel, parallel * num_ctx)
    digest = (known(Models) or {}).get(model)
    in_memory = (known(LoadedModels) or {}).get(model)
    if digest and in_memory == digest and known(OllamaRunner) in (None, declared):
        host.noop(f"{model} is already in memory")
        return
    yield or_explain(
        call("/api/generate", {"model": model}, timeout=seconds),
        f"model_name: {model} did not load within {seconds} s (model_load_timeout); "
        "read `docker logs --tail 50 ollama` on the host",
    )
    runner = host.get_fact(OllamaRunner)
    if runner not in (None, declared):
        yield or_explain(
            StringCommand("false"),
            f"model_name: {model} runs with {runner}, declared {declared}; Ollama may not run this "
            "model's family in parallel: set ollama_num_parallel = 1 or take another model",
        )

"""The model: there, tuned, and still as it was pulled."""

from __future__ import annotations

from collections.abc import Callable

from ollama_stack.config.served import ServedModel
from tests.audit.control import Blocked, Finding, Reading, Test, Unreadable, control
from tests.audit.live import OLLAMA, Live, Output

PULL_ANEW = (
    "docker exec ollama ollama rm the model and its -pristine tag, then {deploy}; if the registry is "
    "meant to serve another one now, remove its file (model*.digest) from ollama_dir first"
)
BLOBS = "/root/.ollama/models/blobs"
HASHES = f"sh -c 'cd {BLOBS} && sha256sum sha256-*'"


@control("OLS-401", "The model is there", "critical", "rule of thumb")
def test_the_model_is_there(live: Live) -> Finding:
    """Clients ask for this name and no other."""
    output, models = live.models
    return _listed(output, models, [model.name for model in live.settings.served_models])


@control("OLS-402", "The model is kept as it was pulled", "medium", "ours: docs/decisions.md 3")
def test_the_pristine_model_is_there(live: Live) -> Finding:
    """The tuned model is made from it, and compared with it."""
    output, models = live.models
    return _listed(output, models, [model.pristine for model in live.settings.served_models])


def _listed(output: Output, models: dict[str, str], names: list[str]) -> Finding:
    there = all(name in models for name in names)
    line = ", ".join(f"{name} {models[name]}" for name in names if there)
    line = line or f"only {', '.join(models) or 'nothing'}"
    return output.reading("there" if there else "not there", line).equals("there")


def parameter(id_: str, name: str, reference: str, reason: str) -> Test:
    """The control that the model carries one parameter."""

    @control(id_, f"The model carries {name}", "high", reference, reason=reason)
    def test(live: Live) -> Finding:
        return _first_fault(live, _look)

    def _look(live: Live, model: ServedModel) -> Finding:
        output, shown = live.shown(model.name, "OLS-401")
        lines = shown.get("parameters", "").splitlines()
        line = next((line for line in lines if line.split()[0] == name), f"no {name}")
        value = line.split()[1] if not line.startswith("no ") else "none"
        return output.reading(value, line).equals(str(live.settings.model_parameters[name]))

    return test


def _first_fault(live: Live, look: Callable[[Live, ServedModel], Finding]) -> Finding:
    """The finding of the first model that does not conform, else the first model's."""
    findings = [look(live, model) for model in live.settings.served_models]
    return next((finding for finding in findings if not finding.conforms), findings[0])


test_model_carries_num_thread = parameter(
    *("OLS-403", "num_thread", "rule of thumb; Ollama api/types.go"),
    "The only thread setting that every version of Ollama honours.",
)
test_model_carries_num_ctx = parameter(
    *("OLS-404", "num_ctx", "Ollama api/types.go"), "It decides the memory of every slot."
)
test_model_carries_num_predict = parameter(
    *("OLS-405", "num_predict", "Ollama llm/server.go"),
    "Without it a runaway answer holds a slot for minutes.",
)


@control(
    *("OLS-406", "The model's digest is the one on record", "high"),
    *("ours: recorded at the first pull", PULL_ANEW),
)
def test_the_digest_is_the_recorded_one(live: Live) -> Finding:
    """A tag moves; students should get the model that was tried."""
    return _first_fault(live, _recorded)


def _recorded(live: Live, model: ServedModel) -> Finding:
    output, models = live.models
    name, path = model.pristine, model.record(live.settings.ollama_dir)
    if name not in models:
        raise Blocked("OLS-402")
    record = live.run(f"cat {path}")
    recorded = [line.split()[0] for line in record.text.splitlines() if line.endswith(f" {name}")]
    if not recorded:
        raise Unreadable(f"{path} has no digest of {name}; deploy once more")
    return output.reading(models[name], f"{name} {models[name]}").equals(recorded[-1])


@control(
    *("OLS-407", "The model has the weights and template that were pulled", "high"),
    reference="Ollama server/create.go",
)
def test_the_model_has_the_pulled_weights(live: Live) -> Finding:
    """Tuning changes parameters alone; other weights or another template are another model."""
    return _first_fault(live, _same_weights)


def _same_weights(live: Live, model: ServedModel) -> Finding:
    output, tuned = live.shown(model.name, "OLS-401")
    _, pristine = live.shown(model.pristine, "OLS-402")
    here = Reading(_origin(tuned), output.command, _origin(tuned))
    return here.equals(_origin(pristine))


def _origin(shown: dict[str, str]) -> str:
    lines = shown["modelfile"].splitlines()
    weights = next(line for line in lines if line.startswith("FROM "))
    return f"{weights.rpartition('/')[2]}, template {' '.join(shown.get('template', '').split())}"


@control(
    *("OLS-408", "Every blob has the checksum in its name", "high"),
    *("Ollama server/download.go: a blob on disk is never hashed again", PULL_ANEW),
    deep=True,
)
def test_every_blob_has_its_checksum(live: Live) -> Finding:
    """A disk that forgets bits makes a model that answers nonsense."""
    live.pid(live.ollama)
    output = live.ask(f"docker exec {OLLAMA} {HASHES}", seconds=300)
    pairs = (line.split() for line in output.text.splitlines())
    wrong = [
        name for checksum, name in pairs if name != f"sha256-{checksum}" and "partial" not in name
    ]
    return output.reading(wrong, f"{len(output.text.splitlines())} blobs, wrong: {wrong}").equals(
        [], lambda names: ", ".join(names) or "none is wrong"
    )

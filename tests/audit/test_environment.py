"""The environment: every variable as the container has it, and what the server itself read."""

from __future__ import annotations

import re

from tests.audit.control import Finding, Reading, Test, control
from tests.audit.live import OLLAMA, Live

SECONDS = {"s": 1, "m": 60, "h": 3600}


def variable(id_: str, name: str, reference: str, reason: str) -> Test:
    """The control that one variable is as declared."""

    @control(id_, f"{name} is as declared", "medium", reference, reason=reason)
    def test(live: Live) -> Finding:
        shown = live.ollama.read("Config.Env")
        value = live.ollama.variables.get(name)
        line = f"{name}={value}" if value is not None else f"no {name}"
        here = Reading(value, shown.command, line)
        return here.equals(live.settings.environment[name])

    return test


test_num_parallel_is_as_declared = variable(
    *("OLS-201", "OLLAMA_NUM_PARALLEL", "rule of thumb"),
    "It decides how many are answered at once.",
)
test_max_loaded_models_is_as_declared = variable(
    *("OLS-202", "OLLAMA_MAX_LOADED_MODELS", "rule of thumb"),
    "A second model in memory breaks the limit.",
)
test_num_thread_is_as_declared = variable(
    *(
        "OLS-203",
        "OLLAMA_NUM_THREAD",
        "rule of thumb; read nowhere in Ollama, OLS-302 has the effect",
    ),
    "A rule of thumb asks for it, and whoever reads the container should see no other number.",
)
test_host_is_as_declared = variable(
    *("OLS-204", "OLLAMA_HOST", "rule of thumb"),
    "Inside the container the gateway has to reach it.",
)
test_keep_alive_is_as_declared = variable(
    *("OLS-205", "OLLAMA_KEEP_ALIVE", "rule of thumb"),
    "A model that leaves early is loaded before a class.",
)
test_max_queue_is_as_declared = variable(
    *("OLS-206", "OLLAMA_MAX_QUEUE", "rule of thumb; OLS-515 has the effect"),
    "It bounds those who wait for a load.",
)
test_llama_threads_are_as_declared = variable(
    *("OLS-207", "LLAMA_ARG_THREADS", "Ollama llm/llama_server.go; ollama#17916"),
    "From 0.30 on it keeps an untuned model from taking more threads than the CPU limit.",
)
test_cache_ram_is_as_declared = variable(
    *("OLS-208", "LLAMA_ARG_CACHE_RAM", "llama.cpp --cache-ram; ollama#18264"),
    "From 0.30 on the default of 8 GiB ends in the OOM killer.",
)
test_no_cloud_is_as_declared = variable(
    *("OLS-209", "OLLAMA_NO_CLOUD", "Ollama envconfig/config.go"), "Prompts stay in the house."
)


@control(
    *("OLS-210", "The server read what was declared", "high"),
    reference="proc(5) environ; Ollama server/routes.go, server config",
)
def test_the_server_read_what_was_declared(live: Live) -> Finding:
    """A variable that is misspelt or cannot be parsed is silently another value to Ollama."""
    given = live.environment()
    declared = {name: normal(value) for name, value in live.settings.environment.items()}
    started = {name: normal(given.value[name]) for name in declared if name in given.value}
    here = Reading(started, given.command, _shown(started))
    # What Ollama made of them is in its start lines alone, which the log drops in time.
    log = live.log(OLLAMA, 'msg="server config"')
    line = (log.value.splitlines() or [""])[-1]
    logged = {name: value for name in declared if (value := spoken(line, name)) is not None}
    if logged and started == declared:
        declared = {name: declared[name] for name in logged}
        here = Reading(logged, log.command, _shown(logged))
    return here.equals(declared, _shown)


def _shown(values: dict[str, str]) -> str:
    return " ".join(f"{name}={value}" for name, value in values.items())


def spoken(line: str, name: str) -> str | None:
    """A variable's value in the ``server config`` line, in our spelling; None if it is not there."""
    found = re.search(rf"\b{name}:(\S*?)[\s\]]", line)
    return normal(found[1]) if found else None


def normal(value: str) -> str:
    """One spelling for a duration (5m, 5m0s, -1), an address and a boolean."""
    value = value.removeprefix("http://")
    if re.fullmatch(r"(\d+h)?(\d+m)?(\d+s)?", value) and value:
        seconds = sum(int(n) * SECONDS[unit] for n, unit in re.findall(r"(\d+)([hms])", value))
        return f"{seconds}s"
    if value.startswith("-") or (len(value) > 10 and value.endswith("s")):
        return "for ever"  # Ollama's word for -1 is 2562047h47m16.854775807s
    return {"true": "1", "false": "0"}.get(value, value)

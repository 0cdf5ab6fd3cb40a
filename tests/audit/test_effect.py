"""The effect: what the runner really does with the settings, and what the kernel did to it."""

from __future__ import annotations

import json
import re
from datetime import datetime

from ollama_stack.config.types import seconds
from tests.audit.control import Blocked, Finding, Reading, control
from tests.audit.live import DATE, LOAD_SECONDS, Live

MOST_THROTTLED = 0.2  # of the allowed CPU time; more threads than CPUs lose far more
COUNTS_ANEW = "`docker restart ollama` starts the count anew"


@control(
    *("OLS-301", "The model loads", "critical", "ours"),
    "docker logs --tail 50 ollama; a damaged model: docker exec ollama ollama rm it and its -pristine tag, then {deploy}",
)
def test_the_model_loads(live: Live) -> Finding:
    """A model that does not load answers nobody, while the server says it is well."""
    try:
        output = live.loaded
    except Blocked as blocked:
        if str(blocked) != "OLS-301":
            raise
        body = {"model": live.settings.model_name}
        output = live.api("/api/generate", body, seconds=LOAD_SECONDS)
        return output.reading("", output.text).meets("loaded", False, output.text.strip()[:200])
    return output.reading("loaded", output.text).equals("loaded")


@control(
    "OLS-302", "The runner has the declared threads", "critical", "rule of thumb; ollama#17916"
)
def test_runner_has_the_threads(live: Live) -> Finding:
    """More threads than the CPU limit make answers 45 times slower."""
    return live.runner.threads.equals(live.settings.num_thread)


@control(
    *("OLS-303", "The runner answers in parallel", "high", "rule of thumb; Ollama server/sched.go"),
    "{deploy}; if Ollama forces this family to one slot: ollama_num_parallel = 1, or another model",
)
def test_runner_answers_in_parallel(live: Live) -> Finding:
    """Ollama runs some families one at a time, whatever is declared."""
    return live.runner.parallel.equals(live.settings.ollama_num_parallel)


@control("OLS-304", "Every slot has its context", "high", "Ollama llm/server.go")
def test_every_slot_has_its_context(live: Live) -> Finding:
    """A smaller context forgets the question, a larger one breaks the memory limit."""
    return live.runner.context.equals(live.settings.model_num_ctx)


@control(
    *("OLS-305", "The CPU is hardly throttled", "high", "ollama#17916"),
    f"see OLS-302; {COUNTS_ANEW}",
)
def test_cpu_is_hardly_throttled(live: Live) -> Finding:
    """A container that wants more CPU than its limit loses most of it to waiting."""
    share = live.cgroup.throttled
    return share.meets(
        *(f"below {MOST_THROTTLED:.0%} of the CPU time", share.value < MOST_THROTTLED),
        *(f"{share.value:.1%}",),
        steady=False,
    )


@control(
    *("OLS-306", "Nothing was killed for memory", "critical", "kernel memory.events oom_kill"),
    f"raise ollama_memory, or lower ollama_num_parallel or model_num_ctx; {COUNTS_ANEW}",
)
def test_nothing_was_killed_for_memory(live: Live) -> Finding:
    """The kernel kills the runner, everybody's answer breaks off, and the container looks well."""
    return live.cgroup.counter("oom", "oom_kill").equals(0)


@control(
    *("OLS-307", "No container has restarted by itself", "high", "docker inspect"),
    "docker logs --tail 50 of the container; `docker restart` of it starts the count anew",
)
def test_no_container_has_restarted(live: Live) -> Finding:
    """A server that falls over or hangs, and comes back, has lost every answer it was giving."""
    live.pid(live.ollama)
    containers = [live.ollama]
    containers += [live.gateway] if live.settings.gateway_enabled else []
    containers += [live.app] if live.settings.app_enabled else []
    counts = {one.data["Name"].removeprefix("/"): one.read("RestartCount") for one in containers}
    found = {name: count.value for name, count in counts.items() if count.value}
    first = next(
        (count for count in counts.values() if count.value), live.ollama.read("RestartCount")
    )
    return Reading(found, first.command, first.line).equals(
        {}, lambda found: ", ".join(f"{name}: {count}" for name, count in found.items()) or "none"
    )


@control(
    *("OLS-308", "The model stays no longer than declared", "low", "Ollama server/sched.go"),
    "docker restart ollama; a client has sent its own keep_alive",
)
def test_the_model_stays_no_longer_than_declared(live: Live) -> Finding:
    """One client's keep_alive holds for everybody after it."""
    output = live.loaded
    model = next(
        model
        for model in json.loads(output.text)["models"]
        if model["name"] == live.settings.model_name
    )
    # Nanoseconds are more than Python 3.10 reads.
    until = datetime.fromisoformat(re.sub(r"\.\d+", "", model["expires_at"]).replace("Z", "+00:00"))
    clock = live.ask(DATE)
    now = output.asked[1] + float(clock.text) - clock.asked[0]  # the host's, when it was asked
    left = until.timestamp() - now
    ever, years = live.settings.ollama_keep_alive == "-1", left / 31e6
    expected = "for ever" if ever else f"at most {live.settings.ollama_keep_alive}"
    holds = years > 10 if ever else left <= seconds(live.settings.ollama_keep_alive) + 10
    shown = "for ever" if years > 10 else f"{left:.0f} s"
    return output.reading(left, f'"expires_at": "{model["expires_at"]}"').meets(
        expected, holds, shown, steady=False
    )

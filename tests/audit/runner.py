"""Threads, slots and context of the process that answers, which each era of Ollama shows differently."""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass

from tests.audit.control import Reading, Unreadable

Log = Callable[[str], Reading]  # lines of the log that match a pattern, by the pattern
Environment = Callable[[], Reading]  # the variables that the server was started with
Version = tuple[int, ...]

SILENT = (0, 11, 5)  # from here the runner's command line shows nothing, the log does
LLAMA_SERVER = (0, 30, 0)  # from here it is llama.cpp's own server, with its own flags


@dataclass(frozen=True)
class Runner:
    """What the runner really does; context in tokens a slot."""

    threads: Reading
    parallel: Reading
    context: Reading

    @classmethod
    def read(
        cls, version: Version, processes: Reading, weights: str, log: Log, environment: Environment
    ) -> Runner:
        """From ``docker top`` and the log (llm/server.go and llm/llama_server.go at each tag).

        ``weights``: part of the name of our model's blob. Unreadable if there is not one runner of
        it, or where this version, or its log, does not say.
        """
        everyone = runners(version, processes.value)
        lines = [line for line in everyone if weights in line]
        if len(lines) != 1:
            raise Unreadable(f"{len(lines)} runners are there, one is expected: {everyone}")
        if version < SILENT or version >= LLAMA_SERVER:
            shown = Reading(lines[0], processes.command, lines[0].strip())
            return cls._of_flags(version, shown, log, environment)
        if len(everyone) > 1:
            raise _unreadable(version, "the log does not tell several models' loads apart")
        return cls._of_load(version, log("msg=load request="))

    @classmethod
    def _of_flags(
        cls, version: Version, shown: Reading, log: Log, environment: Environment
    ) -> Runner:
        def flag(names: str) -> int | None:
            found = re.search(rf"\s(?:{names})\s(\d+)", shown.value)
            return int(found[1]) if found else None

        threads, parallel = flag("--threads|-t"), flag("--parallel|-np")
        total = flag("--ctx-size|-c")
        if not parallel or not total:
            raise _unreadable(version, shown.line)
        of_threads = (
            _here(shown, threads)
            if threads
            else cls._of_system_info(log) or _of_environment(version, environment)
        )
        return cls(of_threads, _here(shown, parallel), _here(shown, total / parallel))

    @classmethod
    def _of_load(cls, version: Version, log: Reading) -> Runner:
        """The last load that was carried out: ``{Operation:commit ... Parallel:3 KvSize:12288 ...}``."""
        lines = [line for line in log.value.splitlines() if "Operation:commit" in line]
        if not lines:
            raise _unreadable(version, "the log no longer has the model's load")
        found = {
            name: re.search(rf"\b{name}:(\d+)", lines[-1])
            for name in ("NumThreads", "Parallel", "KvSize")
        }
        values = {name: int(match[1]) for name, match in found.items() if match}
        if len(values) < len(found) or not values["Parallel"]:
            raise _unreadable(version, lines[-1])
        shown = Reading(lines[-1], log.command, lines[-1].strip()[:500])
        return cls(
            _here(shown, values["NumThreads"]),
            _here(shown, values["Parallel"]),
            _here(shown, values["KvSize"] / values["Parallel"]),
        )

    @staticmethod
    def _of_system_info(log: Log) -> Reading | None:
        """llama.cpp's own word where no thread count was given to it, as long as its log has it."""
        reading = log('n_threads = |msg="starting llama-server"')
        since = reading.value.rpartition('msg="starting llama-server"')[2]
        found = re.findall(r"\bn_threads = (\d+)", since)
        return (
            Reading(int(found[-1]), reading.command, f"n_threads = {found[-1]}") if found else None
        )


def _of_environment(version: Version, environment: Environment) -> Reading:
    """What llama-server takes where it got no flag (llama.cpp common/arg.cpp)."""
    reading = environment()
    threads = reading.value.get("LLAMA_ARG_THREADS", "")
    if not threads.isdigit():
        raise _unreadable(version, "neither the command line nor the log has the threads")
    return Reading(int(threads), reading.command, f"LLAMA_ARG_THREADS={threads}")


def runners(version: Version, processes: str) -> list[str]:
    """The lines of ``docker top`` that are runners of a model."""
    name = "llama-server" if version >= LLAMA_SERVER else r"\srunner"
    # Without --model it is a search for GPUs (discover/runner.go, discover/llama_server.go).
    return re.findall(rf"^.*{name}\s.*--model\s.*$", processes, re.MULTILINE)


def _here(shown: Reading, value: float) -> Reading:
    return Reading(int(value) if value == int(value) else value, shown.command, shown.line)


def _unreadable(version: Version, why: str) -> Unreadable:
    number = ".".join(map(str, version))
    return Unreadable(
        f"cannot be read on Ollama {number}: {why}; `docker restart ollama` logs it anew"
    )

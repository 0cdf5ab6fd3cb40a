"""What a class sees of a change of the lab's cluster, and of each fault: a table by python -m lab.cluster_faults."""

from __future__ import annotations

import subprocess
import sys
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor

from lab.cluster import (
    BYSTANDER,
    HOLDER,
    HOSTS,
    INVENTORY,
    LOCAL,
    MODEL,
    class_at_work,
    deploy,
    on,
    run,
    settled,
)
from lab.fleet import Member
from ollama_stack import ROOT

# The last bytes of the weights are others, and so is their digest.
OTHER_WEIGHTS = f"""docker exec $({LOCAL}) sh -c '
cd /root/.ollama && cp "$(ollama show {MODEL} --modelfile | sed -n s/^FROM.//p)" other.gguf
printf other | dd of=other.gguf bs=1 seek=$(($(stat -c %s other.gguf) - 5)) conv=notrunc
{{ echo FROM ./other.gguf; ollama show {MODEL} --modelfile | grep ^PARAMETER; }} >other
ollama create {MODEL} --file other; rm other other.gguf'"""


def change() -> None:
    """Another setting of Ollama's environment, on every host."""
    value = int(time.time()) % 50 + 5
    _deployed("--data", f"ollama_keep_alive={value}m")


def bad_change() -> None:
    """An image that is no Ollama: the first host's failure ends the change, and takes it back."""
    if deploy("--data", "ollama_image=haproxy:3.0.11").returncode == 0:
        raise RuntimeError("a change that cannot serve is called done")
    settled()


def killed_change() -> None:
    """The run is killed in the middle of a change; the next one finds the work done, and confirms it."""
    words = ["-m", "pyinfra", "-y", INVENTORY, "deploy.py", "--data", "ollama_keep_alive=59m"]
    started = subprocess.Popen(  # noqa: S603 our own interpreter
        [sys.executable, *words], cwd=ROOT, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
    )
    time.sleep(15)
    started.kill()
    started.wait()
    _deployed("--data", "ollama_keep_alive=59m")


def back() -> None:
    """The release before, by one word."""
    _deployed(story="rollback.py")


def process_killed() -> float:
    """Ollama dies, and its host lives."""
    begun = time.monotonic()
    on(BYSTANDER, f"docker kill $({LOCAL})")
    time.sleep(30)
    return begun


def every_process_killed() -> float:
    """Ollama dies on all hosts of the profile at once."""
    begun = time.monotonic()
    with ThreadPoolExecutor(len(HOSTS)) as pool:
        list(pool.map(lambda member: on(member, f"docker kill $({LOCAL})"), HOSTS))
    time.sleep(45)
    return begun


def host_killed() -> float:
    """A server without the gateway loses its power for half a minute."""
    return _without_power(BYSTANDER, 30)


def host_cut_off(victim: Member = BYSTANDER) -> float:
    """A server's cable is out for half a minute."""
    begun, out = time.monotonic(), "ip link set eth0 down; sleep 30; ip link set eth0 up"
    on(victim, f"{out}; ip route add default via 172.17.0.1")
    time.sleep(15)
    return begun


def host_frozen(victim: Member = BYSTANDER) -> float:
    """A server takes packets and says nothing for half a minute."""
    begun = time.monotonic()
    run("docker", "pause", victim.container)
    time.sleep(30)
    run("docker", "unpause", victim.container)
    time.sleep(15)
    return begun


def host_slow() -> float:
    """A host's Ollama has a tenth of a CPU for a minute."""
    victim, begun = BYSTANDER, time.monotonic()
    limit = on(victim, f"docker inspect --format '{{{{.HostConfig.NanoCpus}}}}' $({LOCAL})")
    on(victim, f"docker update --cpus 0.1 $({LOCAL})")
    time.sleep(60)
    on(victim, f"docker update --cpus {int(limit) / 1e9} $({LOCAL})")
    return begun


def gateway_host_killed() -> float:
    """The manager with the gateway loses its power; the next act gives it back."""
    begun = time.monotonic()
    run("docker", "kill", HOLDER.container)
    time.sleep(45)
    return begun


def gateway_host_back() -> float:
    """The manager that had the gateway has power again."""
    begun = time.monotonic()
    run("docker", "start", HOLDER.container)
    time.sleep(45)
    return begun


def model_lost() -> None:
    """A host's Ollama has lost the model, and answers that."""
    on(BYSTANDER, f"docker exec $({LOCAL}) ollama rm {MODEL}")
    time.sleep(15)
    _deployed()


def other_weights() -> None:
    """A host's Ollama has another model by that name, until the next deploy."""
    on(BYSTANDER, OTHER_WEIGHTS)
    time.sleep(15)
    _deployed()


def rejoined() -> None:
    """A host leaves the cluster, and the next deploy has it in again."""
    on(BYSTANDER, "docker swarm leave --force")
    _deployed()


def _deployed(*words: str, story: str = "deploy.py") -> None:
    done = deploy(*words, story=story)
    if done.returncode:
        raise RuntimeError(done.stderr)


def _without_power(member: Member, seconds: int) -> float:
    begun = time.monotonic()
    run("docker", "kill", member.container)
    time.sleep(seconds)
    run("docker", "start", member.container)
    time.sleep(30)
    return begun


ACTS: dict[str, Callable[[], float | None]] = {
    "a change of Ollama's settings, host by host": change,
    "a change that cannot serve, and goes back": bad_change,
    "a run that is killed in the middle of a change, and the next one": killed_change,
    "a rollback": back,
    "Ollama killed on one host": process_killed,
    "Ollama killed on all hosts of the profile": every_process_killed,
    "a host loses its power": host_killed,
    "a host is frozen for 30 s": host_frozen,
    "a host is slow: a tenth of a CPU for a minute": host_slow,
    "a host is cut off from the others": host_cut_off,
    "a host's Ollama loses the model": model_lost,
    "a host's Ollama has another model by that name": other_weights,
    "a host leaves the cluster, and joins again by a deploy": rejoined,
    "the gateway's host is frozen for 30 s": lambda: host_frozen(HOLDER),
    "the gateway's host is cut off from the others": lambda: host_cut_off(HOLDER),
    "the gateway's host loses its power": gateway_host_killed,
    "the gateway's host comes back": gateway_host_back,
}


def main(chosen: list[str]) -> None:
    """The table, a row for each act; ``chosen``: words that an act's name has."""
    print("| what | questions | failed | refused | longest answer | longest silence | next |")  # noqa: T201
    print("|---|---|---|---|---|---|---|")  # noqa: T201
    for what, act in ACTS.items():
        if chosen and not any(word in what for word in chosen):
            continue
        if act != gateway_host_back:  # it is away since the act before
            settled()
        of_gateway = what.startswith("the gateway's host")
        # Who asks a manager that dies asks the next one: a name with several addresses.
        with class_at_work(where=(BYSTANDER if of_gateway else HOLDER,)) as seen:
            begun = act()
        after = f"{seen.served_after(begun):.1f} s" if begun else ""
        print(  # noqa: T201
            f"| {what} | {len(seen.rows)} | {seen.failed} | {seen.count(503)} | {seen.longest:.1f} s "
            f"| {seen.gap:.1f} s | {after} |",
            flush=True,
        )


if __name__ == "__main__":
    main(sys.argv[1:])

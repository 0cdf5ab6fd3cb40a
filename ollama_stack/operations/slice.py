"""A systemd slice: what the kernel keeps for our containers, whatever systemd does to their scopes."""

from __future__ import annotations

from pyinfra import host
from pyinfra.api import QuoteString, StringCommand, operation
from pyinfra.facts.files import FileContents

from ollama_stack.facts.docker import SliceMemory
from ollama_stack.facts.memory import known
from ollama_stack.paths import UNITS
from ollama_stack.shell import MARK, Commands, or_explain, ours, placed


@operation()
def protected(unit: str, memory_low: int) -> Commands:
    """Have a slice whose containers never swap and together keep ``memory_low`` bytes under pressure.

    systemd opens the swap of Docker's own scopes at every reload, and their protection ends at
    system.slice, which has none (docs/decisions.md 83).
    """
    path, figures = f"{UNITS}/{unit}", ["0", str(memory_low)]
    text = (
        f"{MARK}\n[Unit]\nDescription=Containers of ollama-stack\n\n"
        f"[Slice]\nMemorySwapMax={figures[0]}\nMemoryLow={figures[1]}\n"
    )
    written = known(FileContents, path=path) == text.splitlines()
    if written and known(SliceMemory, unit=unit) == figures:
        host.noop(f"{unit} is as declared, and the kernel keeps to it")
        return
    if not written:
        yield ours(path, f"ollama_project: {path} is not ours; remove it, or take another project")
        yield from placed(host, path, text)
    yield StringCommand("systemctl daemon-reload && systemctl start", QuoteString(unit))
    shown = f"$(systemctl show --property MemorySwapMax --value {unit})"
    shown += f" $(systemctl show --property MemoryLow --value {unit})"
    # systemd leaves what somebody wrote to the kernel directly: so this writes to the kernel, too.
    yield or_explain(
        StringCommand(
            *(f'test "{shown}" =', QuoteString(" ".join(figures)), "&&"),
            *("cd", QuoteString(f"/sys/fs/cgroup/{unit}"), "&&"),
            f"echo {figures[0]} >memory.swap.max && echo {figures[1]} >memory.low &&",
            *('test "$(cat memory.swap.max memory.low | xargs)" =', QuoteString(" ".join(figures))),
        ),
        f"ollama_memory_reservation: the kernel does not keep what {path} says; somebody's drop-in may say "
        f"otherwise: see systemctl cat {unit}, then systemctl revert {unit}, and run again",
    )

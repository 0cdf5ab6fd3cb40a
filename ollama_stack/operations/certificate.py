"""A certificate that the host gets from an ACME authority, and renews without a deploy."""

from __future__ import annotations

from datetime import datetime, timezone

from pyinfra import host
from pyinfra.api import QuoteString, StringCommand, operation
from pyinfra.facts.files import FileContents

from ollama_stack.facts.gateway import KeptCertificate
from ollama_stack.facts.memory import known
from ollama_stack.operations.release import GATEWAY, TLS, at_once
from ollama_stack.paths import CERTBOT
from ollama_stack.shell import MARK, Commands, or_explain, ours, renamed
from ollama_stack.stack.acme import LINEAGE, to_order

HOOK = f"{CERTBOT}/renewal-hooks/deploy/ollama-stack"  # whatever the host renews, it runs


@operation()
def ordered(folder: str, called: list[str], directory: str, email: str) -> Commands:
    """Have certbot keep a certificate for these names, and the gateway show it; one order at most.

    The host's own timer renews it. One that is good stays until another has come.
    """
    renewed = at_once("renewed", folder)
    hook = f'{MARK}\n[ "$RENEWED_LINEAGE" != {CERTBOT}/live/{LINEAGE} ] || exec {renewed}\n'
    kept = known(KeptCertificate, folder=CERTBOT, shown=f"{folder}/{GATEWAY}{TLS}")
    why = to_order(kept, called, directory, datetime.now(timezone.utc))
    hooked = (known(FileContents, path=HOOK) or []) == hook.splitlines()
    if not why and kept.in_place and hooked:
        host.noop(f"the certificate for {', '.join(called)} is good, and renewed by the host")
        return
    if why:
        host.log(f"order a certificate for {', '.join(called)} at {directory}: {why}")
    if not hooked:
        yield ours(HOOK, f"gateway_tls: {HOOK} is not ours; move it away, and run again")
        yield StringCommand("mkdir -p", QuoteString(HOOK.rpartition("/")[0]))
        yield StringCommand("printf %s", QuoteString(hook), f">{HOOK}.new && chmod 755 {HOOK}.new")
        yield renamed(f"{HOOK}.new", HOOK)
    if why:
        yield or_explain(
            _order(called, directory, email),
            f"gateway_tls: {directory} gave no certificate for {', '.join(called)}, and what runs is as before; "
            "see certbot's output above. Each name has to lead to this host, whose port 80 has to be free and "
            "open to that authority, and no other certbot may be at work (its timer's takes minutes); run again once "
            "it is so: authorities count what fails",
        )
    yield renewed


def _order(called: list[str], directory: str, email: str) -> StringCommand:
    names = [argument for name in called for argument in ("--domain", QuoteString(name))]
    address = ["--email", QuoteString(email)] if email else ["--register-unsafely-without-email"]
    return StringCommand(
        "certbot certonly --non-interactive --agree-tos --standalone --key-type ecdsa",
        *("--force-renewal --renew-with-new-domains --cert-name", LINEAGE, *names),
        *("--server", QuoteString(directory), *address),
    )

"""Debian packages, as politely as others who change them at the same time allow."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from fnmatch import fnmatchcase
from pathlib import Path

from pyinfra import host
from pyinfra.api import FunctionCommand, Host, QuoteString, State, StringCommand, operation
from pyinfra.facts.deb import DebPackages
from pyinfra.facts.files import FileContents, Sha256File

from ollama_stack.facts.apt import AptSources, Entry
from ollama_stack.facts.host import HalfInstalled
from ollama_stack.facts.memory import known
from ollama_stack.paths import KEYRING, NEW_KEYRING, OLD_PIN, PIN, SOURCES
from ollama_stack.shell import Commands, fail, or_explain, renamed, run_now

WAIT = Path(__file__).with_name("packages-wait.sh")
PATIENCE = 900  # seconds: the updates of a first boot take minutes
OURS = r"Package: docker-ce docker-ce-cli\nPin: version 5:[0-9.]+-\*\nPin-Priority: 990"
ENGINE = ["docker-ce", "docker-ce-cli"]  # of one version
# Who comes between the wait and the step is waited for by apt itself.
APT = f"DEBIAN_FRONTEND=noninteractive apt-get -y -o DPkg::Lock::Timeout={PATIENCE}"
KEEP = ("--force-confdef", "--force-confold")  # a configuration that somebody edited stays
INSTALL = f"{' '.join(f'-o Dpkg::Options::={option}' for option in KEEP)} --no-remove install"
CONFIGURE = f"DEBIAN_FRONTEND=noninteractive dpkg {' '.join(KEEP)} --configure --pending"
# Lists that are there cannot be read; where only the sources cannot, the lists are not to blame.
TORN = (
    "! output=$(LC_ALL=C apt-cache gencaches 2>&1)"
    ' && case $output in *"list of sources"*) false ;; esac'
)


def wait(state: State, host: Host) -> bool:
    """Wait until nobody else changes packages, and say for whom."""
    command = StringCommand("sh -c", QuoteString(WAIT.read_text()), "packages-wait", str(PATIENCE))
    ok, output = run_now(state, host, command, show=True)
    return ok or fail(host, " ".join(output[-1:]))


def apt(proxy: str, *arguments: str | QuoteString) -> StringCommand:
    """An apt-get command, through the declared proxy."""
    ways = [f"-o Acquire::{kind}::Proxy={proxy}" for kind in ("http", "https")] if proxy else []
    return StringCommand(APT, *ways, *arguments)


def unlocked(command: str | StringCommand) -> Commands:
    """An apt or dpkg step, once nobody else is at work."""
    yield FunctionCommand(wait, (), {})
    yield command


def refreshed(proxy: str) -> Commands:
    """The package lists anew; those that a power loss has torn are fetched once more, whole."""
    return unlocked(
        or_explain(
            StringCommand(
                *(apt(proxy, "update"), "|| {", TORN, "&& rm -rf /var/lib/apt/lists/* &&"),
                *(apt(proxy, "update"), "; }"),
            ),
            "apt: the package lists of this host cannot be refreshed; correct what apt says above",
        )
    )


@operation()
def mended(proxy: str = "") -> Commands:
    """Have no package half-installed, whoever began with it: a power loss, or a killed run."""
    half = known(HalfInstalled)
    if not half:
        host.noop("dpkg has finished all that it began")
        return
    host.log(f"finish {', '.join(f'{name} ({status})' for name, status in half.items())}")
    torn = [name for name, status in half.items() if status.endswith("R")]
    if torn:  # not even whole on the disk
        yield from refreshed(proxy)
        names = map(QuoteString, torn)
        yield from unlocked(apt(proxy, INSTALL, "--reinstall", *names))
    yield from unlocked(
        or_explain(
            StringCommand(CONFIGURE),
            f"apt: dpkg cannot finish {', '.join(half)}; see its output above, correct or remove what it "
            "names, then run again",
        )
    )


@operation()
def installed(packages: list[str], proxy: str = "") -> Commands:
    """Have Debian packages (``name`` or ``name=version``, which may end with ``*``).

    The package lists are refreshed only when one is missing.
    """
    missing = not_there(packages)
    if not missing:
        host.noop(f"already installed: {', '.join(packages)}")
        return
    host.log(f"install {', '.join(missing)}")
    yield from unlocked(CONFIGURE)  # what a killed run may have left
    yield from refreshed(proxy)
    names = map(QuoteString, missing)
    yield from unlocked(
        or_explain(
            apt(proxy, INSTALL, "--no-install-recommends", *names),
            f"apt: {', '.join(missing)} cannot be installed, see its output above; where it finds none: correct its "
            "sources in /etc/apt, or this host's way to them (DNS, network); where it would remove packages of this "
            "host: remove them yourself, or keep the engine that they are of",
        )
    )


def not_there(packages: Iterable[str]) -> list[str]:
    """Those that are not installed, or not in the version that they name."""
    there = known(DebPackages)
    return [package for package in packages if not _is_there(package, there)]


def _is_there(package: str, installed: Mapping[str, Iterable[str]]) -> bool:
    name, _, version = package.partition("=")
    return any(fnmatchcase(found, version or "*") for found in installed.get(name, ()))


@operation()
def repository(url: str, suite: str, key_sha256: str, proxy: str = "") -> Commands:
    """Have Docker's apt repository, with the declared key; an entry of the site's own is used.

    It is added only after packages of its own have been found, signed with that key.
    """
    same = entries(url, suite)
    if theirs := [entry for entry in same if entry.file != SOURCES]:
        host.noop(f"{url} is known by {theirs[0].file}, which is the site's own")
        if len(theirs) < len(same):  # with both, apt takes neither
            yield f"rm -f {SOURCES}"
        return
    text = f"Types: deb\nURIs: {url}\nSuites: {suite}\nComponents: stable\nSigned-By: {KEYRING}\n"
    listed = known(FileContents, path=SOURCES) == text.splitlines()
    if listed and known(Sha256File, path=KEYRING) == key_sha256:
        host.noop(f"{url} is already known")
        return
    new = NEW_KEYRING
    yield f"rm -rf {new} && mkdir -p -m 755 {new}"
    yield from _tried(
        url, suite, key_sha256, proxy, text.replace(KEYRING, f"{new}/docker.asc"), new
    )
    yield renamed(f"{new}/docker.asc", KEYRING)
    yield StringCommand("printf %s", QuoteString(text), f">{new}/docker.sources")
    yield renamed(f"{new}/docker.sources", SOURCES)
    yield f"rm -rf {new}"
    yield or_explain(
        StringCommand(f"apt-cache policy >/dev/null || {{ rm -f {SOURCES}; false; }}"),
        f"docker_repository: apt does not take {url} beside what is in /etc/apt/sources.list.d; it was "
        "taken out again; see apt's output above, correct that entry, or set docker_source = distro",
    )


def entries(url: str, suite: str) -> list[Entry]:
    """Entries for a repository in apt's files, the site's and ours."""
    return [
        entry for entry in known(AptSources) if (entry.uri, entry.suite) == (url.rstrip("/"), suite)
    ]


def _tried(url: str, suite: str, key_sha256: str, proxy: str, staged: str, new: str) -> Commands:
    """The key and the packages, looked for in the folder ``new`` with the sources ``staged``."""
    yield or_explain(
        StringCommand(
            *("curl -fsSL --max-time 60", *(("--proxy", QuoteString(proxy)) if proxy else ())),
            *("--output", f"{new}/docker.asc", QuoteString(f"{url}/gpg")),
        ),
        f"docker_repository: there is no key at {url}/gpg; Docker was not installed; name a folder "
        "that has it, or set docker_source = distro",
    )
    yield or_explain(
        StringCommand(f"echo '{key_sha256}  {new}/docker.asc' | sha256sum --check --quiet"),
        f"docker_repository_key: {url}/gpg is another key than the declared one; Docker was not "
        "installed; compare it with the one Docker publishes, then set docker_repository_key",
    )
    yield StringCommand("printf %s", QuoteString(staged), f">{new}/docker.sources")
    yield f"chmod 644 {new}/docker.* && mkdir -p {new}/lists/partial"
    yield or_explain(
        apt(
            proxy,
            f"update -o Dir::Etc::sourcelist={new}/docker.sources"
            f" -o Dir::Etc::sourceparts=- -o Dir::State::lists={new}/lists -o Dir::Cache={new}",
        ),
        f"docker_repository: {url} has nothing for {suite} that is signed with its key; Docker was not "
        "installed; see apt's output above, correct the mirror, or set docker_repository",
    )


@operation()
def pinned(version: str) -> Commands:
    """Have apt keep docker-ce at a version (``5:28.5.2-*``); without one, have no pin of ours."""
    lines = [f"Package: {' '.join(ENGINE)}", f"Pin: version {version}", "Pin-Priority: 990", ""]
    text = "\n".join(lines) if version else ""
    # As ours was called before; with other words it is somebody else's.
    if re.fullmatch(OURS, "\n".join(known(FileContents, path=OLD_PIN) or [])):
        yield f"rm -f {OLD_PIN}"
    if (known(FileContents, path=PIN) or []) == text.splitlines():
        host.noop(f"{version or 'no version'} is pinned")
        return
    if not text:
        yield f"rm -f {PIN}"
        return
    yield StringCommand("printf %s", QuoteString(text), f">{PIN}.new")
    yield StringCommand("chmod 644", f"{PIN}.new")
    yield renamed(f"{PIN}.new", PIN)

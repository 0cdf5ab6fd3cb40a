"""The steps by which the hosts of a cluster come to serve together; deploy.py's story for them."""

from __future__ import annotations

from pyinfra import host, inventory
from pyinfra.api import deploy
from pyinfra.facts.docker import DockerContainer, DockerImage
from pyinfra.facts.server import Which

from ollama_stack.cluster import change, operations
from ollama_stack.cluster.change import Wanted
from ollama_stack.cluster.facts import EncryptsOverlays, Node, OwnAddress, Swarm, View
from ollama_stack.cluster.operations import ModelWanted, Place
from ollama_stack.config.settings import Settings
from ollama_stack.config.types import seconds
from ollama_stack.containers import OLLAMA
from ollama_stack.facts.memory import known
from ollama_stack.facts.swarm import no_quorum
from ollama_stack.operations import lock, programs, smoke
from ollama_stack.rules import refuse
from ollama_stack.stack.certificates import names
from ollama_stack.stack.cluster import POOL, Member, leader, members, stack, together
from ollama_stack.stack.rendering import FOLDER
from ollama_stack.tasks.app import build_page
from ollama_stack.tasks.certificate import own_certificate
from ollama_stack.tasks.docker import install_docker
from ollama_stack.tasks.release import operator, record
from ollama_stack.tasks.secrets import have_secrets
from ollama_stack.tasks.smoke import asked

SHOWN = 5  # names in a sentence


def deploy_cluster(settings: Settings, site: str) -> None:
    """One host's part; the first manager's is the stack's too."""
    there = _members(settings)
    place = _place(settings, there)
    _refuse_what_cannot_be(settings)
    _take_the_lock(settings)
    install_docker(settings=settings)
    if host == place.leader:
        operations.begun(name="Begin the cluster", place=place)
    seen = _seen(settings, place)
    operations.joined(name="Join the cluster", place=place, nodes=seen.nodes)
    if place.rank:
        build_page(settings=settings)
    _have_the_model(settings=settings, manager=place.rank > 0)
    operations.labelled(name="Say what it is", place=place, nodes=seen.nodes)
    if host == place.leader:
        _run_the_stack(settings, there, seen, _certificate(settings, there, site))


def go_back(settings: Settings) -> None:
    """The release that ``--data _release=NUMBER`` names, else the one before."""
    there = _members(settings)
    _take_the_lock(settings)
    if host == _place(settings, there).leader:
        change.went_back(
            name="Run a kept release",
            project=settings.ollama_project,
            number=str(host.data.get("_release", "previous")),
            seconds=_patience(settings, there),
        )


def _members(settings: Settings) -> list[Member]:
    hosts = {one.name: (one.groups, one.data.dict()) for one in inventory}
    there = members(hosts, settings.cluster)
    left_out = {one.name for one in there} - {one.name for one in inventory.get_active_hosts()}
    if left_out:
        reason = (
            f"cluster: the hosts of {settings.cluster} change together, and {_several(sorted(left_out))} not of this "
            "run; leave --limit out, or take a dead host out of the inventory"
        )
        refuse({one.name: [reason] for one in there if one.name not in left_out})
    return there


def _several(names: list[str]) -> str:
    """The subject of a sentence, and its verb; of many the first ones."""
    more = [f"{len(names) - SHOWN} more"] if len(names) > SHOWN else []
    return f"{', '.join([*names[:SHOWN], *more])} {'are' if names[1:] else 'is'}"


def _place(settings: Settings, there: list[Member]) -> Place:
    own = next(member for member in there if member.name == host.name)
    address = settings.cluster_address or known(OwnAddress)
    return Place(
        inventory.get_host(leader(there)),
        settings.ollama_project,
        own.profile,
        own.rank,
        address,
        POOL,
    )


def _refuse_what_cannot_be(settings: Settings) -> None:
    """What only the host itself says; nothing is changed before."""
    wrong = []
    if known(DockerContainer, object_id=OLLAMA.name):
        wrong.append(
            "cluster: the host still serves alone; take that down (docs/cluster.md), its models stay"
        )
    if settings.cluster_encrypted and not known(EncryptsOverlays):
        wrong.append(
            "cluster_encrypted: this kernel has no AES-GCM for IPsec (modules esp4 and gcm), so questions and "
            "answers would be readable between the hosts; have them there, or set cluster_encrypted = False"
        )
    if not settings.cluster_address and not known(OwnAddress):
        wrong.append(
            "cluster_address: the host has no way out, so its address is not known; set it"
        )
    refuse({host.name: wrong})


def _take_the_lock(settings: Settings) -> None:
    programs.installed(name="Install the host's programs", folder=settings.ollama_dir, unit="")
    lock.held(
        name="Take the lock",
        folder=settings.ollama_dir,
        who=operator(),
        begun=lambda state, host: True,
    )


def _seen(settings: Settings, place: Place) -> View:
    """The swarm as it is before this run; strangers are refused."""
    if not place.leader.get_fact(Which, command="docker"):
        return View()
    seen: View = place.leader.get_fact(Swarm, project=settings.ollama_project)
    leader, own = place.leader.get_fact(Node), known(Node)
    if not seen.nodes and (leader.manager or leader.state not in ("active", "inactive")):
        refuse({host.name: [f"cluster: {no_quorum(place.leader.name, leader.address)}"]})
    ids = {node["ID"] for node in seen.nodes}
    addresses = {node["Status"].get("Addr") for node in seen.nodes}
    if own.inside and own.id not in ids and not addresses & set(own.managers):
        fault = (
            "cluster: the host is in another swarm than the first manager; put a host of that one first, "
            "or let it leave: docker swarm leave --force"
        )
        refuse({host.name: [fault]})
    return seen


@deploy("Model")
def _have_the_model(settings: Settings, manager: bool) -> None:
    refs = {"ollama_image": settings.ollama_image_ref}
    if manager:
        refs["gateway_image"] = settings.gateway_image_ref
    if manager and settings.app_enabled and settings.app_image:
        refs["app_image"] = settings.app_image_ref
    operations.images(
        name="Pull the images",
        refs=refs,
        present={ref: known(DockerImage, object_id=ref) for ref in refs.values()},
    )
    operations.model_kept(
        name="Keep the model",
        wanted=ModelWanted(
            model=settings.model_name,
            source=settings.model_source,
            insecure=settings.model_insecure,
            pristine=settings.pristine_model,
            digest=settings.model_digest,
            parameters=settings.model_parameters,
            variables=settings.proxy_variables,
            seconds=settings.pull_seconds,
        ),
        image=settings.ollama_image_ref,
        volume=settings.volume,
        program=(FOLDER / "cluster" / "keep-model.sh").read_text(),
    )


def _certificate(settings: Settings, there: list[Member], site: str) -> str:
    """Of the site's own authority, for all that clients may call the managers; "" where none is declared."""
    if settings.gateway_tls != "own":
        return ""
    called = list[str]()
    for member in there:
        if member.manager:
            one = inventory.get_host(member.name)
            called += names(member.settings, one.name, one.data.get("ssh_hostname") or "")
            called += filter(None, [member.settings.cluster_address or one.get_fact(OwnAddress)])
    return own_certificate(
        settings, site, f"cluster {settings.cluster}", list(dict.fromkeys(called))
    )


def _run_the_stack(settings: Settings, there: list[Member], seen: View, certificate: str) -> None:
    """The first manager's: one stack for all, asked before it is called done."""
    wanted = _wanted(settings, there, certificate)
    hosts = [inventory.get_host(one.name) for one in there]
    ids = {one.get_fact(Node).id for one in hosts}
    operations.removed(
        name="Remove who is no longer declared",
        nodes=seen.strangers(ids),
        seconds=seconds(settings.gateway_answer_limit),
        _retries=2,  # the managers may be about to choose another leader
        _retry_delay=10,
    )
    operations.cleared(
        name="Remove what failed joins have left",
        hosts=hosts,
        project=settings.ollama_project,
        seen=seen,
    )
    changed = change.deployed(name="Run the stack", wanted=wanted, seen=seen)
    smoke.answers(
        name="Smoke | Ask the model",
        asked=asked(settings),
        parallel=together(there).ollama_num_parallel,
        changed=changed.did_change,
    )
    if settings.app_enabled:
        smoke.page(name="Smoke | Ask the app", url=settings.app_url, seconds=settings.smoke_seconds)
    change.committed(name="Keep it as a release", wanted=wanted, seen=seen)


def _wanted(settings: Settings, there: list[Member], certificate: str) -> Wanted:
    """The declared stack, whose secrets the first manager has then."""
    own = have_secrets(settings)
    declared = stack(there, own.tokens, certificate, own.app)
    return Wanted(settings.ollama_project, declared, record(), _patience(settings, there))


def _patience(settings: Settings, there: list[Member]) -> int:
    """Seconds for a whole change: host after host, each with its running answers, its start and its load."""
    one = seconds(settings.gateway_answer_limit) + settings.start_seconds + settings.load_seconds
    return one * (len(there) + 2)

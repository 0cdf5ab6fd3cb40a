"""What a class met on each host, and whether the profile's bounds hold: for people, JSON, CSV and a page."""

from __future__ import annotations

import csv
import io
from collections.abc import Iterator, Sequence
from datetime import datetime, timezone
from pathlib import Path
from typing import Literal

from pydantic import BaseModel
from rich.console import Console
from rich.markup import escape
from rich.table import Table

from ollama_stack.config.settings import Settings, profile_of, read_settings
from ollama_stack.inventory import Target
from ollama_stack.load import ClassHour, Scenario, Through
from ollama_stack.load.aim import aim, hold
from ollama_stack.load.figures import Figures, Places, Question, Spread, broken, figures
from ollama_stack.reports import folder as files
from ollama_stack.reports.load_watch import Moment, watched
from ollama_stack.stack.rendering import TEMPLATES

Verdict = Literal["held", "broken", "unmeasured"]
EXIT: dict[Verdict, int] = {"held": 0, "broken": 1, "unmeasured": 2}
WIDTH, HEIGHT = 720, 200  # of a plot, in its own units
FILES = ("load.html", "load.json", "load.csv")
MARK = '<meta name="generator" content="ollama-stack load">'


class HostLoad(BaseModel, frozen=True):
    """One host; without figures, why there are none."""

    host: str
    profile: str | None
    verdict: Verdict
    slo_p95_wait: float
    slo_success: float
    reasons: list[str] = []
    figures: Figures | None = None
    places: list[Places] = []
    """Over time; empty where the host does not tell them."""
    moments: list[Moment] = []
    """What Ollama's container took meanwhile."""
    questions: list[Question] = []


class Load(BaseModel, frozen=True):
    """The report; time in UTC. Its verdict is that of the worst host."""

    version: Literal[1] = 1
    time: datetime
    inventory: str
    scenario: Scenario
    through: Through = "api"
    students: int
    minutes: float
    verdict: Verdict
    hosts: list[HostLoad]


def measure(inventory: str, targets: Sequence[Target], hour: ClassHour) -> Load:
    """A class at each host, one host after the other; their settings must be free of faults."""
    hosts = [_host_load(target, hour) for target in targets]
    return Load(
        time=datetime.now(timezone.utc),
        inventory=inventory,
        scenario=hour.scenario,
        through=hour.through,
        students=hour.students,
        minutes=hour.minutes,
        verdict=max((host.verdict for host in hosts), key=EXIT.__getitem__),
        hosts=hosts,
    )


def _host_load(target: Target, hour: ClassHour) -> HostLoad:
    settings = read_settings(target.data)
    try:
        task = aim(target, settings, hour)
        with watched(target, settings) as moments:
            lines = list(hold(task))
        questions = [Question.model_validate(line) for line in lines if line["kind"] == "question"]
        places = [Places.model_validate(line) for line in lines if line["kind"] == "places"]
        places = places or list(_places(moments))
        found = figures(questions, places, 60 * hour.minutes, settings.slo_p95_wait)
    except ValueError as error:
        return _report(target, settings, verdict="unmeasured", reasons=[str(error)])
    reasons = broken(found, settings.slo_p95_wait, settings.slo_success)
    return _report(
        target,
        settings,
        verdict="broken" if reasons else "held",
        reasons=reasons,
        figures=found,
        places=places,
        moments=moments,
        questions=sorted(questions, key=lambda question: question.came),
    )


def _places(moments: Sequence[Moment]) -> Iterator[Places]:
    for moment in moments:
        if moment.flight is not None and moment.waiting is not None:
            yield Places(at=moment.at, flight=moment.flight, queue=moment.waiting)


def _report(target: Target, settings: Settings, **found: object) -> HostLoad:
    declared = {name: getattr(settings, name) for name in ("slo_p95_wait", "slo_success")}
    report = {"host": target.name, "profile": profile_of(target.groups)} | declared | found
    return HostLoad.model_validate(report)


def show_load(load: Load, console: Console) -> None:
    """The report for people: of each host the success first, and what breaks a bound last."""
    for host in load.hosts:
        console.print(escape(first_line(host)), soft_wrap=True)
        if host.figures:
            table = Table("", "p50", "p95", "p99")
            for name, unit, found in spreads(host.figures):
                table.add_row(f"{name}, {unit}", *(f"{part:.1f}" for _, part in found))
            if table.rows:
                console.print(table)
            console.print(escape(_counted(host, host.figures)), soft_wrap=True)
        for reason in host.reasons:
            console.print(escape(f"{host.host}: {reason}"), soft_wrap=True)


def first_line(host: HostLoad) -> str:
    """Success in one line."""
    if not (found := host.figures):
        return f"{host.host}: not measured"
    return (
        f"{host.host}: {found.success:.1%} answered ({found.ends.get('answered', 0)} of {found.asked}), "
        f"{found.goodput:.1f} a minute within {host.slo_p95_wait:g} s of wait: "
        f"the bounds are {host.verdict}"
    )


def spreads(found: Figures) -> Iterator[tuple[str, str, Spread]]:
    """Name, unit and quantiles of what was measured."""
    rows = (
        ("wait", "s", found.wait),
        ("first word", "s", found.first),
        ("total", "s", found.total),
    )
    for name, unit, values in (*rows, ("an answer's speed", "tok/s", found.rate)):
        if values:
            yield name, unit, values


def _counted(host: HostLoad, found: Figures) -> str:
    counts = [f"{count} {end}" for end, count in found.ends.items() if end != "answered"]
    counts += [f"rude client: {count} {end}" for end, count in found.rude.items()]
    if found.most_in_flight is None:
        counts.append("in flight and waiting are not known")
    else:
        counts.append(f"at most {found.most_in_flight} in flight, {found.most_waiting} waiting")
    return ", ".join([*counts, taken(host.moments)])


def taken(moments: Sequence[Moment]) -> str:
    """The most that Ollama's container took, in words."""
    throttled = [moment.throttled for moment in moments if moment.throttled is not None]
    memory = [moment.memory for moment in moments if moment.memory is not None]
    killed = [moment.killed for moment in moments if moment.killed is not None]
    if not throttled or not memory:
        return "throttling and memory are not known (the login needs Docker)"
    text = f"throttled for {max(throttled):.0%} of the CPU time at most, {max(memory) / 2**30:.1f} GiB at most"
    lost = killed[-1] - killed[0]
    return text + (f", {lost} processes killed for memory" if lost else "")


def refuse_others(folder: Path) -> None:
    """ValueError if the folder takes no report of load's: a class would be held for nothing."""
    files.refuse_others(folder, FILES, "load's", lambda page: MARK in page)


def write_load(load: Load, folder: Path) -> list[Path]:
    """A page, JSON and CSV, over older reports alone; ValueError names what is in the way."""
    refuse_others(folder)
    texts = as_page(load), load.model_dump_json(indent=2) + "\n", as_csv(load)
    return files.write(folder, dict(zip(FILES, texts, strict=True)))


def as_csv(load: Load) -> str:
    """A line for each question."""
    text = io.StringIO()
    table = csv.DictWriter(text, ["host", *Question.model_fields], lineterminator="\n")
    table.writeheader()
    for host in load.hosts:
        for question in host.questions:
            table.writerow({"host": host.host} | question.model_dump())
    return text.getvalue()


def as_page(load: Load) -> str:
    """One page that fetches nothing and runs nothing."""
    page = TEMPLATES.overlay(autoescape=True).get_template("load/report.html.j2")
    return page.render(
        load=load,
        mark=MARK,
        hosts=[(host, first_line(host), list(plots(host))) for host in load.hosts],
        spreads=spreads,
        taken=taken,
        width=WIDTH,
        height=HEIGHT,
    )


def plots(host: HostLoad) -> Iterator[tuple[str, float, float, list[tuple[str, str]]]]:
    """Title, the axes' ends, and each line's name and SVG points."""
    if host.places:
        ways: dict[str, list[tuple[float, float]]] = {
            "in flight": [(place.at, place.flight) for place in host.places],
            "waiting": [(place.at, place.queue) for place in host.places],
        }
        yield plot("Places of the gateway, by second of the class", ways)
    own: dict[str, list[tuple[float, float | None]]] = {
        "Throttling, as a share of the CPU time": [(one.at, one.throttled) for one in host.moments],
        "Memory of Ollama's container, in GiB": [
            (one.at, one.memory and one.memory / 2**30) for one in host.moments
        ],
    }
    for title, way in own.items():
        if known := [(at, figure) for at, figure in way if figure is not None]:
            yield plot(f"{title}, by second since the start", {"Ollama": known})
    waits = [
        (question.came, question.wait)
        for question in host.questions
        if question.who == "student" and question.wait is not None
    ]
    if waits:
        bound = [(waits[0][0], host.slo_p95_wait), (waits[-1][0], host.slo_p95_wait)]
        yield plot("Wait in seconds, by the second of the question", {"wait": waits, "slo_p95_wait": bound})  # fmt: skip


def plot(
    title: str, ways: dict[str, list[tuple[float, float]]]
) -> tuple[str, float, float, list[tuple[str, str]]]:
    """The lines, scaled to one plot."""
    right = max(x for way in ways.values() for x, _ in way) or 1.0
    top = max(y for way in ways.values() for _, y in way) or 1.0
    lines = [
        (
            name,
            " ".join(f"{x / right * WIDTH:.1f},{HEIGHT - y / top * HEIGHT:.1f}" for x, y in way),
        )
        for name, way in ways.items()
    ]
    return title, right, top, lines

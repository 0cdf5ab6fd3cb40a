"""A few questions to a host on its own loopback, from which its speeds follow; the last ones of each host are kept."""

from __future__ import annotations

import json
import subprocess
from collections.abc import Iterator, Sequence
from datetime import datetime, timezone
from secrets import token_hex
from shlex import quote
from typing import Any

from pydantic import TypeAdapter, ValidationError

from ollama_stack import ROOT
from ollama_stack.config.settings import Settings
from ollama_stack.generate_response import Answer
from ollama_stack.inventory import Target
from ollama_stack.load import corpus
from ollama_stack.load.sizing import Speeds, crowd, demand, longest

Question = tuple[str, dict[str, int]]
"""A text, and Ollama's options."""
KEPT = ROOT / ".speeds.json"  # which git ignores
KNOWN = TypeAdapter(dict[str, Speeds])
TOKENS = 32  # of an answer, where the model may write so many
SHORT = "Hi"
ENGLISH, RUSSIAN = (
    "".join(text)[:most] for text, most in zip(corpus.TEXTS, (600, 900), strict=True)
)
CLASS, FEWEST = len(corpus.DECK), 7  # questions of a small class
PERIOD = 90.0  # seconds that it takes at most by the speeds alone
KNOCK = 10  # seconds for a look at what is in memory
BUSY = 1.0  # seconds of wait, which somebody else has caused
OTHERS = "others ask it now; measure while nobody does"
UNSTEADY = "its figures contradict each other; measure while nothing else computes there"


def measure(target: Target, settings: Settings) -> Speeds:
    """Seconds on most hosts, then a small class of two minutes; ValueError says why there are no figures."""
    few = {"num_predict": min(TOKENS, settings.model_num_predict), "temperature": 0}
    alone = [(text, few) for text in (SHORT, ENGLISH, RUSSIAN)]  # the first has the model loaded
    answers = _asked(target, settings, alone, [(SHORT, few)] * settings.ollama_num_parallel)
    found = _speeds(settings, answers)
    return found.model_copy(update={"crowded": _crowded(target, settings, found)})


def _crowded(target: Target, settings: Settings, speeds: Speeds) -> float:
    """How many times as long questions take in a small class as by the speeds; 1 where it would take too long."""
    most = longest(settings)
    number = min(CLASS, int(PERIOD * speeds.parallel / demand(speeds, most).together))
    if number < FEWEST:
        return 1.0
    asked = [(text, {"num_predict": length}) for text, length in corpus.sample(number, most)]
    answers = _asked(target, settings, [], asked)
    if any(answer.status in (429, 503) for answer in answers):
        raise ValueError(OTHERS)
    whole = [answer for answer in answers if not answer.fault]
    if len(whole) < number / 2:  # a model may break off one that repeats itself
        why = next((answer.fault for answer in answers if answer.fault), "the login ended early")
        raise ValueError(
            f"of {number} questions at once {number - len(whole)} were not answered ({why}); look with status"
        )
    seen = sum(_seconds(answer, "total") for answer in whole)
    return seen / sum(
        crowd(speeds, answer.body["prompt_eval_count"], answer.body["eval_count"])
        for answer in whole
    )


def _asked(
    target: Target, settings: Settings, alone: Sequence[Question], together: Sequence[Question]
) -> list[Answer]:
    """Some one after the other, then ``ollama_num_parallel`` at once; ValueError if the host does not answer."""
    mark = token_hex(8)  # which nothing on a host can foresee
    script = "\n".join(_script(settings, mark, alone, together))
    try:
        output = target.run(script, mark, 5 * settings.smoke_seconds)
    except subprocess.TimeoutExpired as error:
        raise ValueError("its answers do not end; look at it with status") from error
    lines = [line[len(mark) :] for line in output.splitlines() if line.startswith(mark)]
    return [Answer.parse(line.strip()) for line in lines]


def _script(
    settings: Settings, mark: str, alone: Sequence[Question], together: Sequence[Question]
) -> Iterator[str]:
    """A knock, then the questions; each answer in one write.

    What is no answer ends it: a host that hangs would have as long for each of them.
    """
    yield "curl=curl"
    header = ""
    if settings.token_header_file:
        file = quote(settings.token_header_file)
        header = f"--header @{file}"
        yield (
            f'test -r {file} || {{ sudo -n test -r {file} && curl="sudo -n curl"; }} || '
            f"{{ echo the login may not read {file}: let it use sudo -n >&2; exit 1; }}"
        )
    options = f"-sS --insecure --noproxy '*' {header} --max-time"
    yield (
        f"why=$($curl {options} {KNOCK} {quote(settings.url)}/api/ps 2>&1 >/dev/null) || "
        f'{{ echo "{settings.url} does not answer ($why); look at it with status" >&2; exit 1; }}'
    )
    ask = (
        f"answer=$($0 {options} {settings.smoke_seconds} --write-out ' %{{http_code}} %{{time_total}}'"
        f' --data "$1" {quote(settings.url)}/api/generate'
        f" | tr -d '\n'); printf '%s %s\n' {mark} \"$answer\""
        "; case $answer in *' 200 '*) ;; *) exit 255;; esac"  # at which xargs ends
    )
    for questions, at_once in ((alone, 1), (together, settings.ollama_num_parallel)):
        if questions:
            bodies = " ".join(quote(json.dumps(_body(settings, *one))) for one in questions)
            yield (
                f"printf '%s\\0' {bodies} | xargs -0 -n 1 -P {at_once} "
                f'sh -c {quote(ask)} "$curl" || exit 1'
            )


def _body(settings: Settings, text: str, options: dict[str, int]) -> dict[str, Any]:
    """With first letters of its own, so that no answer comes out of another one's prompt cache."""
    prompt = f"{token_hex(3)} {text}"
    return {"model": settings.model_name, "prompt": prompt, "stream": False, "options": options}


def _speeds(settings: Settings, answers: Sequence[Answer]) -> Speeds:
    for answer in answers:
        if answer.status in (429, 503) or (not answer.fault and answer.wait > BUSY):
            raise ValueError(OTHERS)
        if answer.fault:
            raise ValueError(f"{settings.model_name} answered {answer.fault}; look with status")
    if len(answers) < 3 + settings.ollama_num_parallel:
        raise ValueError("the login ended before the last answer; measure again")
    short, english, russian = (answer.body.get("prompt_eval_count", 0) for answer in answers[:3])
    letters = len(RUSSIAN) - sum(map(str.isascii, RUSSIAN))
    latin = (english - short) / (len(ENGLISH) - len(SHORT))
    cyrillic = (russian - short - latin * (len(RUSSIAN) - letters)) / letters
    if min(short, latin, cyrillic) <= 0:
        raise ValueError("it does not say how many tokens it has read; update Ollama")
    read, growth = _reading(*answers[1:3])
    found = Speeds(
        at=datetime.now(timezone.utc),
        image=settings.ollama_image_ref,
        model=settings.model_name,
        cpus=settings.ollama_cpus,
        parallel=settings.ollama_num_parallel,
        read=read,
        growth=growth,
        alone=_written(answers[:3]) / sum(_seconds(answer, "eval") for answer in answers[:3]),
        together=1.0,
        crowded=1.0,
        overhead=short,
        latin=latin,
        cyrillic=cyrillic,
    )
    return found.model_copy(update={"together": _together(found, answers[3:])})


def _seconds(answer: Answer, part: str) -> float:
    return float(answer.body[f"{part}_duration"]) / 1e9


def _written(answers: Sequence[Answer]) -> int:
    return sum(int(answer.body["eval_count"]) for answer in answers)


def _reading(shorter: Answer, longer: Answer) -> tuple[float, float]:
    """Speed and growth by two texts: the longer one's tokens take as long as the shorter one's, or longer."""
    few, many = (float(answer.body["prompt_eval_count"]) for answer in (shorter, longer))
    quick, slow = (_seconds(answer, "prompt_eval") for answer in (shorter, longer))
    growth = max(0.0, (slow / many - quick / few) / (many - few))
    first = quick / few - growth * few if growth else (quick + slow) / (few + many)
    if first <= 0:
        raise ValueError(UNSTEADY)
    return 1 / first, growth


def _together(speeds: Speeds, answers: Sequence[Answer]) -> float:
    """Tokens a second of each: what all of them read comes first, and is in everybody's time."""
    read = sum(speeds.reading(float(answer.body["prompt_eval_count"])) for answer in answers)
    spent = sum(_seconds(answer, "prompt_eval") + _seconds(answer, "eval") for answer in answers)
    writing = spent - len(answers) * read
    if writing <= 0:
        raise ValueError(UNSTEADY)
    return _written(answers) / writing


def kept() -> dict[str, Speeds]:
    """By inventory and host; ValueError names a file that is not ours."""
    try:
        return KNOWN.validate_json(KEPT.read_bytes())
    except FileNotFoundError:
        return {}
    except (OSError, ValidationError) as error:
        raise ValueError(
            f"{KEPT} is not understood; remove it, and measure again (ollama-stack sizing)"
        ) from error


def keep(speeds: dict[str, Speeds]) -> None:
    """Beside those of other hosts; ValueError names what is in the way."""
    text = KNOWN.dump_json(kept() | speeds, indent=2)
    try:
        new = KEPT.with_suffix(".new")
        new.write_bytes(text)
        new.replace(KEPT)
    except OSError as error:
        raise ValueError(
            f"{KEPT} cannot be written ({error.strerror}); correct the owner"
        ) from error


def place(inventory: str, host: str) -> str:
    """The name under which a host's speeds are kept."""
    return f"{inventory} {host}"

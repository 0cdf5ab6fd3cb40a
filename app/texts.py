"""What pages say, in the languages of app/texts/; another language is another file there."""

from __future__ import annotations

import json
from pathlib import Path

from flask import g, request, session
from werkzeug.datastructures import LanguageAccept
from werkzeug.http import parse_accept_header

TEXTS: dict[str, dict[str, str]] = {
    file.stem: json.loads(file.read_text(encoding="utf-8"))
    for file in sorted((Path(__file__).parent / "texts").glob("*.json"))
}
DEFAULT = "en"
HEARD = 200  # letters of what a browser says of its languages
SCRIPT = (
    *("ask_again", "empty", "sent", "place", "turn", "quiet", "writing", "done", "cut", "stopped"),
    *("repeated", "retrying", "offline", "restarting"),
)


def language() -> str:
    """Of the request: what the student has chosen, else what the browser asks for; found once."""
    if "language" not in g:
        g.language = _find_language()
    return str(g.language)


def _find_language() -> str:
    chosen = request.args.get("lang")
    if chosen in TEXTS:
        session["lang"] = chosen
    found: str = session.get("lang", "")
    if found in TEXTS:
        return found
    asked = parse_accept_header(request.headers.get("Accept-Language", "")[:HEARD], LanguageAccept)
    return asked.best_match(TEXTS) or DEFAULT


def script_texts() -> dict[str, str]:
    """Those that the page's script says."""
    return {name: texts()[name] for name in SCRIPT}


def texts() -> dict[str, str]:
    """The texts of the request's language."""
    return TEXTS[language()]

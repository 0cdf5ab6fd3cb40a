"""Pure: what Ollama's answers to /api/generate say about a server."""

from __future__ import annotations

import json
import re
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True)
class Answer:
    """One answer: HTTP status, seconds on the wall clock, and the body as far as it is JSON."""

    status: int
    wall: float
    body: dict[str, Any]

    @classmethod
    def parse(cls, line: str) -> Answer:
        """From ``BODY STATUS SECONDS`` on one line; status 0 means there was no answer."""
        found = re.fullmatch(r"(.*) (\d+) ([\d.]+)", line)
        if not found:
            return cls(0, 0.0, {})
        try:
            body = json.loads(found[1])
        except ValueError:
            body = {}
        return cls(int(found[2]), float(found[3]), body if isinstance(body, dict) else {})

    @property
    def fault(self) -> str | None:
        """Why this is not an answer: a status of 200 alone proves nothing."""
        if self.status != 200:
            return f"HTTP {self.status}: {self.body.get('error', 'no answer')}"
        if "error" in self.body:
            return f"HTTP 200 with an error in it: {self.body['error']}"
        if not any(str(self.body.get(part) or "").strip() for part in ("response", "thinking")):
            return "an empty text"
        if self.body.get("done") is False:
            return (
                "HTTP 200 with done: false: the server is up and broke the answer off, as it does "
                "when a model repeats itself"
            )
        if not (self.body.get("eval_count") and self.body.get("eval_duration")):
            return "no eval_count or eval_duration"
        return None

    @property
    def rate(self) -> float:
        """Generated tokens per second."""
        return float(self.body["eval_count"] / (self.body["eval_duration"] / 1e9))

    @property
    def wait(self) -> float:
        """Seconds spent waiting for a slot: no field has them, they are what is left of the total."""
        spent = ("load_duration", "prompt_eval_duration", "eval_duration")
        total = self.body.get("total_duration", 0)
        return max(0.0, float(total - sum(self.body.get(part, 0) for part in spent)) / 1e9)

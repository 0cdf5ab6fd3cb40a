"""Students as load; what Locust runs (class_hour, corpus) needs nothing but Locust and Python."""

from dataclasses import dataclass
from typing import Literal

Scenario = Literal["lesson", "burst", "cold", "rude", "leave"]
Through = Literal["api", "page"]
MOST_STUDENTS, MOST_MINUTES = 60, 30.0
UNTRUSTED = "shows a certificate that is not trusted"


@dataclass(frozen=True)
class ClassHour:
    """A class as the command line means it."""

    students: int
    minutes: float
    scenario: Scenario
    through: Through = "api"

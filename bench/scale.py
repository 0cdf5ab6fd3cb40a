"""A cluster's gateway before 1 to 4 hosts that answer after a fixed time, and after one by chance: python -m bench.scale."""

from __future__ import annotations

import sys
import tempfile
import threading
import time
from pathlib import Path
from random import Random
from statistics import fmean

from lab import plain
from lab.tables import markdown
from ollama_stack.capacity.waiting import Demand, arrivals
from tests.door.conftest import bearer, question
from tests.door.double import Handler
from tests.door.test_cluster import PARALLEL, QUEUE, Cluster

SECONDS, ANSWER = 20.0, 0.5  # of a measurement, and of an answer
# Of the queue: seconds of a measurement, of an answer and of thinking on average, and students of a host.
LONG, MEAN, STUDENTS = 60.0, 0.2, 4
FLEET = (10, 19, 100)  # hosts of profile low whose waits are reckoned alone


class Fixed(Handler):
    """A host whose answers all take as long."""

    def do_POST(self) -> None:
        """After ANSWER seconds."""
        time.sleep(ANSWER)
        super().do_POST()


def answers(hosts: int) -> float:
    """Answers a second of so many hosts, while two more than they take at once wait for each."""
    with tempfile.TemporaryDirectory() as folder:
        cluster, over, count = Cluster(Path(folder), hosts, Fixed), threading.Event(), [0]

        def ask(who: str) -> None:
            with plain.Client(base_url=cluster.url, timeout=60) as client:
                while not over.is_set():
                    answer = client.post("/api/generate", json=question(), headers=bearer(who))
                    count[0] += answer.is_success

        students = hosts * (PARALLEL + 2)
        threads = [
            threading.Thread(target=ask, args=(("one", "two")[n % 2],)) for n in range(students)
        ]
        for thread in threads:
            thread.start()
        time.sleep(2)
        begun, before = time.monotonic(), count[0]
        time.sleep(SECONDS)
        rate = (count[0] - before) / (time.monotonic() - begun)
        over.set()
        for thread in threads:
            thread.join()
        cluster.end()
    return rate


class Chance(Handler):
    """A host whose answers take an exponential time, MEAN on average."""

    chance = Random(1)  # noqa: S311 no secret

    def do_POST(self) -> None:
        """Tells how long it took, so that the rest is the wait."""
        self.took = self.chance.expovariate(1 / MEAN)
        time.sleep(self.took)
        super().do_POST()

    def end_headers(self) -> None:
        """In a header that passes the gateway."""
        if took := getattr(self, "took", 0.0):
            self.send_header("X-Took", f"{took:.6f}")
        super().end_headers()


def waited(hosts: int) -> tuple[int, float]:
    """Questions, and the mean wait in seconds, of STUDENTS a host who think as long as an answer takes."""
    found, over = list[float](), threading.Event()

    def ask(url: str, chance: Random) -> None:
        with plain.Client(base_url=url, timeout=60) as client:
            while not over.wait(chance.expovariate(1 / MEAN)):
                begun = time.monotonic()
                answer = client.post("/api/generate", json=question(), headers=bearer("local"))
                found.append(time.monotonic() - begun - float(answer.headers["X-Took"]))

    with tempfile.TemporaryDirectory() as folder:
        cluster = Cluster(Path(folder), hosts, Chance)
        chances = [Random(number) for number in range(STUDENTS * hosts)]  # noqa: S311 no secret
        threads = [threading.Thread(target=ask, args=(cluster.url, one)) for one in chances]
        for thread in threads:
            thread.start()
        time.sleep(LONG)
        over.set()
        for thread in threads:
            thread.join()
        cluster.end()
    return len(found), fmean(found)


def reckoned(hosts: int) -> float:
    """The mean wait by the machine-repair model (Gross, Shortle, Thompson, Harris, chapter 2), in seconds."""
    places, students = PARALLEL * hosts, STUDENTS * hosts
    met = arrivals(students, Demand(MEAN, MEAN, MEAN, 1.0), places, QUEUE * hosts)
    return sum(
        share * (number - places + 1) * MEAN / places
        for number, share in enumerate(met)
        if number >= places
    )


def main() -> None:
    """The tables."""
    rates = {hosts: answers(hosts) for hosts in (1, 2, 3, 4)}
    rows = [
        [
            str(hosts),
            f"{rate:.2f}",
            f"{hosts * PARALLEL / ANSWER:.2f}",
            f"{rate / rates[1] / hosts:.2f}",
        ]
        for hosts, rate in rates.items()
    ]
    sys.stdout.write(
        markdown(["hosts", "answers/s", "the most there can be", "of N times one"], rows)
    )
    head = ["hosts", "students", "questions", "mean wait reckoned", "measured", "ratio"]
    lines = []
    for hosts in (1, 2, 3, 4):
        (number, wait), due = waited(hosts), reckoned(hosts)
        line = [f"{hosts}", f"{STUDENTS * hosts}", f"{number}", f"{due * 1000:.1f} ms"]
        lines.append([*line, f"{wait * 1000:.1f} ms", f"{due / wait:.2f}"])
    for hosts in FLEET:
        line = [f"{hosts}", f"{STUDENTS * hosts}", "-", f"{reckoned(hosts) * 1000:.1f} ms"]
        lines.append([*line, "-", "-"])
    sys.stdout.write(markdown(head, lines))


if __name__ == "__main__":
    main()
